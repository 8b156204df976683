"""The fault profile that an array's answers tell of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.common.display import ProgressCall, silent
from hascodesign.contract.array import SiteMasks
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import Fault, FaultProfile, IntArray, frozen
from hascodesign.diagnose.answers import Answers
from hascodesign.diagnose.chain import ChainSearch, ChainShared
from hascodesign.diagnose.entries import Found
from hascodesign.diagnose.evidence import Evidence, Shared
from hascodesign.diagnose.logic import LogicSearch
from hascodesign.diagnose.memory import MemorySearch, dirty
from hascodesign.diagnose.model import PeModel
from hascodesign.diagnose.transients import Transient
from hascodesign.diagnose.varying import VaryingSearch
from hascodesign.diagnose.vectors import CODE_SETTINGS, TestSet, groups
from hascodesign.faults.places import in_order
from hascodesign.faults.profile import MAX_ENTRIES, check

MOST_RUNS = 16


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What an array's answers tell of it."""

    profile: FaultProfile  # a PE that is not explained is dead in it: one to leave idle
    residual: IntArray  # [P] answers that the PE's entries do not explain
    equivalents: Mapping[int, tuple[tuple[Fault, ...], ...]]  # other entries, same function, by PE
    unstable: IntArray  # [P] answers that are not the same each time
    transients: Mapping[int, Transient] = field(default_factory=dict)  # by PE, what explains that

    @property
    def unexplained(self) -> tuple[int, ...]:
        """PEs whose answers no faults explain."""
        varying = self.unstable > 0
        varying[list(self.transients)] = False
        return tuple(np.flatnonzero((self.residual > 0) | varying).tolist())


def infer(test_set: TestSet, responses: NDArray[Any], progress: ProgressCall = silent) -> Diagnosis:
    """The faults of every PE, from what it answered.

    Parameters
    ----------
    test_set : what was played.
    responses : [runs, P, answers] accumulators, or [P, answers] of one run.
    progress : told of every PE.

    Returns
    -------
    The profile, and how far it can be trusted. A PE is explained where its entries give every one
    of its answers, the same each time; or where, of a test set with a part for transients, they
    make every answer possible and one transient fault much likelier than any other. Any other PE
    is left to the profile as ``dead``.

    Raises
    ------
    ConfigError
        Answers that cannot be those of the array: of another shape, too wide, all 0, or none of
        whose PEs can be explained.
    """
    runs = check_responses(test_set, responses)
    array = test_set.array
    search = _Search(test_set)
    unstable, residual = np.zeros((2, array.pe), dtype=np.int64)
    faults: list[Fault] = []
    equivalents: dict[int, tuple[tuple[Fault, ...], ...]] = {}
    transients: dict[int, Transient] = {}
    before: SiteMasks | None = None
    for pe in range(array.pe):
        progress("PEs", pe, array.pe)
        answers = Answers(test_set, runs[:, pe].astype(np.int64))
        unstable[pe] = answers.unstable
        if unstable[pe]:
            found, transient = search.varying(answers)
        else:
            found, transient = search.one(answers, before), None
        residual[pe] = found.residual
        if found.residual or (unstable[pe] and transient is None):
            faults.append(Fault(pe, "dead"))
            continue
        faults += _on(pe, found.faults)
        before = PeModel(array, found.faults, before).handed_on
        if transient is not None:
            transients[pe] = replace(transient, fault=replace(transient.fault, pe=pe))
            faults.append(transients[pe].fault)
        if found.equivalents:
            equivalents[pe] = tuple(in_order(_on(pe, other)) for other in found.equivalents)
    diagnosis = Diagnosis(FaultProfile(array), residual, equivalents, unstable, transients)
    if len(diagnosis.unexplained) == array.pe:
        raise ConfigError(
            "the answers must be those of an array with a PE that faults explain, not "
            f"{array.pe} PEs that none explains: look for noise on the way, or another array"
        )
    if len(faults) > MAX_ENTRIES:
        raise ConfigError(f"a profile has at most {MAX_ENTRIES} entries, not {len(faults)}")
    source = f"diagnosed from {test_set.answers} answers of each PE, {len(runs)} runs"
    profile = check(FaultProfile(array, in_order(faults), test_set.seed, source))
    return replace(diagnosis, profile=profile, residual=frozen(residual), unstable=frozen(unstable))


def check_responses(test_set: TestSet, responses: NDArray[Any]) -> NDArray[Any]:
    """The answers as [runs, P, answers], if they can be those of the array."""
    array, shape = test_set.array, (test_set.array.pe, test_set.answers)
    runs = responses[None] if responses.ndim == 2 else responses
    if runs.ndim != 3 or runs.shape[1:] != shape or not 1 <= len(runs) <= MOST_RUNS:
        raise ConfigError(
            f"the answers must be [runs, {shape[0]} PEs, {shape[1]}], 1 to {MOST_RUNS} runs, not "
            f"of shape {list(responses.shape)}"
        )
    if runs.dtype.kind not in "iu":
        raise ConfigError(f"the answers must be integers, not {runs.dtype}")
    half = 1 << (array.acc_bits - 1)
    if int(runs.min()) < -half or int(runs.max()) >= half:
        raise ConfigError(
            f"the answers must be accumulators of {array.acc_bits} bits, two's complement, not "
            f"{runs.min()} to {runs.max()}"
        )
    if not runs.any():
        raise ConfigError(
            "the answers must come from the array, but all are 0: no accumulator reached the file"
        )
    return runs


class _Search:
    """What the PEs of one test set share."""

    def __init__(self, test_set: TestSet) -> None:
        self.test_set = test_set
        self.array = test_set.array
        held = groups(test_set)
        self.shared = (
            Shared(self.array, held)
            if self.array.dataflow == "os"
            else ChainShared(self.array, held, test_set.seed)
        )
        self.healthy = self._given(())
        self.addresses = np.zeros(test_set.logic_answers, dtype=np.int64)
        self.steps = np.ones_like(self.addresses)
        for group in held:
            self.addresses[group.answers] = group.first
            self.steps[group.answers] = group.steps

    def one(self, answers: Answers, before: SiteMasks | None = None) -> Found:
        """Logic and memory of one PE that answers the same each time.

        ``before`` is what the PEs before it have made of the activations, dataflow `ws`.
        """
        exposed = answers.exposed_once(self.test_set)
        given = np.concatenate([answers.logic[0], answers.memory[0], *exposed])
        healthy = self.healthy if before is None else self._given((), before)
        if (given == healthy).all():
            return Found((), 0)
        count, array, memory = self.test_set.logic_answers, self.array, self.test_set.memory
        march = answers.memory[0].reshape(self.test_set.march_shape)
        clean = self._clean(march)
        logic = self._logic(given[:count], clean, before)
        if logic.residual:
            return logic
        if not memory or logic.faults == (Fault(0, "dead"),):
            return self._checked(given, logic, None, before)
        words = MemorySearch(array, logic.faults, memory, before).find(march)
        if words.unclear:
            return Found((), len(words.unclear) * march.shape[0] * march.shape[2])
        found = replace(logic, faults=logic.faults + words.faults)
        return self._checked(given, found, logic, before)

    def _logic(
        self, answers: IntArray, clean: NDArray[np.bool_], before: SiteMasks | None
    ) -> Found:
        if isinstance(self.shared, ChainShared):
            return ChainSearch(self.shared, answers, clean, before).solve()
        return LogicSearch(Evidence(self.shared, answers, clean)).solve()

    def varying(self, answers: Answers) -> tuple[Found, Transient | None]:
        """Logic and transient fault of one PE that does not answer the same each time."""
        found = None
        if self.test_set.transients is not None and isinstance(self.shared, Shared):
            found = VaryingSearch(self.test_set, self.shared).find(answers)
        return (Found((), 0), None) if found is None else (Found(found[0], 0), found[1])

    def _given(self, faults: Sequence[Fault], before: SiteMasks | None = None) -> IntArray:
        """What a PE with these faults answers to all vectors with different operands."""
        exposures = (
            replace(block, codes=block.codes[:CODE_SETTINGS]) for block in self.test_set.exposures
        )
        blocks = (*self.test_set.logic, *self.test_set.memory, *exposures)
        return PeModel(self.array, faults, before).answers(blocks)

    def _checked(
        self, answers: IntArray, found: Found, logic: Found | None, before: SiteMasks | None
    ) -> Found:
        """What was found, held against every answer; equivalents with the faulty words."""
        given = self._given(found.faults, before)
        words = found.faults[len(logic.faults) :] if logic else ()
        others = tuple(other + words for other in found.equivalents)
        return Found(found.faults, int((given != answers).sum()), others)

    def _clean(self, march: IntArray) -> NDArray[np.bool_]:
        """[logic answers] whether a vector meets no faulty word."""
        if not len(march):
            return np.ones(len(self.addresses), dtype=np.bool_)
        before = np.concatenate([[0], np.cumsum(dirty(march))])
        return np.asarray(before[self.addresses + self.steps] == before[self.addresses])


def _on(pe: int, faults: tuple[Fault, ...]) -> list[Fault]:
    return [replace(fault, pe=pe) for fault in faults]

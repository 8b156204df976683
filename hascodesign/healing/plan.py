"""What heals a chip: the schedule for what it answered, and what it must answer then."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.common import stats
from hascodesign.common.display import Display
from hascodesign.contract import arithmetic
from hascodesign.contract.array import SiteMasks, identity_schedule
from hascodesign.contract.errors import HascodesignError
from hascodesign.contract.results import Accuracy, SearchResult
from hascodesign.contract.types import FaultProfile, IntegerNetwork
from hascodesign.diagnose import files
from hascodesign.diagnose.infer import Diagnosis, infer
from hascodesign.diagnose.model import PeModel
from hascodesign.diagnose.vectors import TestSet
from hascodesign.faults.profile import check
from hascodesign.fleet import delta
from hascodesign.flow import delivery
from hascodesign.healing.build import InUse
from hascodesign.render import rom
from hascodesign.render.core import test_limits
from hascodesign.verify import self_test
from hascodesign.verify.images import PATH, image_file

BOARD = "board"  # what the board's driver takes
IMAGES = 100  # held-out ones that the board is held to


@dataclass(frozen=True, slots=True)
class Healed:
    """What was made of a chip's answers."""

    diagnosis: Diagnosis
    search: SearchResult
    accuracy: Mapping[str, Accuracy]  # healthy, plain, in_use, healed; on held-out images
    changed: int  # words that are not those in use
    words: int  # of all memories
    untested: int  # words of each weight bank that no vector tested
    files: Mapping[str, bytes]  # by path


def plan(in_use: InUse, test_set: TestSet, acc: NDArray[Any], display: Display) -> Healed:
    """Diagnose, schedule for what was found from the map in use on, and predict.

    Parameters
    ----------
    in_use : what the chip runs.
    test_set : the vectors that it played.
    acc : its answers, as `infer` takes them.
    display : told of the progress.

    Raises
    ------
    ConfigError
        Answers that cannot be the array's.
    HascodesignError
        A PE is not explained, and a layer has no other slot for a row; or the schedule needs more
        than the build has.
    """
    found = infer(test_set, acc, display.progress)
    flow = in_use.flow
    _check_words(in_use, found)
    profile = check(found.profile, words=in_use.bank_words)
    flow.take({"faults": profile})
    _check_room(in_use, found)
    search = _search(in_use, found.unexplained, display)
    deployed, schedule = search.written or flow.network, search.schedule
    _check_idle(search, found)
    if refusal := in_use.refusal(deployed, schedule):
        raise HascodesignError(f"the schedule must run on the build in use: {refusal}")
    pairs = zip(
        delta.memories(in_use.roms),
        delta.memories(rom.build_roms(deployed, schedule, in_use.on_chip)),
        strict=True,
    )
    words = [
        (old, new) for one, other in pairs for old, new in zip(one.words, other.words, strict=True)
    ]
    files_of_board = _board(in_use, deployed, search, profile, found.unexplained)
    files_of_board |= {f"tests/{name}": data for name, data in files.write_tests(test_set).items()}
    files_of_board["predicted.npz"] = _predicted(test_set, found)
    made = {f"{BOARD}/{name}": data for name, data in files_of_board.items()}
    made |= delivery.records(flow.network, profile, schedule, search.written)
    made["diagnosis.json"] = files.write_report(test_set, found, 1 if acc.ndim == 2 else len(acc))
    return Healed(
        diagnosis=found,
        search=search,
        accuracy=_accuracy(in_use, search),
        changed=sum(old != new for old, new in words),
        words=len(words),
        untested=in_use.bank_words - (test_set.array.wmem_depth if test_set.memory else 0),
        files=made,
    )


def _search(in_use: InUse, idle: Sequence[int], display: Display) -> SearchResult:
    from hascodesign.engine.network import Evaluator  # noqa: PLC0415  (numba compiles)
    from hascodesign.schedule import evolve  # noqa: PLC0415  (pymoo: start-up time)

    flow = in_use.flow
    return evolve.search(
        flow.evaluator(flow.dataset.calibration, Evaluator),
        evolve.SearchOptions(**flow.config.schedule.model_dump()),
        flow.config.seed,
        display.progress,
        in_use=in_use.schedule,
        idle=idle,
    )


def _check_words(in_use: InUse, found: Diagnosis) -> None:
    """A faulty word must be where the fault model has it: it counts those of all layers."""
    faulty = {fault.pe for fault in found.profile.faults if fault.site == "wmem"}
    if faulty and not all(in_use.on_chip):
        raise HascodesignError(
            "a build whose weights are streamed cannot be healed of faulty words of its weight"
            f" banks, and PEs {', '.join(map(str, sorted(faulty)))} have such; nothing was made"
        )


def _check_room(in_use: InUse, found: Diagnosis) -> None:
    """Every row must find a slot on a PE of which something is known."""
    left = in_use.array.pe - len(found.unexplained)
    for row_map in in_use.schedule.layers:
        if row_map.rows > row_map.passes * left:
            raise HascodesignError(
                f"a PE that is not explained must stay idle, but the {row_map.rows} rows of"
                f" {row_map.name} have {row_map.passes * left} slots without PEs"
                f" {', '.join(map(str, found.unexplained))}; nothing was made: build with"
                " --spare-passes to have room"
            )


def _check_idle(search: SearchResult, found: Diagnosis) -> None:
    """A PE of which nothing is known computes nothing that counts."""
    for row_map in search.schedule.layers:
        used = (row_map.slots[:, list(found.unexplained)] >= 0).any(axis=0)
        for pe in np.array(found.unexplained, dtype=np.int64)[used].tolist():
            raise HascodesignError(
                f"PE {pe} is not explained and must stay idle, but the schedule that was found"
                f" gives it a row of {row_map.name}; nothing was made: another --seed may do better"
            )


def _accuracy(in_use: InUse, search: SearchResult) -> dict[str, Accuracy]:
    from hascodesign.engine.network import Evaluator  # noqa: PLC0415  (numba compiles)

    flow = in_use.flow
    heldout = flow.dataset.heldout
    plain = flow.evaluator(heldout, Evaluator)
    counts = {
        "healthy": plain.healthy_judgement().correct,
        "plain": plain.judge(identity_schedule(flow.network, in_use.schedule.array)).correct,
        "in_use": flow.evaluator(heldout, Evaluator, network=in_use.network)
        .judge(in_use.schedule)
        .correct,
        "healed": flow.evaluator(heldout, Evaluator, network=search.written)
        .judge(search.schedule)
        .correct,
    }
    return {name: stats.accuracy(count, len(heldout.labels)) for name, count in counts.items()}


def _board(
    in_use: InUse,
    deployed: IntegerNetwork,
    search: SearchResult,
    profile: FaultProfile,
    unexplained: Sequence[int],
) -> dict[str, bytes]:
    """``schedule/`` with held-out images, the self-test, and what the diagnosed chip gives."""
    heldout = in_use.flow.dataset.heldout
    codes = arithmetic.quantise(heldout.images[:IMAGES], deployed.input)
    steady, labels = self_test.steady_profile(profile), heldout.labels[:IMAGES]
    made = image_file(deployed, search.schedule, steady, codes, labels)
    held = in_use.schedule_files(deployed, search.schedule, steady)
    held["images.npz"] = made[PATH]
    limits = test_limits(deployed, search.schedule, in_use.hardware)
    own = self_test.self_test_file(
        deployed, search.schedule, profile, in_use.on_chip, limits, unexplained
    )
    held |= {PurePosixPath(path).name: content for path, content in own.items()}
    return {f"schedule/{name}": content for name, content in held.items()}


def _predicted(test_set: TestSet, found: Diagnosis) -> bytes:
    """predicted.npz: every answer of every PE that is explained, and which PEs vary from that."""
    array = test_set.array
    explained = np.ones(array.pe, dtype=np.bool_)
    explained[list(found.unexplained)] = False
    varies = np.zeros_like(explained)
    varies[list(found.transients)] = True
    steady = self_test.steady_profile(found.profile).faults
    acc = np.zeros((array.pe, test_set.answers), dtype=np.int32)
    before: SiteMasks | None = None  # of the activations that the PEs before hand on, in ws
    for pe in np.flatnonzero(explained).tolist():
        faults = tuple(replace(f, pe=0) for f in steady if f.pe == pe)
        model = PeModel(array, faults, before)
        acc[pe], before = model.answers(test_set.blocks), model.handed_on
    buffer = io.BytesIO()
    digest = np.frombuffer(bytes.fromhex(test_set.digest), dtype=np.uint8)
    held = {"acc": acc, "explained": explained, "varies": varies, "digest": digest}
    np.savez_compressed(buffer, allow_pickle=False, **held)
    return buffer.getvalue()

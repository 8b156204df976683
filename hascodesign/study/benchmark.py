"""`study benchmark`: what the field does about faulty PEs, on the same chips, in one harness.

A chip that is done is kept in its own file under a hash of all that went in, method by method.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hascodesign.common import files, records
from hascodesign.common.display import Display
from hascodesign.contract.array import identity_schedule
from hascodesign.contract.types import FaultProfile, IntegerNetwork
from hascodesign.engine.loss import Judgement
from hascodesign.engine.network import Evaluator
from hascodesign.faults import formats
from hascodesign.fleet.work import Shared
from hascodesign.flow.flow import Flow
from hascodesign.flow.request import Request
from hascodesign.flow.store import KeepsNothing, source_digest
from hascodesign.study.chips import KINDS
from hascodesign.study.methods import BYPASSED, METHODS, SEARCH, Chosen, judge

if TYPE_CHECKING:
    from hascodesign.fleet.cluster import Where


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a method's schedule and rows do on one chip."""

    correct: int  # held-out images
    loss: float  # of them, nats
    calibration_loss: float  # nats
    evaluations: int
    seconds: float  # processor time of the method


@dataclass(frozen=True, slots=True)
class ChipRow:
    """One chip under every method."""

    kind: str
    seed: int
    profile_sha256: str
    faults: int
    outcomes: Mapping[str, Outcome]  # by method


@dataclass(frozen=True, slots=True)
class Benchmark:
    """All chips, and what they share."""

    model: str
    network_sha256: str
    calibration: int  # images
    heldout: int  # images
    healthy: int  # of them correct without a fault
    rows: tuple[ChipRow, ...]
    added: Mapping[str, str]  # file of each method that others ran

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods of every chip, ours first."""
        ours = [name for name in METHODS if name in self.rows[0].outcomes]
        return (*ours, *self.added)


def run(
    request: Request,
    kinds: Sequence[str],
    methods: Sequence[str],
    seeds: Sequence[int],
    *,
    measured: Path | None = None,
    where: Where | None = None,
) -> Benchmark:
    """Judge methods on chips; what is kept is read back.

    Parameters
    ----------
    request : as for a flow; its faults are replaced, its `out` holds a file for each chip.
    kinds, methods : names of KINDS and METHODS.
    seeds : of each kind's chips, and of every draw of a method.
    measured : folder of the measured list, where it is at hand.
    where : a cluster that does them, None for this process: the rows are the same but for times.
    """
    out = files.usable_folder(request.out)
    with Display(out / "study.log") as display:
        shared = _shared(request, display)
        flow = shared.flow(FaultProfile(shared.config.array.spec()))
        spec = replace(flow.array, wmem_depth=flow.network_words)
        chips = [
            _Chip(kind, seed, KINDS[kind].draw(spec, seed, measured))
            for kind in kinds
            for seed in seeds
        ]
        kept = _Kept(out, shared)
        for done, (chip, outcomes) in enumerate(_done(shared, chips, methods, kept, where), 1):
            kept.put(chip, outcomes)
            display.line(_line(chip, outcomes, len(shared.dataset.heldout.labels)))
            display.progress("chips", done, len(chips))
        plain = Chosen(identity_schedule(flow.network, spec))
        return Benchmark(
            model=flow.network.name,
            network_sha256=records.digest("network", flow.network),
            calibration=len(shared.dataset.calibration.labels),
            heldout=len(shared.dataset.heldout.labels),
            healthy=_judged(flow, FaultProfile(spec), plain)[1].correct,
            rows=tuple(kept.row(chip, methods) for chip in chips),
            added={},
        )


@dataclass(frozen=True, slots=True)
class _Chip:
    kind: str
    seed: int
    profile: FaultProfile


def _shared(request: Request, display: Display) -> Shared:
    return Shared.of(Flow(request, KeepsNothing(), display))


def _done(
    shared: Shared,
    chips: Sequence[_Chip],
    methods: Sequence[str],
    kept: _Kept,
    where: Where | None,
) -> Iterator[tuple[_Chip, dict[str, Outcome]]]:
    """Outcomes of all methods of each chip, as they come."""
    todo = []
    for chip in chips:
        known = kept.get(chip)
        missing = tuple(name for name in methods if name not in known)
        if missing:
            todo.append((chip, known, (chip.profile, chip.seed, missing)))
        else:
            yield chip, known
    if where is None:
        for chip, known, call in todo:
            yield chip, known | _on_worker(shared, *call)
    elif todo:
        from hascodesign.fleet import cluster  # noqa: PLC0415  (dask, of an extra)

        calls = [call for _, _, call in todo]
        for place, made in cluster.spread(where, shared, _on_worker, calls):
            chip, known, _ = todo[place]
            yield chip, known | made


def _on_worker(
    shared: Shared, profile: FaultProfile, seed: int, methods: Sequence[str]
) -> dict[str, Outcome]:
    config = shared.config.model_copy(update={"seed": seed})
    flow = replace(shared, config=config).flow(profile)
    return {name: _outcome(flow, name) for name in methods}


def _outcome(flow: Flow, name: str) -> Outcome:
    start = time.process_time()
    profile, chosen = judge(flow, name)
    seconds = time.process_time() - start
    calibration, heldout = _judged(flow, profile, chosen)
    return Outcome(heldout.correct, heldout.loss, calibration.loss, chosen.evaluations, seconds)


def _judged(flow: Flow, profile: FaultProfile, one: Chosen) -> tuple[Judgement, Judgement]:
    """On all calibration and on all held-out images."""
    network: IntegerNetwork = one.network or flow.network
    calibration, heldout = (
        flow.evaluator(split, Evaluator, profile, network).judge(one.schedule)
        for split in (flow.dataset.calibration, flow.dataset.heldout)
    )
    return calibration, heldout


class _Kept:
    """One file a chip: outcomes by method, under a hash of all that they depend on."""

    def __init__(self, out: Path, shared: Shared) -> None:
        options = shared.config.model_dump(exclude={"seed", "faults", "verify"})
        self.base = records.digest(
            "benchmark", source_digest(), shared.network, shared.dataset, options
        )
        self.folder = out / "chips" / shared.network.name.replace("/", "-")

    def _path(self, chip: _Chip) -> Path:
        return self.folder / f"{chip.kind}-{chip.seed}.json"

    def _key(self, chip: _Chip) -> str:
        return records.digest(self.base, formats.write_json(chip.profile).decode(), chip.seed)

    def get(self, chip: _Chip) -> dict[str, Outcome]:
        """What is kept of a chip; nothing where it is of other inputs, or damaged."""
        try:
            kept: dict[str, Any] = json.loads(self._path(chip).read_bytes())
            if kept["key"] != self._key(chip):
                return {}
            return {name: Outcome(**values) for name, values in kept["outcomes"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}  # absent or damaged: computed again

    def put(self, chip: _Chip, outcomes: Mapping[str, Outcome]) -> None:
        """Keep a chip's outcomes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {
            "key": self._key(chip),
            "outcomes": {name: asdict(one) for name, one in outcomes.items()},
        }
        files.write_atomic(self._path(chip), json.dumps(content, indent=2).encode() + b"\n")

    def row(self, chip: _Chip, methods: Sequence[str]) -> ChipRow:
        """The row of a chip that is kept."""
        outcomes = self.get(chip)
        return ChipRow(
            kind=chip.kind,
            seed=chip.seed,
            profile_sha256=profile_digest(chip.profile),
            faults=len(chip.profile.faults),
            outcomes={name: outcomes[name] for name in methods},
        )


def profile_digest(profile: FaultProfile) -> str:
    """What a results file names a chip by: of array and faults, not of where they come from."""
    return records.digest("chip", replace(profile, source="", conditions={}))


def _line(chip: _Chip, outcomes: Mapping[str, Outcome], n: int) -> str:
    told = [
        f"{name} {100 * outcomes[name].correct / n:.2f}"
        for name in ("plain", "maps", SEARCH)
        if name in outcomes
    ]
    words = f": {', '.join(told)} %" if told else ""
    return f"{chip.kind}, seed {chip.seed}, {len(outcomes)} methods{words}"


def needs_hardware(name: str) -> bool:
    """Whether a method takes hardware that the others do without."""
    return name in BYPASSED

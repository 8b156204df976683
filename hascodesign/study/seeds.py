"""`study seeds`: drawn profiles of many seeds, each searched and judged; how much was there to win.

Every seed is one profile of permanent faults. Its plain order, its schedule and, where wanted, the
best map that ten times the search finds are judged on held-out images. A seed that is done is kept
in its own file under a hash of all that went in, so that a study can be stopped and taken up again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hascodesign.common import files, records
from hascodesign.common.display import Display
from hascodesign.contract.results import LEAST_POINTS, SearchResult, recovery
from hascodesign.fleet.work import Shared
from hascodesign.flow.flow import Flow
from hascodesign.flow.request import Request, content
from hascodesign.flow.store import KeepsNothing, StepStore, source_digest

if TYPE_CHECKING:
    from hascodesign.fleet.cluster import Where

TIMES = 10  # how much longer the long search is


@dataclass(frozen=True, slots=True)
class Longer:
    """The best map that a search of TIMES the size finds, or the schedule where that is better."""

    accuracy: float  # percent of held-out images
    loss: float  # calibration, nats
    evaluations: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SeedRow:
    """One seed's profile: accuracies in percent of held-out images, calibration losses in nats."""

    seed: int
    n: int  # held-out images
    integer: float
    faulty_identity: float
    faulty_random_mean: float
    faulty_random_best: float
    assignment: float
    scheduled: float
    recovery: float | None  # None where the plain order loses less than one point
    passes: int  # of all layers, as scheduled
    least_passes: int
    healthy_loss: float
    plain_loss: float
    scheduled_loss: float
    evaluations: int
    seconds: float  # of the search
    notes: tuple[str, ...]
    longer: Longer | None = None

    @property
    def loss(self) -> float:
        """Points that the plain order loses."""
        return self.integer - self.faulty_identity

    @property
    def loss_left(self) -> float:
        """Points that the schedule loses."""
        return self.integer - self.scheduled

    @property
    def longer_recovery(self) -> float | None:
        """Recovery of the map of the long search."""
        if self.longer is None or self.loss < LEAST_POINTS:
            return None
        return (self.longer.accuracy - self.faulty_identity) / self.loss


def run(
    request: Request,
    seeds: Sequence[int],
    *,
    ten_times: Sequence[int] = (),
    where: Where | None = None,
) -> tuple[SeedRow, ...]:
    """Search and judge one profile per seed; the model and its data are prepared once.

    Parameters
    ----------
    request : as for a flow; its seed is replaced, its `out` holds one folder per seed.
    seeds : seeds of the profiles and of the searches.
    ten_times : those of them that are searched TIMES as long, too.
    where : a cluster that does them, None for this process: the rows are the same but for times.
    """
    out = files.usable_folder(request.out)
    if where is not None:
        _spread(request, seeds, ten_times, where)
    rows = []
    first: Flow | None = None
    with Display(out / "study.log") as display:
        for done, seed in enumerate(seeds):
            display.progress("seeds", done, len(seeds))
            own = _own(request, seed)
            row = _stored(own, ten_times=seed in ten_times)
            if row is None:
                flow = Flow(own, StepStore(own.out / "steps"), display)
                if first is None:
                    first = flow
                else:
                    flow.share_model(first)
                row = _row(flow, seed)
                if seed in ten_times:
                    row = replace(row, longer=_longer(flow))
                _store(own, row)
            rows.append(row)
            display.line(_line(row))
        display.progress("seeds", len(seeds), len(seeds))
    return tuple(rows)


def _spread(request: Request, seeds: Sequence[int], ten_times: Sequence[int], where: Where) -> None:
    """Have a cluster do the seeds that are not kept yet, each kept as it comes."""
    from hascodesign.fleet import cluster  # noqa: PLC0415  (dask, of an extra)

    own = {seed: _own(request, seed) for seed in seeds}
    todo = [seed for seed in seeds if _stored(own[seed], ten_times=seed in ten_times) is None]
    if not todo:
        return
    with Display(request.out / "study.log") as display:
        shared = Shared.of(Flow(own[todo[0]], KeepsNothing(), display))
        calls = [(seed, seed in ten_times) for seed in todo]
        done = cluster.spread(where, shared, _on_worker, calls)
        for count, (place, row) in enumerate(done, 1):
            _store(own[todo[place]], row)
            display.progress("seeds", count, len(todo))


def _on_worker(shared: Shared, seed: int, longer: bool) -> SeedRow:
    flow = shared.of_seed(seed)
    row = _row(flow, seed)
    return replace(row, longer=_longer(flow)) if longer else row


def _own(request: Request, seed: int) -> Request:
    """The request of one seed."""
    config = request.config.model_copy(update={"seed": seed})
    return replace(request, config=config, out=request.out / f"seed-{seed}")


# ----------------------------------------------------------------------------------------- a seed


def _row(flow: Flow, seed: int) -> SeedRow:
    accuracy, search = flow.accuracy, flow.search
    value = {name: one.value for name, one in accuracy.items()}
    plain = next(b for b in search.baselines if b.name == "identity")
    return SeedRow(
        seed=seed,
        n=accuracy["scheduled"].n,
        integer=value["integer"],
        faulty_identity=value["faulty_identity"],
        faulty_random_mean=value["faulty_random_mean"],
        faulty_random_best=value["faulty_random_best"],
        assignment=value["assignment"],
        scheduled=value["scheduled"],
        recovery=recovery(accuracy),
        passes=sum(row_map.passes for row_map in search.schedule.layers),
        least_passes=sum(row_map.passes for row_map in plain.schedule.layers),
        healthy_loss=0.0 if search.healthy_loss is None else search.healthy_loss,
        plain_loss=plain.loss,
        scheduled_loss=search.loss,
        evaluations=search.evaluations,
        seconds=search.seconds,
        notes=search.notes,
    )


def _longer(flow: Flow) -> Longer:
    from hascodesign.engine.network import Evaluator  # noqa: PLC0415  (numba compiles)

    found = flow.search_longer(TIMES)
    best: SearchResult = min((found, flow.search), key=lambda one: one.loss)
    judge = flow.evaluator(flow.dataset.heldout, Evaluator, network=best.written)
    judged = judge.judge(best.schedule)
    return Longer(100 * judged.correct / judged.n, best.loss, found.evaluations, found.seconds)


def _line(row: SeedRow) -> str:
    won = "-" if row.recovery is None else f"{row.recovery:.3f}"
    return (
        f"seed {row.seed}: healthy {row.integer:.2f} %, plain {row.faulty_identity:.2f} %,"
        f" scheduled {row.scheduled:.2f} %, recovery {won}, {row.seconds:.1f} s"
    )


# ------------------------------------------------------------------------------------- kept on disk


def _key(request: Request) -> str:
    inputs = (request.config.model_dump(), content(request.data))
    return records.digest("seed row", source_digest(), *inputs)


def _stored(request: Request, *, ten_times: bool) -> SeedRow | None:
    try:
        kept: dict[str, Any] = json.loads((request.out / "row.json").read_bytes())
        if kept["key"] != _key(request):
            return None
        fields = kept["row"]
        longer = fields.pop("longer")
        if ten_times and longer is None:
            return None
        notes = tuple(fields.pop("notes"))
        return SeedRow(**fields, notes=notes, longer=None if longer is None else Longer(**longer))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # absent or damaged: computed again


def _store(request: Request, row: SeedRow) -> None:
    kept = {"key": _key(request), "row": asdict(row)}
    files.write_atomic(request.out / "row.json", json.dumps(kept, indent=2).encode() + b"\n")


def default_out(board: str) -> Path:
    """Where the study's files go."""
    return Path("build", f"study-seeds-{board}")

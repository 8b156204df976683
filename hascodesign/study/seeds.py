"""`study seeds`: the flow's default profile drawn from many seeds, each searched and judged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.table import Table

from hascodesign import files
from hascodesign.pipeline import Flow
from hascodesign.recovery import recovery
from hascodesign.request import Request
from hascodesign.steps import StepStore
from hascodesign.ui import Display

#: Recovery is averaged over profiles that cost the plain order at least this, in points.
LEAST_LOSS = 5.0


@dataclass(frozen=True, slots=True)
class SeedRow:
    """One seed's profile, all accuracies in percent of held-out images."""

    seed: int
    n: int  # held-out images
    integer: float
    faulty_identity: float
    faulty_random_mean: float
    faulty_random_best: float
    assignment: float
    scheduled: float
    recovery: float | None  # None where the plain order loses less than one point
    evaluations: int
    seconds: float  # of the search

    @property
    def loss(self) -> float:
        """Points that the plain order loses."""
        return self.integer - self.faulty_identity


def run(request: Request, seeds: Sequence[int]) -> tuple[SeedRow, ...]:
    """Search and judge one profile per seed; the model and its data are prepared once.

    Parameters
    ----------
    request : as for a flow; its seed is replaced, its `out` holds one folder per seed.
    seeds : seeds of the profiles and of the searches.
    """
    out = files.usable_folder(request.out)
    rows = []
    first: Flow | None = None
    with Display(out / "study.log") as display:
        for done, seed in enumerate(seeds):
            display.progress("seeds", done, len(seeds))
            config = request.config.model_copy(update={"seed": seed})
            own = replace(request, config=config, out=out / f"seed-{seed}")
            flow = Flow(own, StepStore(own.out / "steps"), display)
            if first is None:
                first = flow
            else:
                flow.share_model(first)
            rows.append(_row(flow, seed))
            display.line(_line(rows[-1]))
        display.progress("seeds", len(seeds), len(seeds))
    files.write_atomic(out / "seeds.json", _json(rows))
    return tuple(rows)


def _row(flow: Flow, seed: int) -> SeedRow:
    accuracy, search = flow.accuracy, flow.search
    names = ("integer", "faulty_identity", "faulty_random_mean", "faulty_random_best")
    values = {name: accuracy[name].value for name in (*names, "assignment", "scheduled")}
    return SeedRow(
        seed=seed,
        n=accuracy["scheduled"].n,
        recovery=recovery(accuracy),
        evaluations=search.evaluations,
        seconds=search.seconds,
        **values,
    )


def _line(row: SeedRow) -> str:
    won = "-" if row.recovery is None else f"{row.recovery:.3f}"
    return (
        f"seed {row.seed}: healthy {row.integer:.2f} %, plain {row.faulty_identity:.2f} %,"
        f" scheduled {row.scheduled:.2f} %, recovery {won}, {row.seconds:.1f} s"
    )


def counted(rows: Sequence[SeedRow]) -> list[float]:
    """Recoveries of the profiles whose plain order loses LEAST_LOSS points or more."""
    return [r.recovery for r in rows if r.loss >= LEAST_LOSS and r.recovery is not None]


def table(rows: Sequence[SeedRow]) -> Table:
    """All rows for the terminal, and their summary as a caption."""
    shown = Table(title="held-out accuracy, %")
    heads = "seed healthy plain random-mean random-best assignment scheduled recovery evals seconds"
    for head in heads.split():
        shown.add_column(head, justify="right")
    for r in rows:
        values = (r.integer, r.faulty_identity, r.faulty_random_mean, r.faulty_random_best)
        cells = [f"{v:.2f}" for v in (*values, r.assignment, r.scheduled)]
        won = "-" if r.recovery is None else f"{r.recovery:.3f}"
        shown.add_row(str(r.seed), *cells, won, str(r.evaluations), f"{r.seconds:.1f}")
    shown.caption = summary(rows)
    return shown


def summary(rows: Sequence[SeedRow]) -> str:
    """One sentence: over how many profiles, mean and least recovery, longest search."""
    won = counted(rows)
    longest = max(row.seconds for row in rows)
    head = f"{len(won)} of {len(rows)} profiles cost the plain order {LEAST_LOSS:g} points or more"
    if not won:
        return f"{head}; longest search {longest:.1f} s"
    mean = sum(won) / len(won)
    return (
        f"{head}: recovery {mean:.3f} on average, {min(won):.3f} at the least;"
        f" longest search {longest:.1f} s; n = {rows[0].n} held-out images"
    )


def _json(rows: Sequence[SeedRow]) -> bytes:
    won = counted(rows)
    content = {
        "version": 1,
        "least_loss_points": LEAST_LOSS,
        "mean_recovery": sum(won) / len(won) if won else None,
        "least_recovery": min(won) if won else None,
        "seeds": [asdict(row) | {"loss": row.loss} for row in rows],
    }
    return json.dumps(content, indent=2).encode() + b"\n"


def default_out(board: str) -> Path:
    """Where the study's files go."""
    return Path("build", f"study-seeds-{board}")

"""Table, sentences and file of `study seeds`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from hascodesign.common.files import write_atomic
from hascodesign.common.stats import mean_interval
from hascodesign.study.seeds import SeedRow

#: Recovery is averaged over profiles that cost the plain order at least this, in points.
LEAST_LOSS = 5.0
NEAR = 1.5  # points from the healthy network that count as near
MOST_OF = 0.95  # share of the profiles: 19 of 20


def counted(rows: Sequence[SeedRow]) -> list[float]:
    """Recoveries of the profiles whose plain order loses LEAST_LOSS points or more."""
    return [r.recovery for r in rows if r.loss >= LEAST_LOSS and r.recovery is not None]


def table(rows: Sequence[SeedRow]) -> Table:
    """All rows for the terminal, and their summary as a caption."""
    shown = Table(title="held-out accuracy, %")
    heads = "seed healthy plain random-mean random-best assignment scheduled recovery"
    longer = any(r.longer is not None for r in rows)
    for head in [*heads.split(), *(["10x", "10x-won"] if longer else []), "evals", "seconds"]:
        shown.add_column(head, justify="right")
    for r in rows:
        values = (r.integer, r.faulty_identity, r.faulty_random_mean, r.faulty_random_best)
        cells = [f"{v:.2f}" for v in (*values, r.assignment, r.scheduled)]
        cells.append(_share(r.recovery))
        if longer:
            found = "-" if r.longer is None else f"{r.longer.accuracy:.2f}"
            cells += [found, _share(r.longer_recovery)]
        shown.add_row(str(r.seed), *cells, str(r.evaluations), f"{r.seconds:.1f}")
    shown.caption = " ".join(sentences(rows))
    return shown


def sentences(rows: Sequence[SeedRow]) -> list[str]:
    """What the profiles come to, with 95 % t intervals over profiles."""
    left = [r.loss_left for r in rows]
    near = sum(value <= NEAR for value in left)
    plain = [r.loss for r in rows]
    spare = sorted({f"{r.passes} for {r.least_passes}" for r in rows})
    out = [
        f"Loss against healthy, points: plain {_mean(plain)}, scheduled {_mean(left)}; {near} of"
        f" {len(rows)} profiles within {NEAR:g}; 19 of 20 lose at most {most(left):.2f}, all"
        f" {max(left):.2f}; n = {rows[0].n} held-out images.",
    ]
    won = counted(rows)
    head = f"{len(won)} of {len(rows)} profiles cost the plain order {LEAST_LOSS:g} points or more"
    if won:
        out.append(f"{head}: recovery {_mean(won, 3)}, {min(won):.3f} at the least.")
    else:
        out.append(f"{head}.")
    longer = [r for r in rows if r.longer is not None]
    if longer:
        gain = [r.longer.accuracy - r.scheduled for r in longer if r.longer is not None]
        out.append(
            f"Ten times the search wins {_mean(gain)} points more on {len(longer)} profiles."
        )
    if any(r.passes != r.least_passes for r in rows):
        out.append(f"Passes: {', '.join(spare)}.")
    out.append(f"Longest search {max(r.seconds for r in rows):.1f} s.")
    return out


def most(values: Sequence[float]) -> float:
    """What 19 of 20 values do not pass: the least that so many are not above."""
    return sorted(values)[math.ceil(MOST_OF * len(values)) - 1]


def _mean(values: Sequence[float], digits: int = 2) -> str:
    low, high = mean_interval(values)
    mean = sum(values) / len(values)
    return f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def write(rows: Sequence[SeedRow], out: Path) -> None:
    """``seeds.json`` in the folder ``out``."""
    won = counted(rows)
    left = [row.loss_left for row in rows]
    content = {
        "version": 1,
        "least_loss_points": LEAST_LOSS,
        "mean_recovery": sum(won) / len(won) if won else None,
        "mean_recovery_ci95": mean_interval(won) if won else None,
        "least_recovery": min(won) if won else None,
        "mean_loss_left": sum(left) / len(left),
        "mean_loss_left_ci95": mean_interval(left),
        "loss_left_of_19_in_20": most(left),
        "near_points": NEAR,
        "near": sum(value <= NEAR for value in left),
        "search_seconds_max": max(row.seconds for row in rows),
        "sentences": sentences(rows),
        "seeds": [
            asdict(row)
            | {
                "loss": row.loss,
                "loss_left": row.loss_left,
                "longer_recovery": row.longer_recovery,
            }
            for row in rows
        ],
    }
    write_atomic(out / "seeds.json", json.dumps(content, indent=2).encode() + b"\n")

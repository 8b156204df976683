"""What a fleet came to: yield, worst chips, time and cost; words, table and files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from hascodesign.common import files, stats
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.results import LEAST_POINTS
from hascodesign.fleet.chips import sample
from hascodesign.fleet.store import MARK, Asked, ChipRow, Store, VerifiedRow, read

WITHIN = (0.0, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)  # points of the yield table
WORST = 10  # chips that are listed
MANY = 1_000_000  # chips whose cost is computed


@dataclass(frozen=True, slots=True)
class Reported:
    """A fleet and the rows of its chips."""

    id: str
    about: dict[str, Any]  # as Store.put_fleet keeps it
    asked: tuple[Asked, ...]
    rows: dict[str, ChipRow]  # by key
    verified: dict[str, VerifiedRow]  # by key
    stored: int  # bytes of the parts and deltas of these chips

    @property
    def done(self) -> list[tuple[str, ChipRow]]:
        """Name and row of each chip that is done, in the order in which they were asked for."""
        return [(one.chip, self.rows[one.key]) for one in self.asked if one.key in self.rows]

    @property
    def distinct(self) -> int:
        """Chips of different faults."""
        return len({one.key for one in self.asked})

    def lost(self, *, scheduled: bool) -> list[float]:
        """Points that each chip that is done is below the healthy network."""
        return [
            row.points(row.scheduled_correct if scheduled else row.plain_correct)
            for _, row in self.done
        ]


def gather(folder: Path, fleet: str | None = None) -> Reported:
    """Read a fleet from its store.

    Parameters
    ----------
    folder : of the store.
    fleet : beginning of the fleet's id; None where the store has one.

    Raises
    ------
    ConfigError
        No store, no such fleet, more than one, a damaged part.
    """
    if not (folder / MARK).is_file():
        raise ConfigError(f"{folder}: must be the store of a fleet, and holds no {MARK}")
    store = Store(folder)
    try:
        held = {name: one for name, one in store.fleets().items() if name.startswith(fleet or "")}
        if len(held) != 1:
            listed = ", ".join(f"{name} ({len(chips)} chips)" for name, (_, chips) in held.items())
            raise ConfigError(
                f"{folder}: one fleet must be named with --fleet: it holds"
                f" {listed or 'none that begins so'}"
            )
        ((name, (about, asked)),) = held.items()
        keys = {one.key for one in asked}
        rows = {key: row for key, row in store.rows(ChipRow).items() if key in keys}
        verified = {key: row for key, row in store.rows(VerifiedRow).items() if key in keys}
        return Reported(name, about, tuple(asked), rows, verified, _bytes(store, rows))
    finally:
        store.close()


def _bytes(store: Store, rows: dict[str, ChipRow]) -> int:
    """Bytes of the parts of these chips, their share of parts with others, and their deltas."""
    parts = 0.0
    for path in (store.folder / "chips").glob("*.parquet"):
        keys = [one.key for one in read(path, ChipRow)]
        parts += path.stat().st_size * sum(key in rows for key in keys) / len(keys)
    return round(parts) + sum(row.delta_bytes for row in rows.values())


# --------------------------------------------------------------------------------------- figures


def share_within(lost: Sequence[float], points: float) -> tuple[float, tuple[float, float]]:
    """Percent of chips that lose so many points at most, with its 95 % Wilson interval."""
    count = sum(value <= points + 1e-9 for value in lost)
    return 100 * count / len(lost), stats.wilson(count, len(lost))


def recoveries(result: Reported) -> list[float]:
    """Share of what the plain order loses that the schedule wins back, where that is a point."""
    found = []
    for _, row in result.done:
        plain = row.points(row.plain_correct)
        if plain >= LEAST_POINTS:
            found.append((plain - row.points(row.scheduled_correct)) / plain)
    return found


def cost(result: Reported) -> dict[str, float]:
    """Processor time, wall time and bytes of a chip, and of ``MANY`` chips."""
    rows = list(result.rows.values())
    cpu = [row.cpu_seconds for row in rows]
    simulated = [row.cpu_seconds for row in result.verified.values()]
    total = sum(cpu) + sum(simulated)
    each = total / len(rows)
    size = result.stored / len(rows)
    return {
        "cpu_seconds": total,
        "cpu_seconds_chip": each,
        "cpu_seconds_chip_scheduled": sum(cpu) / len(rows),
        "cpu_seconds_chip_median": float(np.median(cpu)),
        "cpu_seconds_verification": sum(simulated) / len(simulated) if simulated else 0.0,
        "bytes_chip": size,
        "delta_bytes_chip": sum(row.delta_bytes for row in rows) / len(rows),
        "core_hours_million": each * MANY / 3600,
        "bytes_million": size * MANY,
    }


def sentences(result: Reported) -> list[str]:
    """What came out, in words."""
    if not result.done:
        return [f"0 of {len(result.asked)} chips are done."]
    plain, scheduled = result.lost(scheduled=False), result.lost(scheduled=True)
    n = result.about["heldout"]
    won, spent = recoveries(result), cost(result)
    found = [
        f"{len(result.done)} of {len(result.asked)} chips done, {result.distinct} of different"
        f" faults; n = {n} held-out images of each.",
        f"Loss against healthy, points: plain order {_mean(plain)}, scheduled {_mean(scheduled)},"
        f" {max(scheduled):.2f} at the most.",
    ]
    if won:
        found.append(
            f"{len(won)} chips cost the plain order a point or more:"
            f" {_mean([100 * w for w in won])} % recovered, {100 * min(won):.2f} % at the least."
        )
    for points in (0.5, 1.0):
        (a, _), (b, reach) = share_within(plain, points), share_within(scheduled, points)
        found.append(
            f"Within {points:g} points: {b:.1f} % of the chips ({reach[0]:.1f} to {reach[1]:.1f}),"
            f" {a:.1f} % in plain order."
        )
    found.append(_simulated(result))
    found.append(
        f"Processor time {spent['cpu_seconds']:.0f} s, {spent['cpu_seconds_chip']:.2f} s a chip"
        f" ({spent['cpu_seconds_chip_scheduled']:.2f} s without simulation); a delta takes"
        f" {spent['delta_bytes_chip']:,.0f} bytes, a chip {spent['bytes_chip']:,.0f} in the store."
        f" A million such chips: {spent['core_hours_million']:,.0f} core hours,"
        f" {spent['bytes_million'] / 1e9:.1f} GB."
    )
    return found


def _simulated(result: Reported) -> str:
    """What the Verilog of which chips has shown."""
    about, rows = result.about, result.verified.values()
    if not about["verify"]:
        return "No Verilog was asked to be simulated (--verify 0)."
    drawn = len(sample([one.key for one in result.asked], about["verify"], about["seed"]))
    return (
        f"Verilog of {len(rows)} chips simulated: {sum(row.differ for row in rows)} of"
        f" {sum(row.integers for row in rows):,} integers differ ({drawn} drawn with seed"
        f" {about['seed']}, and each that loses more than {about['below']:g} points)."
    )


def _mean(values: Sequence[float]) -> str:
    low, high = stats.mean_interval(values)
    return f"{sum(values) / len(values):.2f} ({low:.2f} to {high:.2f})"


def worst(result: Reported) -> list[tuple[str, ChipRow]]:
    """The chips that lose most as scheduled, the worst first."""
    ordered = sorted(result.done, key=lambda one: (one[1].scheduled_correct, one[0]))
    return ordered[:WORST]


def table(result: Reported) -> Table:
    """The worst chips for the terminal."""
    shown = Table(title=f"the {min(WORST, len(result.done))} worst of {len(result.done)} chips")
    for head in ("chip", "faulty PEs", "faults", "plain, %", "scheduled, %", "points lost", "RTL"):
        shown.add_column(head, justify="left" if head == "chip" else "right")
    for name, row in worst(result):
        shown.add_row(
            name,
            str(row.faulty_pes),
            str(row.faults),
            f"{100 * row.plain_correct / row.heldout:.2f}",
            f"{100 * row.scheduled_correct / row.heldout:.2f}",
            f"{row.points(row.scheduled_correct):.2f}",
            "verified" if row.key in result.verified else "-",
        )
    return shown


# ----------------------------------------------------------------------------------------- files


def write(result: Reported, folder: Path) -> None:
    """fleet.html, fleet.json and fleet.csv."""
    from hascodesign.fleet import page  # noqa: PLC0415  (matplotlib: start-up time)

    if not result.done:
        raise ConfigError(f"0 of {len(result.asked)} chips are done: there is nothing to report")
    files.usable_folder(folder)
    files.write_atomic(folder / "fleet.csv", _csv(result))
    files.write_atomic(folder / "fleet.json", _json(result))
    files.write_atomic(folder / "fleet.html", page.render(result))


def yields(result: Reported) -> list[dict[str, Any]]:
    """Rows of the yield table: percent of the chips within so many points, with intervals."""
    rows = []
    for points in WITHIN:
        plain = share_within(result.lost(scheduled=False), points)
        scheduled = share_within(result.lost(scheduled=True), points)
        rows.append(
            {
                "points": points,
                "plain": plain[0],
                "plain_ci95": plain[1],
                "scheduled": scheduled[0],
                "scheduled_ci95": scheduled[1],
            }
        )
    return rows


def _json(result: Reported) -> bytes:
    won = recoveries(result)
    content = {
        "version": 1,
        "fleet": result.id,
        "about": result.about,
        "chips": len(result.asked),
        "done": len(result.done),
        "distinct": result.distinct,
        "yield": yields(result),
        "mean_recovery": sum(won) / len(won) if won else None,
        "mean_recovery_ci95": stats.mean_interval(won) if won else None,
        "recovery_chips": len(won),
        "cost": cost(result),
        "verified": len(result.verified),
        "sentences": sentences(result),
        "worst": [name for name, _ in worst(result)],
    }
    return json.dumps(content, indent=2).encode() + b"\n"


def _csv(result: Reported) -> bytes:
    """One line for each chip that was asked for; empty cells where it is not done."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = ("faulty_pes", "faults", "heldout", "healthy_correct", "plain_correct",
             "scheduled_correct", "passes", "least_passes", "roms_sha256", "delta_sha256",
             "cpu_seconds")  # fmt: skip
    writer.writerow(["chip", "key", *heads, "verified", "delta"])
    for one in result.asked:
        row = result.rows.get(one.key)
        cells = [""] * len(heads) if row is None else [getattr(row, head) for head in heads]
        place = "" if row is None else f"deltas/{one.key[:2]}/{one.key}.npz"
        writer.writerow([one.chip, one.key, *cells, int(one.key in result.verified), place])
    return text.getvalue().encode()

"""What a bench gives: lines, points of growth, and the files and tables made of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from rich.table import Table

from hascodesign.bench.machine import Machine
from hascodesign.bench.timing import Spread

TITLES = {
    "passes": "One pass of the batch, to one clean float32 pass",
    "peers": "The same batch elsewhere, to one clean float32 pass",
    "search": "A default search",
    "growth": "Growth",
    "rtl": "The same layer in RTL simulation",
    "memory": "Memory",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One figure, or one that could not be taken and why."""

    group: str  # a key of TITLES
    name: str
    share: int | None = None  # percent of faulty PEs
    multipliers: str = ""  # "one" or "all" of a faulty PE
    seconds: Spread | None = None
    ratio: Spread | None = None  # to the clean pass of the same images
    cpu_ratio: Spread | None = None  # the same of the processor time of all threads
    float_ratio: Spread | None = None  # of the wall clock, without 8-bit products
    value: float | None = None  # where the figure is no ratio
    unit: str = ""  # of value
    target: float | None = None  # the most that ratio or value should be
    note: str = ""

    @property
    def figure(self) -> float | None:
        """What the target bounds."""
        return self.value if self.ratio is None else self.ratio.median

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None or self.figure is None:
            return None
        return self.figure <= self.target


@dataclass(frozen=True, slots=True)
class Point:
    """Time of one layer at one size."""

    axis: str  # "images", "depth", "rows" or "pe"
    size: int
    seconds: Spread  # wall clock
    cpu: Spread  # processor time of all threads, seconds
    counted: bool  # whether it is large enough for the linearity


@dataclass(frozen=True, slots=True)
class BenchResult:
    """Everything of one run."""

    machine: Machine
    command: str
    network: str
    images: int
    source: str  # weights and images
    repeats: int
    clean: Spread  # seconds of one clean float32 pass
    lines: tuple[Line, ...]
    points: tuple[Point, ...]

    def to_json(self) -> bytes:
        """All figures, for programs."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()

    @property
    def groups(self) -> list[str]:
        """Groups that have lines."""
        return [group for group in TITLES if any(line.group == group for line in self.lines)]

    def of(self, group: str) -> list[Line]:
        """Lines of one group."""
        return [line for line in self.lines if line.group == group]

    @property
    def heading(self) -> str:
        """What was measured on what."""
        clean = self.clean.scaled(1e3)
        return (
            f"{self.network}, {self.images} images ({self.source}); clean float32 pass "
            f"{clean.median:.0f} ms ({clean.low:.0f} to {clean.high:.0f})"
        )


HEADINGS = (
    "",
    "PEs",
    "mult.",
    "time",
    "ratio",
    "IQR",
    "least",
    "CPU",
    "float32",
    "figure",
    "goal",
    "",
)


def cells(line: Line) -> tuple[str, ...]:
    """One line as text, in the order of HEADINGS."""
    spread = ("", "", "")
    if line.ratio is not None:
        r = line.ratio
        spread = (f"{r.median:.2f}", f"{r.low:.2f}-{r.high:.2f}", f"{r.least:.2f}")
    verdict = {None: "", True: "reached", False: "missed"}[line.met]
    return (
        line.name,
        "" if line.share is None else f"{line.share} %",
        line.multipliers,
        "" if line.seconds is None else duration(line.seconds.median),
        *spread,
        "" if line.cpu_ratio is None else f"{line.cpu_ratio.median:.2f}",
        "" if line.float_ratio is None else f"{line.float_ratio.median:.2f}",
        "" if line.value is None else f"{quantity(line.value)} {line.unit}".strip(),
        "" if line.target is None else quantity(line.target),
        "; ".join(part for part in (verdict, line.note) if part),
    )


def tables(result: BenchResult) -> Iterator[Table]:
    """One table for each group, for the terminal."""
    for group in result.groups:
        rows = [cells(line) for line in result.of(group)]
        used = [i for i in range(len(HEADINGS)) if any(row[i] for row in rows)]
        table = Table(*(HEADINGS[i] for i in used), title=TITLES[group], title_justify="left")
        for row in rows:
            table.add_row(*(row[i] for i in used))
        yield table


def markdown(result: BenchResult) -> str:
    """The tables as Markdown."""
    parts = [result.heading + ".", "", result.machine.title + "."]
    for group in result.groups:
        rows = [cells(line) for line in result.of(group)]
        used = [i for i in range(len(HEADINGS)) if any(row[i] for row in rows)]
        parts += ["", f"## {TITLES[group]}", ""]
        parts += ["| " + " | ".join(HEADINGS[i] for i in used) + " |", "|" + "---|" * len(used)]
        parts += ["| " + " | ".join(row[i] for i in used) + " |" for row in rows]
    return "\n".join(parts) + "\n"


def duration(seconds: float) -> str:
    """Seconds in a unit that leaves three digits."""
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def quantity(value: float) -> str:
    """A number with three digits, in thousands where it is large."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"

"""The whole bench, part by part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hascodesign.bench import plot, result
from hascodesign.bench.growth import QUICK, SWEEPS, growth
from hascodesign.bench.machine import describe
from hascodesign.bench.memory import peaks
from hascodesign.bench.passes import SHARES, by_site
from hascodesign.bench.peers import peers
from hascodesign.bench.result import BenchResult, Line, Point
from hascodesign.bench.rtl import SIMULATORS, cycles_per_second
from hascodesign.bench.search import searches
from hascodesign.bench.subject import Subject, make_subject
from hascodesign.bench.timing import repeated
from hascodesign.common import files
from hascodesign.common.display import Display
from hascodesign.contract.errors import ConfigError
from hascodesign.schedule.options import SearchOptions

#: Network and batch that the goals were set for.
GOALS_FOR = ("mnist-cnn", 1000)
#: Sizes of a quick bench.
SMALL_RTL: Any = {"rows": 8, "depth": 16, "simulators": SIMULATORS[:1]}
SMALL_PEAKS: Any = {"images": 50, "generations": (1, 2), "flow": False}
PARTS = ("passes", "peers", "search", "growth", "rtl", "memory")


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured, and how often.

    Raises
    ------
    ConfigError
        A number below 1, or a part that there is not.
    """

    network: str = "mnist-cnn"
    images: int = 1000  # of the batch
    repeats: int = 11
    searches: int = 3  # profiles that a search is timed on
    parts: tuple[str, ...] = PARTS
    quick: bool = False  # small sizes and few repeats, for a look at whether all runs
    command: str = "hascodesign bench"
    device: str | None = None  # torch device whose passes are measured as well

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("images", "repeats", "searches"):
            if getattr(self, name) < 1:
                raise ConfigError(f"bench {name} must be 1 or more, not {getattr(self, name)}")
        for part in self.parts:
            if part not in PARTS:
                raise ConfigError(f"bench part must be one of {', '.join(PARTS)}, not {part}")


def quick(options: Options) -> Options:
    """The same parts at the least size, for a look at whether all of them run."""
    return replace(options, network="digits-cnn", images=50, repeats=2, searches=1, quick=True)


def run(options: Options, out: Path, cache: Path) -> BenchResult:
    """Measure, and write bench.json, bench.md and bench.png.

    Parameters
    ----------
    options : what is measured.
    out : folder; the parts of an earlier run there on the same machine and network are kept,
        where this run does not measure them again.
    cache : folder of trained models.
    """
    folder = files.usable_folder(out)
    with Display(folder / "bench.log") as display:
        subject = make_subject(options.network, options.images, cache, display.progress)
        found = BenchResult(
            machine=describe(),
            command=options.command,
            network=options.network,
            images=options.images,
            source=subject.source,
            repeats=options.repeats,
            clean=repeated(subject.clean_forward, options.repeats)[0],
            lines=(),
            points=(),
        )
        for number, part in enumerate(options.parts):
            display.progress("bench", number, len(options.parts))
            lines, points = _measure(part, options, subject, folder, display)
            if (options.network, options.images) != GOALS_FOR:
                lines = [replace(line, target=None) for line in lines]
            found = replace(
                found,
                lines=(*found.lines, *lines),
                points=(*found.points, *points),
            )
            # after every part: what took minutes is not lost with a later one
            _write(with_earlier(found, folder / "bench.json"), folder)
        display.progress("bench", len(options.parts), len(options.parts))
    return with_earlier(found, folder / "bench.json")


def _write(found: BenchResult, folder: Path) -> None:
    files.write_atomic(folder / "bench.json", found.to_json())
    files.write_atomic(folder / "bench.md", result.markdown(found).encode())
    files.write_atomic(folder / "bench.png", plot.figure(found))


def with_earlier(found: BenchResult, path: Path) -> BenchResult:
    """The result with those parts of an earlier one that it lacks; of the same subject only."""
    if not path.is_file():
        return found
    try:
        earlier = TypeAdapter(BenchResult).validate_json(path.read_bytes())
    except (ValidationError, OSError):
        return found  # another version's, which is written over
    subjects = [
        (r.machine.processor, r.machine.packages, r.network, r.images, r.source)
        for r in (found, earlier)
    ]
    if subjects[0] != subjects[1]:
        return found
    have = {line.group for line in found.lines}
    kept = tuple(line for line in earlier.lines if line.group not in have)
    points = found.points or earlier.points
    lines = sorted((*kept, *found.lines), key=lambda line: PARTS.index(line.group))
    return replace(found, lines=tuple(lines), points=points)


def _measure(
    part: str, options: Options, subject: Subject, folder: Path, display: Display
) -> tuple[list[Line], Sequence[Point]]:
    """Lines of one part, each told as it comes, and its points of growth."""
    quick, repeats = options.quick, options.repeats

    def told(line: Line) -> None:
        display.line("  ".join(part for part in result.cells(line) if part))

    if part == "growth":
        points, lines = growth(repeats, told, QUICK if quick else SWEEPS)
        return lines, points
    measures: dict[str, Callable[[], list[Line]]] = {
        "passes": lambda: by_site(
            subject, repeats, told, SHARES[:1] if quick else SHARES, options.device
        ),
        "peers": lambda: peers(subject, repeats, told),
        "search": lambda: _search(options, subject, told),
        "rtl": lambda: cycles_per_second(folder / "rtl", told, **(SMALL_RTL if quick else {})),
        "memory": lambda: peaks(options.network, told, **(SMALL_PEAKS if quick else {})),
    }
    return measures[part](), ()


def _search(options: Options, subject: Subject, told: Callable[[Line], None]) -> list[Line]:
    seeds = range(1, options.searches + 1)
    if not options.quick:
        return searches(subject, seeds, told)
    codes, labels = subject.calibration
    some = replace(subject, calibration=(codes[:50], labels[:50]))
    return searches(some, seeds, told, SearchOptions(evaluations=24, random_maps=2))

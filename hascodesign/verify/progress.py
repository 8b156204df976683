"""What a simulation says of itself while it runs, and how long it is likely to take."""

from __future__ import annotations

import re
from collections.abc import Callable

from hascodesign.contract.types import ArraySpec

Progress = Callable[[str, int, int], None]  # (what, done, total)
# Seconds of one cycle for each multiplier, as measured with digits-cnn on 16 x 8 (two cores, idle
# but for this): an estimate, until a simulation of this run has shown its own rate.
MULTIPLIER_S = {"icarus": 4e-6, "verilator": 1e-6}
BUILD_S = {"icarus": 2.0, "verilator": 60.0}
LOG = "simulation.log"  # in the folder of a simulation
_IMAGES = re.compile(r"^progress cycles (?P<cycles>\d+) (?P<done>\d+) (?P<images>\d+)\s*$")
_LINE = re.compile(r"^progress (?P<what>\S+) (?P<done>\d+) (?P<total>\d+)\s*$")


def seconds(cycles: int, spec: ArraySpec, simulator: str, rate: float | None = None) -> float:
    """Estimated wall clock of a simulation.

    Parameters
    ----------
    cycles : clock cycles, of the longest of the simulations that run side by side.
    spec : the array.
    rate : cycles per second that this machine has shown for this array; None where none has run.
    """
    each = spec.pe * spec.simd * MULTIPLIER_S[simulator] if not rate else 1 / rate
    return BUILD_S[simulator] + cycles * each


def words(what: str, cycles: int, estimate: float) -> str:
    """The estimate in one line."""
    took = f"{estimate:.0f} s" if estimate < 90 else f"{estimate / 60:.0f} min"
    return f"{what}: {cycles:,} cycles to simulate, about {took} (estimate)"


def reader(run: str, progress: Progress) -> Callable[[str], None]:
    """A taker of a bench's lines that tells of every one which speaks of progress.

    Parameters
    ----------
    run : "healthy" or "faulty"; stands before what the bench names.
    progress : called with (what, done, total).
    """

    def told(line: str) -> None:
        found = _LINE.match(line)
        if found is not None:
            progress(f"{run} {found['what']}", int(found["done"]), int(found["total"]))

    return told


def images_reader(run: str, images: int, cycles: int, progress: Progress) -> Callable[[str], None]:
    """The same for a bench of whole images: the image that is in the array, and its cycles.

    Parameters
    ----------
    images : how many there are.
    cycles : that all of them are likely to take.
    """
    each = max(1, cycles // images)
    first, shown = 0, 0  # cycles at which the image began, its number

    def told(line: str) -> None:
        nonlocal first, shown
        found = _IMAGES.match(line)
        if found is None:
            return
        now, done = int(found["cycles"]), int(found["done"])
        if done > shown:
            progress(_image(run, shown, images), each, each)
            first, shown = now, done
        if done < images:
            progress(_image(run, done, images), min(now - first, each - 1), each)

    return told


def _image(run: str, place: int, images: int) -> str:
    return f"{run} image {place + 1} of {images}, cycles"

"""What the command line's `faults` group does, with plain arguments and bytes or text back."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from hascodesign.array import generator
from hascodesign.faults import formats, generate, show
from hascodesign.types import ArraySpec


def draw(array: ArraySpec, seed: int, form: str = "json") -> bytes:
    """Profile file drawn by area."""
    return formats.write(generate.by_area(array, generator(seed, "faults"), seed=seed), form)


def convert(source: Path, form: str) -> bytes:
    """The profile of a file as bytes of form ``json`` or ``csv``."""
    return formats.write(formats.read(source), form)


def show_text(source: Path) -> Text:
    """Map of a profile file's array for a terminal."""
    return show.render_text(formats.read(source))


def show_svg(source: Path) -> bytes:
    """Map of a profile file's array as SVG."""
    return show.render_svg(formats.read(source))

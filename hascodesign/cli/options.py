"""Options and places that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
import typer
from rich.console import Console

Board = Annotated[str, typer.Option(help="Board; `hascodesign boards` lists them.")]
Model = Annotated[
    str | None, typer.Option(help="digits-cnn, mnist-cnn, mnist-mlp, or file.py:factory.")
]
Device = Annotated[
    Literal["cpu", "cuda"], typer.Option(help="Where maps are judged: cuda needs a GPU.")
]
SparePasses = Annotated[
    float | None,
    typer.Option(min=0, help="Spare passes, as a share of the least; where they help most."),
]
OptionalPath = Path | None
OptionalInt = int | None


def console() -> Console:
    """Standard output; wide enough for a table where it is not a terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


def cache() -> Path:
    """Folder of trained networks."""
    return Path(platformdirs.user_cache_dir("hascodesign"))


def data_for(model: str | None) -> Path | None:
    """Folder of extra data for a bundled model that is not self-contained."""
    folder = os.environ.get("HASCODESIGN_DATA")
    if folder is None or model is None or not model.startswith("mnist-"):
        return None
    return Path(folder) / "mnist-t10k"

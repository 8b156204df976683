"""Options and places that several commands share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
import typer
from rich.console import Console

from hascodesign.contract.errors import ConfigError
from hascodesign.contract.results import MOVES

Board = Annotated[str, typer.Option(help="Board; `hascodesign boards` lists them.")]
FlowBoard = Annotated[
    str | None,
    typer.Option(help="Board; `hascodesign boards` lists them. That of --config, else pynq-z2."),
]
Model = Annotated[
    str | None,
    typer.Option(help="digits-cnn, mnist-cnn, mnist-mlp, file.py:factory, or a QONNX file.onnx."),
]
Device = Annotated[
    Literal["cpu", "cuda"], typer.Option(help="Where maps are judged: cuda needs a GPU.")
]
SparePasses = Annotated[
    float | None,
    typer.Option(min=0, help="Spare passes, as a share of the least; where they help most."),
]
Moves = Annotated[
    str | None,
    typer.Option(help=f"How rows are written for their slots: {','.join(MOVES)}, or none."),
]
Preload = Annotated[
    bool | None,
    typer.Option(
        "--preload/--no-preload",
        help="Accumulators that start from words of their own, against faults in them; or from 0.",
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(help="A Dask scheduler, tcp://... or tls://...; else one is started here."),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, max=4096, help="Processes of the cluster that is started here."),
]
OptionalPath = Path | None
OptionalText = str | None


def named(moves: str | None) -> list[str] | None:
    """Names of the moves that an option holds; empty for "none"."""
    if moves is None:
        return None
    return [] if moves == "none" else moves.split(",")


def given(context: typer.Context) -> dict[str, str]:
    """Options that stand on the command line: parameter's name -> as it is written."""
    written = {}
    for parameter in context.command.params:
        source = context.get_parameter_source(str(parameter.name))
        if source is not None and source.name == "COMMANDLINE":
            written[str(parameter.name)] = parameter.opts[-1]
    return written


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


def refuse_idle(
    context: typer.Context, users: Mapping[str, Sequence[str]], chosen: str, what: str
) -> None:
    """Refuse an option that goes with other choices than the one that was made.

    Parameters
    ----------
    users : choice -> names of the parameters that it uses, beside those that all of them do.
    chosen : the choice.
    what : the choice in words, for the message.
    """
    for name, written in given(context).items():
        takers = [choice for choice, names in users.items() if name in names]
        if takers and chosen not in takers:
            raise ConfigError(
                f"{written} has no effect with {what}: it goes with {', '.join(takers)}; leave it"
                " out"
            )


def check_cluster(scheduler: str | None, workers: int | None) -> None:
    """Refuse workers of its own for a scheduler that has some."""
    if scheduler is not None and workers is not None:
        raise ConfigError("--workers has no effect: --scheduler has its own; leave one out")

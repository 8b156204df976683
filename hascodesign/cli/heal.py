"""The command line's `heal`: from a build in use and what its chip answers to a healed chip."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from hascodesign.board.boards import find
from hascodesign.cli.options import (
    FlowBoard,
    Model,
    OptionalInt,
    OptionalPath,
    OptionalText,
    cache,
    data_for,
    given,
)
from hascodesign.contract.errors import ConfigError, HascodesignError
from hascodesign.flow.config import board_config, board_of, load_config


def heal(
    context: typer.Context,
    build: Annotated[Path, typer.Argument(help="Output folder of the flow that the board runs.")],
    answers: Annotated[
        OptionalPath, typer.Option(help="Answers of the board to the vectors, .npz.")
    ] = None,
    simulate: Annotated[
        OptionalPath,
        OptionalText,
        typer.Option(help="No board: the build's Verilog with these faults, .json or .csv."),
    ] = None,
    host: Annotated[
        OptionalText, typer.Option(help="The board, user@host: all is done there by ssh.")
    ] = None,
    images: Annotated[
        int, typer.Option(min=2, max=1000, help="Images before and after, of --simulate.")
    ] = 32,
    simulator: Annotated[
        Literal["icarus", "verilator"], typer.Option(help="Of --simulate.")
    ] = "icarus",
    in_use: Annotated[
        OptionalPath,
        OptionalText,
        typer.Option(help="schedule.json of what runs on the build; that of BUILD by default."),
    ] = None,
    tests: Annotated[
        OptionalPath, typer.Option(help="Folder of `diagnose vectors`; made where left out.")
    ] = None,
    out: Annotated[OptionalPath, typer.Option(help="Output folder; BUILD-healed.")] = None,
    board: FlowBoard = None,
    model: Model = None,
    checkpoint: Annotated[
        OptionalPath, typer.Option(help="State dict of --model file.py:factory.")
    ] = None,
    data: Annotated[
        OptionalPath, typer.Option(help=".npz (images, labels) or a folder of IDX files.")
    ] = None,
    config: Annotated[OptionalPath, typer.Option(help="A flow file, not the board's.")] = None,
    seed: Annotated[OptionalInt, typer.Option(help="Seed of every random choice.")] = None,
    search_seconds: Annotated[float | None, typer.Option(help="Longest search, seconds.")] = None,
) -> None:
    """Diagnose a chip in use, schedule for it, and write what its memories must hold then.

    Exit 0: every PE is explained (with a link: and every integer is the predicted one). Exit 1: a
    PE is not, and is left idle, or an integer differs.
    """
    from hascodesign.flow.options import check_paths  # noqa: PLC0415
    from hascodesign.flow.request import Request  # noqa: PLC0415  (numpy: start-up time)
    from hascodesign.healing import run  # noqa: PLC0415

    ways = {"--answers": answers, "--simulate": simulate, "--host": host}
    chosen = [name for name, value in ways.items() if value is not None]
    if len(chosen) != 1:
        raise ConfigError(
            f"one way to the chip must be given, {', '.join(ways)}, not"
            f" {' and '.join(chosen) or 'none'}"
        )
    for name in ("images", "simulator"):
        if simulate is None and name in given(context):
            raise ConfigError(f"--{name} has no effect without --simulate; leave it out")
    check_paths({"config": config, "checkpoint": checkpoint, "data": data})
    record = find(board or board_of(config))
    changes = {
        "board": record.name,
        "model": model,
        "seed": seed,
        "schedule.seconds": search_seconds,
    }
    settings = load_config(config or board_config(record.name), changes)
    request = Request(
        config=settings,
        out=out or build.with_name(f"{build.name}-healed"),
        cache=cache(),
        command=shlex.join(["hascodesign", *sys.argv[1:]]),
        checkpoint=checkpoint,
        data=data or data_for(settings.model),
        simulator=simulator,
    )
    if answers is not None:
        done = run.from_answers(request, build, answers, in_use=in_use, tests=tests)
    elif host is not None:
        done = run.on_board(request, build, host, in_use=in_use, tests=tests)
    else:
        faults = simulate or Path()  # one of the three is there
        done = run.in_simulation(request, build, faults, in_use=in_use, tests=tests, images=images)
    if done.failure:
        raise HascodesignError(done.failure)

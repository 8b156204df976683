"""The commands `fleet CHIPS`, `fleet bitstream` and `fleet report`."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from hascodesign.board import tools
from hascodesign.board.boards import find
from hascodesign.cli.options import (
    FlowBoard,
    Model,
    OptionalInt,
    OptionalPath,
    Scheduler,
    Workers,
    cache,
    check_cluster,
    console,
    data_for,
    given,
)
from hascodesign.contract.errors import ConfigError
from hascodesign.fleet.chips import MOST_DRAWN
from hascodesign.flow.config import FlowConfig, board_config, board_of, load_config

if TYPE_CHECKING:
    from hascodesign.flow.request import Request


Checkpoint = Annotated[OptionalPath, typer.Option(help="State dict of --model file.py:factory.")]
Data = Annotated[OptionalPath, typer.Option(help=".npz (images, labels) or a folder of IDX files.")]
FlowFile = Annotated[OptionalPath, typer.Option(help="A flow file, not the board's.")]
Simulator = Annotated[Literal["icarus", "verilator"], typer.Option(help="Simulator.")]


class _Group(TyperGroup):
    """`fleet CHIPS` is `fleet run CHIPS`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command's name before what is none."""
        if args and args[0] not in (*self.commands, "--help"):
            args = ["run", *args]
        rest: list[str] = super().parse_args(ctx, args)
        return rest


fleet_app = typer.Typer(
    help="Many chips: `fleet CHIPS` schedules each, `fleet report STORE` tells what came out.",
    no_args_is_help=True,
    cls=_Group,
)


@fleet_app.command("run")
def fleet_run(
    context: typer.Context,
    chips: Annotated[
        OptionalPath,
        typer.Argument(help="Folder of fault profiles, or a table (.csv) with a column chip."),
    ] = None,
    draw: Annotated[
        OptionalInt, typer.Option(min=1, max=MOST_DRAWN, help="So many chips are drawn instead.")
    ] = None,
    faulty: Annotated[
        str | None,
        typer.Option(help="Faulty PEs of a drawn chip, as 4-16; the flow file's by default."),
    ] = None,
    board: FlowBoard = None,
    model: Model = None,
    checkpoint: Checkpoint = None,
    data: Data = None,
    config: FlowFile = None,
    seed: Annotated[OptionalInt, typer.Option(help="Seed of every random choice.")] = None,
    scheduler: Scheduler = None,
    workers: Workers = None,
    verify: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the chips whose Verilog is simulated.")
    ] = 0.01,
    verify_below: Annotated[
        float,
        typer.Option(min=0, max=100, help="And that of each chip that loses more points."),
    ] = 1.0,
    simulator: Simulator = "icarus",
    out: Annotated[OptionalPath, typer.Option(help="The store; build/fleet-<board>.")] = None,
) -> None:
    """Schedule every chip: map, rows as written, held-out accuracy, delta to write at run time."""
    tools.require_extra("distributed", "pyarrow", extra="fleet", what="a fleet")
    from hascodesign.fleet import report, run  # noqa: PLC0415  (dask, numpy: start-up time)
    from hascodesign.flow.options import check_paths  # noqa: PLC0415

    _check_source(chips, draw, written := given(context))
    check_cluster(scheduler, workers)
    if not verify and "verify_below" in written:
        raise ConfigError("--verify-below has no effect: --verify 0 simulates none; leave one out")
    check_paths({"config": config, "checkpoint": checkpoint, "data": data})
    name, settings = _settings(board, config, {"model": model, "seed": seed})
    request = _request(settings, out or Path("build", f"fleet-{name}"), checkpoint, data, simulator)
    asked = run.FleetRequest(
        request=request,
        chips=chips,
        draw=draw or 0,
        faulty=_range(faulty, settings.faults.faulty_pes, settings.array.pe),
        scheduler=scheduler,
        workers=workers or 1,
        verify=verify,
        below=verify_below,
    )
    done = run.run(asked)
    for line in report.sentences(report.gather(request.out, done.id)):
        print(line)
    print(f"{request.out}: fleet {done.id}; `hascodesign fleet report {request.out}`")


def _check_source(chips: Path | None, draw: int | None, written: dict[str, str]) -> None:
    if (chips is None) == (draw is None):
        came = "none" if chips is None else "both"
        raise ConfigError(
            f"the chips must be given once, as a folder or table or with --draw N, and came {came}"
        )
    if chips is not None and not chips.exists():
        raise ConfigError(f"{chips}: no such folder or table of chips")
    if draw is None and "faulty" in written:
        raise ConfigError("--faulty has no effect: chips are read, not drawn; leave it out")


def _range(text: str | None, default: int, most: int) -> tuple[int, int]:
    """Least and most faulty PEs."""
    if text is None:
        return default, default
    found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", text)
    low, high = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if not low <= high <= most:
        raise ConfigError(f"--faulty must be as 4 or 4-16, within 0 to {most} PEs, not {text}")
    return low, high


@fleet_app.command("bitstream")
def fleet_bitstream(
    board: FlowBoard = None,
    model: Model = None,
    checkpoint: Checkpoint = None,
    data: Data = None,
    config: FlowFile = None,
    simulator: Simulator = "icarus",
    out: Annotated[
        OptionalPath, typer.Option(help="Output folder; build/bitstream-<board>.")
    ] = None,
) -> None:
    """The build that all chips of a fleet run, verified: what deltas are written over."""
    from hascodesign.fleet.run import render_bitstream  # noqa: PLC0415  (dask: start-up time)
    from hascodesign.flow.options import check_paths  # noqa: PLC0415

    check_paths({"config": config, "checkpoint": checkpoint, "data": data})
    name, settings = _settings(board, config, {"model": model})
    render_bitstream(
        _request(settings, out or Path("build", f"bitstream-{name}"), checkpoint, data, simulator)
    )


def _settings(
    board: str | None, config: Path | None, changes: dict[str, Any]
) -> tuple[str, FlowConfig]:
    """The board's name and what a fleet is built and searched with."""
    record = find(board or board_of(config))
    return record.name, load_config(
        config or board_config(record.name), {"board": record.name, **changes}
    )


def _request(
    settings: FlowConfig,
    out: Path,
    checkpoint: Path | None,
    data: Path | None,
    simulator: Literal["icarus", "verilator"],
) -> Request:
    from hascodesign.flow.request import Request  # noqa: PLC0415  (numpy, scipy: start-up time)

    return Request(
        config=settings,
        out=out,
        cache=cache(),
        command=shlex.join(["hascodesign", *sys.argv[1:]]),
        checkpoint=checkpoint,
        data=data or data_for(settings.model),
        simulator=simulator,
    )


@fleet_app.command("report")
def fleet_report(
    store: Annotated[Path, typer.Argument(help="The store of a fleet.")],
    fleet: Annotated[
        str | None, typer.Option(help="Which of its fleets: the beginning of its id.")
    ] = None,
    out: Annotated[OptionalPath, typer.Option(help="Output folder; STORE/report.")] = None,
) -> None:
    """Yield, worst chips, time and cost: fleet.html, fleet.json and fleet.csv."""
    tools.require_extra("pyarrow", extra="fleet", what="a fleet's store")
    from hascodesign.fleet import report  # noqa: PLC0415  (matplotlib: start-up time)

    result = report.gather(store, fleet)
    folder = out or store / "report"
    report.write(result, folder)
    console().print(report.table(result))
    for line in report.sentences(result):
        print(line)
    print(folder / "fleet.html")

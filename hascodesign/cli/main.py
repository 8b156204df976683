"""The command line: thin; one line and an exit code for every error raised on purpose."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hascodesign import __version__
from hascodesign.board.boards import BOARDS, find
from hascodesign.cli.diagnose import diagnose_app
from hascodesign.cli.faults import faults_app
from hascodesign.cli.fleet import fleet_app
from hascodesign.cli.heal import heal
from hascodesign.cli.options import (
    Device,
    FlowBoard,
    Model,
    Moves,
    OptionalInt,
    OptionalPath,
    Preload,
    SparePasses,
    cache,
    console,
    data_for,
    given,
    named,
)
from hascodesign.cli.study import study_app
from hascodesign.common import files, interrupt, process_memory
from hascodesign.contract.errors import ConfigError, HascodesignError
from hascodesign.flow.config import board_config, board_of, load_config
from hascodesign.flow.steps import NAMES, STEPS

#: What typer raises on a wrong command line; of this class it exports only a part.
_UsageError: Any = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="hascodesign",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(faults_app, name="faults")
app.add_typer(diagnose_app, name="diagnose")
app.add_typer(study_app, name="study")
app.add_typer(fleet_app, name="fleet")


def _flow_command(last: str, name: str, help_text: str) -> None:
    @app.command(name, help=help_text)
    def command(
        context: typer.Context,
        board: FlowBoard = None,
        model: Model = None,
        checkpoint: Annotated[
            OptionalPath, typer.Option(help="State dict of --model file.py:factory.")
        ] = None,
        data: Annotated[
            OptionalPath, typer.Option(help=".npz (images, labels) or a folder of IDX files.")
        ] = None,
        faults: Annotated[OptionalPath, typer.Option(help="Fault profile, .json or .csv.")] = None,
        voltage: Annotated[
            float | None,
            typer.Option(help="Supply, V: the cells of --faults, or drawn ones, that fail at it."),
        ] = None,
        schedule: Annotated[OptionalPath, typer.Option(help="A schedule.json: no search.")] = None,
        out: Annotated[
            OptionalPath, typer.Option(help="Output folder; build/<board> by default.")
        ] = None,
        seed: Annotated[OptionalInt, typer.Option(help="Seed of every random choice.")] = None,
        pe: Annotated[OptionalInt, typer.Option(help="Processing elements.")] = None,
        simd: Annotated[OptionalInt, typer.Option(help="Multipliers in each PE.")] = None,
        weight_bits: Annotated[OptionalInt, typer.Option(help="Array weight bits.")] = None,
        act_bits: Annotated[OptionalInt, typer.Option(help="Array activation bits.")] = None,
        acc_bits: Annotated[OptionalInt, typer.Option(help="Accumulator bits.")] = None,
        dataflow: Annotated[
            Literal["os", "ws"] | None,
            typer.Option(help="Output- or weight-stationary."),
        ] = None,
        multipliers: Annotated[
            Literal["dsp", "dsp2", "lut"] | None,
            typer.Option(help="What multipliers are built of."),
        ] = None,
        simulator: Annotated[
            Literal["icarus", "verilator"], typer.Option(help="Simulator.")
        ] = "icarus",
        device: Device = "cpu",
        preload: Preload = None,
        batch: Annotated[
            OptionalInt,
            typer.Option(help="Images for which streamed weights come once; as many as pay."),
        ] = None,
        watch: Annotated[
            bool | None,
            typer.Option(
                "--watch/--no-watch",
                help="An accelerator that checks its array between images and raises an alarm.",
            ),
        ] = None,
        search_seconds: Annotated[
            float | None, typer.Option(help="Longest search, seconds.")
        ] = None,
        objectives: Annotated[
            str | None,
            typer.Option(help="accuracy, or a front: accuracy,passes,power or two of these."),
        ] = None,
        moves: Moves = None,
        allowed_points: Annotated[
            float | None,
            typer.Option(help="Accuracy that the front's point may give up for the rest, points."),
        ] = None,
        extra_passes: Annotated[
            OptionalInt, typer.Option(min=0, help="Spare passes of every layer.")
        ] = None,
        spare_passes: SparePasses = None,
        core_images: Annotated[
            OptionalInt,
            typer.Option(
                help="Images through the whole accelerator: 2 by default, 0 for the array alone."
            ),
        ] = None,
        config: Annotated[OptionalPath, typer.Option(help="A flow file, not the board's.")] = None,
        post_route: Annotated[
            bool, typer.Option("--post-route", help="Also time the array, routed on an ECP5.")
        ] = False,
        fresh: Annotated[bool, typer.Option("--fresh", help="Compute every step again.")] = False,
        from_step: Annotated[
            str | None, typer.Option("--from", help=f"Compute again from: {', '.join(NAMES)}.")
        ] = None,
        to_step: Annotated[str, typer.Option("--to", help="Stop after this step.")] = last,
    ) -> None:
        from hascodesign.flow.options import check_paths, check_used  # noqa: PLC0415
        from hascodesign.flow.request import Request  # noqa: PLC0415
        from hascodesign.flow.run import run_flow  # noqa: PLC0415  (numpy, jinja: start-up time)

        files_named = {"config": config, "faults": faults, "schedule": schedule}
        check_paths(files_named | {"checkpoint": checkpoint, "data": data})
        for step in filter(None, (from_step, to_step)):
            if step not in NAMES:
                raise typer.BadParameter(f"a step must be one of {', '.join(NAMES)}, not {step}")
        record = find(board or board_of(config))
        changes = {
            "board": record.name,
            "model": model,
            "seed": seed,
            "array.pe": pe,
            "array.simd": simd,
            "array.weight_bits": weight_bits,
            "array.act_bits": act_bits,
            "array.acc_bits": acc_bits,
            "array.dataflow": dataflow,
            "render.multipliers": multipliers,
            "render.preload": preload,
            "render.batch": batch,
            "render.watch": watch,
            "schedule.seconds": search_seconds,
            "schedule.objectives": None if objectives is None else objectives.split(","),
            "schedule.moves": named(moves),
            "schedule.allowed_points": allowed_points,
            "schedule.extra_passes": extra_passes,
            "schedule.spare_passes": spare_passes,
            "verify.core_images": core_images,
        }
        settings = load_config(config or board_config(record.name), changes)
        request = Request(
            config=settings,
            out=out or Path("build", record.name),
            cache=cache(),
            command=shlex.join(["hascodesign", *sys.argv[1:]]),
            checkpoint=checkpoint,
            data=data or data_for(settings.model),
            faults=faults,
            voltage=voltage,
            schedule=schedule,
            simulator=simulator,
            post_route=post_route,
            fresh=fresh,
            from_step=from_step,
            to_step=to_step,
        )
        check_used(given(context), request, last)
        run_flow(replace(request, device=_torch_device(device)))


for _step in map(STEPS.__getitem__, reversed(NAMES)):
    if _step.command:
        _flow_command(_step.name, _step.command, _step.help)


def _torch_device(name: str) -> str | None:
    """Torch device that the engine is to use, None for its own kernels."""
    if name == "cpu":
        return None
    from hascodesign.engine.device import check_device  # noqa: PLC0415  (torch: start-up time)

    return check_device(name)


app.command("heal")(heal)


@app.command()
def boards(
    fit: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="The largest array of each board for this network."),
    ] = None,
    data: Annotated[OptionalPath, typer.Option(help="Images of --fit, as of flow.")] = None,
    multipliers: Annotated[
        Literal["dsp", "dsp2"] | None,
        typer.Option(help="Of --fit: a DSP for each product, or for two.  [default: dsp]"),
    ] = None,
) -> None:
    """List the boards and what their parts hold, or the largest array that fits."""
    from rich.table import Table  # noqa: PLC0415

    if fit is not None:
        _fit(fit, data, multipliers or "dsp")
        return
    for name, value in (("--data", data), ("--multipliers", multipliers)):
        if value is not None:
            raise ConfigError(f"{name} has no effect without --fit MODEL; leave it out")
    table = Table("board", "part", "LUT", "FF", "BRAM36", "URAM", "DSP", "clock MHz")
    for b in BOARDS.values():
        cells = (b.lut, b.ff, b.bram36, b.uram, b.dsp, f"{b.clock_mhz:g}")
        table.add_row(b.name, b.part, *map(str, cells))
    console().print(table)


def _fit(model: str, data: Path | None, multipliers: Literal["dsp", "dsp2"]) -> None:
    import tempfile  # noqa: PLC0415

    from rich.table import Table  # noqa: PLC0415

    from hascodesign.common.display import Display  # noqa: PLC0415
    from hascodesign.flow.flow import Flow  # noqa: PLC0415
    from hascodesign.flow.largest import largest  # noqa: PLC0415
    from hascodesign.flow.request import Request  # noqa: PLC0415
    from hascodesign.flow.store import StepStore  # noqa: PLC0415

    table = Table("board", "PE x SIMD", "DSP", "BRAM36", "streamed", "batch", "cycles", "images/s")
    config = load_config(board_config(next(iter(BOARDS))), {"model": model})
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        request = Request(config=config, out=out, cache=cache(), data=data or data_for(model))
        flow = Flow(request, StepStore(out), Display())
        network, spec = flow.network, flow.array
    refused = []
    for board in BOARDS.values():
        try:
            one = largest(network, spec, board, multipliers)
        except ConfigError as error:
            if multipliers == "dsp":
                raise
            refused.append(f"{board.name}: {error}\n")
            continue
        table.add_row(
            one.board, f"{one.pe} x {one.simd}", f"{one.dsp}", f"{one.bram18 / 2:g}",
            ", ".join(one.streamed) or "-", f"{one.batch}", f"{one.cycles:,}",
            f"{one.images_per_second:,.0f}",
        )  # fmt: skip
    console().print(table)
    console().print(
        "".join(refused)
        + "Predicted: within 80 % of DSPs and block RAM; streamed weights over one memory port.\n"
        "BRAM36 is the most: a tool builds small memories of LUTs, which are counted here.\n"
        "LUTs and the clock are not: the flow's synthesis says."
    )


@app.command()
def doctor() -> None:
    """Check the tools and packages that the flow uses."""
    from hascodesign.board import doctor as checks  # noqa: PLC0415

    raise typer.Exit(checks.report(console()))


@app.command()
def bench(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="Bundled network.")] = "mnist-cnn",
    images: Annotated[int, typer.Option(help="Images of one pass.")] = 1000,
    repeats: Annotated[int, typer.Option(help="Repeats of each figure.")] = 11,
    part: Annotated[
        list[str] | None,
        typer.Option(help="passes, peers, search, growth, rtl or memory; may come often."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("build", "bench"),
    device: Device = "cpu",
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes, digits-cnn.")] = False,
) -> None:
    """Measure the engine beside clean inference, Brevitas, pytorchfi and RTL simulation."""
    from hascodesign.bench import result, run  # noqa: PLC0415  (torch, numba: start-up time)

    command = shlex.join(["hascodesign", *sys.argv[1:]])
    parts = tuple(part) if part else run.PARTS
    options = run.Options(
        model, images, repeats, parts=parts, command=command, device=_torch_device(device)
    )
    written = given(context)
    for name in ("model", "images", "repeats"):
        if quick and name in written:
            raise ConfigError(f"{written[name]} has no effect: --quick sets it; leave one out")
    if "device" in written and "passes" not in parts:
        raise ConfigError("--device has no effect: only --part passes measures it; leave it out")
    if quick:
        options = run.quick(options)
    found = run.run(options, out, cache())
    for table in result.tables(found):
        console().print(table)
    print(f"{found.heading}\n{found.machine.title}\n{out / 'bench.json'}")


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Output folder of a flow.")],
) -> None:
    """Hold a flow's folder against its report.json: 0 whole, 1 not, 2 no such folder."""
    from hascodesign.flow import delivery  # noqa: PLC0415  (numpy: start-up time)

    found = delivery.differences(folder)
    for line in found:
        print(line.encode("utf-8", "backslashreplace").decode())  # any bytes can be a name
    if found:
        raise HascodesignError(f"{folder} must be as report.json lists it: {len(found)} differ")
    print(f"{folder} is whole")


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Map a quantised network onto an imperfect PE array, and prove the result bit by bit."""


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


def main() -> None:
    """Entry point: 0 done; 1 failed step; 2 bad input; 3 no tool; 129, 130, 143 a signal."""
    interrupt.install()
    # torch and numba bring a pool of threads each: one that spins while it waits takes the cores
    # from the other. Read when their libraries load, so it is set before them.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    process_memory.hold_freed()
    try:
        code = app(standalone_mode=False)
    except _UsageError as error:
        message = error.format_message()
        if not message:  # without any argument the help stands there already
            raise SystemExit(ConfigError.exit_code) from None
        _fail(message, ConfigError.exit_code)
    except HascodesignError as error:
        _fail(str(error), error.exit_code)
    except interrupt.Terminated as error:
        _fail(str(error), error.exit_code)
    except BrokenPipeError:
        os._exit(1)
    except OSError as error:
        told = files.in_words(error)
        _fail(str(told), told.exit_code)
    if code == interrupt.EXIT_CODE:  # typer's own, without a word
        _fail("stopped by Ctrl-C", interrupt.EXIT_CODE)
    raise SystemExit(code or 0)


def _fail(message: str, code: int) -> None:
    if code > 128:
        interrupt.ignore()  # one more signal would only break the line below
    line = " ".join(message.split())
    try:
        print(f"hascodesign: {line}", file=sys.stderr, flush=True)
        sys.stdout.flush()
    except OSError:
        os._exit(code)  # nobody reads it: at its end Python would only stumble over it again
    raise SystemExit(code)

"""The command line: thin; one line and an exit code for every error raised on purpose."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
import typer
from rich.console import Console

from hascodesign import __version__, files, interrupt
from hascodesign.boards import BOARDS, find
from hascodesign.config import board_config, load_config
from hascodesign.errors import ConfigError, HascodesignError
from hascodesign.faults_cli import faults_app
from hascodesign.steps import STEPS
from hascodesign.ui import Display

app = typer.Typer(
    name="hascodesign",
    help="Map a quantised network onto an imperfect PE array, and prove the result bit by bit.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
study_app = typer.Typer(help="Experiments: many flows, one table.", no_args_is_help=True)
app.add_typer(faults_app, name="faults")
app.add_typer(study_app, name="study")

Board = Annotated[str, typer.Option(help="Board; `hascodesign boards` lists them.")]
Model = Annotated[
    str | None, typer.Option(help="digits-cnn, mnist-cnn, mnist-mlp, or file.py:factory.")
]
Device = Annotated[
    Literal["cpu", "cuda"], typer.Option(help="Where maps are judged: cuda needs a GPU.")
]
OptionalPath = Path | None
OptionalInt = int | None


def _flow_command(last: str, help_text: str) -> None:
    name = {"estimate": "flow"}.get(last, last)

    @app.command(name, help=help_text)
    def command(
        board: Board = "pynq-z2",
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
            Literal["dsp", "lut"] | None,
            typer.Option(help="What multipliers are built of."),
        ] = None,
        simulator: Annotated[
            Literal["icarus", "verilator"], typer.Option(help="Simulator.")
        ] = "icarus",
        device: Device = "cpu",
        search_seconds: Annotated[
            float | None, typer.Option(help="Longest search, seconds.")
        ] = None,
        objectives: Annotated[
            str | None,
            typer.Option(help="accuracy, or a front of accuracy,passes,power (any of the two)."),
        ] = None,
        allowed_points: Annotated[
            float | None,
            typer.Option(help="Accuracy that the front's point may give up for the rest, points."),
        ] = None,
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
            str | None, typer.Option("--from", help=f"Compute again from: {', '.join(STEPS)}.")
        ] = None,
        to_step: Annotated[str, typer.Option("--to", help="Stop after this step.")] = last,
    ) -> None:
        from hascodesign.delivery import run_flow  # noqa: PLC0415  (numpy, jinja: start-up time)
        from hascodesign.request import Request  # noqa: PLC0415

        record = find(board)
        torch_device = _torch_device(device)
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
            "schedule.seconds": search_seconds,
            "schedule.objectives": None if objectives is None else objectives.split(","),
            "schedule.allowed_points": allowed_points,
            "verify.core_images": core_images,
        }
        for step in filter(None, (from_step, to_step)):
            if step not in STEPS:
                raise typer.BadParameter(f"a step must be one of {', '.join(STEPS)}, not {step}")
        run_flow(
            Request(
                config=load_config(config or board_config(record.name), changes),
                out=out or Path("build", record.name),
                cache=_cache(),
                command=shlex.join(["hascodesign", *sys.argv[1:]]),
                checkpoint=checkpoint,
                data=data or _data_for(model),
                faults=faults,
                voltage=voltage,
                schedule=schedule,
                simulator=simulator,
                device=torch_device,
                post_route=post_route,
                fresh=fresh,
                from_step=from_step,
                to_step=to_step,
            )
        )


_flow_command("estimate", "The whole flow: from a Brevitas model to verified ROMs and a report.")
_flow_command("schedule", "The flow up to the schedule.")
_flow_command("render", "The flow up to the rendered files, not verified yet.")
_flow_command("verify", "The flow up to the verified files.")


def _console() -> Console:
    """Standard output; wide enough for a table where it is not a terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


def _torch_device(name: str) -> str | None:
    """Torch device that the engine is to use, None for its own kernels."""
    if name == "cpu":
        return None
    from hascodesign.engine.device import check_device  # noqa: PLC0415  (torch: start-up time)

    return check_device(name)


def _cache() -> Path:
    return Path(platformdirs.user_cache_dir("hascodesign"))


def _data_for(model: str | None) -> Path | None:
    """Folder of extra data for a bundled model that is not self-contained."""
    folder = os.environ.get("HASCODESIGN_DATA")
    if folder is None or model is None or not model.startswith("mnist-"):
        return None
    return Path(folder) / "mnist-t10k"


@study_app.command("seeds")
def study_seeds(
    board: Board = "pynq-z2",
    model: Model = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Seeds 1 to N.")] = 20,
    out: Annotated[Path | None, typer.Option(help="Output folder.")] = None,
    search_seconds: Annotated[
        float | None, typer.Option(help="Longest search per seed, seconds.")
    ] = None,
) -> None:
    """Draw, search and judge one default profile per seed; all in one table."""
    from hascodesign.request import Request  # noqa: PLC0415  (numpy, scipy: start-up time)
    from hascodesign.study import seeds  # noqa: PLC0415

    record = find(board)
    changes = {"board": record.name, "model": model, "schedule.seconds": search_seconds}
    request = Request(
        config=load_config(board_config(record.name), changes),
        out=out or seeds.default_out(record.name),
        cache=_cache(),
        data=_data_for(model),
    )
    _console().print(seeds.table(seeds.run(request, range(1, n + 1))))


@study_app.command("baselines")
def study_baselines(
    board: Board = "pynq-z2",
    model: Model = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Profiles of seeds 1 to N.")] = 20,
    faulty: Annotated[int, typer.Option(min=1, help="Faulty PEs, one fault in each.")] = 4,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="The GA alone at the HAS study's size, too.")
    ] = False,
    out: Annotated[OptionalPath, typer.Option(help="Output folder.")] = None,
) -> None:
    """Every way of choosing the map beside the search; taken up again where it was left."""
    from hascodesign.study import baselines, baselines_report  # noqa: PLC0415  (start-up time)

    request = baselines.request(find(board).name, model, faulty, out, _cache(), _data_for(model))
    result = baselines.run(request, range(1, n + 1), thorough=thorough)
    baselines_report.write(result, request.out)
    _console().print(baselines_report.table(result))
    for line in baselines_report.sentences(result):
        print(line)


@study_app.command("voltage")
def study_voltage(
    board: Board = "pynq-z2",
    model: Model = None,
    seed: Annotated[OptionalInt, typer.Option(help="Seed of the first chip.")] = None,
    chips: Annotated[int, typer.Option(min=1, max=1000, help="Chips: seed, seed + 1, ...")] = 5,
    out: Annotated[OptionalPath, typer.Option(help="Output folder.")] = None,
    search_seconds: Annotated[
        float, typer.Option(help="Longest search per chip and voltage, seconds.")
    ] = 10.0,
) -> None:
    """Accuracy against voltage and modelled power, for plain order and schedule."""
    from hascodesign.request import Request  # noqa: PLC0415  (numpy, scipy: start-up time)
    from hascodesign.study import voltage, voltage_report  # noqa: PLC0415

    record = find(board)
    changes = {
        "board": record.name,
        "model": model,
        "seed": seed,
        "schedule.seconds": search_seconds,
        "schedule.random_maps": 2,
    }
    request = Request(
        config=load_config(board_config(record.name), changes),
        out=out or Path("build", f"study-voltage-{record.name}"),
        cache=_cache(),
        data=_data_for(model),
    )
    folder = os.environ.get("HASCODESIGN_DATA")
    measured = voltage.measured_folder(Path(folder) if folder else None)
    result = voltage.run(request, measured, chips)
    voltage_report.write(result, request.out)
    _console().print(voltage_report.table(result))
    for line in voltage_report.sentences(result):
        print(line)
    print(request.out / "voltage.png")


@study_app.command("has")
def study_has(
    dataset: Annotated[
        Literal["digits", "mnist"], typer.Option(help="mnist needs HASCODESIGN_DATA.")
    ] = "digits",
    layer: Annotated[Literal["first", "all"], typer.Option(help="Layers corrupted.")] = "first",
    kinds: Annotated[str, typer.Option(help="Comma-separated kinds.")] = "invert,set1",
    pmax: Annotated[str, typer.Option(help="Comma-separated probabilities.")] = "0.002,0.005",
    models: Annotated[int, typer.Option(min=1, help="Networks trained.")] = 1,
    profiles: Annotated[int, typer.Option(min=1, help="Profiles of each.")] = 2,
    blocks: Annotated[Literal["lim", "inf"], typer.Option(help="Blocks reused or not.")] = "lim",
    integer_pmax: Annotated[
        str, typer.Option(help="Also in integers, at these probabilities; takes minutes each.")
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Seed.")] = 1,
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("build", "study-has"),
) -> None:
    """The HAS study's own experiment, judged on images that no search has seen."""
    from hascodesign.study import has, has_report  # noqa: PLC0415  (torch: start-up time)

    options = has.HasOptions(
        dataset=dataset,
        layer=layer,
        kinds=tuple(kinds.split(",")),
        pmax=_numbers("--pmax", pmax),
        models=models,
        profiles=profiles,
        blocks=blocks,
        integer_pmax=_numbers("--integer-pmax", integer_pmax),
        seed=seed,
    )
    folder = files.usable_folder(out)
    with Display(folder / "study.log") as display:
        result = has.run(options, _cache(), display.progress)
    has_report.write(result, folder)
    _console().print(has_report.table(result))
    if result.integer:
        _console().print(has_report.integer_table(result))


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part)
    except ValueError as error:
        raise ConfigError(f"{option} must be numbers with commas between, not {text}") from error


@app.command()
def boards() -> None:
    """List the boards and what their parts hold."""
    from rich.table import Table  # noqa: PLC0415

    table = Table("board", "part", "LUT", "FF", "BRAM36", "URAM", "DSP", "clock MHz")
    for b in BOARDS.values():
        cells = (b.lut, b.ff, b.bram36, b.uram, b.dsp, f"{b.clock_mhz:g}")
        table.add_row(b.name, b.part, *map(str, cells))
    _console().print(table)


@app.command()
def doctor() -> None:
    """Check the tools and packages that the flow uses."""
    from hascodesign import doctor as checks  # noqa: PLC0415

    raise typer.Exit(checks.report(_console()))


@app.command()
def bench(
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
    if quick:
        options = run.quick(options)
    found = run.run(options, out, _cache())
    for table in result.tables(found):
        _console().print(table)
    print(f"{found.heading}\n{found.machine.title}\n{out / 'bench.json'}")


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


def main() -> None:
    """Entry point: 0 done; 1 failed step; 2 bad input; 3 a tool is missing; 130 Ctrl-C."""
    interrupt.install()
    # torch and numba bring a pool of threads each: one that spins while it waits takes the cores
    # from the other. Read when their libraries load, so it is set before them.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        app(standalone_mode=True)
    except HascodesignError as error:
        _fail(str(error), error.exit_code)
    except SystemExit as exit_:
        if exit_.code == interrupt.EXIT_CODE:  # typer's own, without a word
            _fail("stopped by Ctrl-C", interrupt.EXIT_CODE)
        raise
    except BrokenPipeError:
        os._exit(1)


def _fail(message: str, code: int) -> None:
    line = " ".join(message.split())
    print(f"hascodesign: {line}", file=sys.stderr)
    raise SystemExit(code)

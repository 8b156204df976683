"""The commands `study ...`."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hascodesign.board import tools
from hascodesign.board.boards import find
from hascodesign.cli.options import (
    Board,
    Model,
    Moves,
    OptionalInt,
    OptionalPath,
    OptionalText,
    Preload,
    Scheduler,
    SparePasses,
    Workers,
    cache,
    check_cluster,
    console,
    data_for,
    named,
)
from hascodesign.common import files
from hascodesign.common.display import Display
from hascodesign.contract.errors import ConfigError, HascodesignError
from hascodesign.flow.config import board_config, load_config

if TYPE_CHECKING:
    from hascodesign.fleet.cluster import Where

study_app = typer.Typer(help="Experiments: many flows, one table.", no_args_is_help=True)


@study_app.command("seeds")
def study_seeds(
    board: Board = "pynq-z2",
    model: Model = None,
    n: Annotated[int, typer.Option("--n", min=1, help="So many seeds, from the first.")] = 20,
    first: Annotated[int, typer.Option(min=1, max=2**32 - 1, help="First seed.")] = 1,
    faulty: Annotated[
        OptionalInt, typer.Option(min=0, help="Faulty PEs; the flow file's number by default.")
    ] = None,
    faults_per_pe: Annotated[
        OptionalInt, typer.Option(min=1, help="Faults on each; the flow file's number by default.")
    ] = None,
    bits: Annotated[
        Literal["all", "upper"],
        typer.Option(help="Bits that are struck; upper: of products and partial sums only."),
    ] = "all",
    moves: Moves = None,
    preload: Preload = None,
    spare_passes: SparePasses = None,
    ten_times: Annotated[
        int, typer.Option(min=0, help="So many of the first seeds are also searched ten times.")
    ] = 0,
    out: Annotated[Path | None, typer.Option(help="Output folder.")] = None,
    search_seconds: Annotated[
        float | None, typer.Option(help="Longest search per seed, seconds.")
    ] = None,
    scheduler: Scheduler = None,
    workers: Workers = None,
) -> None:
    """Draw, search and judge one profile per seed; all in one table."""
    from hascodesign.flow.request import Request  # noqa: PLC0415  (numpy, scipy: start-up time)
    from hascodesign.study import seeds, seeds_report  # noqa: PLC0415

    if ten_times > n:
        raise ConfigError(f"--ten-times must be at most --n, {n}, not {ten_times}")
    if faulty == 0 and (bits == "upper" or faults_per_pe is not None):
        option = "--bits upper" if bits == "upper" else "--faults-per-pe"
        raise ConfigError(f"{option} has no effect: --faulty 0 draws no fault; leave it out")
    if preload is False and "preload" in (named(moves) or ()):
        raise ConfigError("--moves preload has no effect with --no-preload; leave one of them out")
    record = find(board)
    changes = {
        "board": record.name,
        "model": model,
        "faults.faulty_pes": faulty,
        "faults.faults_per_pe": faults_per_pe,
        "faults.bits": bits,
        "schedule.moves": named(moves),
        "render.preload": preload,
        "schedule.spare_passes": spare_passes,
        "schedule.seconds": search_seconds,
    }
    if bits == "upper":
        changes |= {"faults.site_area.weight": 0.0, "faults.site_area.act": 0.0}
    request = Request(
        config=load_config(board_config(record.name), changes),
        out=out or seeds.default_out(record.name),
        cache=cache(),
        data=data_for(model),
    )
    drawn = range(first, first + n)
    where = _where(scheduler, workers)
    rows = seeds.run(request, drawn, ten_times=drawn[:ten_times], where=where)
    seeds_report.write(rows, request.out)
    console().print(seeds_report.table(rows))


def _where(scheduler: str | None, workers: int | None) -> Where | None:
    """The cluster that is asked for, None where it is this process alone."""
    if scheduler is None and workers is None:
        return None
    check_cluster(scheduler, workers)
    tools.require_extra("distributed", extra="fleet", what="a study on a cluster")
    from hascodesign.fleet.cluster import Where  # noqa: PLC0415  (dask, of an extra)

    return Where(scheduler, workers or 1)


@study_app.command("benchmark")
def study_benchmark(
    board: Board = "pynq-z2",
    model: Model = None,
    kinds: Annotated[
        OptionalText, typer.Option(help="Comma-separated kinds of chips; all: every kind.")
    ] = None,
    methods: Annotated[
        OptionalText, typer.Option(help="Comma-separated methods; all by default.")
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="So many chips of each kind.")] = 1,
    first: Annotated[int, typer.Option(min=1, max=2**32 - 1, help="First seed.")] = 1,
    add: Annotated[
        list[Path], typer.Option(help="A benchmark.json with methods of others; repeatable.")
    ] = [],  # noqa: B006  (typer's own way)
    preload: Preload = None,
    out: Annotated[OptionalPath, typer.Option(help="Output folder.")] = None,
    scheduler: Scheduler = None,
    workers: Workers = None,
) -> None:
    """What the field does about faulty PEs, on the same chips; taken up again where it was left."""
    from hascodesign.flow.request import Request  # noqa: PLC0415  (numpy, scipy: start-up time)
    from hascodesign.study import benchmark, benchmark_report, chips  # noqa: PLC0415
    from hascodesign.study.methods import METHODS  # noqa: PLC0415
    from hascodesign.study.voltage import measured_folder  # noqa: PLC0415

    for path in add:
        benchmark_report.read(path)  # now, not after a night
    record = find(board)
    changes = {"board": record.name, "model": model, "render.preload": preload}
    folder = os.environ.get("HASCODESIGN_DATA")
    request = Request(
        config=load_config(board_config(record.name), changes),
        out=out or Path("build", f"study-benchmark-{record.name}"),
        cache=cache(),
        data=data_for(model),
    )
    result = benchmark.run(
        request,
        _of("--kinds", kinds, chips.KINDS, chips.FEW),
        _of("--methods", methods, METHODS, tuple(METHODS)),
        range(first, first + n),
        measured=measured_folder(Path(folder) if folder else None),
        where=_where(scheduler, workers),
    )
    for path in add:
        result = benchmark_report.add(result, path)
    benchmark_report.write(result, request.out)
    for table in benchmark_report.tables(result):
        console().print(table)
    print(f"p: {benchmark_report.TEST}")
    print(request.out / "benchmark.png")


def _of(
    option: str, text: str | None, known: Collection[str], default: Sequence[str]
) -> tuple[str, ...]:
    """Names that an option gives, in the order in which they are known."""
    if text is None:
        return tuple(default)
    asked = set(known) if text == "all" else {part.strip() for part in text.split(",")}
    if unknown := sorted(asked - set(known)):
        raise ConfigError(
            f"{option} must be names of {', '.join(known)}, or all, not {unknown[0]!r}"
        )
    return tuple(name for name in known if name in asked)


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
    scheduler: Scheduler = None,
    workers: Workers = None,
) -> None:
    """Accuracy against voltage and modelled power, for plain order and schedule."""
    from hascodesign.flow.request import Request  # noqa: PLC0415  (numpy, scipy: start-up time)
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
        cache=cache(),
        data=data_for(model),
    )
    folder = os.environ.get("HASCODESIGN_DATA")
    measured = voltage.measured_folder(Path(folder) if folder else None)
    result = voltage.run(request, measured, chips, where=_where(scheduler, workers))
    voltage_report.write(result, request.out)
    console().print(voltage_report.table(result))
    for line in voltage_report.sentences(result):
        print(line)
    print(request.out / "voltage.png")


@study_app.command("diagnose")
def study_diagnose(
    n: Annotated[int, typer.Option("--n", help="So many drawn chips, from the first seed.")] = 24,
    first: Annotated[int, typer.Option(help="First seed, 0 to 4294967295.")] = 1,
    transient: Annotated[
        bool, typer.Option("--transient", help="Chips with transient faults instead.")
    ] = False,
    dataflow: Annotated[Literal["os", "ws"], typer.Option(help="Dataflow of the arrays.")] = "os",
    scheduler: Scheduler = None,
    workers: Workers = None,
) -> None:
    """Diagnose drawn chips, the fault model as the chip; exit 1 where an explained PE is wrong."""
    from hascodesign.study import diagnose  # noqa: PLC0415  (numpy, numba: start-up time)

    if transient and dataflow != "os":
        raise ConfigError(
            f"--transient must go without --dataflow {dataflow}: only in os are transient faults "
            "diagnosed"
        )
    where = _where(scheduler, workers)
    if transient:
        _study_transients(n, first, where)
        return
    with Display() as display:
        rows = diagnose.run(n, first, display.progress, where, dataflow)
    console().print(diagnose.table(rows))
    for row in rows:
        if row.unexplained:
            print(f"seed {row.seed}: {row.unexplained} PEs are not explained, and named so")
    _check_compared(sum(row.compared for row in rows))
    if lies := [row.seed for row in rows if row.differ]:
        raise HascodesignError(
            "every explained PE must behave as diagnosed, but on the chips of these seeds one does "
            f"not: {', '.join(map(str, lies))}"
        )


def _check_compared(sums: int) -> None:
    if not sums:
        raise HascodesignError("a PE of one chip at least must be explained: no sum was compared")


def _study_transients(n: int, first: int, where: Where | None) -> None:
    from hascodesign.study import transients  # noqa: PLC0415  (numpy, numba: start-up time)

    with Display() as display:
        rows = transients.run(n, first, display.progress, where)
    console().print(transients.table(rows))
    for row in rows:
        for case in row.cases:
            if not case.explained:
                print(f"seed {row.seed}: PE {case.pe} is not explained, and named so")
    _check_compared(sum(row.compared for row in rows))
    if lies := [(row.seed, pe) for row in rows for pe in row.wrong]:
        named = ", ".join(f"seed {seed} PE {pe}" for seed, pe in lies)
        raise HascodesignError(f"every explained PE must be as diagnosed, but not so: {named}")


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
    scheduler: Scheduler = None,
    workers: Workers = None,
) -> None:
    """The HAS study's own experiment, judged on images that no search has seen."""
    from hascodesign.study.has import experiment, report  # noqa: PLC0415  (torch: start-up time)

    options = experiment.HasOptions(
        dataset=dataset,
        layer=layer,
        kinds=tuple(kinds.split(",")),
        pmax=_numbers("--pmax", pmax),
        models=models,
        profiles=profiles,
        blocks=blocks,
        integer_pmax=_numbers("--integer-pmax", integer_pmax),
        integer_profiles=profiles,
        seed=seed,
    )
    folder, where = files.usable_folder(out), _where(scheduler, workers)
    with Display(folder / "study.log") as display:
        result = experiment.run(options, cache(), display.progress, where)
    report.write(result, folder)
    console().print(report.table(result))
    console().print(report.rescaled_table(result))
    if result.integer:
        console().print(report.integer_table(result))


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part)
    except ValueError as error:
        raise ConfigError(f"{option} must be numbers with commas between, not {text}") from error

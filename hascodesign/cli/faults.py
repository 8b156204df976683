"""The command line's `faults` group: draw, show and convert profiles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from hascodesign.board.boards import find
from hascodesign.cli.options import refuse_idle
from hascodesign.common import files
from hascodesign.contract.types import ArraySpec
from hascodesign.flow.config import board_config, load_config

_SIZES = ("board", "pe", "simd", "weight_bits", "act_bits", "acc_bits", "dataflow", "wmem_depth")
#: Options of `generate` by method, beside the output, the seed and the array.
METHODS = {
    "by-area": ("faulty_pes", "faults_per_pe", "bits"),
    "uniform": ("count",),
    "clustered": ("count", "clusters", "radius"),
    "dead": ("count",),
    "lim": ("pmax", "block", "low_bit", "high_bit"),
    "inf": ("pmax", "low_bit", "high_bit"),
    "threshold": ("voltage", "shared", "length"),
}
#: Options of `show` and `convert` by kind of source, beside the output.
SOURCES = {
    "profile": (),
    "cells": ("voltage",),
    "probabilities": (*_SIZES, "seed", "block", "low_bit", "high_bit"),
    "measured": (*_SIZES, "seed", "voltage", "first_bram"),
}

faults_app = typer.Typer(help="Draw, show and convert fault profiles.", no_args_is_help=True)

OptionalInt = int | None
Board = Annotated[str, typer.Option(help="Board whose flow file gives the array.")]
Source = Annotated[
    Path,
    typer.Argument(
        help="Profile (.json, .csv), .cells.json, .npy, or list or folder of measured faults."
    ),
]
Pes = Annotated[OptionalInt, typer.Option("--pe", help="Processing elements, if not the board's.")]
Lanes = Annotated[OptionalInt, typer.Option("--simd", help="Multipliers in each PE.")]
WeightBits = Annotated[OptionalInt, typer.Option(help="Weight bits of the array.")]
ActBits = Annotated[OptionalInt, typer.Option(help="Activation bits of the array.")]
AccBits = Annotated[OptionalInt, typer.Option(help="Accumulator bits.")]
Flow = Annotated[Literal["os", "ws"] | None, typer.Option("--dataflow", help="Dataflow.")]
Depth = Annotated[int, typer.Option(help="Words of each weight bank; 0 = not fixed.")]
Volts = Annotated[float | None, typer.Option("--voltage", help="Supply voltage, V.")]
Block = Annotated[str, typer.Option(help="Block of the study's probabilities: number, mean, all.")]
Seed = Annotated[int, typer.Option(help="Seed, 0 to 4294967295.")]
LowBit = Annotated[int, typer.Option(help="lim, inf, .npy: lowest accumulator bit inverted.")]
HighBit = Annotated[int, typer.Option(help="lim, inf, .npy: highest accumulator bit inverted.")]
FirstBram = Annotated[
    int, typer.Option(help="Measured list: block RAM that holds the first bank's first word.")
]


def board_array(board: str, depth: int, **changes: int | str | None) -> ArraySpec:
    """The board's array with other sizes laid over it."""
    laid = {f"array.{name}": value for name, value in changes.items()}
    spec = load_config(board_config(find(board).name), laid).array.spec()
    return replace(spec, wmem_depth=depth)


@faults_app.command()
def generate(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="File to write: .json or .csv.")] = Path("faults.json"),
    method: Annotated[
        Literal["by-area", "uniform", "clustered", "dead", "lim", "inf", "threshold"],
        typer.Option(help="How faults are drawn."),
    ] = "by-area",
    seed: Seed = 1,
    board: Board = "pynq-z2",
    pe: Pes = None,
    simd: Lanes = None,
    weight_bits: WeightBits = None,
    act_bits: ActBits = None,
    acc_bits: AccBits = None,
    dataflow: Flow = None,
    wmem_depth: Depth = 0,
    faulty_pes: Annotated[int, typer.Option(help="by-area: PEs with faults.")] = 4,
    faults_per_pe: Annotated[int, typer.Option(help="by-area: faults on each.")] = 1,
    bits: Annotated[
        Literal["all", "upper"], typer.Option(help="by-area: all bits of a site or its upper half.")
    ] = "all",
    count: Annotated[int, typer.Option(help="uniform, clustered, dead: how many.")] = 8,
    clusters: Annotated[int, typer.Option(help="clustered: clusters.")] = 2,
    radius: Annotated[
        int, typer.Option(help="clustered: farthest from a centre, multipliers.")
    ] = 2,
    pmax: Annotated[float, typer.Option(help="lim, inf: largest probability.")] = 0.005,
    block: Block = "0",
    low_bit: LowBit = 6,
    high_bit: HighBit = 14,
    voltage: Volts = None,
    shared: Annotated[
        float,
        typer.Option(help="threshold: share of the variance that a multiplier's cells share."),
    ] = 0.28,
    length: Annotated[
        float, typer.Option(help="threshold: multipliers over which the correlation falls by e.")
    ] = 0.5,
) -> None:
    """Draw a profile from a seed and write it; or, threshold without --voltage, its cells."""
    from hascodesign.faults import commands  # noqa: PLC0415  (start-up time)

    refuse_idle(context, METHODS, method, f"method {method}")
    options = commands.DrawOptions(
        faulty_pes=faulty_pes,
        faults_per_pe=faults_per_pe,
        bits=bits,
        count=count,
        clusters=clusters,
        radius=radius,
        pmax=pmax,
        block=block,
        transient_bits=(low_bit, high_bit),
        volts=voltage,
        shared=shared,
        length=length,
    )
    sizes = {"pe": pe, "simd": simd, "dataflow": dataflow}
    widths = {"weight_bits": weight_bits, "act_bits": act_bits, "acc_bits": acc_bits}
    array = board_array(board, wmem_depth, **sizes, **widths)
    commands.check_output(out, cells=method == "threshold" and voltage is None)
    write_file(out, commands.draw(array, seed, method, commands.form_of(out), options))


@faults_app.command()
def show(
    context: typer.Context,
    source: Source,
    svg: Annotated[Path | None, typer.Option(help="Write the map as SVG to this file.")] = None,
    board: Board = "pynq-z2",
    pe: Pes = None,
    simd: Lanes = None,
    weight_bits: WeightBits = None,
    act_bits: ActBits = None,
    acc_bits: AccBits = None,
    dataflow: Flow = None,
    wmem_depth: Depth = 0,
    voltage: Volts = None,
    block: Block = "0",
    low_bit: LowBit = 6,
    high_bit: HighBit = 14,
    first_bram: FirstBram = 0,
) -> None:
    """Print a map of the array with its faults, or draw it."""
    from hascodesign.faults import commands  # noqa: PLC0415  (start-up time)

    _check_source(context, source)
    sizes = {"pe": pe, "simd": simd, "dataflow": dataflow}
    widths = {"weight_bits": weight_bits, "act_bits": act_bits, "acc_bits": acc_bits}
    array = board_array(board, wmem_depth, **sizes, **widths)
    options = commands.LoadOptions(array, voltage, block, first_bram, 0, (low_bit, high_bit))
    if svg is None:
        Console().print(commands.show_text(source, options))
        return
    write_file(svg, commands.show_svg(source, options))


@faults_app.command()
def convert(
    context: typer.Context,
    source: Source,
    out: Annotated[
        Path,
        typer.Argument(
            help="File to write: .json, .csv or .npy; or a folder for the RTL's masks as .mem."
        ),
    ],
    board: Board = "pynq-z2",
    pe: Pes = None,
    simd: Lanes = None,
    weight_bits: WeightBits = None,
    act_bits: ActBits = None,
    acc_bits: AccBits = None,
    dataflow: Flow = None,
    wmem_depth: Depth = 0,
    seed: Annotated[int, typer.Option(help=".npy, measured: seed of the transient draws.")] = 0,
    voltage: Volts = None,
    block: Block = "0",
    low_bit: LowBit = 6,
    high_bit: HighBit = 14,
    first_bram: FirstBram = 0,
) -> None:
    """Write any source of faults as a profile, as probabilities or as masks for the RTL."""
    from hascodesign.faults import commands  # noqa: PLC0415  (start-up time)

    _check_source(context, source)
    sizes = {"pe": pe, "simd": simd, "dataflow": dataflow}
    widths = {"weight_bits": weight_bits, "act_bits": act_bits, "acc_bits": acc_bits}
    array = board_array(board, wmem_depth, **sizes, **widths)
    options = commands.LoadOptions(array, voltage, block, first_bram, seed, (low_bit, high_bit))
    if out.suffix:
        write_file(out, commands.convert(source, commands.form_of(out), options))
        return
    content = commands.mask_files(source, options)
    folder = files.usable_folder(out)
    for name, data in content.items():
        files.write_atomic(folder / name, data)
    print(out)


def _check_source(context: typer.Context, source: Path) -> None:
    from hascodesign.faults.sources import kind_of  # noqa: PLC0415  (start-up time)

    if not source.exists():
        return  # its reader says so
    kind = kind_of(source)
    words = {"profile": "a profile", "cells": "cells", "measured": "a measured list"}
    refuse_idle(context, SOURCES, kind, f"{source.name}, {words.get(kind, kind)}")


def write_file(path: Path, content: bytes) -> None:
    """Write a file, whose folder is made, and say so."""
    files.usable_folder(path.parent)
    files.write_atomic(path, content)
    print(path)

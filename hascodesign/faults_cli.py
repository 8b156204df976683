"""The command line's `faults` group: draw, show and convert profiles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from hascodesign import files
from hascodesign.boards import find
from hascodesign.config import board_config, load_config
from hascodesign.types import ArraySpec

faults_app = typer.Typer(help="Draw, show and convert fault profiles.", no_args_is_help=True)

Board = Annotated[str, typer.Option(help="Board whose flow file gives the array.")]
Source = Annotated[
    Path,
    typer.Argument(help="Profile (.json, .csv), .cells.json, .npy, or folder of measured faults."),
]
Size = Annotated[int | None, typer.Option(min=1, help="Another size than the board's.")]
Depth = Annotated[int, typer.Option(min=0, help="Words of each weight bank; 0 = not fixed.")]
Volts = Annotated[float | None, typer.Option("--voltage", help="Supply voltage, V.")]
Block = Annotated[str, typer.Option(help="Block of the study's probabilities: number, mean, all.")]


def _array(
    board: str, pe: int | None, simd: int | None, depth: int, dataflow: str | None = None
) -> ArraySpec:
    changes = {"array.pe": pe, "array.simd": simd, "array.dataflow": dataflow}
    spec = load_config(board_config(find(board).name), changes).array.spec()
    return ArraySpec(
        spec.pe,
        spec.simd,
        spec.weight_bits,
        spec.act_bits,
        spec.acc_bits,
        spec.dataflow,
        depth,
    )


@faults_app.command()
def generate(
    out: Annotated[Path, typer.Option(help="File to write: .json or .csv.")] = Path("faults.json"),
    method: Annotated[
        Literal["by-area", "uniform", "clustered", "dead", "lim", "inf", "threshold"],
        typer.Option(help="How faults are drawn."),
    ] = "by-area",
    seed: Annotated[int, typer.Option(min=0, help="Seed.")] = 1,
    board: Board = "pynq-z2",
    pe: Size = None,
    simd: Size = None,
    dataflow: Annotated[Literal["os", "ws"] | None, typer.Option(help="Dataflow.")] = None,
    wmem_depth: Depth = 0,
    faulty_pes: Annotated[int, typer.Option(min=0, help="by-area: PEs with faults.")] = 4,
    faults_per_pe: Annotated[int, typer.Option(min=1, help="by-area: faults on each.")] = 1,
    count: Annotated[int, typer.Option(min=0, help="uniform, clustered, dead: how many.")] = 8,
    pmax: Annotated[float, typer.Option(help="lim, inf: largest probability.")] = 0.005,
    voltage: Volts = None,
    block: Block = "0",
) -> None:
    """Draw a profile from a seed and write it."""
    from hascodesign.faults import commands  # noqa: PLC0415  (start-up time)

    options = commands.DrawOptions(
        faulty_pes=faulty_pes,
        faults_per_pe=faults_per_pe,
        count=count,
        pmax=pmax,
        volts=voltage,
        block=block,
    )
    array = _array(board, pe, simd, wmem_depth, dataflow)
    content = commands.draw(array, seed, method, _form(out), options)
    files.usable_folder(out.parent)
    files.write_atomic(out, content)
    print(out)


@faults_app.command()
def show(
    source: Source,
    svg: Annotated[Path | None, typer.Option(help="Write the map as SVG to this file.")] = None,
    board: Board = "pynq-z2",
    wmem_depth: Depth = 0,
    voltage: Volts = None,
    block: Block = "0",
) -> None:
    """Print a map of the array with its faults, or draw it."""
    from hascodesign.faults import commands  # noqa: PLC0415  (start-up time)

    options = commands.LoadOptions(_array(board, None, None, wmem_depth), voltage, block)
    if svg is None:
        Console().print(commands.show_text(source, options))
        return
    content = commands.show_svg(source, options)
    files.usable_folder(svg.parent)
    files.write_atomic(svg, content)
    print(svg)


@faults_app.command()
def convert(
    source: Source,
    out: Annotated[Path, typer.Argument(help="File to write: .json or .csv.")],
    board: Board = "pynq-z2",
    wmem_depth: Depth = 0,
    voltage: Volts = None,
    block: Block = "0",
) -> None:
    """Write any source of faults as a profile, JSON or CSV."""
    from hascodesign.faults import commands  # noqa: PLC0415  (start-up time)

    options = commands.LoadOptions(_array(board, None, None, wmem_depth), voltage, block)
    content = commands.convert(source, _form(out), options)
    files.usable_folder(out.parent)
    files.write_atomic(out, content)
    print(out)


def _form(path: Path) -> str:
    return path.suffix.removeprefix(".")

"""Clock cycles per second that the array's own Verilog simulates at."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hascodesign.bench.growth import Sizes, array_of, layer_work, one_layer, random_layer
from hascodesign.bench.result import Line
from hascodesign.bench.subject import SEED
from hascodesign.bench.timing import repeated
from hascodesign.contract.array import generator, identity_schedule
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.errors import ToolNotFound
from hascodesign.contract.types import Fault, FaultProfile
from hascodesign.render import rom, rtl
from hascodesign.verify import run

PE, SIMD = 4, 4
COLUMNS = 32  # of the simulated layer
SIMULATORS = ("icarus", "verilator")


def cycles_per_second(
    work: Path,
    told: Callable[[Line], None],
    *,
    rows: int = 64,
    depth: int = 256,
    simulators: tuple[str, ...] = SIMULATORS,
) -> list[Line]:
    """One layer with stuck partial sums on a small array, in each simulator and in the engine.

    Parameters
    ----------
    work : folder for the simulations.
    told : every line as it comes.
    rows, depth : R and K of the layer.
    simulators : as `verify` takes them; one that is not installed gets a line that says so.
    """
    rng = generator(SEED, "bench rtl")
    network = one_layer(replace(random_layer(rng, rows, depth), output=None, out_bits=0))
    profile = FaultProfile(array_of(PE, SIMD), (Fault(0, "sa1", "psum", None, 9),))
    schedule = identity_schedule(network, profile.array)
    memories = rom.rom_files(rom.build_roms(network, schedule, (True,)))
    verilog = rtl.render_rtl(network, schedule, profile, rtl.RtlOptions())
    plan = BuildPlan({**verilog, **memories})
    codes = rng.integers(0, 16, (COLUMNS, 1, 1, depth))
    lines = []
    for simulator in simulators:
        folder = work / simulator
        try:
            done, _ = run.verify(
                network, schedule, profile, plan, codes, work=folder, simulator=simulator
            )
        except ToolNotFound as missing:
            lines.append(Line("rtl", simulator, note=f"not measured: {missing}"))
            told(lines[-1])
            continue
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        faulty = next(layer for layer in done.layers if layer.run == "faulty")
        rate = faulty.cycles / faulty.seconds
        columns = faulty.columns / faulty.seconds
        lines += [
            Line(
                "rtl",
                f"{simulator}, {PE} PEs x {SIMD}, K {depth}, {rows} rows",
                value=rate,
                unit="cycles per second",
                note=f"{faulty.cycles} cycles in the cocotb bench, {done.mismatches} mismatches",
            ),
            Line("rtl", f"{simulator}, the same", value=columns, unit="columns per second"),
        ]
        told(lines[-2])
    lines.append(_engine(rows, depth))
    told(lines[-1])
    return lines


def _engine(rows: int, depth: int) -> Line:
    images = 4096
    sizes = Sizes(images=images, depth=depth, rows=rows, pe=PE)
    taken, _ = repeated(layer_work(sizes, SIMD), 5)
    return Line(
        "rtl", "the engine, the same", value=images / taken.median, unit="columns per second"
    )

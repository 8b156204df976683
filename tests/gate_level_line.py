"""The netlist of a ULX3S's design, the serial line included, under the driver's own files.

    python -m tests.gate_level_line [--work FOLDER]

``has_uart_core`` of a small network, with faults, made by the recipe of the board's bitstream
(``synth/synth.ys``, without the top's PLL and pins), in Icarus: the driver resets it and has images
classified, with streamed weights. It fails where a logit is another than the engine's.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from hascodesign.board import boards, netlist
from hascodesign.contract.build import BuildPlan
from hascodesign.render import build, ulx3s
from hascodesign.render.core_sizes import CoreOptions
from hascodesign.render.rtl import RtlOptions
from hascodesign.verify.gate_level import gate_level_plan
from tests import driver_cases

TOP = "has_uart_core"
IMAGES = 3
CLOCK_MHZ = 10.0  # five cycles of it are a bit: a short simulation


def main() -> int:
    """Make the netlist, run the benches on it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, help="folder that keeps logs and the netlist")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        case = driver_cases.tiny()
        plan = rendered(case)
        script = plan.files["synth/synth.ys"].decode().replace(f"-top {ulx3s.TOP}", f"-top {TOP}")
        made = netlist.netlist(plan, script, f"{TOP}_faulty", faults=True, work=work)
        models = netlist.cell_models("ecp5", made.cells)
        whole = gate_level_plan(
            BuildPlan({f"rtl/{TOP}.v": plan.files[f"{ulx3s.FOLDER}/{TOP}.v"]}), TOP,
            {"faulty": made.verilog}, models,
        )  # fmt: skip
        files = {path: data for path, data in plan.files.items() if path.startswith("roms/")}
        divisor = ulx3s.divisor(CLOCK_MHZ)
        bench = {"baud": 50_000_000 // divisor, "images": IMAGES}
        other = driver_cases.another(case)
        both = BuildPlan({**files, **whole.files})
        driver_cases.lay_out(work, case, both, {"other": other}, bench)
        driver_cases.run(work, ["driver_line_tests"], "--faults", top=TOP)
        cells = ", ".join(f"{count} {name}" for name, count in sorted(made.cells.items()))
        logits = IMAGES * case.network.layers[-1].rows
        print(f"ecp5 {TOP}: {logits} logits compared, 0 differ, with faults ({cells})")
    return 0


def rendered(case: driver_cases.Case) -> BuildPlan:
    """The build for the board."""
    return build.build_files(
        case.network, case.schedule, case.profile, boards.find("ulx3s-85f"),
        CoreOptions(RtlOptions(on_chip=case.on_chip)), clock_mhz=CLOCK_MHZ, with_core=True,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

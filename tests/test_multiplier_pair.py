"""Two products by one multiplication: every input, where it fits a DSP block, and in one."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hascodesign.board import boards, tools
from hascodesign.board.capacity import check_array, dsp_blocks
from hascodesign.common.shipped import share
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, FaultProfile
from tests import core_cases

FILES = ("has_multiplier_pair.v", "has_delay.v")
ARRAY = ArraySpec(16, 8, 4, 8, 24)

BENCH = """
module bench;
  localparam W = %(weight)d, A = %(act)d;
  reg signed [W-1:0] low, high;
  reg signed [A:0] act, other;
  wire signed [W+A:0] shared_low, shared_high, own_low, own_high;
  integer n, wrong = 0;
  has_multiplier_pair #(.WEIGHT_BITS(W), .ACT_BITS(A)) shared (
    .clk(1'b0), .enable(1'b1), .weight_low(low), .weight_high(high), .act_low(act),
    .act_high(other), .low(shared_low), .high(shared_high)
  );
  has_multiplier_pair #(.WEIGHT_BITS(W), .ACT_BITS(A), .SHARED(0)) own (
    .clk(1'b0), .enable(1'b1), .weight_low(low), .weight_high(high), .act_low(act),
    .act_high(other), .low(own_low), .high(own_high)
  );
  initial begin
    for (n = 0; n < (1 << %(bits)d); n = n + 1) begin
      {low, high, act} = n * %(stride)d;
      other = $random;
      #1 if (shared_low !== low * act || shared_high !== high * act || own_low !== low * act
             || own_high !== high * other) wrong = wrong + 1;
    end
    $display("%%0d of %%0d differ", wrong, n);
  end
endmodule
"""


def differ(work: Path, weight: int, act: int, *, change: tuple[str, str] | None = None) -> str:
    """All inputs up to 2^18 of them, beyond that every so many."""
    total = 2 * weight + act + 1
    bits = min(total, 18)
    values = {"weight": weight, "act": act, "bits": bits, "stride": (1 << (total - bits)) | 1}
    if total == bits:
        values["stride"] = 1
    sources = []
    for name in FILES:
        text = share("rtl_templates", name).read_text("ascii")
        if change is not None and name == FILES[0]:
            assert text.count(change[0]) == 1
            text = text.replace(*change)
        (work / name).write_text(text)
        sources.append(name)
    (work / "bench.v").write_text(BENCH % values)
    command = ["iverilog", "-g2012", "-s", "bench", "-o", "bench.vvp", "bench.v", *sources]
    subprocess.run(command, cwd=work, check=True)
    done = subprocess.run(
        ["vvp", "bench.vvp"], cwd=work, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(("weight", "act"), [(4, 8), (1, 1), (1, 8), (8, 8)])
def test_both_products_are_exact(tmp_path: Path, weight: int, act: int) -> None:
    count = 1 << min(2 * weight + act + 1, 18)
    assert differ(tmp_path, weight, act) == f"0 of {count} differ"


def test_what_is_borrowed_is_missed(tmp_path: Path) -> None:
    change = ("+ {{(SPACING-1){1'b0}}, both[SPACING-1]};", ";")
    wrong = differ(tmp_path, 4, 8, change=change)
    # the low product is negative in half of the cases, but for those of a factor 0
    assert 50_000 < int(wrong.split()[0]) < 65_536


def test_one_block_of_an_ecp5_takes_both(tmp_path: Path) -> None:
    """Eighteen bits of packed weights, and not one more."""
    yosys = tools.require("yosys")
    for name in FILES:
        (tmp_path / name).write_bytes(share("rtl_templates", name).read_bytes())
    blocks = []
    for weight in (4, 5):
        script = (
            f"read_verilog -defer {' '.join(FILES)}; chparam -set WEIGHT_BITS {weight}"
            " has_multiplier_pair; synth_ecp5 -top has_multiplier_pair -run begin:map_ram; flatten;"
            " tee -q -o stat.json stat -json"
        )
        subprocess.run([yosys, "-q", "-p", script], cwd=tmp_path, check=True, capture_output=True)
        text = (tmp_path / "stat.json").read_text()
        cells = json.loads(text[text.index("{") :])["design"]["num_cells_by_type"]
        blocks.append(cells["MULT18X18D"])
    assert blocks == [1, 2]


def test_one_block_takes_both(tmp_path: Path) -> None:
    """By the recipe's own pass, with the register that the block has of its own."""
    yosys = tools.require("yosys")
    for name in FILES:
        (tmp_path / name).write_bytes(share("rtl_templates", name).read_bytes())
    script = (
        f"read_verilog -defer {' '.join(FILES)}; chparam -set REGISTER 1 has_multiplier_pair;"
        " synth_xilinx -family xc7 -top has_multiplier_pair -flatten -noiopad -noclkbuf -nosrl;"
        " tee -q -o stat.json stat -json"
    )
    subprocess.run([yosys, "-q", "-p", script], cwd=tmp_path, check=True, capture_output=True)
    text = (tmp_path / "stat.json").read_text()
    cells = json.loads(text[text.index("{") :])["design"]["num_cells_by_type"]
    assert cells["DSP48E1"] == 1
    assert sum(count for name, count in cells.items() if name.startswith("FD")) == 0


def test_blocks_of_an_array() -> None:
    assert [dsp_blocks(ARRAY, kind) for kind in ("dsp", "dsp2", "lut")] == [128, 64, 0]
    assert dsp_blocks(replace(ARRAY, pe=5), "dsp2") == 24  # one PE is left over
    board = boards.find("pynq-z2")
    check_array(replace(ARRAY, pe=54), board, "dsp2")
    with pytest.raises(ConfigError, match=r"at most 220 .* not 56 PEs x 8 SIMD in pairs = 224"):
        check_array(replace(ARRAY, pe=56), board, "dsp2")


def test_what_cannot_be_packed_is_refused() -> None:
    wide = replace(ARRAY, weight_bits=8)
    said = r"at most 25 for a DSP of pynq-z2, not 26; --multipliers dsp takes a DSP for each"
    with pytest.raises(ConfigError, match=said):
        check_array(wide, boards.find("pynq-z2"), "dsp2")
    check_array(replace(wide, act_bits=7), boards.find("pynq-z2"), "dsp2")
    check_array(wide, boards.find("zcu104"), "dsp2")
    check_array(ARRAY, boards.find("ulx3s-85f"), "dsp2")
    with pytest.raises(ConfigError, match="at most 18 for a DSP of ulx3s-85f, not 20"):
        check_array(replace(ARRAY, weight_bits=5), boards.find("ulx3s-85f"), "dsp2")
    with pytest.raises(ConfigError, match=r"dsp2 needs dataflow os, .* not ws"):
        check_array(replace(ARRAY, dataflow="ws"), boards.find("zcu104"), "dsp2")
    rng, spec = np.random.default_rng(0), ArraySpec(4, 2, 4, 4, 20, "ws")
    net = core_cases.random_network(rng, spec, (1, 1, 4), [], pool=False)
    schedule = core_cases.identity(net, spec)
    with pytest.raises(ConfigError, match=r"dsp2 needs dataflow os, .* not ws"):
        core_cases.build(net, schedule, FaultProfile(spec), multipliers="dsp2")

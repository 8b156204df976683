"""Proofs with yosys: the PE is its arithmetic; a healthy array keeps no trace of fault sites."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from hascodesign.common.shipped import share

pytestmark = pytest.mark.skipif(shutil.which("yosys") is None, reason="yosys is not installed")

# The definition: operands wait as long as the PE's pipeline, then one line of arithmetic a wire.
DEFINITION = """
module definition #(parameter SIMD = 1, W = 1, A = 1, C = 1, PIPELINE = 0, FAULTS = 0,
                    M = W + A + 1, X = SIMD*(2*W + 2*A + M) + C) (
  input clk, enable, act_signed, accumulate, first,
  input [X-1:0] operands,  // psum, product, act and weight xor masks; act; weight
  input [SIMD*W-1:0] weight_and, weight_or, input [SIMD*A-1:0] act_and, act_or,
  input [SIMD*M-1:0] product_and, product_or, input [C-1:0] psum_and, psum_or,
  output reg [C-1:0] acc
);
  reg [X-1:0] line [0:4];
  always @(posedge clk) if (enable) begin
    line[0] <= operands; line[1] <= line[0]; line[2] <= line[1];
    line[3] <= line[2]; line[4] <= line[3];
  end
  wire [X-1:0] here = PIPELINE == 0 ? operands : line[PIPELINE == 0 ? 0 : PIPELINE-1];
  wire [SIMD*W-1:0] weight, weight_xor;
  wire [SIMD*A-1:0] act, act_xor;
  wire [SIMD*M-1:0] product_xor;
  wire [C-1:0] psum_xor;
  assign {psum_xor, product_xor, act_xor, weight_xor, act, weight} = here;

  wire [SIMD*W-1:0] w = FAULTS ? ((weight & weight_and) | weight_or) ^ weight_xor : weight;
  wire [SIMD*A-1:0] a = FAULTS ? ((act & act_and) | act_or) ^ act_xor : act;
  wire [SIMD*M-1:0] m;
  genvar s;
  generate for (s = 0; s < SIMD; s = s + 1) begin : each
    wire signed [M-1:0] ws = $signed(w[s*W +: W]);
    wire signed [M-1:0] as = act_signed ? {{(M-A){a[s*A+A-1]}}, a[s*A +: A]} : a[s*A +: A];
    wire [M-1:0] product = ws * as;
    assign m[s*M +: M] = FAULTS
      ? ((product & product_and[s*M +: M]) | product_or[s*M +: M]) ^ product_xor[s*M +: M]
      : product;
  end endgenerate
  reg [C-1:0] total;
  integer i;
  always @* begin
    total = first ? 0 : acc;
    for (i = 0; i < SIMD; i = i + 1) total = total + {{C{m[i*M+M-1]}}, m[i*M +: M]};
  end
  always @(posedge clk) if (enable && accumulate)
    acc <= FAULTS ? ((total & psum_and) | psum_or) ^ psum_xor : total;
endmodule

module harness #(parameter SIMD = 1, W = 1, A = 1, C = 1, PIPELINE = 0, FAULTS = 0,
                 DSP = 1,
                 M = W + A + 1, X = SIMD*(2*W + 2*A + M) + C) (
  input clk, enable, accumulate, first, input [X-1:0] operands, output differ
);
  reg [2:0] age;  // operands that are in the pipeline; none is accumulated before
  wire full = age >= PIPELINE;
  always @(posedge clk) if (enable && !full) age <= age + 1'b1;
  wire live = accumulate && full;

  (* anyconst *) wire act_signed;
  (* anyconst *) wire [SIMD*W-1:0] weight_and, weight_or;
  (* anyconst *) wire [SIMD*A-1:0] act_and, act_or;
  (* anyconst *) wire [SIMD*M-1:0] product_and, product_or;
  (* anyconst *) wire [C-1:0] psum_and, psum_or;
  wire [SIMD*W-1:0] weight, weight_xor;
  wire [SIMD*A-1:0] act, act_xor;
  wire [SIMD*M-1:0] product_xor;
  wire [C-1:0] psum_xor;
  assign {psum_xor, product_xor, act_xor, weight_xor, act, weight} = operands;
  wire [C-1:0] defined, built;
  definition #(.SIMD(SIMD), .W(W), .A(A), .C(C), .PIPELINE(PIPELINE), .FAULTS(FAULTS)) gold (
    clk, enable, act_signed, live, first, operands, weight_and, weight_or, act_and, act_or,
    product_and, product_or, psum_and, psum_or, defined);
  has_pe #(.SIMD(SIMD), .WEIGHT_BITS(W), .ACT_BITS(A), .ACC_BITS(C), .PIPELINE(PIPELINE),
           .FAULT_SITES(FAULTS), .USE_DSP(DSP ? "yes" : "no")) gate (
    .clk(clk), .enable(enable), .weight(weight), .act(act), .act_signed(act_signed),
    .accumulate(live), .first(first),
    .weight_and(weight_and), .weight_or(weight_or), .weight_xor(weight_xor),
    .act_and(act_and), .act_or(act_or), .act_xor(act_xor),
    .product_and(product_and), .product_or(product_or), .product_xor(product_xor),
    .psum_and(psum_and), .psum_or(psum_or), .psum_xor(psum_xor), .acc(built));
  assign differ = defined != built;
endmodule
"""

# An array as one writes it who has never heard of faults.
PLAIN = """
module plain_pe #(parameter SIMD = 8, W = 4, A = 8, C = 24, PIPELINE = 2, D = $clog2(SIMD)) (
  input clk, enable, act_signed, accumulate, first,
  input [SIMD*W-1:0] weight, input [SIMD*A-1:0] act, output reg [C-1:0] acc
);
  reg [SIMD*W-1:0] weight_3;
  reg [SIMD*A-1:0] act_3;
  always @(posedge clk) if (enable) begin weight_3 <= weight; act_3 <= act; end
  wire [SIMD*W-1:0] weight_in = PIPELINE > 2 ? weight_3 : weight;
  wire [SIMD*A-1:0] act_in = PIPELINE > 2 ? act_3 : act;
  genvar s;
  generate for (s = 0; s < SIMD; s = s + 1) begin : leaf
    wire signed [W-1:0] w = weight_in[s*W +: W];
    wire signed [A:0] a = {act_signed & act_in[s*A+A-1], act_in[s*A +: A]};
    reg signed [W+A:0] whole, product;
    if (PIPELINE > 3) always @(posedge clk) begin if (enable) whole <= w * a; end
    else always @* whole = w * a;
    if (PIPELINE > 0) always @(posedge clk) begin if (enable) product <= whole; end
    else always @* product = whole;
  end
  for (s = 0; s < SIMD - 1; s = s + 1) begin : node
    wire signed [C-1:0] left, right;
    reg signed [C-1:0] both;
    if (PIPELINE > 4 && $clog2(s + 2) - 1 == D / 2)  // the middle level of a full tree
      always @(posedge clk) begin if (enable) both <= left + right; end
    else always @* both = left + right;
    if (2*s + 1 < SIMD - 1) assign left = node[2*s+1].both;
    else assign left = leaf[2*s+2-SIMD].product;
    if (2*s + 2 < SIMD - 1) assign right = node[2*s+2].both;
    else assign right = leaf[2*s+3-SIMD].product;
  end endgenerate
  reg [C-1:0] sum_2;
  always @(posedge clk) if (enable) sum_2 <= node[0].both;
  wire [C-1:0] sum = PIPELINE > 1 ? sum_2 : node[0].both;
  always @(posedge clk) if (enable && accumulate) acc <= (first ? {C{1'b0}} : acc) + sum;
endmodule

module plain_array #(parameter PE = 4, SIMD = 4, W = 4, A = 8, C = 24, PIPELINE = 2,
                     DEPTH = 16, D = 4) (
  input clk, enable, act_signed, accumulate, first, capture, shift, write_enable,
  input [D-1:0] read_address, write_address, input [SIMD*A-1:0] act,
  input [PE*SIMD*W-1:0] write_weights, output [C-1:0] head
);
  genvar p;
  generate for (p = 0; p < PE; p = p + 1) begin : g
    reg [SIMD*W-1:0] bank [0:DEPTH-1];
    reg [SIMD*W-1:0] weight;
    always @(posedge clk) begin
      if (write_enable) bank[write_address] <= write_weights[p*SIMD*W +: SIMD*W];
      if (enable) weight <= bank[read_address];
    end
    wire [C-1:0] acc, behind;
    reg [C-1:0] shadow;
    plain_pe #(.SIMD(SIMD), .W(W), .A(A), .C(C), .PIPELINE(PIPELINE)) pe (
      clk, enable, act_signed, accumulate, first, weight, act, acc);
    if (p + 1 < PE) assign behind = g[p+1].shadow;
    else assign behind = {C{1'b0}};
    always @(posedge clk) if (capture) shadow <= acc; else if (shift) shadow <= behind;
  end endgenerate
  assign head = g[0].shadow;
endmodule
"""

MASKS = """
module has_fault_masks #(parameter PE = 0, SIMD = 1, WEIGHT_BITS = 1, ACT_BITS = 1, ACC_BITS = 1,
                         PSUMS = 1, M = WEIGHT_BITS + ACT_BITS + 1) (
  input [159:0] coordinates,
  output [SIMD*WEIGHT_BITS-1:0] wmem_and, wmem_or, wmem_xor, weight_and, weight_or, weight_xor,
  output [SIMD*ACT_BITS-1:0] act_and, act_or, act_xor,
  output [SIMD*M-1:0] product_and, product_or, product_xor,
  output [ACC_BITS-1:0] psum_and, psum_or, psum_xor, acc_and, acc_or, acc_xor
);
  assign {weight_and, act_and, product_and, psum_and, acc_and} = ~0;
  assign {weight_or, act_or, product_or, psum_or, acc_or} = 0;
  assign {weight_xor, act_xor, product_xor, acc_xor} = 0;
  assign psum_xor = PE == 2 ? 5 : 0;  // one faulty PE
endmodule
"""


def yosys(work: Path, script: str) -> subprocess.CompletedProcess[str]:
    (work / "script.ys").write_text(script, encoding="ascii")
    command = ["yosys", "-q", "-Q", "-T", "-s", "script.ys"]
    return subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)


def sources(work: Path, text: str, *names: str, broken: tuple[str, str] | None = None) -> str:
    """yosys commands that read modules of the array beside ``text``."""
    files = ["tests.v"]
    (work / "tests.v").write_text(text, encoding="ascii")
    for name in names:
        source = (share("rtl_templates") / name).read_text("ascii")
        if broken is not None and broken[0] in source:
            source, broken = source.replace(*broken), None
        (work / name).write_text(source, encoding="ascii")
        files.append(name)
    assert broken is None
    return "\n".join(f"read_verilog -defer {name}" for name in files)


PE_FILES = ("has_pe.v", "has_product.v", "has_multiplier.v", "has_delay.v", "has_fault.v")
PROVE = "sat -set-init-zero -prove differ 0"


def prove_pe(
    work: Path,
    shape: tuple[int, ...],
    goal: str,
    broken: tuple[str, str] | None = None,
    dsp: int = 1,
) -> subprocess.CompletedProcess[str]:
    names = ("SIMD", "W", "A", "C", "PIPELINE", "FAULTS")
    given = " ".join(f"-chparam {name} {v}" for name, v in zip(names, shape, strict=True))
    given += f" -chparam DSP {dsp}"
    read = sources(work, DEFINITION, *PE_FILES, broken=broken)
    return yosys(
        work,
        f"{read}\nhierarchy -check -top harness {given}\nproc\nflatten\nmemory -nomap\nmemory_map\n"
        f"opt -full\nsetundef -undriven -anyconst\n{goal}\n",
    )


@pytest.mark.parametrize("faults", [0, 1])
@pytest.mark.parametrize("pipeline", range(6))
def test_the_pe_is_its_arithmetic(tmp_path: Path, pipeline: int, faults: int) -> None:
    """For all operands and masks: by induction while enabled, and the first steps with stalls."""
    steps = pipeline + 3
    goals = f"{PROVE} -set enable 1 -tempinduct -maxsteps {steps} -verify\n"
    goals += f"{PROVE} -tempinduct-baseonly -maxsteps {steps} -verify"
    sizes = (3, 2, 2, 7) if pipeline < 4 else (2, 2, 1, 6) if pipeline < 5 else (4, 2, 1, 5)
    for dsp in (0, 1) if pipeline == 4 else (1,):  # whole or halved multipliers
        done = prove_pe(tmp_path, (*sizes, pipeline, faults), goals, dsp=dsp)
        assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-500:]


@pytest.mark.parametrize(
    ("pipeline", "right", "wrong"),
    [
        (0, "act_signed & act_held[ACT_BITS-1]", "1'b0"),
        (2, "if (enable && accumulate)", "if (accumulate)"),
        (3, "(first ? begins : acc)", "acc"),
        (3, ".mask_and(weight_and)", ".mask_and({SIMD*WEIGHT_BITS{1'b1}})"),
    ],
)
def test_a_wrong_pe_is_not(tmp_path: Path, pipeline: int, right: str, wrong: str) -> None:
    goal = f"{PROVE} -tempinduct-baseonly -maxsteps {pipeline + 3} -verify"
    done = prove_pe(tmp_path, (3, 2, 2, 7, pipeline, 1), goal, (right, wrong))
    assert done.returncode != 0
    assert "proof did fail" in done.stderr


def cells(work: Path, top: str, parameters: str, text: str, *files: str) -> Counter[str]:
    """Cells of the flat netlist with their parameters: registers and logic bit by bit."""
    read = sources(work, text, *files)
    done = yosys(
        work,
        f"{read}\nhierarchy -check -top {top} {parameters}\nproc\nflatten\nopt\n"
        "memory -nomap\nsimplemap\nopt -full\nopt_clean -purge\n"
        "write_json cells.json\n",
    )
    assert done.returncode == 0, done.stderr
    modules = json.loads((work / "cells.json").read_text())["modules"]
    found: Counter[str] = Counter()
    for cell in modules[top]["cells"].values():
        given = {k: v for k, v in cell["parameters"].items() if k != "MEMID"}
        found[f"{cell['type']} {json.dumps(given, sort_keys=True)}"] += 1
    return found


ARRAY_FILES = (*PE_FILES, "has_pe_array.v", "has_weight_bank.v")
EXTERNAL = "-chparam ROM_DEPTH 0 -chparam EXT_DEPTH 16"


@pytest.mark.parametrize("pipeline", range(6))
def test_a_healthy_array_has_the_cells_of_a_plain_one(tmp_path: Path, pipeline: int) -> None:
    size = f"-chparam PE 4 -chparam SIMD 4 -chparam PIPELINE {pipeline}"
    plain = cells(tmp_path, "plain_array", size, PLAIN)
    healthy = cells(tmp_path, "has_pe_array", f"{size} {EXTERNAL}", MASKS, *ARRAY_FILES)
    assert healthy == plain
    assert sum(n for name, n in plain.items() if name.startswith("$mul ")) == 16


def test_faults_add_cells(tmp_path: Path) -> None:
    """Else the comparison above could not see them."""
    size = "-chparam PE 4 -chparam SIMD 4 -chparam PIPELINE 2"
    plain = cells(tmp_path, "plain_array", size, PLAIN)
    sites = f"{size} {EXTERNAL} -chparam FAULT_SITES 2"
    assert cells(tmp_path, "has_pe_array", sites, MASKS, *ARRAY_FILES) != plain

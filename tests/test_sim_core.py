"""Whole images through the simulated accelerator, against the engine."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hascodesign.common.shipped import share
from hascodesign.contract import arithmetic, array
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.types import ArraySpec, Dataflow, Fault, FaultProfile, IntArray, Schedule
from hascodesign.engine.network import Evaluator
from hascodesign.render.core_cycles import drain_cycles, feed_cycles, lanes_and_runs
from hascodesign.render.rtl import MAX_PIPELINE
from hascodesign.verify import simulate
from hascodesign.verify.core import expected, verify_core
from tests import core_cases, regress_core, rtl_cases, verify_cases
from tests.preload_cases import preloaded


@pytest.mark.parametrize("faults", [False, True])
def test_a_network_with_faults(tmp_path: Path, faults: bool) -> None:
    spec = replace(verify_cases.ARRAY, simd=4)
    net = verify_cases.network()
    schedule = Schedule(spec, verify_cases.schedule(net).layers)
    profile = replace(verify_cases.PROFILE, array=spec)
    plan = core_cases.build(net, schedule, profile)
    codes = verify_cases.input_codes(3)
    run = verify_core(
        net, schedule, profile, plan, codes, work=tmp_path, faults=faults, pauses=3 * faults or None
    )
    assert run.mismatches == 0, run.first
    assert run.outputs == 3 * (2 * (5 * 16 + 3) + 20 + 3)
    applied = profile if faults else FaultProfile(spec)
    logits = Evaluator(net, applied, codes, np.zeros(3, np.int64)).logits(schedule)
    np.testing.assert_array_equal(run.classes, arithmetic.classify(logits))


SAMPLE = [  # pe, simd, bits, shape, convolutions (rows, kernel, stride, padding), hidden
    (4, 1, 2, (3, 4, 3), [(3, 1, 1, 0)], 0),
    (4, 2, 8, (5, 6, 1), [(5, 3, 2, 1), (4, 2, 1, 1)], 6),
    (8, 4, 4, (7, 5, 3), [(9, 5, 1, 2)], 0),
    (8, 8, 4, (5, 5, 8), [(16, 3, 1, 1), (8, 1, 1, 0)], 0),
    (4, 8, 8, (4, 9, 2), [(6, 3, 3, 2)], 9),
    (16, 4, 2, (1, 1, 11), [], 20),
    (32, 2, 4, (4, 4, 2), [(7, 4, 1, 0)], 0),
    (8, 8, 4, (5, 6, 1), [(9, 3, 1, 1), (4, 3, 1, 1)], 0),  # two whole kernel rows in one read
]


@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: f"{case[0]}x{case[1]}x{case[2]}")
def test_every_geometry(tmp_path: Path, case: tuple) -> None:
    pe, simd, bits, shape, convs, hidden = case
    rng = np.random.default_rng(pe * 100 + simd * 10 + bits)
    spec = ArraySpec(pe, simd, bits, bits, 24)
    pool = shape[0] > 4
    net = core_cases.random_network(rng, spec, shape, convs, pool=pool, hidden=hidden)
    schedule = core_cases.random_schedule(rng, net, spec)
    profile = rtl_cases.random_profile(rng, spec, 6)
    plan = core_cases.build(net, schedule, profile, pipeline=int(rng.integers(MAX_PIPELINE + 1)))
    codes = core_cases.images(rng, net, 2)
    run = verify_core(net, schedule, profile, plan, codes, work=tmp_path, faults=True, pauses=1)
    assert run.mismatches == 0, run.first


@pytest.mark.parametrize("case", [12, 27, 38])  # 8 x 1; 16 x 2, weight-stationary; 32 x 1
def test_a_sample_of_the_grid(tmp_path: Path, case: int) -> None:
    run, _ = regress_core.run(case, 0, tmp_path)
    assert run.mismatches == 0, run.first


@pytest.mark.parametrize("simd", [1, 4])
@pytest.mark.parametrize("lanes", [2, 4, 8])
def test_results_leave_on_several_lanes(tmp_path: Path, simd: int, lanes: int) -> None:
    """Every lane wants the bank of its row: any order, queues that fill, idle slots."""
    rng = np.random.default_rng(lanes)
    spec = ArraySpec(8, simd, 4, 4, 20)
    net = core_cases.random_network(rng, spec, (4, 4, 1), [(19, 2, 1, 0)], pool=False, hidden=11)
    schedule = core_cases.random_schedule(rng, net, spec)
    profile = rtl_cases.random_profile(rng, spec, 6)
    plan = core_cases.build(net, schedule, profile, lanes=lanes)
    codes = core_cases.images(rng, net, 1)
    run = verify_core(net, schedule, profile, plan, codes, work=tmp_path, faults=True)
    assert run.mismatches == 0, run.first


@pytest.mark.parametrize("dataflow", ["os", "ws"])
@pytest.mark.parametrize("pauses", [None, 3])
def test_a_column_may_end_every_cycle(
    tmp_path: Path, dataflow: Dataflow, pauses: int | None
) -> None:
    """1 x 1 on SIMD channels, T = 1: a lane for each PE, a bank for each row, rows anywhere."""
    rng = np.random.default_rng(17)
    spec = ArraySpec(8, 4, 4, 4, 20, dataflow)
    convs = [(15, 1, 1, 0), (8, 1, 1, 0)]
    net = core_cases.random_network(rng, spec, (12, 12, 4), convs, pool=False)
    maps = tuple(rtl_cases.random_map(rng, item, spec.pe) for item in net.layers)
    schedule, profile = Schedule(spec, maps), rtl_cases.random_profile(rng, spec, 6)
    plan = core_cases.build(net, schedule, profile)
    codes = core_cases.images(rng, net, 2)
    run = verify_core(
        net, schedule, profile, plan, codes, work=tmp_path, faults=True, pauses=pauses
    )
    assert run.mismatches == 0, run.first
    first, second = run.stages[:2]
    assert (first.ideal_cycles, second.ideal_cycles) == (2 * 144, 4 * 144)
    # a layer's beginning and end alone: the pipeline, the lanes and the search
    assert first.cycles < 2 * 144 + 50
    assert second.cycles < 4 * 144 + 50


def test_a_lane_for_each_pe_waits_for_crowded_banks(tmp_path: Path) -> None:
    """A column ends every cycle, but rows of one pass want one bank: queues fill and hold back."""
    rng = np.random.default_rng(23)
    spec = ArraySpec(8, 4, 4, 4, 20)
    net = core_cases.random_network(rng, spec, (12, 12, 1), [(19, 1, 1, 0)], pool=False)
    schedule = core_cases.random_schedule(rng, net, spec)
    profile = rtl_cases.random_profile(rng, spec, 6)
    plan = core_cases.build(net, schedule, profile, lanes=8)
    codes = core_cases.images(rng, net, 1)
    run = verify_core(net, schedule, profile, plan, codes, work=tmp_path, faults=True)
    assert run.mismatches == 0, run.first
    assert run.stages[0].cycles > run.stages[0].ideal_cycles + 100  # they did wait


@pytest.mark.parametrize("dataflow", ["os", "ws"])
def test_every_kind_and_site_of_fault(tmp_path: Path, dataflow: Dataflow) -> None:
    """Draws and faulty words included, in layers on chip and streamed."""
    rng = np.random.default_rng(21)
    spec = ArraySpec(4, 4, 4, 4, 20, dataflow)
    net = core_cases.random_network(rng, spec, (5, 5, 2), [(6, 3, 2, 1)], pool=False, hidden=9)
    schedule = core_cases.random_schedule(rng, net, spec)
    words = array.wmem_words(net, spec, schedule)
    profile = rtl_cases.any_profile(rng, spec, 24, words)
    assert {"wmem", "psum"} | ({"acc"} if dataflow == "ws" else set()) <= {
        fault.site for fault in profile.faults
    }
    assert {"transient", "sa0", "sa1", "flip"} <= {fault.kind for fault in profile.faults}
    inside = (True, False, True)
    plan = core_cases.build(net, schedule, profile, inside)
    codes = core_cases.images(rng, net, 3)
    run = verify_core(
        net, schedule, profile, plan, codes, work=tmp_path, faults=True, on_chip=inside
    )
    assert run.mismatches == 0, run.first


@pytest.mark.parametrize("dataflow", ["os", "ws"])
def test_a_transient_counts_its_columns_from_image_to_image(
    tmp_path: Path, dataflow: Dataflow
) -> None:
    """IMAGES * positions + position: the same image comes out different each time."""
    rng = np.random.default_rng(22)
    spec = ArraySpec(4, 2, 4, 4, 20, dataflow)
    net = core_cases.random_network(rng, spec, (4, 4, 2), [(4, 2, 1, 0)], pool=False)
    schedule = core_cases.identity(net, spec)
    fault = Fault(1, "transient", "product", 1, None, None, 0.3, (2, 6))
    profile = FaultProfile(spec, (fault,), seed=5)
    plan = core_cases.build(net, schedule, profile)
    codes = np.repeat(core_cases.images(rng, net, 1), 4, axis=0)
    job = expected(net, schedule, profile, codes, (True, True))
    columns = job["acc_0"].reshape(4, 4, -1)
    assert not (columns[:, :1] == columns[:, 1:]).all()
    run = verify_core(net, schedule, profile, plan, codes, work=tmp_path, faults=True)
    assert run.mismatches == 0, run.first


def test_streamed_weights(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    spec = ArraySpec(4, 4, 4, 4, 20)
    net = core_cases.random_network(rng, spec, (5, 5, 2), [(6, 3, 1, 0)], hidden=9)
    schedule = core_cases.random_schedule(rng, net, spec)
    inside = (True, False, False)
    plan = core_cases.build(net, schedule, FaultProfile(spec), inside)
    codes = core_cases.images(rng, net, 3)
    run = verify_core(
        net, schedule, FaultProfile(spec), plan, codes, work=tmp_path, faults=False,
        on_chip=inside, pauses=4,
    )  # fmt: skip
    assert run.mismatches == 0, run.first
    assert [stage.load_cycles > 0 for stage in run.stages] == [False, False, True, True]


WIDE = [  # pe, simd, channels, kernel, plain order
    (4, 4, 4, 3, True),
    (16, 4, 4, 3, False),
    (4, 4, 5, 3, True),
    (4, 4, 5, 3, False),
    (32, 1, 1, 3, True),
    (32, 1, 1, 3, False),
    (16, 4, 16, 1, False),
]


@pytest.mark.parametrize("case", WIDE, ids=lambda case: "x".join(map(str, case)))
def test_cycles_beyond_the_ideal_are_few(tmp_path: Path, case: tuple) -> None:
    """At most 10 % on a convolution with as many channels as multipliers of a PE, or more."""
    pe, simd, channels, kernel, plain = case
    rng = np.random.default_rng(4)
    spec = ArraySpec(pe, simd, 4, 4, 20)
    convs = [(2 * pe, kernel, 1, kernel // 2)]
    net = core_cases.random_network(rng, spec, (10, 10, channels), convs, pool=False)
    schedule = core_cases.identity(net, spec)
    if not plain:
        schedule = Schedule(spec, tuple(rtl_cases.random_map(rng, x, pe) for x in net.layers))
    plan = core_cases.build(net, schedule, FaultProfile(spec))
    codes = core_cases.images(rng, net, 1)
    run = verify_core(net, schedule, FaultProfile(spec), plan, codes, work=tmp_path, faults=False)
    assert run.mismatches == 0, run.first
    steps = spec.steps(kernel * kernel * channels)
    assert run.stages[0].ideal_cycles == 2 * steps * 100
    assert 0 <= run.stages[0].overhead <= 0.1
    assert run.stages[0].busy >= 1 / 1.1


MERGED = [  # P, S, shape, convolution: maps that windows fill and that they do not
    (4, 4, (6, 8, 4), (8, 3, 1, 1)),
    (4, 2, (7, 5, 1), (6, 2, 1, 1)),
    (8, 4, (9, 9, 4), (15, 1, 1, 0)),  # a column ends every cycle
    (8, 8, (9, 7, 3), (19, 3, 2, 1)),
]


@pytest.mark.parametrize("pauses", [None, 5])
@pytest.mark.parametrize("case", MERGED, ids=lambda case: f"{case[0]}x{case[1]}")
def test_a_convolution_keeps_the_maxima_of_windows_side_by_side(
    tmp_path: Path, case: tuple, pauses: int | None
) -> None:
    """The pooling takes a cycle; rows anywhere, signed and unsigned codes, a layer behind it."""
    pe, simd, shape, conv = case
    rng = np.random.default_rng(pe + simd)
    spec = ArraySpec(pe, simd, 4, 4, 20)
    net = core_cases.random_network(
        rng, spec, shape, [conv, (5, 2, 1, 0)], beside=True, hidden=pe + 3
    )
    schedule = core_cases.random_schedule(rng, net, spec)
    profile = rtl_cases.random_profile(rng, spec, 6)
    inside = tuple(layer.index != 1 for layer in net.layers)
    plan = core_cases.build(net, schedule, profile, inside)
    codes = core_cases.images(rng, net, 2)
    run = verify_core(
        net, schedule, profile, plan, codes, work=tmp_path, faults=True, on_chip=inside,
        pauses=pauses,
    )  # fmt: skip
    assert run.mismatches == 0, run.first
    assert run.stages[1].cycles == 1


@pytest.mark.parametrize("channels", [1, 3])
def test_a_narrow_convolution_is_bound_by_the_reading_of_its_codes(
    tmp_path: Path, channels: int
) -> None:
    """Fewer channels than SIMD: no drain of P results, but the rows of the kernel of each step."""
    rng = np.random.default_rng(4)
    spec = ArraySpec(16, 8, 4, 4, 20)
    net = core_cases.random_network(rng, spec, (10, 10, channels), [(16, 3, 1, 1)], pool=False)
    schedule = Schedule(spec, tuple(rtl_cases.random_map(rng, x, 16) for x in net.layers))
    lanes, runs = lanes_and_runs(net, spec)
    plan = core_cases.build(net, schedule, FaultProfile(spec))
    codes = core_cases.images(rng, net, 1)
    run = verify_core(net, schedule, FaultProfile(spec), plan, codes, work=tmp_path, faults=False)
    assert run.mismatches == 0, run.first
    feed = feed_cycles(spec, net.layers[0], runs)
    assert feed == {1: 3, 3: 4}[channels]
    assert drain_cycles(spec, lanes) <= feed
    assert 0 <= run.stages[0].cycles - 100 * feed <= 50


def bench(
    modules: str, plan: BuildPlan, jobs: dict[str, dict[str, IntArray]], work: Path, *options: str
) -> int:
    """Run benches of the core by hand; every test in them passes, so many."""
    folder = work / "vectors"
    folder.mkdir(exist_ok=True)
    for name, job in jobs.items():
        np.savez(folder / f"{name}.npz", allow_pickle=False, **job)
    simulate.lay_out(plan, work)
    command = [sys.executable, str(share("sim", "run_bench.py")), "--rtl", str(work / "rtl")]
    command += ["--roms", str(work / "roms"), "--vectors", str(folder), "--work", str(work)]
    command += ["--bench", modules, "--top", "has_core", *options]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-6000:]
    return rtl_cases.passed(run.stdout)


def test_protocol(tmp_path: Path) -> None:
    """Pauses, resets, wrong lengths, illegal accesses; maps rewritten, right or wrong."""
    rng = np.random.default_rng(7)
    spec = ArraySpec(4, 4, 4, 4, 20)
    net = core_cases.random_network(rng, spec, (5, 4, 2), [(6, 3, 1, 1)], classes=3)
    schedule = core_cases.identity(net, spec)
    other_net = core_cases.other_weights(rng, net)
    maps = [rtl_cases.random_map(rng, item, spec.pe) for item in net.layers]
    other = Schedule(spec, tuple(maps))
    codes = core_cases.images(rng, net, 2)
    plan, jobs = core_cases.rewritten(tmp_path, (net, schedule), (other_net, other), codes)
    benches = ("core_protocol_tests", "core_map_tests")
    assert bench(",".join(benches), plan, jobs, tmp_path) == rtl_cases.declared(*benches)


@pytest.mark.parametrize("dataflow", ["os", "ws"])
def test_packets_and_memories_read_back(tmp_path: Path, dataflow: Dataflow) -> None:
    """Two lanes, preloads; thresholds of three stages and a shift, all PEs read by one FETCH."""
    rng = np.random.default_rng(9)
    spec = ArraySpec(4, 4, 4, 4, 20, dataflow)
    net = core_cases.random_network(rng, spec, (5, 4, 2), [(6, 3, 1, 1)], classes=3, hidden=5)
    net = preloaded(rng, net, spec.acc_bits)
    schedule = core_cases.random_schedule(rng, net, spec)
    other_net = preloaded(rng, core_cases.other_weights(rng, net), spec.acc_bits)
    maps = [rtl_cases.random_map(rng, x, spec.pe, spare=x.index % 2) for x in net.layers]
    other = Schedule(spec, tuple(maps))
    codes = core_cases.images(rng, net, 2)
    plan, jobs = core_cases.rewritten(tmp_path, (net, schedule), (other_net, other), codes, lanes=2)
    benches = ("core_packet_tests", "core_fetch_tests", "core_cell_tests")
    assert bench(",".join(benches), plan, jobs, tmp_path) == rtl_cases.declared(*benches)


def test_weight_stream(tmp_path: Path) -> None:
    """Passes of a wrong length, early and late weights, a reset in the middle of them."""
    rng = np.random.default_rng(8)
    spec = ArraySpec(4, 4, 4, 4, 20)
    net = core_cases.random_network(rng, spec, (4, 4, 2), [(6, 3, 1, 1)], classes=5)
    schedule = core_cases.random_schedule(rng, net, spec)
    inside, healthy = (True, False), FaultProfile(spec)
    jobs = {"images": expected(net, schedule, healthy, core_cases.images(rng, net, 2), inside)}
    bench("core_weight_tests", core_cases.build(net, schedule, healthy, inside), jobs, tmp_path)


ILL_MANNERED = [  # what breaks a rule, in which file; the words of the monitor
    (
        "has_logits",
        "else if (beat) m_axis_tvalid",
        "else m_axis_tvalid",
        "m_axis_result_tvalid must stay until",
    ),
    (
        "has_logits",
        "assign m_axis_tuser = best_class;",
        "assign m_axis_tuser = best_class ^ {CLASS_BITS{!m_axis_tready}};",
        "m_axis_result_tuser must stand still until",
    ),
    (
        "has_registers",
        "address_held <= address_taken || (address_held && !write);",
        "address_held <= address_taken || address_held;",
        "b must not answer what was not asked",
    ),
    (
        "has_registers",
        "wire write = address_held &&",
        "wire write = enable && address_held &&",
        "bvalid must come within",
    ),
]


@pytest.mark.parametrize("case", ILL_MANNERED, ids=lambda case: case[3].split()[0] + case[3][-12:])
def test_the_monitor_sees_bad_manners(tmp_path: Path, case: tuple) -> None:
    module, text, instead, words = case
    rng = np.random.default_rng(7)
    spec = ArraySpec(4, 1, 2, 2, 16)
    net = core_cases.random_network(rng, spec, (1, 1, 4), [], pool=False, hidden=3)
    schedule, healthy = core_cases.identity(net, spec), FaultProfile(spec)
    files = dict(core_cases.build(net, schedule, healthy).files)
    source = files[f"rtl/{module}.v"].decode()
    assert source.count(text) == 1
    files[f"rtl/{module}.v"] = source.replace(text, instead).encode()
    jobs = {"images": expected(net, schedule, healthy, core_cases.images(rng, net, 2), (True,) * 2)}
    with pytest.raises(AssertionError, match=words):
        bench("core_protocol_tests", BuildPlan(files), jobs, tmp_path)

"""Preloads on every PE through the Verilog, as built and as written at run time."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hascodesign.common.shipped import share
from hascodesign.contract.array import with_preloads, wmem_words
from hascodesign.contract.build import Build, BuildPlan
from hascodesign.contract.errors import ModelError, VerificationMismatch
from hascodesign.contract.types import ArraySpec, Schedule, frozen
from hascodesign.render.rom import build_roms
from hascodesign.verify.core import verify_core
from hascodesign.verify.memories import check_memories
from hascodesign.verify.run import verify
from hascodesign.verify.vectors import check_vectors
from tests import core_cases, rtl_cases, verify_cases
from tests.preload_cases import preloaded
from tests.test_sim_array import SHAPES, case
from tests.test_sim_core import bench


@pytest.mark.parametrize(
    "name",
    [
        "back-pressure", "one PE, one multiplier", "one column", "narrow accumulator",
        "all registers", "systolic", "systolic, all registers", "systolic, no registers",
        "systolic, one cell", "systolic, wide",
    ],
)  # fmt: skip
def test_the_array_equals_the_definition(tmp_path: Path, name: str) -> None:
    """Every kind of fault, every output, layers on chip and streamed, idle slots anywhere."""
    shape = SHAPES[name]
    network, schedule, profile = case(shape)
    rng = np.random.default_rng(9)
    network = preloaded(rng, network, shape.spec.acc_bits)
    plan = rtl_cases.build(network, schedule, profile, shape.options(len(network.layers)))
    folder = tmp_path / "vectors"
    jobs = rtl_cases.write_job(folder, profile, network, schedule, shape.columns, rng)
    pauses = () if shape.pauses is None else ("--pauses", str(shape.pauses))
    done = rtl_cases.run_bench(plan, tmp_path, "--faults", *pauses)
    assert done.returncode == 0, done.stdout[-3000:]
    for stem, (acc, codes) in jobs.items():
        with np.load(tmp_path / "results" / f"{stem}.npz") as got:
            np.testing.assert_array_equal(got["acc"], acc)
            np.testing.assert_array_equal(got["codes"], codes)


@pytest.mark.parametrize("dataflow", ["os", "ws"])
def test_a_column_may_end_every_cycle(tmp_path: Path, dataflow: str) -> None:
    """T = 1: the sums of two passes are under way at once; a lane for each PE; whole images."""
    rng = np.random.default_rng(17)
    spec = ArraySpec(8, 4, 4, 4, 20, dataflow)
    convs = [(15, 1, 1, 0), (8, 1, 1, 0)]
    plain = core_cases.random_network(rng, spec, (5, 5, 4), convs, pool=False)
    net = preloaded(rng, plain, spec.acc_bits)
    schedule = Schedule(spec, tuple(rtl_cases.random_map(rng, i, spec.pe) for i in net.layers))
    profile = rtl_cases.any_profile(rng, spec, 10, wmem_words(net, spec, schedule))
    plan = core_cases.build(net, schedule, profile)
    codes = core_cases.images(rng, net, 2)
    run = verify_core(net, schedule, profile, plan, codes, work=tmp_path, faults=True)
    assert run.mismatches == 0, run.first


@pytest.mark.parametrize("dataflow", ["os", "ws"])
def test_written_at_run_time(tmp_path: Path, dataflow: str) -> None:
    """Built with preloads of 0, another network's written over them, and back."""
    rng = np.random.default_rng(4)
    spec = ArraySpec(4, 2, 4, 4, 20, dataflow)
    plain = core_cases.random_network(rng, spec, (4, 4, 1), [(6, 3, 1, 1)], hidden=6)
    net = with_preloads(plain)
    schedule = core_cases.identity(net, spec)
    other_net = preloaded(rng, core_cases.other_weights(rng, plain), spec.acc_bits)
    maps = [rtl_cases.random_map(rng, item, spec.pe) for item in net.layers]
    other = Schedule(spec, tuple(maps))
    codes = core_cases.images(rng, net, 2)
    plan, jobs = core_cases.rewritten(tmp_path, (net, schedule), (other_net, other), codes)
    count = rtl_cases.declared("core_protocol_tests")
    assert bench("core_protocol_tests", plan, jobs, tmp_path) == count


# ------------------------------------------------------------------------------- nothing from 0


def wrapped(name: str, top: str, pipeline: int, built: int, word: int) -> str:
    """A PE of two multipliers, every input and mask a port, its preload a constant."""
    sums = 8 if top == "has_pe" else 16
    sites = {"weight": 4, "act": 4, "product": 10, "psum": sums}
    sites |= {} if top == "has_pe" else {"acc": 8}
    ports = dict.fromkeys(("clk", "enable", "act_signed", "accumulate", "first"), 1)
    ports |= {"weight": 4, "act": 4}
    ports |= {f"{s}_{mask}": n for s, n in sites.items() for mask in ("and", "or", "xor")}
    return (
        f"module {name}({', '.join(f'input [{n - 1}:0] {port}' for port, n in ports.items())},"
        f" output [7:0] acc); {top} #(.SIMD(2), .WEIGHT_BITS(2), .ACT_BITS(2), .ACC_BITS(8),"
        f" .FAULT_SITES(1), .PIPELINE({pipeline}), .PRELOAD({built})) pe("
        f"{', '.join(f'.{port}({port})' for port in ports)}, .acc(acc), .preload(8'd{word}));"
        " endmodule\n"
    )


@pytest.mark.parametrize("word", [0, 1])
@pytest.mark.parametrize("pipeline", [0, 4])
@pytest.mark.parametrize("top", ["has_pe", "has_pe_ws"])
def test_a_preload_of_0_is_no_preload(tmp_path: Path, top: str, pipeline: int, word: int) -> None:
    """Equivalent for every input and mask, by induction; a preload of 1 is told from it."""
    if shutil.which("yosys") is None:
        pytest.skip("yosys is not installed")
    both = {"gold": 0, "gate": 1}
    text = "".join(wrapped(name, top, pipeline, built, word) for name, built in both.items())
    (tmp_path / "both.v").write_text(text)
    script = "".join(
        f"read_verilog -defer {share('rtl_templates')}/*.v {tmp_path}/both.v;"
        f" hierarchy -top {name}; proc; flatten; opt -full; design -stash {name}; "
        for name in both
    )
    script += (
        "design -copy-from gold -as gold gold; design -copy-from gate -as gate gate;"
        " equiv_make gold gate both; hierarchy -top both; opt_clean; equiv_struct; equiv_simple;"
        " equiv_induct; equiv_status -assert"
    )
    done = subprocess.run(["yosys", "-p", script], capture_output=True, text=True, check=False)
    said = "Equivalence successfully proven!" if word == 0 else "unproven $equiv cells"
    assert said in done.stdout + done.stderr, done.stdout[-2000:] + done.stderr
    assert (done.returncode == 0) == (word == 0)


# ------------------------------------------------------------------- one wrong word, one wrong file


def built(seed: int = 1) -> tuple[Build, np.ndarray]:
    rng = np.random.default_rng(seed)
    net = preloaded(rng, verify_cases.network(), verify_cases.ARRAY.acc_bits)
    schedule = verify_cases.schedule(net)
    plan = rtl_cases.build(net, schedule, verify_cases.PROFILE, rtl_cases.RtlOptions())
    return Build(net, schedule, verify_cases.PROFILE, plan), verify_cases.input_codes(6)


def flipped(plan: BuildPlan, name: str, word: int, bit: int) -> BuildPlan:
    lines = plan.files[name].decode().split()
    lines[word] = f"{int(lines[word], 16) ^ 1 << bit:0{len(lines[word])}x}"
    return BuildPlan({**plan.files, name: ("\n".join(lines) + "\n").encode()})


@pytest.mark.parametrize("pe", range(4))
def test_no_bit_may_turn(pe: int) -> None:
    build, _ = built()
    check_memories(build, (True, True))
    name = f"roms/preload_pe{pe:02d}.mem"
    for word in range(3):  # an idle slot's, too
        for bit in range(16):
            wrong = replace(build, plan=flipped(build.plan, name, word, bit))
            with pytest.raises(VerificationMismatch, match=f"preload_pe{pe:02d}"):
                check_memories(wrong, (True, True))


def test_the_simulation_sees_one_wrong_word(tmp_path: Path) -> None:
    """The vectors of a right build satisfy a stranger; a wrong build differs in that row alone."""
    build, codes = built()

    def run(plan: BuildPlan, work: Path):
        return verify(build.network, build.schedule, build.profile, plan, codes, work=work)

    right, files = run(build.plan, tmp_path / "right")
    assert right.mismatches == 0
    for path, content in files.items():
        healthy = replace(build.profile, faults=())
        assert check_vectors(content, healthy if "healthy" in path else build.profile) == 0
    # row 4 stands on PE 3 in pass 0
    wrong, _ = run(flipped(build.plan, "roms/preload_pe03.mem", 0, 9), tmp_path / "wrong")
    assert wrong.mismatches > 0
    assert {(m.layer, m.row) for m in wrong.first} == {("conv", 4)}


def test_a_word_that_does_not_fit_is_refused() -> None:
    build, _ = built()
    conv = replace(build.network.layers[0], preload=frozen([0, 1 << 15, 0, 0, 0]))
    net = replace(build.network, stages=(conv, *build.network.stages[1:]))
    with pytest.raises(ModelError, match="preloads of layer conv must fit 16 bits, not 17"):
        build_roms(net, build.schedule, (True, True))


def test_a_build_without_preloads_has_none_of_it() -> None:
    net = verify_cases.network()
    schedule = verify_cases.schedule(net)
    plan = rtl_cases.build(net, schedule, verify_cases.PROFILE, rtl_cases.RtlOptions())
    assert not [path for path in plan.files if "preload" in path]
    assert b"pass_base" not in plan.files["rtl/has_array.v"]

"""Verification on the real Verilog: a right build agrees, and every kind of wrong one does not."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from hascodesign.contract.build import BuildPlan
from hascodesign.contract.errors import StepFailed
from hascodesign.engine import gemm
from hascodesign.render.rom import build_roms, rom_files
from hascodesign.render.rtl import RtlOptions, render_rtl
from hascodesign.verify import run
from hascodesign.verify.vectors import check_vectors
from tests import verify_cases as cases

pytestmark = pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is missing")
HEALTHY = replace(cases.PROFILE, faults=())
NETWORK = cases.network()
SCHEDULE = cases.schedule(NETWORK)


def build(on_chip=(True, True)):
    rtl = render_rtl(NETWORK, SCHEDULE, cases.PROFILE, RtlOptions(on_chip=on_chip))
    return BuildPlan(rtl | rom_files(build_roms(NETWORK, SCHEDULE, on_chip)))


def verify(plan, work, **options):
    return run.verify(
        NETWORK, SCHEDULE, cases.PROFILE, plan, cases.input_codes(40), work=work, **options
    )


def changed(path, change):
    """The build with ``change`` applied to the text of one file, which it must alter."""
    files = dict(build().files)
    text = change(files[path].decode())
    assert text.encode() != files[path]
    return BuildPlan(files | {path: text.encode()})


def flip(address, bit):
    """Flip one bit of one word of a memory file."""

    def change(text):
        words = text.splitlines()
        words[address] = f"{int(words[address], 16) ^ 1 << bit:0{len(words[address])}x}"
        return "\n".join(words) + "\n"

    return change


def by_run(found):
    """Mismatches of the healthy and of the faulty run."""
    return tuple(
        sum(layer.mismatches for layer in found.layers if layer.run == name)
        for name in ("healthy", "faulty")
    )


def test_the_verilog_agrees_with_the_engine(tmp_path):
    found, files = verify(build(), tmp_path)
    assert found.mismatches == 0
    assert [layer.columns for layer in found.layers] == [32, 32, 32, 32]
    for layer in found.layers:
        assert layer.cycles >= layer.ideal_cycles > 0
        assert layer.seconds > 0
    assert all(fault.exercised and fault.changed_accumulator for fault in found.coverage)
    for path, content in files.items():
        assert check_vectors(content, HEALTHY if "healthy" in path else cases.PROFILE) == 0


def test_external_weights_agree_too(tmp_path):
    found, _ = verify(build((False, True)), tmp_path, on_chip=(False, True))
    assert found.mismatches == 0


def test_a_wrong_bit_in_a_weight_memory(tmp_path):
    # word 2: convolution, first pass, step 2 of PE 2, which holds row 0; lane 1, bit 2
    plan = changed("roms/weights_pe02.mem", flip(2, 1 * 4 + 2))
    found, files = verify(plan, tmp_path)
    healthy, faulty = by_run(found)
    assert healthy > 0
    assert faulty > 0
    assert {(m.layer, m.row, m.pe) for m in found.first} == {("conv", 0, 2)}
    assert check_vectors(files["vectors/healthy/conv.npz"], HEALTHY) > 0
    assert check_vectors(files["vectors/healthy/dense.npz"], HEALTHY) == 0


def test_a_wrong_bit_in_the_row_map(tmp_path):
    """One wrong bit leaves a row without its result, which is not made up."""
    with pytest.raises(StepFailed, match="simulation must give results of layer conv"):
        verify(changed("roms/row_map.mem", flip(0, 0)), tmp_path)


def test_two_rows_exchanged_in_the_row_map(tmp_path):
    def exchange(text):
        words = text.splitlines()
        words[0], words[2] = words[2], words[0]  # rows 3 and 0
        return "\n".join(words) + "\n"

    found, _ = verify(changed("roms/row_map.mem", exchange), tmp_path)
    assert all(count > 0 for count in by_run(found))
    assert {(m.row, m.pe) for m in found.first} <= {(0, 2), (3, 0)}


def test_a_wrong_bit_in_a_threshold(tmp_path):
    width = cases.ARRAY.acc_bits + 2
    found, _ = verify(changed("roms/thresholds_0.mem", flip(1, width - 1)), tmp_path)
    assert all(count > 0 for count in by_run(found))
    assert {(m.layer, m.row, m.what) for m in found.first} == {("conv", 1, "code")}


def test_a_wrong_bit_in_a_bias(tmp_path):
    found, _ = verify(changed("roms/bias.mem", flip(5 + 2, 0)), tmp_path)
    assert all(count > 0 for count in by_run(found))
    assert {(m.layer, m.row, m.what) for m in found.first} == {("dense", 2, "code")}


def test_a_wrong_sign_in_the_pe(tmp_path):
    plan = changed("rtl/has_pe.v", lambda text: text.replace(": acc) + sum", ": acc) - sum"))
    found, _ = verify(plan, tmp_path)
    assert all(layer.mismatches > 0 for layer in found.layers)


def test_a_dropped_mask_in_the_pe(tmp_path):
    """Only the faulty run can tell."""
    plan = changed(
        "rtl/has_pe.v",
        lambda text: text.replace(
            ".mask_or(psum_or), .mask_xor(xor_held)",
            ".mask_or(psum_or), .mask_xor({ACC_BITS{1'b0}})",
        ),
    )
    found, _ = verify(plan, tmp_path)
    healthy, faulty = by_run(found)
    assert healthy == 0
    assert faulty > 0
    assert {m.pe for m in found.first} == {1}


def test_a_wrong_engine(tmp_path, monkeypatch):
    right = gemm.accumulate

    def wrong(profile, *given, **keys):
        return right(profile, *given, **keys) ^ np.int64(bool(profile.faults))

    monkeypatch.setattr(gemm, "accumulate", wrong)
    found, _ = verify(build(), tmp_path)
    healthy, faulty = by_run(found)
    assert healthy == 0
    assert faulty > 0


def test_a_memory_cut_short(tmp_path):
    plan = changed("roms/bias.mem", lambda text: text.split("\n", 1)[1])
    with pytest.raises(StepFailed, match="a memory file must load as it is"):
        verify(plan, tmp_path)

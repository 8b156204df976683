"""has_pe in Icarus: every site and kind, widths, pipelines and signednesses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hascodesign.common.shipped import share

SHAPES = [  # SIMD, WEIGHT_BITS, ACT_BITS, ACC_BITS, PIPELINE
    (8, 4, 8, 24, 2),
    (1, 2, 1, 16, 0),
    (3, 8, 8, 16, 1),
    (5, 1, 4, 32, 3),
    (2, 3, 5, 17, 2),
    (4, 8, 8, 20, 0),
    (8, 4, 8, 24, 4),
    (5, 8, 8, 18, 5),
    (1, 3, 2, 16, 5),
]


def run(
    work: Path, shape: tuple[int, ...], rtl: Path, *more: str
) -> subprocess.CompletedProcess[str]:
    names = ("SIMD", "WEIGHT_BITS", "ACT_BITS", "ACC_BITS", "PIPELINE")
    command = [sys.executable, str(share("sim", "run_bench.py")), "--top", "has_pe"]
    command += ["--bench", "pe_tests", "--rtl", str(rtl), "--work", str(work), "--faults"]
    for name, value in zip(names, shape, strict=True):
        command += ["--parameter", f"{name}={value}"]
    command += more
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pe_equals_the_definition(tmp_path: Path, shape: tuple[int, ...]) -> None:
    done = run(tmp_path, shape, share("rtl_templates"))
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("shape", [(4, 8, 8, 24, 4), (9, 5, 4, 20, 5), (2, 1, 3, 16, 4)], ids=str)
def test_pe_of_logic_equals_the_definition(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Its multipliers are cut in halves."""
    done = run(tmp_path, shape, share("rtl_templates"), "--parameter", 'USE_DSP="no"')
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("has_product.v", "act_signed & act_held", "act_held"),
        ("has_pe.v", ".in(psum_xor)", ".in(psum_or)"),
        ("has_multiplier.v", "signed [WEIGHT_BITS-1:0]        weight", "[WEIGHT_BITS-1:0] weight"),
        ("has_fault.v", "| mask_or", "| mask_xor"),
        ("has_pe.v", "g_simd[2*s+3-SIMD]", "g_simd[2*s+2-SIMD]"),
    ],
)
def test_a_broken_pe_is_found(tmp_path: Path, file: str, right: str, wrong: str) -> None:
    rtl = tmp_path / "rtl"
    rtl.mkdir()
    for path in share("rtl_templates").glob("*.v"):
        text = path.read_text()
        if path.name == file:
            assert right in text
            text = text.replace(right, wrong)
        (rtl / path.name).write_text(text)
    done = run(tmp_path, (4, 4, 8, 24, 2), rtl)
    assert done.returncode == 1
    assert "acc must be" in done.stdout

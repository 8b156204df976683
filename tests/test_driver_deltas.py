"""A fleet's deltas in the driver: the memories of a chip's own schedule, or one line."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hascodesign.fleet import delta
from hascodesign.render.driver import FOLDER
from hascodesign.render.rom import build_roms
from tests import driver_cases
from tests.test_driver_codes import driver

__all__ = ["driver"]


@pytest.fixture(scope="module")
def cases() -> tuple[driver_cases.Case, driver_cases.Case]:
    base = driver_cases.small()
    return base, driver_cases.another(base)


def folders(driver: Any, tmp_path: Path, cases: Any) -> tuple[Any, Any, Any]:
    """The build as described, its memories, and those of the chip's own schedule."""
    for name, case in zip(("base", "chip"), cases, strict=True):
        driver_cases.write(tmp_path / name, case.driver(FOLDER))
    built = driver("description").read(tmp_path / "base/schedule")
    read = driver("contents").read
    return built, read(built.folder, built), read(tmp_path / "chip/schedule", built)


def encoded(cases: Any) -> bytes:
    base, chip = (build_roms(one.network, one.schedule, one.on_chip) for one in cases)
    return delta.encode("k", base, chip, b"{}")


def test_a_delta_gives_the_memories_of_the_chips_own_schedule(driver, tmp_path, cases) -> None:
    built, base, wanted = folders(driver, tmp_path, cases)
    (tmp_path / "chip.npz").write_bytes(encoded(cases))
    made = driver("deltas").read(tmp_path / "chip.npz", base, built)
    assert made == wanted != base
    assert made.slots == wanted.slots != base.slots


def changed(content: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    with np.load(io.BytesIO(content)) as stored:
        arrays = {name: stored[name] for name in stored.files}
    change(arrays)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def text(old: bytes, new: bytes) -> Callable[[dict[str, Any]], None]:
    def change(arrays: dict[str, Any]) -> None:
        head = arrays["delta.json"].tobytes()
        assert old in head
        arrays["delta.json"] = np.frombuffer(head.replace(old, new), np.uint8)

    return change


def far(arrays: dict[str, Any]) -> None:
    arrays["bias.address"] = arrays["bias.address"] + 10_000


def wide(arrays: dict[str, Any]) -> None:
    arrays["bias.words"] = arrays["bias.words"] | 0xFF


def twice(arrays: dict[str, Any]) -> None:
    arrays["row_map.words"][:] = arrays["row_map.words"][0]


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "version": (text(b'"version":1', b'"version":2'), "must be a delta of version 1"),
    "head": (lambda a: a.pop("delta.json"), "must be a delta of version 1"),
    "width": (text(b'"name":"bias","select":2,"width":20', b'"name":"bias","select":2,"width":21'),
              "bias must have"),
    "select": (text(b'"select":2', b'"select":9'), "bias must have"),
    "other": (text(b'"name":"bias"', b'"name":"gain"'), "bias must have"),
    "words": (lambda a: a.pop("bias.words"), "must have bias.address and bias.words"),
    "fewer": (lambda a: a.update({"bias.words": a["bias.words"][1:]}), "a word of bias for each"),
    "address": (far, "bias must have words of 20 bits below"),
    "value": (wide, "bias must have words of 20 bits below"),
    "map": (twice, "the row map must place each of the"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_delta_of_the_build_is_refused(driver, tmp_path, cases, name) -> None:
    built, base, _ = folders(driver, tmp_path, cases)
    change, words = BROKEN[name]
    (tmp_path / "chip.npz").write_bytes(changed(encoded(cases), change))
    with pytest.raises(driver("errors").InputError, match=words) as refused:
        driver("deltas").read(tmp_path / "chip.npz", base, built)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"\x80\x04N."])
def test_a_file_that_is_none_is_refused(driver, tmp_path, cases, content: bytes) -> None:
    built, base, _ = folders(driver, tmp_path, cases)
    (tmp_path / "chip.npz").write_bytes(content)
    for path in (tmp_path / "chip.npz", tmp_path / "none.npz"):
        with pytest.raises(driver("errors").InputError):
            driver("deltas").read(path, base, built)


def test_streamed_weights_are_not_of_a_delta(driver, tmp_path, cases) -> None:
    built, base, _ = folders(driver, tmp_path, cases)
    layers = (replace(built.layers[0], on_chip=False), *built.layers[1:])
    (tmp_path / "chip.npz").write_bytes(encoded(cases))
    with pytest.raises(driver("errors").InputError, match="a delta has no streamed weights"):
        driver("deltas").read(tmp_path / "chip.npz", base, replace(built, layers=layers))

"""What the driver makes of images and logits, against the flow's own arithmetic and benches."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hascodesign.common.shipped import share
from hascodesign.contract import arithmetic
from hascodesign.contract.array import identity_schedule
from hascodesign.contract.types import ArraySpec, FaultProfile, InputQuant, IntegerNetwork
from hascodesign.render.driver import SCHEDULE, describe
from tests import core_cases, driver_cases


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The driver's modules by name."""
    monkeypatch.syspath_prepend(str(share("flows", "driver")))
    for name in [name for name in sys.modules if name.partition(".")[0] == "has_driver"]:
        monkeypatch.delitem(sys.modules, name)
    return lambda name: importlib.import_module(f"has_driver.{name}")


def described(driver: Any, network: IntegerNetwork, spec: ArraySpec) -> Any:
    inside = (True,) * len(network.layers)
    schedule = identity_schedule(network, spec)
    found = describe(network, schedule, FaultProfile(spec), inside, 100.0)
    return driver("description")._description(found, Path())


def case(spec: ArraySpec, shape: tuple[int, int, int], quant: InputQuant) -> IntegerNetwork:
    rng = np.random.default_rng(0)
    network = core_cases.random_network(rng, spec, shape, [(3, 2, 1, 0)], pool=False)
    return replace(network, input=quant)


QUANTISERS = (
    InputQuant(0.03, 8, True, -128, 127),
    InputQuant(1 / 255, 8, False, 0, 255),
    InputQuant(0.25, 4, True, -7, 7, gain=2.0, offset=-0.375),
    InputQuant(1.0, 1, True, -1, 1, gain=2.0, offset=-1.0, binary=True),
)


@pytest.mark.parametrize("quant", QUANTISERS)
def test_codes_are_those_of_the_flow(driver: Any, quant: InputQuant) -> None:
    spec = ArraySpec(2, 4, 4, 8, 24)
    built = described(driver, case(spec, (5, 4, 3), quant), spec)
    images = np.random.default_rng(1).normal(0, 2, (40, 3, 5, 4))
    images[0].flat[:8] = np.arange(8) * quant.scale / 2  # halves are rounded to even
    got = driver("codes").quantise(images, built)
    assert np.array_equal(got, arithmetic.quantise(images, quant))
    assert len(np.unique(got)) > 1


def test_vectors_are_images_of_one_pixel(driver: Any) -> None:
    spec = ArraySpec(2, 4, 4, 8, 24)
    network = driver_cases.rtl_cases.network(
        [driver_cases.rtl_cases.layer(np.random.default_rng(0), spec, 0, 3, 7, kind="last")]
    )
    built = described(driver, network, spec)
    images = np.random.default_rng(1).uniform(0, 300, (5, 7))
    got = driver("codes").quantise(images, built)
    assert np.array_equal(got, arithmetic.quantise(images, network.input))


@pytest.mark.parametrize(("simd", "bits"), [(4, 8), (1, 8), (4, 4), (1, 2), (8, 3), (16, 5)])
def test_beats_are_those_of_the_bench(
    driver: Any, monkeypatch: pytest.MonkeyPatch, simd: int, bits: int
) -> None:
    monkeypatch.syspath_prepend(str(share("sim")))
    pack = importlib.import_module("streams").pack
    spec = ArraySpec(2, simd, 2, bits, 24)
    quant = InputQuant(1.0, bits, True, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    built = described(driver, case(spec, (3, 5, 3), quant), spec)
    codes = core_cases.images(np.random.default_rng(2), case(spec, (3, 5, 3), quant), 3)
    got = driver("codes").pack(codes, built)
    size = driver("codes").beat_bytes(simd * bits)
    assert size == 1 << max(0, (simd * bits - 1).bit_length() - 3)
    for image, row in zip(codes, got, strict=True):
        flat = np.pad(image.ravel(), (0, -image.size % simd)).reshape(-1, simd)
        words = [int.from_bytes(beat.tobytes(), "little") for beat in row.reshape(-1, size)]
        assert words == pack(flat, bits)


@pytest.mark.parametrize("scale", [0.5, np.array([1.0, 0.25, 4.0])])
def test_classes_are_those_of_the_flow(driver: Any, scale: Any) -> None:
    spec = ArraySpec(2, 4, 4, 8, 24)
    network = core_cases.random_network(np.random.default_rng(0), spec, (4, 4, 1), [], classes=3)
    built = described(driver, replace(network, logit_scale=scale), spec)
    logits = np.random.default_rng(1).integers(-50, 50, (200, 3))
    logits[:20, 1] = logits[:20, 0]  # of equals the lowest
    got = driver("codes").classes_of(logits, built)
    assert np.array_equal(got, arithmetic.classify(logits, scale))


def test_memories_are_read_as_they_were_rendered(driver: Any, tmp_path: Path) -> None:
    """Widened to the build's words where the schedule needs fewer bits, sign and all."""
    case = driver_cases.small()
    other = driver_cases.another(case)
    for folder, one in (("mine", driver_cases.wider(case)), ("other", other)):
        driver_cases.write(tmp_path / folder, one.driver(SCHEDULE))
    built, narrow = (driver("description").read(tmp_path / name) for name in ("mine", "other"))
    found = driver("contents").read(tmp_path / "other", built)
    width = built.memories[2].width
    assert narrow.memories[2].width < width
    bias = np.concatenate([layer.bias for layer in other.network.layers])
    assert bias.min() < 0
    assert list(found.words[2]) == [int(word) & ((1 << width) - 1) for word in bias]
    assert [list(map(list, one)) for one in found.slots] == [
        row_map.slots.tolist() for row_map in other.schedule.layers
    ]


def test_a_healing_that_compared_no_answer_is_not_good(driver: Any) -> None:
    """Every PE varies, or is not explained: whatever the chip answers, none of it is held."""
    healing = driver("healing")
    verified = driver("verification").Verification("", 1, 5, 0, "", False, 8, 0, ())
    acc, yes, no = np.ones((2, 3), np.int32), np.ones(2, np.bool_), np.zeros(2, np.bool_)
    one = np.array([True, False])
    for explained, varies, good in ((yes, no, True), (yes, one, True), (yes, yes, False)):
        found = healing.compare(healing.Predicted(acc, explained, varies), acc, verified, (0, 9))
        assert found.good == good
        assert ("no PE answers the same each time" in str(found)) == (not good)

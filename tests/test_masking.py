"""What the report says of a profile beside its accuracy: masked faults, modelled power."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hascodesign.contract.array import generator
from hascodesign.contract.results import Masking
from hascodesign.contract.types import FaultProfile, frozen
from hascodesign.engine.masked import masked
from hascodesign.faults.voltage import at_voltage, draw_cells
from hascodesign.flow import judging
from hascodesign.flow import run as delivery
from tests import rtl_cases
from tests import verify_cases as cases


def found(profile: FaultProfile, images: int = 6) -> Masking:
    """The shares of a profile on the test network's plain order."""
    net = cases.network()
    height, width, channels = net.in_shape
    pixels = np.random.default_rng(1).uniform(0, 1, (images, channels, height, width))
    return judging.masking(net, profile, cases.schedule(net), frozen(pixels, np.float32), 3)


def test_all_faults_are_tried_where_they_are_few() -> None:
    profile = rtl_cases.any_profile(np.random.default_rng(3), cases.ARRAY, 10, 40)
    shares = found(profile)
    assert shares.tried == shares.faults == len(profile.faults) and shares.images == 6
    assert 0 <= shares.accumulators <= shares.classes <= 1
    assert found(profile) == shares


def test_of_many_faults_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "MOST_FAULTS", 4)
    monkeypatch.setattr(judging, "MOST_IMAGES", 2)
    tried: list[list[int]] = []

    def noted(*arguments: Any) -> tuple[float, float]:
        tried.append(arguments[-1])
        assert len(arguments[3]) == 2
        return masked(*arguments)

    monkeypatch.setattr("hascodesign.engine.masked.masked", noted)
    profile = rtl_cases.any_profile(np.random.default_rng(3), cases.ARRAY, 12, 40)
    shares = found(profile)
    assert (shares.faults, shares.tried, shares.images) == (len(profile.faults), 4, 2)
    assert shares.accumulators * 4 == int(shares.accumulators * 4)
    assert len(set(tried[0])) == 4 and tried[0] == sorted(tried[0])
    assert max(tried[0]) < len(profile.faults)


def test_power_is_of_the_cells_own_voltage_only() -> None:
    cells = draw_cells(cases.ARRAY, generator(1, "cells"))
    modelled = delivery._power(at_voltage(cells, 0.6))
    assert modelled is not None and modelled["relative"] == pytest.approx(0.42)
    assert "model, not measured" in modelled["label"]
    assert delivery._power(at_voltage(cells, 1.0))["relative"] == 1.0
    for conditions in ({}, {"voltage": 0.6}, {"voltage": 12.0}, {"vccbram_v": 0.6}):
        assert delivery._power(FaultProfile(cases.ARRAY, conditions=conditions)) is None

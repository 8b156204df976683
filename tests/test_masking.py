"""What the report says of a profile beside its accuracy: masked faults, modelled power."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hascodesign.contract.array import generator
from hascodesign.contract.types import FaultProfile, Split, frozen
from hascodesign.engine.masked import masked
from hascodesign.faults.voltage import at_voltage, draw_cells
from hascodesign.flow import masking
from hascodesign.flow import run as delivery
from hascodesign.flow.store import StepStore
from tests import rtl_cases
from tests import verify_cases as cases


def flow(tmp_path: Path, profile: FaultProfile, images: int = 6) -> Any:
    """As much of a flow as the shares need."""
    net = cases.network()
    height, width, channels = net.in_shape
    pixels = np.random.default_rng(1).uniform(0, 1, (images, channels, height, width))
    split = Split(frozen(pixels, np.float32), frozen(np.zeros(images)))
    return SimpleNamespace(
        network=net,
        profile=profile,
        schedule=cases.schedule(net),
        config=SimpleNamespace(seed=3),
        dataset=SimpleNamespace(calibration=split),
        store=StepStore(tmp_path / "steps"),
    )


def test_all_faults_are_tried_where_they_are_few(tmp_path: Path) -> None:
    profile = rtl_cases.any_profile(np.random.default_rng(3), cases.ARRAY, 10, 40)
    found = masking.shares(flow(tmp_path, profile))
    assert found.tried == found.faults == len(profile.faults) and found.images == 6
    assert 0 <= found.accumulators <= found.classes <= 1
    again = flow(tmp_path, profile)
    assert masking.shares(again) == found
    assert [record.cached for record in again.store.records] == [True]


def test_of_many_faults_some_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "MOST_FAULTS", 4)
    monkeypatch.setattr(masking, "MOST_IMAGES", 2)
    tried: list[list[int]] = []

    def noted(*arguments: Any) -> tuple[float, float]:
        tried.append(arguments[-1])
        assert len(arguments[3]) == 2
        return masked(*arguments)

    monkeypatch.setattr("hascodesign.engine.masked.masked", noted)
    profile = rtl_cases.any_profile(np.random.default_rng(3), cases.ARRAY, 12, 40)
    found = masking.shares(flow(tmp_path, profile))
    assert (found.faults, found.tried, found.images) == (len(profile.faults), 4, 2)
    assert found.accumulators * 4 == int(found.accumulators * 4)
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

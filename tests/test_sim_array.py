"""The whole array in Icarus against a literal model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hascodesign.render.rtl import RtlOptions
from hascodesign.types import ArraySpec, FaultProfile, Schedule
from hascodesign.verify.simulate import simulate
from tests import rtl_cases


@pytest.mark.parametrize("faults", [False, True])
def test_every_output_kind_and_an_external_layer(tmp_path: Path, faults: bool) -> None:
    rng = np.random.default_rng(1)
    spec = ArraySpec(4, 3, 4, 8, 24)
    layers = [
        rtl_cases.layer(rng, spec, 0, 7, 10),
        rtl_cases.layer(rng, spec, 1, 5, 4, in_signed=True, out_signed=True, out_bits=3),
        rtl_cases.layer(rng, spec, 2, 6, 7, kind="shift"),
        rtl_cases.layer(rng, spec, 3, 3, 9, kind="last"),
    ]
    network = rtl_cases.network(layers)
    maps = [rtl_cases.random_map(rng, item, spec.pe, spare=item.index % 2) for item in layers]
    schedule = Schedule(spec, tuple(maps))
    profile = rtl_cases.random_profile(rng, spec, 12)
    options = RtlOptions(on_chip=(True, False, True, True))
    plan = rtl_cases.build(network, schedule, profile, options)
    applied = profile if faults else FaultProfile(spec)
    expected = rtl_cases.write_job(tmp_path / "vectors", applied, network, schedule, 6, rng)
    results = simulate(plan, tmp_path / "vectors", tmp_path / "work", faults=faults)
    for name, (acc, codes) in expected.items():
        np.testing.assert_array_equal(results[name].acc, acc)
        np.testing.assert_array_equal(results[name].codes, codes)

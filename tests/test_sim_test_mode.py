"""Test mode of the simulated accelerator: its accumulators against the engine's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hascodesign.contract.types import ArraySpec, Dataflow, FaultProfile
from hascodesign.render.core import render_core
from hascodesign.render.core_sizes import CoreOptions
from hascodesign.render.rom import build_roms
from hascodesign.verify.core import expected
from tests import core_cases, rtl_cases
from tests.preload_cases import preloaded
from tests.stage_cases import diagnose_stages, limits_of, random_stage, write_stages
from tests.test_sim_core import bench


@pytest.mark.parametrize("kind", ["os", "ws", "preloads", "diagnose", "batch"])
def test_every_accumulator_leaves_in_test_mode(tmp_path: Path, kind: str) -> None:
    """Faults of every kind and site; idle slots; then images, without a reset."""
    run(kind, tmp_path)


def run(kind: str, work: Path) -> None:
    """The bench of one build; "diagnose all" plays the whole test set of the array."""
    rng = np.random.default_rng(len(kind))
    dataflow: Dataflow = "ws" if kind == "ws" else "os"
    spec = ArraySpec(4, 2, 3, 4, 20, dataflow)
    net = core_cases.random_network(rng, spec, (5, 4, 2), [(6, 3, 1, 1)], classes=3, hidden=5)
    if kind == "preloads":
        net = preloaded(rng, net, spec.acc_bits)
    schedule = core_cases.random_schedule(rng, net, spec)
    batch, inside = 1, (True,) * len(net.layers)
    if kind == "batch":
        batch, inside = 2, (True, False, True)
    roms = build_roms(net, schedule, inside)
    depth = len(next(rom.words for rom in roms if rom.content == "weights"))
    profile = rtl_cases.any_profile(rng, spec, 14, depth)
    if kind.startswith("diagnose"):  # no draws: the layer's number is another there
        permanent = tuple(fault for fault in profile.faults if fault.kind != "transient")
        profile = replace(profile, faults=permanent)
    plan = core_cases.build(
        net, schedule, profile, inside, lanes=1 if kind == "preloads" else 2, batch=batch
    )
    limits = limits_of(plan)
    assert limits[2] == depth
    stages = [random_stage(rng, spec, limits, number) for number in range(8)]
    if kind.startswith("diagnose"):
        stages = (
            diagnose_stages(spec, limits, 4)
            if kind == "diagnose"
            else diagnose_stages(spec, limits)
        )
    codes = core_cases.images(rng, net, 2)
    (work / "vectors").mkdir()
    core_cases.write_memories(work / "vectors" / "memories.npz", roms, roms, spec)
    write_stages(work / "vectors" / "stages.npz", profile, stages)
    jobs = {"images": expected(net, schedule, profile, codes, inside, batch)}
    bench("core_test_mode_tests", plan, jobs, work, "--faults")


def test_a_build_without_test_mode_has_none(tmp_path: Path) -> None:
    """Neither by choice nor where nothing is written; reading TEST_LIMITS tells."""
    rng = np.random.default_rng(1)
    spec = ArraySpec(4, 2, 3, 4, 20)
    net = core_cases.random_network(rng, spec, (5, 4, 2), [(6, 3, 1, 1)], classes=3)
    schedule, healthy = core_cases.identity(net, spec), FaultProfile(spec)
    for options in (CoreOptions(test=False), CoreOptions(writable=False)):
        core = render_core(net, schedule, healthy, options)["rtl/has_core.v"].decode()
        assert "localparam TEST = 0;" in core
    with_test = render_core(net, schedule, healthy, CoreOptions())["rtl/has_core.v"].decode()
    assert "localparam TEST = 1;" in with_test

"""The core that watches its array, simulated: its checks, images beside them, and its alarm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, Dataflow, Fault, FaultProfile, IntArray
from hascodesign.render.core import render_core
from hascodesign.render.core import test_limits as limits_of
from hascodesign.render.core_sizes import CoreOptions
from hascodesign.verify.core import expected
from hascodesign.verify.self_test import self_test, signature
from tests import core_cases, rtl_cases
from tests.preload_cases import preloaded
from tests.test_driver_check import masks
from tests.test_render_core import lint
from tests.test_sim_core import bench

SPEC = ArraySpec(4, 2, 3, 4, 20)


def in_order(acc: IntArray) -> IntArray:
    """Accumulators [stages, P, passes, C] of stage 0 as they leave: pass, column, PE."""
    return acc[0].transpose(1, 2, 0).ravel().astype(np.int64)


@pytest.mark.parametrize("kind", ["masks", "ws", "batch"])
def test_the_array_is_watched(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(len(kind))
    dataflow: Dataflow = "ws" if kind == "ws" else "os"
    spec = replace(SPEC, dataflow=dataflow)
    net = core_cases.random_network(rng, spec, (4, 3, 2), [(5, 3, 1, 1)], classes=3, hidden=5)
    if kind == "masks":
        net = preloaded(rng, net, spec.acc_bits)
    schedule = core_cases.random_schedule(rng, net, spec)
    batch, inside = (2, (True, False, True)) if kind == "batch" else (1, (True,) * 3)
    options = replace(core_cases.options(inside, batch=batch), watch=True)
    profile = FaultProfile(spec)
    if kind != "masks":
        profile = rtl_cases.random_profile(rng, spec, 6)
        steady = tuple(fault for fault in profile.faults if fault.kind != "transient")
        profile = replace(profile, faults=steady)
    test = self_test(net, schedule, inside, limits_of(net, schedule, options))
    assert test is not None
    held = {
        "shape": np.array([test.bases[0], test.steps, test.passes]),
        "signature": signature(in_order(test.answers(profile))),
    }
    folder = tmp_path / "vectors"
    folder.mkdir()
    if kind == "masks":
        fault = Fault(3, "sa1", "product", 1, 4)
        held["faulty"] = signature(in_order(test.answers(FaultProfile(spec, (fault,)))))
        assert held["faulty"] != held["signature"]
        (folder / "masks").mkdir()
        (folder / "masks" / "none.npz").write_bytes(masks(spec=spec))
        (folder / "masks" / "one.npz").write_bytes(masks(fault, spec=spec))
    np.savez(folder / "watch.npz", allow_pickle=False, **held)
    plan = core_cases.build(net, schedule, profile, inside, built=options)
    codes = core_cases.images(rng, net, 2)
    jobs = {"images": expected(net, schedule, profile, codes, inside, batch)}
    bench(
        "core_watch_tests", plan, jobs, tmp_path, "--bench-masks" if kind == "masks" else "--faults"
    )


def test_a_build_that_does_not_watch_has_none_of_it() -> None:
    rng = np.random.default_rng(1)
    net = core_cases.random_network(rng, SPEC, (5, 4, 2), [(6, 3, 1, 1)], classes=3)
    schedule, healthy = core_cases.identity(net, SPEC), FaultProfile(SPEC)
    plain = render_core(net, schedule, healthy, CoreOptions())
    assert "rtl/has_watch.v" not in plain and not any(b"watch" in text for text in plain.values())
    watching = render_core(net, schedule, healthy, CoreOptions(watch=True))
    assert watching.keys() - plain.keys() == {"rtl/has_watch.v"}
    with pytest.raises(ConfigError, match="a core that watches its array must have test mode"):
        render_core(net, schedule, healthy, CoreOptions(watch=True, test=False))


@pytest.mark.parametrize("images", [1, 3])
def test_lint_is_silent(tmp_path: Path, images: int) -> None:
    rng = np.random.default_rng(images)
    net = core_cases.batched(rng, SPEC, 0)
    inside = (*(True,) * (len(net.layers) - 2), images == 1, True)
    options = replace(core_cases.options(inside, batch=images), watch=True)
    schedule = core_cases.identity(net, SPEC)
    plan = core_cases.build(net, schedule, FaultProfile(SPEC), inside, built=options)
    assert lint(tmp_path, plan, 0) == ""

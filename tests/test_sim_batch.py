"""Images in batches through the simulated accelerator: streamed weights come once for each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hascodesign.contract.batches import MOST_IMAGES, batch_sizes
from hascodesign.contract.build import Build
from hascodesign.contract.results import CoreRun, CoreStage
from hascodesign.contract.types import ArraySpec, Dataflow, FaultProfile
from hascodesign.flow.config import VerifyConfig
from hascodesign.flow.proof import VerifyJob, stream_cycles
from hascodesign.render.core_sizes import CoreOptions
from hascodesign.render.rtl import RtlOptions
from hascodesign.verify import core
from hascodesign.verify.core import expected, verify_core
from tests import core_cases, rtl_cases
from tests.test_sim_core import bench


@pytest.mark.parametrize(
    ("kind", "dataflow", "pauses"),
    [
        *((0, "os", None), (1, "ws", None), (2, "os", 3), (3, "os", None), (4, "ws", None)),
        (5, "os", None),
    ],
)
def test_streamed_weights_come_once_for_a_batch(
    tmp_path: Path, kind: int, dataflow: Dataflow, pauses: int | None
) -> None:
    """Behind every kind of stage; the last batch is one image.

    Draws of transient faults among it: they count columns from image to image.
    """
    rng = np.random.default_rng(kind)
    spec = ArraySpec(4, 4, 4, 4, 20, dataflow)
    net = core_cases.batched(rng, spec, kind)
    schedule = core_cases.random_schedule(rng, net, spec)
    profile = rtl_cases.any_profile(rng, spec, 12, 100)
    assert "transient" in {fault.kind for fault in profile.faults}
    inside = (*(True,) * (len(net.layers) - 2), False, True)
    if kind == 5:
        inside = (True, True, False, True, False, True)
    plan = core_cases.build(net, schedule, profile, inside, batch=3)
    codes = core_cases.images(rng, net, 7)
    codes[1] = codes[0]
    run = verify_core(
        net, schedule, profile, plan, codes, work=tmp_path, faults=True, on_chip=inside,
        batch=3, pauses=pauses,
    )  # fmt: skip
    assert run.mismatches == 0, run.first
    positions = sum(2 * x.rows * x.positions for x in net.layers)
    assert run.outputs >= 7 * (positions + net.layers[-1].rows)


def test_the_largest_batch(tmp_path: Path) -> None:
    """64 images, and one more by itself."""
    rng = np.random.default_rng(6)
    spec = ArraySpec(4, 4, 4, 4, 20)
    net = core_cases.random_network(rng, spec, (1, 1, 3), [], hidden=3)
    schedule, profile = core_cases.identity(net, spec), rtl_cases.any_profile(rng, spec, 12, 100)
    inside = (False, True)
    plan = core_cases.build(net, schedule, profile, inside, batch=MOST_IMAGES)
    run = verify_core(
        net, schedule, profile, plan, core_cases.images(rng, net, MOST_IMAGES + 1), work=tmp_path,
        faults=True, on_chip=inside, batch=MOST_IMAGES,
    )  # fmt: skip
    assert (run.images, run.mismatches) == (65, 0), run.first
    assert run.outputs == 65 * (2 * (3 + 5) + 5)


@pytest.mark.parametrize("kind", [0, 2])
def test_a_host_sees_batches(tmp_path: Path, kind: int) -> None:
    """Sizes, ENABLE and RESTART in the middle, images of a wrong length, packets."""
    rng = np.random.default_rng(kind)
    spec = ArraySpec(4, 4, 4, 4, 20)
    net = core_cases.batched(rng, spec, kind)
    schedule, healthy = core_cases.random_schedule(rng, net, spec), FaultProfile(spec)
    inside = (*(True,) * (len(net.layers) - 2), False, True)
    plan = core_cases.build(net, schedule, healthy, inside, batch=3)
    codes = core_cases.images(rng, net, 6)
    jobs = {"images": expected(net, schedule, healthy, codes, inside, 3)}
    bench("core_batch_tests", plan, jobs, tmp_path)


def test_one_image_tells_what_a_stream_over_the_port_takes(tmp_path: Path) -> None:
    """What the report says, from one image and weights that come at once, as it is simulated."""
    rng = np.random.default_rng(8)
    spec = ArraySpec(4, 4, 4, 4, 20)
    net = core_cases.random_network(rng, spec, (6, 6, 2), [(9, 3, 1, 1)], beside=True, hidden=20)
    schedule, healthy = core_cases.random_schedule(rng, net, spec), FaultProfile(spec)
    inside = (True, False, True)
    hardware = CoreOptions(RtlOptions(on_chip=inside), batch=4)
    plan = core_cases.build(net, schedule, healthy, inside, batch=4)
    codes = core_cases.images(rng, net, 8)
    how = {"faults": False, "on_chip": inside, "batch": 4}
    one = verify_core(net, schedule, healthy, plan, codes[:1], work=tmp_path, **how)
    all_ = verify_core(net, schedule, healthy, plan, codes, work=tmp_path, port_cycles=8, **how)
    assert one.mismatches == all_.mismatches == 0
    stages = tuple(
        CoreStage(s.name, s.cycles, s.ideal_cycles, s.load_cycles, s.busy) for s in one.stages
    )
    job = VerifyJob(
        Build(net, schedule, healthy, plan), codes, np.zeros(8), inside, VerifyConfig(), "icarus",
        None, hardware, 8,
    )  # fmt: skip
    run = CoreRun("healthy", 1, one.outputs, one.image_cycles, stages, 0.0)
    told, took = stream_cycles(job, run, 8), all_.cycles / 8
    assert abs(told / took - 1) < 0.02, (told, took)
    # with batches of one it would be much more
    assert stream_cycles(replace(job, hardware=replace(hardware, batch=1)), run, 8) > 1.5 * told


def test_a_batch_that_is_not_full_has_a_size_of_its_own() -> None:
    assert batch_sizes(100, 8) == [8] * 12 + [4]
    assert batch_sizes(16, 8) == [8, 8]
    assert batch_sizes(3, 8) == [3]
    assert batch_sizes(2, 1) == [1, 1]


@pytest.mark.parametrize(("images", "cycles"), [(7, 1001), (8, 501), (6, 334)])
def test_the_cycles_of_an_image_are_its_share_of_the_last_batch(images: int, cycles: int) -> None:
    rng = np.random.default_rng(0)
    spec = ArraySpec(4, 4, 4, 4, 20)
    net = core_cases.batched(rng, spec, 0)
    logits = rng.integers(9, size=(images, 5))
    got = {"status": 0, "logits": logits, "stage_cycles": np.full(2, 9), "cycles": 9}
    run = core._compare(
        net, core_cases.identity(net, spec), (False, True), {"logits": (logits, logits)},
        got | {"image_cycles": 1001}, ("icarus", True, 0.0), 3,
    )  # fmt: skip
    assert (run.image_cycles, run.outputs) == (cycles, 5 * images)

"""How many whole images a flow runs, and what it says of those that it does not."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hascodesign.board import tools
from hascodesign.common.display import Display
from hascodesign.contract.build import Build, BuildPlan
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.results import CoreRun, CoreStage, WholeImages
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile
from hascodesign.flow import proof
from hascodesign.flow.config import VerifyConfig
from hascodesign.render.build import core_refusal
from hascodesign.render.core_fit import core_ramb18
from hascodesign.render.core_sizes import CoreOptions, image_cycles
from tests import core_cases

SPEC = ArraySpec(4, 4, 4, 4, 20)
ON_CHIP = (True, True)


def job(chosen: VerifyConfig, refusal: str | None = None) -> proof.VerifyJob:
    rng = np.random.default_rng(3)
    net = core_cases.random_network(rng, SPEC, (6, 6, 4), [(8, 3, 1, 1)])
    schedule, profile = core_cases.identity(net, SPEC), FaultProfile(SPEC)
    plan = core_cases.build(net, schedule, profile)
    codes = core_cases.images(rng, net, 3)
    build = Build(net, schedule, profile, plan)
    labels = np.zeros(3, dtype=np.int64)
    return proof.VerifyJob(build, codes, labels, ON_CHIP, chosen, "icarus", refusal)


def predicted() -> int:
    build = job(VerifyConfig()).build
    return image_cycles(build.network, build.schedule, ON_CHIP, CoreOptions())


def test_the_prediction_is_passes_steps_and_columns() -> None:
    # image; conv: 2 passes, T = 9; pooling: 3 x 5 windows, 2 words each; dense: 2 passes, T = 30;
    # beginning and end of two layers
    assert predicted() == 36 + 2 * 9 * 36 + 15 * 4 * 2 + 2 * 30 + 2 * 50


@pytest.mark.parametrize(("images", "expected"), [(2.0, 2), (1.9, 1), (0.5, 0)])
def test_the_default_keeps_to_its_cycles(images: float, expected: int) -> None:
    chosen = VerifyConfig(core_cycles=int(images * predicted()))
    count, notes = proof._image_count(job(chosen))
    assert count == expected
    assert len(notes) == (expected < 2)
    if notes:
        assert notes[0].startswith(f"{expected} of 2 images ran through the whole accelerator")


def test_as_many_images_as_asked_for() -> None:
    assert proof._image_count(job(VerifyConfig(core_images=3, core_cycles=1))) == (3, ())
    with pytest.raises(ConfigError, match=r"--core-images must be at most 3, .* not 99"):
        proof._image_count(job(VerifyConfig(core_images=99)))


def test_no_image_fits_and_the_report_says_so(tmp_path: Path) -> None:
    found = proof.whole_images(job(VerifyConfig(core_cycles=1)), tmp_path, Display())
    assert found.built and not found.runs
    assert found.notes[0].startswith("0 of 2 images")


def test_without_a_compiler_the_report_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "find", lambda name: None)
    whole = WholeImages(built=True, runs=(), notes=("one",))
    found, files = proof.hls_images(job(VerifyConfig()), whole, tmp_path, Display())
    assert found.hls == () and found.notes[0] == "one"
    assert found.notes[1].startswith("The C++ of hls/ was not compiled: no g++; apt-get install")
    assert sorted(files) == ["hls/images/faulty.txt", "hls/images/healthy.txt"]


def test_as_many_images_in_cpp_as_their_products_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A draw at every product takes its time; where one image is too much the report says so."""
    monkeypatch.setattr(tools, "find", lambda name: None)
    held = job(VerifyConfig())
    whole = WholeImages(built=True, runs=(), notes=())
    macs = held.build.network.macs

    def images(profile: FaultProfile) -> int:
        drawn = replace(held, build=replace(held.build, profile=profile))
        _, files = proof.hls_images(drawn, whole, tmp_path, Display())
        head = files["hls/images/healthy.txt"].split(b"\n")[0].split()
        return int(head[2])

    healthy = held.build.profile
    draws = replace(healthy, faults=(Fault(0, "transient", "product", 0, 0, p=0.5),) * 2)
    monkeypatch.setattr(proof, "HLS_PRODUCTS", 2 * macs)
    assert [images(healthy), images(draws)] == [2, 1]
    monkeypatch.setattr(proof, "HLS_MOST", macs - 1)
    found, files = proof.hls_images(held, whole, tmp_path, Display())
    assert not files and not found.hls
    assert found.notes[0].startswith(
        f"The C++ of hls/ ran no whole image: one takes as long as {macs:,} p"
    )


def test_a_network_that_has_no_cpp_of_its_own_is_named(tmp_path: Path) -> None:
    held = job(VerifyConfig())
    network = replace(held.build.network, stages=held.build.network.stages[:1])
    alone = replace(held, build=replace(held.build, network=network))
    whole = WholeImages(built=False, runs=(), notes=("one",))
    found, files = proof.hls_images(alone, whole, tmp_path, Display())
    assert not files and not found.hls
    assert found.notes[0] == "one"
    assert found.notes[1].startswith(
        "hls/ has no has_network, and has_layer was not compiled: the last stage must be a layer"
    )


def test_an_accelerator_that_is_not_built_is_named(tmp_path: Path) -> None:
    found = proof.whole_images(job(VerifyConfig(), "simd is 3"), tmp_path, Display())
    assert not found.built and not found.runs
    assert found.notes == ("The accelerator is not built, the array alone is: simd is 3.",)


def test_why_an_accelerator_is_refused() -> None:
    build = job(VerifyConfig()).build
    net = build.network
    assert core_refusal(net, build.schedule, build.profile) is None
    spec = replace(SPEC, simd=3)
    assert "power of two, not 3" in str(
        core_refusal(net, core_cases.identity(net, spec), FaultProfile(spec))
    )


def test_blocks_of_the_accelerator() -> None:
    build = job(VerifyConfig()).build
    # one lane; 4 banks of two maps, each within one block; the map once more
    assert core_ramb18(build.network, build.schedule, CoreOptions()) == 4 * 2 + 1


def test_a_slow_convolution_is_named() -> None:
    held = job(VerifyConfig())
    stages = [CoreStage("layer0", 720, 648, 0, 0.9), CoreStage("layer1", 90, 30, 0, 0.3)]
    run = CoreRun("healthy", 1, 1, 1, tuple(stages), 0.0)
    (note,) = proof._slow(held, run)
    assert note.startswith("layer0 takes 11 % more cycles than passes * T * N = 648: so short")
    assert proof._slow(held, replace(run, stages=(replace(stages[0], cycles=712), stages[1]))) == ()


def test_a_wrong_accelerator_fails_the_flow(tmp_path: Path) -> None:
    held = job(VerifyConfig(core_images=1))
    files = dict(held.build.plan.files)
    table = files["rtl/has_stage_table.v"].decode()
    changed, times = re.subn(r"(x_first = \d+'d)\d+", r"\g<1>0", table)  # no padding at the left
    assert times and changed != table
    files["rtl/has_stage_table.v"] = changed.encode()
    wrong = replace(held, build=replace(held.build, plan=BuildPlan(files)))
    with pytest.raises(proof.VerificationMismatch, match="the accelerator must equal"):
        proof.whole_images(wrong, tmp_path, Display())


def test_streamed_weights_are_told_with_the_port() -> None:
    """Loading takes the port's time; why there is no batch; images a second."""
    stages = tuple(CoreStage(*one) for one in (
        ("layer0", 700, 648, 0, 0.9), ("pool1", 121, 0, 0, 0.0), ("layer1", 170, 60, 60, 0.4),
    ))  # fmt: skip
    run = CoreRun("healthy", 1, 1, 1000, stages, 0.0)
    all_inside = replace(job(VerifyConfig()), port_cycles=8)
    assert proof._streamed(all_inside, run) == ()
    streamed = replace(all_inside, on_chip=(True, False))
    (line,) = proof._streamed(streamed, run)
    cycles = 36 + 700 + 121 + (110 + 60 * 8) + 15 + 5  # image, stages, answer
    assert line == (
        "The weights of layer1 are streamed, for each image, because the weights of the last layer,"
        " layer1, are streamed: with the memory port, which brings a step's in 8 cycles, the"
        f" simulated stages make {cycles:,} cycles an image in a stream,"
        f" {1e8 / cycles:,.0f} images a second at 100 MHz."
    )
    assert proof._streamed(replace(streamed, port_cycles=None), run) == ()


def batched(images: int) -> tuple[proof.VerifyJob, CoreRun]:
    """A job of batches of 4, and what so many images took in the last batch of them."""
    rng = np.random.default_rng(3)
    net = core_cases.random_network(rng, SPEC, (6, 6, 4), [(8, 3, 1, 1)], pool=False, hidden=9)
    one = replace(job(VerifyConfig()), on_chip=(True, False, True), port_cycles=8)
    one = replace(one, build=Build(net, core_cases.identity(net, SPEC), one.build.profile,
                                   one.build.plan), hardware=CoreOptions(batch=4))  # fmt: skip
    last = (images - 1) % 4 + 1
    stages = (
        CoreStage("layer0", 700, 648, 0, 0.9),
        CoreStage("layer1", 216 + 30 + 216 * last, 216 * last, 216, 0.9),
        CoreStage("layer2", 40, 6, 0, 0.1),
    )
    return one, CoreRun("healthy", images, 1, 1000, stages, 1.0)


@pytest.mark.parametrize("images", [1, 2, 4, 6])
def test_a_stream_of_full_batches_is_told_from_any_batch(images: int) -> None:
    one, run = batched(images)
    # image, conv0, last layer, its answer; once for four: weights by the port, ends, columns
    each = 36 + 700 + 40 + proof.ANSWER + 5
    once = 216 * 8 + 30 + 4 * 216
    assert proof.stream_cycles(one, run, 8) == -(-(4 * each + once) // 4)


@pytest.mark.parametrize(
    ("images", "told"),
    [(2, "Batches of 2 images were simulated, none of 4: --core-images asks for more."),
     (6, "Batches of 4 and 2 images were simulated.")],
)  # fmt: skip
def test_the_report_says_which_batches_ran(images: int, told: str) -> None:
    first, second = proof._streamed(*batched(images))
    assert first.startswith("The weights of layer1 are streamed, once for a batch of 4 images: ")
    assert first.endswith("ran once for 2 images: their cycles are of all 2.")
    assert second == told

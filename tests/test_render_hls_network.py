"""The HLS C++ of whole networks compiled with g++ and held against the engine."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from hascodesign.contract import arithmetic
from hascodesign.contract.array import wmem_words
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.errors import StepFailed, VerificationMismatch
from hascodesign.contract.types import (
    ArraySpec,
    Conv,
    Fault,
    FaultProfile,
    IntArray,
    IntegerNetwork,
    MaxPool,
    Schedule,
)
from hascodesign.engine import gemm
from hascodesign.models.integer import accumulator_bits
from hascodesign.render.build import hls_files
from hascodesign.render.hls_network import compared, network_refusal, network_vectors
from hascodesign.render.rom import build_roms, rom_files
from hascodesign.verify.hls import run_network
from tests import core_cases, random_graphs, rtl_cases
from tests.preload_cases import preloaded

IMAGES = 3


@dataclass(frozen=True)
class Case:
    """A network on an array, its faults and images."""

    network: IntegerNetwork
    schedule: Schedule
    profile: FaultProfile
    codes: IntArray
    on_chip: tuple[bool, ...]

    @property
    def files(self) -> dict[str, bytes]:
        roms = build_roms(self.network, self.schedule, self.on_chip)
        parts = (self.network, self.schedule, roms, self.on_chip, self.profile)
        return rom_files(roms) | hls_files(*parts)

    def vectors(self, *, faults: bool, first: int = 0) -> bytes:
        """Of the images from the `first` on, as they are among all."""
        profile = self.profile if faults else replace(self.profile, faults=())
        traces = [
            replace(trace, acc=trace.acc[:, start:], codes=trace.codes[:, start:])
            for trace in gemm.trace(self.network, self.schedule, profile, self.codes)
            for start in [first * trace.layer.positions]
        ]
        parts = (self.network, self.schedule, self.codes[first:], traces, self.on_chip)
        return network_vectors(*parts, every=True, first_image=first)

    def run(
        self, work: Path, files: dict[str, bytes] | None = None, **instead: bytes
    ) -> tuple[int, ...]:
        """Integers compared, none different, in the healthy and the faulty run."""
        vectors = {
            "healthy": self.vectors(faults=False),
            "faulty": self.vectors(faults=True),
        } | instead
        plan = BuildPlan(self.files if files is None else files)
        integers = compared(self.network, len(self.codes), every=True)
        runs = run_network(plan, vectors, len(self.codes), integers, work=work)
        return tuple(run.outputs for run in runs)


def case(
    rng: np.random.Generator,
    spec: ArraySpec,
    net: IntegerNetwork,
    streamed: tuple[int, ...] = (),
    codes: IntArray | None = None,
) -> Case:
    schedule = core_cases.random_schedule(rng, net, spec)
    profile = rtl_cases.any_profile(rng, spec, 6, wmem_words(net, spec, schedule))
    on_chip = tuple(layer.index not in streamed for layer in net.layers)
    images = core_cases.images(rng, net, IMAGES) if codes is None else codes
    return Case(net, schedule, profile, images, on_chip)


@functools.cache
def plain() -> Case:
    """Padding, stride, a pooling that the convolution keeps and that leaves codes over, dense."""
    rng, spec = np.random.default_rng(1), ArraySpec(4, 4, 4, 4, 20)
    net = core_cases.random_network(
        rng, spec, (7, 6, 3), [(9, 3, 1, 1), (5, 2, 2, 0)], beside=True, hidden=7
    )
    held = case(rng, spec, net)
    others = [fault for fault in held.profile.faults if fault.pe]
    return replace(held, profile=replace(held.profile, faults=(Fault(0, "dead"), *others)))


@functools.cache
def systolic() -> Case:
    """Three multipliers, preloads, windows that overlap, a padded stride of 2."""
    rng, spec = np.random.default_rng(2), ArraySpec(5, 3, 3, 5, 18, "ws")
    net = core_cases.random_network(rng, spec, (6, 7, 4), [(6, 3, 1, 1), (4, 3, 2, 1)], hidden=7)
    return case(rng, spec, preloaded(rng, net, spec.acc_bits))


@functools.cache
def streamed() -> Case:
    """Weight words beyond 64 bits, first and last layers streamed; logits of 33 bits."""
    rng, spec = np.random.default_rng(3), ArraySpec(2, 19, 7, 8, 32)
    net = core_cases.random_network(rng, spec, (5, 5, 2), [(3, 3, 1, 0)], beside=True)
    return case(rng, spec, net, streamed=(0, len(net.layers) - 1))


@functools.cache
def single() -> Case:
    """One PE of one multiplier; kernel, stride and padding of two sides; pooling on pooling."""
    rng, spec = np.random.default_rng(4), ArraySpec(1, 1, 2, 2, 16)
    base = core_cases.random_network(rng, spec, (6, 5, 2), [(3, 1, 1, 0)], pool=False)
    conv = Conv((6, 5, 2), (3, 2), (1, 2), (0, 1))
    first = core_cases.conv_layer(rng, spec, 0, (6, 5, 2), 3, conv, out_signed=True, out_bits=2)
    pools = MaxPool((2, 2), (1, 1), (4, 3, 3)), MaxPool((3, 2), (3, 2), (3, 2, 3))
    last = rtl_cases.layer(rng, spec, 1, 4, 3, kind="last", in_signed=True, out_bits=2)
    assert conv.out_size == (4, 3)
    first = replace(first, in_signed=base.input.signed)
    return case(rng, spec, replace(base, stages=(first, *pools, last)))


@functools.cache
def lowered() -> Case:
    """What a Brevitas network of branches, groups and sums becomes."""
    rng = np.random.default_rng(6)
    model = random_graphs.drawn(lambda count: int(rng.integers(count)))
    found = random_graphs.compared(model)
    assert found is not None
    net = found[0]
    bits = max(max(layer.in_bits, layer.weight_bits) for layer in net.layers)
    spec = ArraySpec(4, 4, bits, bits, max(accumulator_bits(net)) + 1)
    codes = arithmetic.quantise(random_graphs.held(model, 2).images, net.input)
    return case(rng, spec, net, codes=codes)


@pytest.mark.parametrize("make", [plain, systolic, streamed, single, lowered])
def test_every_integer_equals_the_engine(tmp_path: Path, make: type) -> None:
    held = make()
    count = compared(held.network, len(held.codes), every=True)
    least = sum(2 * layer.rows for layer in held.network.layers) + held.network.layers[-1].rows
    assert count >= least * len(held.codes)
    assert held.run(tmp_path) == (count, count)


def test_what_the_cases_hold() -> None:
    cases = [make() for make in (plain, systolic, streamed, single, lowered)]
    stages = [stage for held in cases for stage in held.network.stages]
    pools = [stage for stage in stages if isinstance(stage, MaxPool)]
    layers = [layer for held in cases for layer in held.network.layers]
    convs = [layer.conv for layer in layers if layer.conv is not None]
    assert {pool.kernel == pool.stride for pool in pools} == {True, False}
    assert {type(layer.output).__name__ for layer in layers} == {"Thresholds", "Shift", "NoneType"}
    assert {layer.in_signed for layer in layers} == {True, False}
    assert any(max(conv.padding) for conv in convs) and any(max(conv.stride) > 1 for conv in convs)
    kinds = {fault.kind for held in cases for fault in held.profile.faults}
    assert kinds == {"sa0", "sa1", "flip", "transient", "dead"}
    assert any(  # rows of a sum of branches, most of whose weights are 0
        (layer.weights == 0).mean() > 0.5 for layer in lowered().network.layers
    )


def broken(text: bytes, name: str, value: int) -> bytes:
    """The table of stages with one constant of its first stage changed."""
    found = re.search(rb"// (read_map, .*)\n    \{(.*?)\}", text)
    assert found is not None
    values = found[2].split(b", ")
    place = found[1].split(b", ").index(name.encode())
    assert int(values[place]) != value
    values[place] = b"%d" % value
    return text[: found.start(2)] + b", ".join(values) + text[found.end(2) :]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("x_first", 0, "expected -?\\d+ got"),  # no padding at the left
        ("windows_high", 2, "of which [\\d,]+ were compared"),  # a row of windows never comes
    ],
)
def test_one_wrong_constant_fails(tmp_path: Path, name: str, value: int, said: str) -> None:
    held = plain()
    files = held.files
    files["hls/has_stages.h"] = broken(files["hls/has_stages.h"], name, value)
    with pytest.raises(VerificationMismatch, match=said):
        held.run(tmp_path, files)


def test_a_wrong_word_of_a_memory_or_of_the_stream_fails(tmp_path: Path) -> None:
    held = streamed()
    files = held.files
    bias = files["roms/bias.h"]
    last = re.search(rb"(-?\d+)\n\};", bias)
    assert last is not None
    files["roms/bias.h"] = bias[: last.start(1)] + b"%d" % (int(last[1]) ^ 1) + bias[last.end(1) :]
    with pytest.raises(VerificationMismatch, match="layer 1 result: image 0 column 0 row 4"):
        held.run(tmp_path / "bias", files)
    vectors = held.vectors(faults=False)
    start = vectors.index(b"weights ")
    word = re.search(rb"\s([1-9a-f]\w*)\s", vectors[vectors.index(b"\n", start) :])
    assert word is not None  # of a row: idle slots hold 0
    place = vectors.index(word[0], vectors.index(b"\n", start)) + 1
    wrong = vectors[:place] + b"%x" % (int(word[1], 16) ^ 1) + vectors[place + len(word[1]) :]
    with pytest.raises(VerificationMismatch, match="layer 0 acc"):
        held.run(tmp_path / "stream", healthy=wrong)


def test_files_that_do_not_fit_and_faults_that_are_not_felt(tmp_path: Path) -> None:
    held = plain()
    faulty = held.vectors(faults=True)
    with pytest.raises(VerificationMismatch, match=r"the healthy run.*expected -?\d+ got"):
        held.run(tmp_path, healthy=faulty)
    with pytest.raises(VerificationMismatch, match="not a file of images of this build"):
        held.run(tmp_path, healthy=faulty[: len(faulty) // 2])
    files = held.files | {"hls/has_network.cpp": b"int broken"}
    with pytest.raises(StepFailed, match="g\\+\\+ ended with status 1"):
        held.run(tmp_path / "c", files)


def test_what_cannot_run_by_itself_is_a_layer_alone() -> None:
    held = plain()
    net = replace(held.network, stages=held.network.stages[:-1])
    refused = network_refusal(net, held.schedule.array, held.on_chip[:-1])
    assert refused is not None and refused.startswith("the last stage must be a layer")
    maps = Schedule(held.schedule.array, held.schedule.layers[:-1])
    on_chip = held.on_chip[:-1]
    files = hls_files(net, maps, build_roms(net, maps, on_chip), on_chip, held.profile)
    assert "hls/has_layer.cpp" in files and "hls/has_network.cpp" not in files


def test_the_synthesised_files_allocate_nothing() -> None:
    """The subset that docs/hls.md states, by its words."""
    files = plain().files
    for name in ("has_network.cpp", "has_array.h", "has_faults.h", "has_stages.h", "has_layer.cpp"):
        text = re.sub(rb"//.*", b"", files[f"hls/{name}"])
        found = re.search(rb"\b(new|delete|malloc|free|virtual|std::|throw|goto|while)\b", text)
        assert found is None, (name, found)

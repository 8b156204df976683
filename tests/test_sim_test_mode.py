"""Test mode of the simulated accelerator: its accumulators against the engine's."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hascodesign.contract.types import (
    ArraySpec,
    Dataflow,
    FaultProfile,
    IntArray,
    MultiplyLayer,
    RowMap,
    frozen,
)
from hascodesign.diagnose.vectors import vectors
from hascodesign.engine import gemm
from hascodesign.render.core import CoreOptions, render_core
from hascodesign.render.rom import build_roms
from hascodesign.verify.core import expected
from tests import core_cases, rtl_cases
from tests.preload_cases import preloaded
from tests.test_sim_core import bench

Stage = tuple[dict[str, int], IntArray, IntArray]  # shape, words [W, P, S], codes [n, T, S]


def accumulators(profile: FaultProfile, stage: Stage) -> IntArray:
    """[n, passes, P] of one stage by the engine: a dense layer whose slots are all used."""
    shape, words, codes = stage
    spec, steps, passes = profile.array, shape["steps"], shape["passes"]
    found = []
    for image in range(len(codes)):
        first = shape["advance"] * image * passes * steps
        part = words[first : first + passes * steps].reshape(passes, steps, spec.pe, spec.simd)
        rows = part.transpose(0, 2, 1, 3).reshape(passes * spec.pe, -1)
        layer = MultiplyLayer(
            name="test", index=0, weights=frozen(rows), bias=frozen(np.zeros(len(rows))),
            weight_bits=spec.weight_bits, in_bits=spec.act_bits, in_signed=bool(shape["signed"]),
            conv=None, output=None, out_bits=0, out_signed=True,
        )  # fmt: skip
        row_map = RowMap("test", len(rows), frozen(np.arange(len(rows)).reshape(passes, -1)))
        acc = gemm.accumulate(
            profile, layer, row_map, codes[image].reshape(-1, 1),
            wmem_base=shape["base"] + first, columns=np.array([image]),
        )  # fmt: skip
        found.append(acc.reshape(passes, spec.pe))
    return np.array(found)


def random_stage(
    rng: np.random.Generator, spec: ArraySpec, limits: tuple[int, int, int], number: int
) -> Stage:
    """Any shape within the limits, every PE with words of its own."""
    most_steps, most_passes, depth = limits
    signed, advance = number % 2, number // 2 % 2
    steps = int(rng.integers(1, most_steps + 1)) if number else most_steps
    passes = int(rng.integers(1, min(most_passes, depth // steps) + 1))
    count = int(rng.integers(1, min(4, depth // (steps * passes)) + 1)) if advance else 3
    words = count * steps * passes if advance else steps * passes
    base = int(rng.integers(depth - words + 1))
    low = -(1 << (spec.weight_bits - 1))
    codes = rng.integers(0, 1 << spec.act_bits, (count, steps, spec.simd))
    half = 1 << (spec.act_bits - 1)
    shape = dict(signed=signed, base=base, steps=steps, passes=passes, advance=advance)
    weights = rng.integers(low, -low, (words, spec.pe, spec.simd))
    return shape, weights, (codes ^ half) - half if signed else codes


def diagnose_stages(
    spec: ArraySpec, limits: tuple[int, int, int], most: int = 1 << 30
) -> list[Stage]:
    """The test set of the array: paired blocks word by word, crossed ones in parts.

    most : vectors of a paired block that are taken, and columns and words of a crossed one.
    """
    _, most_passes, depth = limits
    found: list[Stage] = []
    for block in vectors(replace(spec, wmem_depth=depth)).blocks:
        size = min(most, len(block.words)) if block.paired else most_passes
        for start in range(0, min(most, len(block.words)), size):
            part = block.words[start : start + size]
            base = block.base + start * block.steps
            shape = dict(
                signed=int(block.signed), base=base, steps=block.steps,
                passes=1 if block.paired else len(part), advance=int(block.paired),
            )  # fmt: skip
            words = np.repeat(part.reshape(-1, 1, spec.simd), spec.pe, axis=1)
            codes = block.codes[start : start + size] if block.paired else block.codes[-most:]
            found.append((shape, words, np.asarray(codes)))
    return found


@pytest.mark.parametrize("kind", ["os", "ws", "preloads", "diagnose"])
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
    inside = (True,) * len(net.layers)
    roms = build_roms(net, schedule, inside)
    depth = len(next(rom.words for rom in roms if rom.content == "weights"))
    profile = rtl_cases.any_profile(rng, spec, 14, depth)
    if kind.startswith("diagnose"):  # no draws: the layer's number is another there
        permanent = tuple(fault for fault in profile.faults if fault.kind != "transient")
        profile = replace(profile, faults=permanent)
    plan = core_cases.build(net, schedule, profile, lanes=1 if kind == "preloads" else 2)
    limits = (*rendered_limits(plan.files["rtl/has_core.v"].decode()), depth)
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
    data: dict[str, IntArray] = {}
    for number, stage in enumerate(stages):
        shape, words, images = stage
        data[f"shape_{number}"] = np.array(list(shape.values()))
        data |= {f"words_{number}": words, f"codes_{number}": images}
        data[f"acc_{number}"] = accumulators(profile, stage)
    np.savez(work / "vectors" / "stages.npz", allow_pickle=False, **data)
    jobs = {"images": expected(net, schedule, profile, codes, inside)}
    bench("core_test_mode_tests", plan, jobs, work, "--faults")


def rendered_limits(core: str) -> tuple[int, int]:
    """Most steps and passes of a rendered core."""
    steps, passes = (
        re.search(rf"\.MOST_{name}\(16'd(\d+)\)", core) for name in ("STEPS", "PASSES")
    )
    assert steps is not None and passes is not None
    return int(steps[1]), int(passes[1])


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

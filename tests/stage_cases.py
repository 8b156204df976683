"""Stages of test mode: drawn, or those of the test set of an array, and what the engine gives."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hascodesign.contract.build import BuildPlan
from hascodesign.contract.types import (
    ArraySpec,
    FaultProfile,
    IntArray,
    MultiplyLayer,
    RowMap,
    frozen,
)
from hascodesign.diagnose.vectors import vectors
from hascodesign.engine import gemm

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
    most_steps = min(most_steps, depth)
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


def limits_of(plan: BuildPlan) -> tuple[int, int, int]:
    """Most steps and passes of a rendered core, and words of its banks."""
    core = plan.files["rtl/has_core.v"].decode()
    steps, passes = (
        re.search(rf"\.MOST_{name}\(16'd(\d+)\)", core) for name in ("STEPS", "PASSES")
    )
    assert steps is not None and passes is not None
    depth = len(plan.files["roms/weights_pe00.mem"].split())
    return int(steps[1]), int(passes[1]), depth


def write_stages(path: Path, profile: FaultProfile, stages: Sequence[Stage]) -> None:
    """What the bench plays, with the engine's accumulators."""
    data: dict[str, IntArray] = {}
    for number, stage in enumerate(stages):
        shape, words, images = stage
        data[f"shape_{number}"] = np.array(list(shape.values()))
        data |= {f"words_{number}": words, f"codes_{number}": images}
        data[f"acc_{number}"] = accumulators(profile, stage)
    np.savez(path, allow_pickle=False, **data)

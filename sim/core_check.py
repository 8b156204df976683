"""Holds what was watched inside has_core against a job: every code of every layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from core_bench import CoreBench
from core_job import ImageJob
from streams import IntArray, signed


@dataclass(frozen=True, slots=True)
class Seen:
    """What the layers and poolings gave, in natural order."""

    acc: dict[int, IntArray]  # by layer [R, n * positions]
    out: dict[int, IntArray]
    pools: dict[int, IntArray]  # by stage [n, elements]
    logits: IntArray  # [n, classes]


def arrange(bench: CoreBench, job: ImageJob) -> Seen:
    """Natural order; every (row, column) and pooled element must have come once per image."""
    images = len(job.codes)
    taken = np.array(bench.codes.results, dtype=np.int64).reshape(-1, 6)
    acc, out = {}, {}
    last = max(job.acc)
    for layer, expected in job.acc.items():
        part = taken[taken[:, 0] == layer]
        assert len(part) == expected.size, (
            f"layer {layer} must give {expected.size} results, not {len(part)}"
        )
        shape = (expected.shape[0], images, expected.shape[1] // images)
        image = np.arange(len(part)) // (shape[0] * shape[2])
        if layer in job.shared:  # a column is an image of its batch
            image = image // job.batch * job.batch + part[:, 1]
            assert (image < images).all(), f"layer {layer} names an image that is none"
            part[:, 1] = 0
        place = (part[:, 2], image, part[:, 1])
        assert (part[:, 2] < shape[0]).all(), f"layer {layer} names a row beyond {shape[0]}"
        assert (part[:, 1] < shape[2]).all(), f"layer {layer} names a column beyond {shape[2]}"
        count = np.zeros(shape, dtype=np.int64)
        np.add.at(count, place, 1)
        assert (count == 1).all(), f"layer {layer} must give every (row, column) once per image"
        acc[layer], out[layer] = np.empty(shape, np.int64), np.empty(shape, np.int64)
        acc[layer][place] = signed(part[:, 3], bench.acc_bits)
        codes = part[:, 5]
        if job.signed[f"layer{layer}"]:
            codes = signed(codes, bench.act_bits)
        out[layer][place] = signed(part[:, 4], bench.v_bits) if layer == last else codes
        acc[layer] = acc[layer].reshape(expected.shape)
        out[layer] = out[layer].reshape(expected.shape)
    logits = np.array([bench.logits(packet) for packet in bench.results.packets[-images:]])
    return Seen(acc, out, {s: _pooled(bench, job, s) for s in job.pools}, logits)


def _pooled(bench: CoreBench, job: ImageJob, stage: int) -> IntArray:
    expected, mask = job.pools[stage], (1 << bench.act_bits) - 1
    elements: list[int] = []
    codes: list[int] = []
    for place, first, lanes, word in bench.codes.puts:
        if place == stage:
            elements += range(first, first + lanes)
            codes += [(word >> (bench.act_bits * lane)) & mask for lane in range(lanes)]
    order = list(range(expected.shape[1])) * len(expected)
    assert elements == order, (
        f"stage {stage} must write elements 0..{expected.shape[1] - 1} in order"
    )
    values = np.array(codes, dtype=np.int64).reshape(expected.shape)
    return signed(values, bench.act_bits) if job.signed[f"pool{stage}"] else values


def mismatches(seen: Seen, job: ImageJob) -> list[str]:
    """One line for each integer that differs."""
    pairs = [(f"layer {i} acc", job.acc[i], seen.acc[i]) for i in job.acc]
    pairs += [(f"layer {i} code", job.out[i], seen.out[i]) for i in job.out]
    pairs += [(f"stage {i} pooled code", job.pools[i], seen.pools[i]) for i in job.pools]
    pairs.append(("logit", job.logits, seen.logits))
    return [
        f"{what} at {where} must be {expected[where]}, not {got[where]}"
        for what, expected, got in pairs
        for where in map(tuple, np.argwhere(expected != got).tolist())
    ]

"""How large the accelerator is built: lanes, banks and words of its buffers, cycles of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, IntegerNetwork, MaxPool, MultiplyLayer, Schedule
from hascodesign.render.core_batch import Batch, map_elements, planned
from hascodesign.render.core_cycles import (
    STAGE_ENDS,
    drain_cycles,
    feed_cycles,
    lanes_and_runs,
    pooling_cycles,
    wide_convolutions,
)
from hascodesign.render.core_stages import elements, map_shapes, merged, read_maps
from hascodesign.render.rtl import RtlOptions

MOST_BANKS = 64  # of an activation buffer, that too
MAX_ELEMENTS = 1 << 24  # of one feature map
TEST_STEPS = 4  # of the longest test vector


@dataclass(frozen=True, slots=True)
class CoreOptions:
    """How the accelerator is built."""

    array: RtlOptions = field(default_factory=RtlOptions)
    writable: bool = True  # row map, weights, biases and thresholds can be written at run time
    test: bool = True  # test mode, by which accumulators leave; only in a writable build
    lanes: int = 0  # results that leave the array in one cycle, a power of two; 0 = as needed
    runs: int = 0  # runs of codes that are read in one cycle, 1 or 2; 0 = as needed
    batch: int = 1  # images for which streamed weights come once
    watch: bool = False  # the core checks its array between images; only where test mode is built
    buffer_words: int = 1 << 20  # words of SIMD codes that either activation buffer may take

    @property
    def tests(self) -> bool:
        """Whether test mode is built."""
        return self.test and self.writable


def result_lanes(network: IntegerNetwork, spec: ArraySpec, options: CoreOptions) -> int:
    """Results a cycle: those asked for, or as many as pay (``core_cycles.lanes_and_runs``).

    A column's P results leave while the next column's codes are read. Every lane costs a copy of
    row map, biases and thresholds.
    """
    most = spec.pe & -spec.pe  # they divide P
    if not options.lanes:
        return lanes_and_runs(network, spec)[0]
    if options.lanes & (options.lanes - 1) or options.lanes > most:
        raise ConfigError(f"lanes must be a power of two up to {most}, not {options.lanes}")
    return options.lanes


def buffer_banks(network: IntegerNetwork, schedule: Schedule, lanes: int) -> int:
    """Banks of each activation buffer, a power of two: SIMD, or more where results need them.

    A bank takes one code a cycle, and row r of a column goes to bank (r + start) mod banks: the
    rows of a pass must spread over the banks so that none takes more than the column's steps.
    With a bank for each row of the layer they always do; no more than `MOST_BANKS` are taken.
    """
    spec = schedule.array
    banks = max(spec.simd, lanes)
    while banks < MOST_BANKS and any(
        _bank_cycles(schedule, layer, banks) > spec.steps(layer.depth)
        for layer in wide_convolutions(network, spec)
    ):
        banks *= 2
    return banks


def _bank_cycles(schedule: Schedule, layer: MultiplyLayer, banks: int) -> float:
    """Codes that the fullest bank takes of one column, on average over the passes."""
    slots = schedule.layers[layer.index].slots
    loads = [np.bincount(row[row >= 0] % banks, minlength=1).max() for row in slots]
    return float(np.mean(loads))


def buffer_sizes(
    network: IntegerNetwork, schedule: Schedule, options: CoreOptions
) -> tuple[int, tuple[int, int]]:
    """Banks of the activation buffers, and words of a bank of each."""
    lanes = result_lanes(network, schedule.array, options)
    banks = buffer_banks(network, schedule, lanes)
    sizes = (schedule.array.simd, banks)
    return banks, _buffer_words(network, sizes, options, batch_of(network, sizes[0], options))


def batch_of(network: IntegerNetwork, simd: int, options: CoreOptions) -> Batch | None:
    """How the stages share streamed weights between the images of a batch; None of one image."""
    on_chip = options.array.on_chip or (True,) * len(network.layers)
    return planned(network, on_chip, options.batch, simd)


def image_cycles(
    network: IntegerNetwork,
    schedule: Schedule,
    on_chip: Sequence[bool],
    options: CoreOptions,
    port_cycles: int = 1,
) -> int:
    """About how many cycles an image takes, without back-pressure, in a stream of full batches.

    A beat of streamed weights comes every ``port_cycles``.
    """
    batch = planned(network, on_chip, options.batch, schedule.array.simd)
    shared = range(0) if batch is None else range(batch.own, len(network.stages) - 1)
    spec = schedule.array
    drain = drain_cycles(spec, result_lanes(network, spec, options))
    runs = runs_read(network, spec, options)
    cycles, once = image_beats(network, spec.simd), 0
    without = merged(network)
    for place, stage in enumerate(network.stages):
        if isinstance(stage, MaxPool):
            cycles += 1 if place in without else pooling_cycles(stage, spec)
            continue
        steps, passes = spec.steps(stage.depth), schedule.layers[stage.index].passes
        load = 0 if on_chip[stage.index] else steps * port_cycles
        column = max(feed_cycles(spec, stage, runs), drain if stage.conv is not None else 1)
        if place in shared:
            once += STAGE_ENDS + passes * load
            cycles += passes * max(column, drain)
            continue
        cycles += STAGE_ENDS + passes * (load + stage.positions * column)
    return cycles + -(-once // options.batch)


def runs_read(network: IntegerNetwork, spec: ArraySpec, options: CoreOptions) -> int:
    """Runs of neighbours read in a cycle: 2 where a step may take 2 kernel rows and that pays."""
    return options.runs or lanes_and_runs(network, spec)[1]


def image_beats(network: IntegerNetwork, simd: int) -> int:
    """Beats of one image on the image stream."""
    return -(-elements(network.in_shape) // simd)


def _buffer_words(
    network: IntegerNetwork,
    simd_banks: tuple[int, int],
    options: CoreOptions,
    batch: Batch | None,
) -> tuple[int, int]:
    """Words of a bank of each buffer. What a merged pooling reads is never kept."""
    simd, banks = simd_banks
    words, without = [1, 1], merged(network)
    if options.tests:
        words[0] = -(-TEST_STEPS * simd // banks)
    taken = map_elements(network, simd, batch)
    for place, (shape, held) in enumerate(
        zip(map_shapes(network), read_maps(network), strict=True)
    ):
        if place in without:
            continue
        count = -(-taken[place] // simd)
        if count > options.buffer_words or taken[place] > MAX_ELEMENTS:
            times = "" if batch is None or place < batch.own else f" for {batch.images} images"
            raise ConfigError(
                f"a map of {shape}{times} must fit the activation buffer of"
                f" {options.buffer_words} words, not take {count}"
            )
        words[held] = max(words[held], -(-taken[place] // banks))
    return words[0], words[1]

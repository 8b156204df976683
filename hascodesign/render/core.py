"""The Verilog of the whole accelerator: ``has_core``, the array with all that runs a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hascodesign.common.shipped import share
from hascodesign.contract import registers, watching
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.memories import control_memories, preload_bank
from hascodesign.contract.types import (
    ArraySpec,
    FaultProfile,
    IntegerNetwork,
    MaxPool,
    MultiplyLayer,
    Schedule,
)
from hascodesign.render import rtl
from hascodesign.render.core_batch import (
    Batch,
    batch_context,
    map_elements,
    planned,
    with_batch,
)
from hascodesign.render.core_cycles import (
    STAGE_ENDS,
    drain_cycles,
    feed_cycles,
    lanes_and_runs,
    pooling_cycles,
    wide_convolutions,
)
from hascodesign.render.core_stages import (
    Shape,
    check_network,
    constants,
    elements,
    fields,
    largest_element,
    largest_side,
    map_shapes,
    merged,
    read_maps,
    table,
)
from hascodesign.render.rtl import RtlOptions, count_bits, widened

MOST_BANKS = 64  # of an activation buffer, that too
MAX_VALUE_WORDS = 512  # registers that hold a word to be written
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


def render_core(
    network: IntegerNetwork, schedule: Schedule, profile: FaultProfile, options: CoreOptions
) -> dict[str, bytes]:
    """Every Verilog file of the accelerator; the top module is ``has_core``.

    Parameters
    ----------
    network : the integer network.
    schedule : one row map per multiply layer; its array gives every width.
    profile : a checked profile of the same array; its masks are rendered as constants.
    options : how the accelerator is built.

    Returns
    -------
    Path below the output folder -> content; the files of ``render_rtl`` and the core's own.

    Raises
    ------
    ConfigError
        What ``render_rtl`` refuses, and a network that the core cannot run: a multiplier count
        that is no power of two, a map too large for the buffers, a kernel or stride too large.
    """
    spec = schedule.array
    files = rtl.render_rtl(network, schedule, profile, options.array)
    _check_array(network, spec)
    shapes = map_shapes(network)
    check_network(network, shapes)
    banks, words = buffer_sizes(network, schedule, options)
    lanes = result_lanes(network, spec, options)
    on_chip = options.array.on_chip or (True,) * len(network.layers)
    array = rtl.array_context(network, schedule, options.array, on_chip)
    if array["value_words"] > MAX_VALUE_WORDS:
        raise ConfigError(
            f"a weight beat must be at most {32 * MAX_VALUE_WORDS} bits, not"
            f" {array['memory_width']}"
        )
    batch = _batch(network, spec.simd, options)
    own = _core_context(network, schedule, shapes, array, (lanes, banks, words), options, batch)
    folder = rtl.render_folder(share("rtl_templates", "core"), array | own)
    if not options.watch:
        del folder["has_watch.v"]
    return files | {f"rtl/{name}": text.encode("ascii") for name, text in folder.items()}


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
    return banks, _buffer_words(network, sizes, options, _batch(network, sizes[0], options))


def _batch(network: IntegerNetwork, simd: int, options: CoreOptions) -> Batch | None:
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


# ---------------------------------------------------------------------------------------- checks


def _check_array(network: IntegerNetwork, spec: ArraySpec) -> None:
    if spec.simd & (spec.simd - 1):
        raise ConfigError(f"the core's simd must be a power of two, not {spec.simd}")
    if network.input.bits > spec.act_bits:
        raise ConfigError(
            f"input codes must be at most {spec.act_bits} bits, not {network.input.bits}"
        )


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


# --------------------------------------------------------------------------------------- context


def _core_context(
    network: IntegerNetwork,
    schedule: Schedule,
    shapes: Sequence[Shape],
    array: dict[str, Any],
    sizes: tuple[int, int, tuple[int, int]],
    options: CoreOptions,
    batch: Batch | None,
) -> dict[str, Any]:
    """Sizes of what stands around the array, all integers, and the table of stages."""
    spec, last = schedule.array, network.layers[-1]
    if options.watch and not options.tests:
        raise ConfigError("a core that watches its array must have test mode")
    lanes, banks, words = sizes
    lane_shift, bank_shift = spec.simd.bit_length() - 1, banks.bit_length() - 1
    beats = image_beats(network, spec.simd)
    images = 1 if batch is None else batch.images
    side_bits = max(largest_side(network, shapes).bit_length() + 1, images.bit_length() + 1, 2)
    word_bits = max(count_bits(count) for count in words)
    beat_bits = max(count_bits(beats), min(array["step_bits"], 16) if options.tests else 1)
    element_bits = max(
        (largest_element(network, shapes) + 2 * banks).bit_length() + 1,
        word_bits + bank_shift + 2,
        array["row_bits"] + 1,
        beat_bits + lane_shift + 1,
    )
    bits = array | {
        "side_bits": side_bits,
        "element_bits": element_bits,
        "merging": bool(merged(network)),
        "batch": images,
    }
    rows = with_batch(constants(network, schedule, shapes), network, batch)
    return {
        "merging": int(bits["merging"]),
        "version": registers.VERSION,
        "registers": registers.present(batch=images > 1, watch=options.watch),
        "watch": options.watch,
        "watch_columns": watching.COLUMNS,
        "watch_seed": f"{watching.SEED:08x}",
        "watch_polynomial": f"{watching.POLYNOMIAL:08x}",
        "shape": bytes((spec.act_bits, spec.weight_bits, spec.simd & 255, spec.pe & 255)).hex(),
        "writable": int(options.writable),
        "data_bits": 32 if array["v_bits"] < 32 else 64,
        "class_bits": count_bits(last.rows),
        "classes": last.rows,
        "stage_count": len(network.stages),
        "stage_bits": count_bits(len(network.stages)),
        "image_beats": beats,
        "beat_bits": beat_bits,
        "lane_bits": max(1, lane_shift),
        "lane_shift": lane_shift,
        "element_bits": element_bits,
        "side_bits": side_bits,
        "word_bits": word_bits,
        "buffer_words": words,
        "depths": _depths(network, schedule, array["rom_depth"], options.writable),
        "runs": runs_read(network, spec, options),
        "lanes": lanes,
        "banks": banks,
        "bank_bits": max(1, bank_shift),
        "queue_bits": 3 if lanes <= 4 else 4,
        "stage_fields": fields(bits),
        "stages_table": table(network, shapes, rows, fields(bits)),
        **batch_context(batch, bits),
        **_test_context(
            array | {"element_bits": element_bits, "beat_bits": beat_bits},
            options,
            _limits(array, words[0] * banks // spec.simd),
        ),
    }


def test_limits(
    network: IntegerNetwork, schedule: Schedule, options: CoreOptions
) -> tuple[int, int] | None:
    """Most steps and passes of the stage of test mode, as TEST_LIMITS says; None without it."""
    if not options.tests:
        return None
    on_chip = options.array.on_chip or (True,) * len(network.layers)
    array = rtl.array_context(network, schedule, options.array, on_chip)
    banks, words = buffer_sizes(network, schedule, options)
    return _limits(array, words[0] * banks // schedule.array.simd)


def _limits(bits: dict[str, Any], room: int) -> tuple[int, int]:
    """Most steps and passes of the test stage; ``room`` is the steps that the buffer holds."""
    steps = min(1 << min(bits["step_bits"], 16), room, 65535)
    passes = min(1 << min(bits["pass_bits"], 16), 65535)
    if bits["preload"]:  # pass p starts from preload p
        passes = min(passes, bits["preload_depth"])
    return steps, passes


def _test_context(
    bits: dict[str, Any], options: CoreOptions, limits: tuple[int, int]
) -> dict[str, Any]:
    """Test mode: its limits, and its constants at the width of each place."""
    steps, passes = min(bits["step_bits"], 16), min(bits["pass_bits"], 16)

    def wide(name: str, width: str, own: int) -> str:
        return widened(f"test_{name}_less_1", own, bits[width])

    return {
        "test": int(options.tests),
        "test_step_bits": steps,
        "test_pass_bits": passes,
        "most_steps": limits[0],
        "most_passes": limits[1],
        "test_steps_step": wide("steps", "step_bits", steps),
        "test_steps_beat": (
            wide("steps", "beat_bits", steps) if options.tests else "{BEAT_BITS{1'b0}}"
        ),
        "test_steps_element": wide("steps", "element_bits", steps),
        "test_passes_pass": wide("passes", "pass_bits", passes),
        "test_fields": {
            "code_signed": "test_signed",
            "columns": _test_columns(bits["column_bits"], options.watch),
            "passes_less_1": wide("passes", "pass_bits", passes),
            "map_height": "{{(SIDE_BITS-1){1'b0}}, 1'b1}",
            "map_row": "test_depth",
            "kernel_row": "test_depth",
        },
    }


def _test_columns(bits: int, watch: bool) -> str:
    """One column in test mode, more in a check."""
    if not watch:
        return f"{bits}'d1"
    return f"(watching ? {bits}'d{watching.COLUMNS} : {bits}'d1)"


def _depths(
    network: IntegerNetwork, schedule: Schedule, weight_words: int, writable: bool
) -> list[int]:
    """Words that can be written: preloads first, then thresholds from the last stage on."""
    memories = (*control_memories(network, schedule), *preload_bank(network, schedule))
    depths = [weight_words, *(memory.depth for memory in memories)]
    return [depth if writable else 0 for depth in reversed(depths)]

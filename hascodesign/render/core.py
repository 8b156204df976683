"""The Verilog of the whole accelerator: ``has_core``, the array with all that runs a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hascodesign.common.shipped import share
from hascodesign.contract import registers, watching
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.memories import control_memories, preload_bank
from hascodesign.contract.types import (
    ArraySpec,
    FaultProfile,
    IntegerNetwork,
    Schedule,
)
from hascodesign.render import rtl
from hascodesign.render.core_batch import (
    Batch,
    batch_context,
    with_batch,
)
from hascodesign.render.core_sizes import (
    CoreOptions,
    batch_of,
    buffer_sizes,
    image_beats,
    result_lanes,
    runs_read,
)
from hascodesign.render.core_stages import (
    Shape,
    check_network,
    constants,
    fields,
    largest_element,
    largest_side,
    map_shapes,
    merged,
    table,
)
from hascodesign.render.rtl import count_bits, widened

MAX_VALUE_WORDS = 512  # registers that hold a word to be written


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
    batch = batch_of(network, spec.simd, options)
    own = _core_context(network, schedule, shapes, array, (lanes, banks, words), options, batch)
    folder = rtl.render_folder(share("rtl_templates", "core"), array | own)
    if not options.watch:
        del folder["has_watch.v"]
    return files | {f"rtl/{name}": text.encode("ascii") for name, text in folder.items()}


# ---------------------------------------------------------------------------------------- checks


def _check_array(network: IntegerNetwork, spec: ArraySpec) -> None:
    if spec.simd & (spec.simd - 1):
        raise ConfigError(f"the core's simd must be a power of two, not {spec.simd}")
    if network.input.bits > spec.act_bits:
        raise ConfigError(
            f"input codes must be at most {spec.act_bits} bits, not {network.input.bits}"
        )


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

"""The Verilog of the whole accelerator: ``has_core``, the array with all that runs a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hascodesign.errors import ConfigError
from hascodesign.render import rtl
from hascodesign.render.rtl import RtlOptions, comment_text, count_bits, steps_of
from hascodesign.resources import share
from hascodesign.types import (
    ArraySpec,
    FaultProfile,
    IntegerNetwork,
    MaxPool,
    MultiplyLayer,
    Schedule,
)

VERSION = 1  # of the register map
MAX_SIDE = 4095  # rows or columns of a map with its padding, of a kernel, a stride
MAX_STAGES = 64  # cycle counters in the register map
MAX_VALUE_WORDS = 512  # registers that hold a word to be written
MAX_ELEMENTS = 1 << 24  # of one feature map

Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class CoreOptions:
    """How the accelerator is built."""

    array: RtlOptions = field(default_factory=RtlOptions)
    writable: bool = True  # row map, weights, biases and thresholds can be written at run time
    lanes: int = 0  # results that leave the array in one cycle, a power of two; 0 = as needed
    buffer_words: int = 1 << 20  # words of SIMD codes that either activation buffer may take


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
    _check_network(network, shapes)
    words = _buffer_words(shapes, spec.simd, options)
    on_chip = options.array.on_chip or (True,) * len(network.layers)
    array = rtl.array_context(network, schedule, options.array, on_chip)
    context = array | _core_context(network, schedule, shapes, array, words, options)
    own = rtl.render_folder(share("rtl_templates", "core"), context)
    return files | {f"rtl/{name}": text.encode("ascii") for name, text in own.items()}


def map_shapes(network: IntegerNetwork) -> tuple[Shape, ...]:
    """(height, width, channels) that each stage reads; a dense layer's is (1, 1, K)."""
    shapes: list[Shape] = []
    shape: Shape = network.in_shape
    for stage in network.stages:
        given = _in_shape(stage)
        if _elements(given) != _elements(shape) or (given[0] * given[1] > 1 and given != shape):
            raise ConfigError(f"{_name(stage)} must read a map of {shape}, not {given}")
        shapes.append(given)
        shape = _out_shape(stage)
        if min(shape[:2]) < 1:
            raise ConfigError(f"the kernel of {_name(stage)} must fit its map {given}")
    return tuple(shapes)


def result_lanes(network: IntegerNetwork, spec: ArraySpec, options: CoreOptions) -> int:
    """Results a cycle, so that the drain hides behind every convolution with channels >= SIMD.

    A column's P results leave while the next column's T steps run. Lanes that want one bank
    wait for each other, hence a share of the time in hand. More lanes than banks are no use.
    """
    most = spec.pe & -spec.pe  # they divide P
    if options.lanes:
        if options.lanes & (options.lanes - 1) or options.lanes > most:
            raise ConfigError(f"lanes must be a power of two up to {most}, not {options.lanes}")
        return options.lanes
    least = min(
        (
            steps_of(layer, spec)
            for layer in network.layers
            if layer.conv is not None and layer.conv.in_shape[2] >= spec.simd
        ),
        default=2 * spec.pe,
    )
    lanes, cycles = 1, spec.pe + 1
    while cycles > least and lanes < min(most, spec.simd):
        lanes *= 2
        cycles = 5 * spec.pe // (4 * lanes) + 1
    return lanes


def runs_read(network: IntegerNetwork, spec: ArraySpec) -> int:
    """Runs of neighbours read in a cycle: 2 where a step of a wide map may take 2 kernel rows."""
    rows = (
        layer.conv.kernel[1] * layer.conv.in_shape[2]
        for layer in network.layers
        if layer.conv is not None and layer.conv.in_shape[2] >= spec.simd
    )
    return 2 if any(row % spec.simd for row in rows) else 1


def image_beats(network: IntegerNetwork, simd: int) -> int:
    """Beats of one image on the image stream."""
    return -(-_elements(network.in_shape) // simd)


# ---------------------------------------------------------------------------------------- checks


def _check_array(network: IntegerNetwork, spec: ArraySpec) -> None:
    if spec.simd & (spec.simd - 1):
        raise ConfigError(f"the core's simd must be a power of two, not {spec.simd}")
    if network.input.bits > spec.act_bits:
        raise ConfigError(
            f"input codes must be at most {spec.act_bits} bits, not {network.input.bits}"
        )


def _check_network(network: IntegerNetwork, shapes: Sequence[Shape]) -> None:
    if len(network.stages) > MAX_STAGES:
        raise ConfigError(f"stages must be at most {MAX_STAGES}, not {len(network.stages)}")
    for stage, shape in zip(network.stages, shapes, strict=True):
        largest = max(_sides(stage, shape))
        if largest > MAX_SIDE:
            raise ConfigError(f"sides of {_name(stage)} must be at most {MAX_SIDE}, not {largest}")
    last = network.stages[-1]
    if not isinstance(last, MultiplyLayer) or last.output is not None or last.positions != 1:
        raise ConfigError(f"the last stage must be a layer of one position, not {_name(last)}")
    for layer in network.layers[:-1]:
        if layer.output is None:
            raise ConfigError(f"layer {layer.name} must have output codes: it is not the last")


def _buffer_words(shapes: Sequence[Shape], simd: int, options: CoreOptions) -> tuple[int, int]:
    """Words of each buffer: stage i reads buffer i mod 2."""
    words = [-(-_elements(shape) // simd) for shape in shapes]
    for shape, count in zip(shapes, words, strict=True):
        if count > options.buffer_words or _elements(shape) > MAX_ELEMENTS:
            raise ConfigError(
                f"a map of {shape} must fit the activation buffer of {options.buffer_words} words, "
                f"not take {count}"
            )
    return max(words[::2]), max(words[1::2], default=1)


def _sides(stage: MultiplyLayer | MaxPool, shape: Shape) -> tuple[int, ...]:
    if isinstance(stage, MaxPool):
        return (*shape[:2], *stage.kernel, *stage.stride)
    if stage.conv is None:
        return (1,)
    padded = (shape[0] + 2 * stage.conv.padding[0], shape[1] + 2 * stage.conv.padding[1])
    return (*padded, *stage.conv.kernel, *stage.conv.stride)


# --------------------------------------------------------------------------------------- context


def _core_context(
    network: IntegerNetwork,
    schedule: Schedule,
    shapes: Sequence[Shape],
    array: dict[str, Any],
    words: tuple[int, int],
    options: CoreOptions,
) -> dict[str, Any]:
    """Sizes of what stands around the array, all integers, and the table of stages."""
    spec, last = schedule.array, network.layers[-1]
    lane_shift = spec.simd.bit_length() - 1
    beats = image_beats(network, spec.simd)
    side_bits = max(_largest_side(network, shapes).bit_length() + 1, 2)
    word_bits = max(count_bits(count) for count in words)
    element_bits = max(
        (_largest_element(network, shapes) + 2 * spec.simd).bit_length() + 1,
        word_bits + lane_shift + 2,
        array["row_bits"] + 1,
        count_bits(beats) + lane_shift + 1,
    )
    bits = array | {"side_bits": side_bits, "element_bits": element_bits}
    return {
        "version": VERSION,
        "shape": bytes((spec.act_bits, spec.weight_bits, spec.simd & 255, spec.pe & 255)).hex(),
        "writable": int(options.writable),
        "data_bits": 32 if array["v_bits"] < 32 else 64,
        "class_bits": count_bits(last.rows),
        "classes": last.rows,
        "stage_count": len(network.stages),
        "stage_bits": count_bits(len(network.stages)),
        "image_beats": beats,
        "beat_bits": count_bits(beats),
        "lane_bits": max(1, lane_shift),
        "lane_shift": lane_shift,
        "element_bits": element_bits,
        "side_bits": side_bits,
        "word_bits": word_bits,
        "buffer_words": words,
        "value_words": _value_words(array["memory_width"]),
        "depths": _depths(array, options.writable),
        "runs": runs_read(network, spec),
        "lanes": result_lanes(network, spec, options),
        "stage_fields": _fields(bits),
        "stages_table": _table(network, schedule, shapes, _fields(bits)),
    }


def _value_words(width: int) -> int:
    words = -(-width // 32)
    if words > MAX_VALUE_WORDS:
        raise ConfigError(f"a weight beat must be at most {32 * MAX_VALUE_WORDS} bits, not {width}")
    return words


def _depths(array: dict[str, Any], writable: bool) -> list[int]:
    """Words that can be written: highest threshold stage first, weights last."""
    rows = array["all_rows"]
    depths = [array["rom_depth"], array["map_depth"], rows, rows]
    depths += [rows << stage for stage in range(array["stages"])]
    return [depth if writable else 0 for depth in reversed(depths)]


def _fields(bits: dict[str, Any]) -> list[tuple[str, int]]:
    """Name and width of each constant of a stage."""
    side, element = bits["side_bits"], bits["element_bits"]
    return [
        ("pooling", 1),
        ("final_layer", 1),
        ("code_signed", 1),
        ("layer", bits["layer_bits"]),
        ("columns", bits["column_bits"]),
        ("passes_less_1", bits["pass_bits"]),
        ("steps_less_1", bits["step_bits"]),
        ("out_width_less_1", side),
        ("out_height_less_1", side),
        ("kernel_height_less_1", side),
        ("kernel_width_less_1", side),
        ("map_height", side),
        ("y_first", side),
        ("y_step", side),
        ("map_row", element),
        ("kernel_row", element),
        ("x_first", element),
        ("x_step", element),
        ("base_first", element),
        ("base_step", element),
        ("out_channels", element),
    ]


def _table(
    network: IntegerNetwork,
    schedule: Schedule,
    shapes: Sequence[Shape],
    fields: Sequence[tuple[str, int]],
) -> list[dict[str, Any]]:
    """One row of constants per stage, negative numbers as two's complement."""
    rows: list[dict[str, Any]] = []
    signed = network.input.signed
    for stage, shape in zip(network.stages, shapes, strict=True):
        if isinstance(stage, MaxPool):
            row = _pool_row(stage) | {"code_signed": int(signed)}
        else:
            row = _layer_row(stage, schedule, shape)
            signed = stage.out_signed
        masked = {name: row.get(name, 0) & ((1 << bits) - 1) for name, bits in fields}
        height, width, channels = shape
        rows.append(
            {**masked, "comment": f"{comment_text(_name(stage))}: {height} x {width} x {channels}"}
        )
    return rows


def _pool_row(pool: MaxPool) -> dict[str, int]:
    _, width, channels = pool.in_shape
    out_height, out_width, _ = pool.out_shape
    return {
        "pooling": 1,
        "out_width_less_1": out_width - 1,
        "out_height_less_1": out_height - 1,
        "kernel_height_less_1": pool.kernel[0] - 1,
        "kernel_width_less_1": pool.kernel[1] - 1,
        "map_row": width * channels,
        "x_step": pool.stride[1] * channels,
        "base_step": pool.stride[0] * width * channels,
        "out_channels": channels,
    }


def _layer_row(layer: MultiplyLayer, schedule: Schedule, shape: Shape) -> dict[str, int]:
    common = {
        "final_layer": int(layer.output is None),
        "layer": layer.index,
        "columns": layer.positions,
        "passes_less_1": schedule.layers[layer.index].passes - 1,
        "steps_less_1": steps_of(layer, schedule.array) - 1,
        "out_channels": layer.rows,
    }
    if layer.conv is None:  # a kernel of one row over the whole map
        return common | {"map_height": 1, "map_row": layer.depth, "kernel_row": layer.depth}
    height, width, channels = shape
    (pad_y, pad_x), (step_y, step_x) = layer.conv.padding, layer.conv.stride
    out_height, out_width = layer.conv.out_size
    return common | {
        "out_width_less_1": out_width - 1,
        "out_height_less_1": out_height - 1,
        "kernel_height_less_1": layer.conv.kernel[0] - 1,
        "map_height": height,
        "y_first": -pad_y,
        "y_step": step_y,
        "map_row": width * channels,
        "kernel_row": layer.conv.kernel[1] * channels,
        "x_first": -pad_x * channels,
        "x_step": step_x * channels,
        "base_first": -pad_y * width * channels,
        "base_step": step_y * width * channels,
    }


def _largest_side(network: IntegerNetwork, shapes: Sequence[Shape]) -> int:
    return max(
        max(_sides(stage, shape)) for stage, shape in zip(network.stages, shapes, strict=True)
    )


def _largest_element(network: IntegerNetwork, shapes: Sequence[Shape]) -> int:
    """Bound on the number of any element named, those of the padding included."""
    most = max(_elements(_out_shape(stage)) for stage in network.stages)
    for stage, shape in zip(network.stages, shapes, strict=True):
        height, width, channels = shape
        pad_y = pad_x = stride = 0
        if isinstance(stage, MultiplyLayer) and stage.conv is not None:
            (pad_y, pad_x), stride = stage.conv.padding, max(stage.conv.stride)
        reach = (height + pad_y + 1) * width + pad_x + (stride + 1) * width
        most = max(most, reach * channels)
    return most


# ---------------------------------------------------------------------------------------- shapes


def _in_shape(stage: MultiplyLayer | MaxPool) -> Shape:
    if isinstance(stage, MaxPool):
        return stage.in_shape
    return (1, 1, stage.depth) if stage.conv is None else stage.conv.in_shape


def _out_shape(stage: MultiplyLayer | MaxPool) -> Shape:
    if isinstance(stage, MaxPool):
        return stage.out_shape
    return (1, 1, stage.rows) if stage.conv is None else (*stage.conv.out_size, stage.rows)


def _elements(shape: Shape) -> int:
    return shape[0] * shape[1] * shape[2]


def _name(stage: MultiplyLayer | MaxPool) -> str:
    return "pooling" if isinstance(stage, MaxPool) else stage.name

"""The stages of a network as the accelerator sees them: maps, and a table of constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import IntegerNetwork, MaxPool, MultiplyLayer, Schedule
from hascodesign.render.rtl import comment_text

Shape = tuple[int, int, int]


def map_shapes(network: IntegerNetwork) -> tuple[Shape, ...]:
    """(height, width, channels) that each stage reads; a dense layer's is (1, 1, K)."""
    shapes: list[Shape] = []
    shape: Shape = network.in_shape
    for stage in network.stages:
        given = _in_shape(stage)
        if elements(given) != elements(shape) or (given[0] * given[1] > 1 and given != shape):
            raise ConfigError(f"{stage_name(stage)} must read a map of {shape}, not {given}")
        shapes.append(given)
        shape = _out_shape(stage)
        if min(shape[:2]) < 1:
            raise ConfigError(f"the kernel of {stage_name(stage)} must fit its map {given}")
    return tuple(shapes)


def merged(network: IntegerNetwork) -> frozenset[int]:
    """Stages that are poolings kept by the convolution before them: windows side by side."""
    pairs = zip(network.stages, network.stages[1:], strict=False)
    return frozenset(
        place
        for place, (before, stage) in enumerate(pairs, start=1)
        if isinstance(stage, MaxPool)
        and stage.kernel == stage.stride
        and isinstance(before, MultiplyLayer)
        and before.conv is not None
    )


def read_maps(network: IntegerNetwork) -> tuple[int, ...]:
    """Buffer that each stage reads; all but the poolings that are merged write the other."""
    found, here = [], 0
    without = merged(network)
    for place in range(len(network.stages)):
        found.append(here)
        here ^= place not in without
    return tuple(found)


def sides(stage: MultiplyLayer | MaxPool, shape: Shape) -> tuple[int, ...]:
    """Lengths of a stage's map with its padding, of its kernel and of its strides."""
    if isinstance(stage, MaxPool):
        return (*shape[:2], *stage.kernel, *stage.stride)
    if stage.conv is None:
        return (1,)
    padded = (shape[0] + 2 * stage.conv.padding[0], shape[1] + 2 * stage.conv.padding[1])
    return (*padded, *stage.conv.kernel, *stage.conv.stride)


def fields(bits: dict[str, Any]) -> list[tuple[str, int]]:
    """Name and width of each constant of a stage."""
    side, element = bits["side_bits"], bits["element_bits"]
    merging = [
        ("skipped", 1),
        ("window_width_less_1", side),
        ("window_height_less_1", side),
        ("windows_wide", side),
        ("windows_high", side),
        ("window_row", element),
    ]
    return [
        ("read_map", 1),
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
        *(merging if bits["merging"] else []),
    ]


def table(
    network: IntegerNetwork,
    schedule: Schedule,
    shapes: Sequence[Shape],
    fields: Sequence[tuple[str, int]],
) -> list[dict[str, Any]]:
    """One row of constants per stage, negative numbers as two's complement."""
    rows: list[dict[str, Any]] = []
    signed = network.input.signed
    without, maps = merged(network), read_maps(network)
    for place, (stage, shape) in enumerate(zip(network.stages, shapes, strict=True)):
        if isinstance(stage, MaxPool):
            row = _pool_row(stage) | {"skipped": int(place in without)}
        else:
            row = _layer_row(stage, schedule, shape)
            row |= _window_row(stage, network.stages[place + 1] if place + 1 in without else None)
            signed = stage.out_signed
        row |= {"code_signed": int(signed), "read_map": maps[place]}
        masked = {name: row.get(name, 0) & ((1 << bits) - 1) for name, bits in fields}
        height, width, channels = shape
        rows.append(
            {
                **masked,
                "comment": f"{comment_text(stage_name(stage))}: {height} x {width} x {channels}",
            }
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


def _window_row(layer: MultiplyLayer, pool: MultiplyLayer | MaxPool | None) -> dict[str, int]:
    """Windows of which a layer keeps the maxima; without a pooling each is a column."""
    height, width = (1, 1) if layer.conv is None else layer.conv.out_size
    window = (1, 1)
    if isinstance(pool, MaxPool):
        window, (height, width, _) = pool.kernel, pool.out_shape
    return {
        "window_height_less_1": window[0] - 1,
        "window_width_less_1": window[1] - 1,
        "windows_high": height,
        "windows_wide": width,
        "window_row": width * layer.rows,
    }


def _layer_row(layer: MultiplyLayer, schedule: Schedule, shape: Shape) -> dict[str, int]:
    common = {
        "final_layer": int(layer.output is None),
        "layer": layer.index,
        "columns": layer.positions,
        "passes_less_1": schedule.layers[layer.index].passes - 1,
        "steps_less_1": schedule.array.steps(layer.depth) - 1,
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


def largest_side(network: IntegerNetwork, shapes: Sequence[Shape]) -> int:
    """The longest of all sides."""
    return max(
        max(sides(stage, shape)) for stage, shape in zip(network.stages, shapes, strict=True)
    )


def largest_element(network: IntegerNetwork, shapes: Sequence[Shape]) -> int:
    """Bound on the number of any element named, those of the padding included."""
    most = max(elements(_out_shape(stage)) for stage in network.stages)
    for stage, shape in zip(network.stages, shapes, strict=True):
        height, width, channels = shape
        pad_y = pad_x = stride = 0
        if isinstance(stage, MultiplyLayer) and stage.conv is not None:
            (pad_y, pad_x), stride = stage.conv.padding, max(stage.conv.stride)
        reach = (height + pad_y + 1) * width + pad_x + (stride + 1) * width
        most = max(most, reach * channels)
    return most


def _in_shape(stage: MultiplyLayer | MaxPool) -> Shape:
    if isinstance(stage, MaxPool):
        return stage.in_shape
    return (1, 1, stage.depth) if stage.conv is None else stage.conv.in_shape


def _out_shape(stage: MultiplyLayer | MaxPool) -> Shape:
    if isinstance(stage, MaxPool):
        return stage.out_shape
    return (1, 1, stage.rows) if stage.conv is None else (*stage.conv.out_size, stage.rows)


def elements(shape: Shape) -> int:
    """Codes of a map."""
    return shape[0] * shape[1] * shape[2]


def stage_name(stage: MultiplyLayer | MaxPool) -> str:
    """What a stage is called in messages."""
    return "pooling" if isinstance(stage, MaxPool) else stage.name

"""The stages of a network as the accelerator sees them: maps, and a table of constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import IntegerNetwork, MaxPool, MultiplyLayer, Schedule
from hascodesign.render.rtl import comment_text

MAX_SIDE = 4095  # rows or columns of a map with its padding, of a kernel, a stride
MAX_STAGES = 64  # cycle counters in the register map

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


def check_network(network: IntegerNetwork, shapes: Sequence[Shape]) -> None:
    """Refuse a network that no accelerator runs by itself.

    Raises
    ------
    ConfigError
        Too many stages, a side too long, hidden layers without codes, or a last stage that is no
        layer of one position.
    """
    if len(network.stages) > MAX_STAGES:
        raise ConfigError(f"stages must be at most {MAX_STAGES}, not {len(network.stages)}")
    for stage, shape in zip(network.stages, shapes, strict=True):
        largest = max(sides(stage, shape))
        if largest > MAX_SIDE:
            raise ConfigError(
                f"sides of {stage_name(stage)} must be at most {MAX_SIDE}, not {largest}"
            )
    last = network.stages[-1]
    if not isinstance(last, MultiplyLayer) or last.output is not None or last.positions != 1:
        raise ConfigError(f"the last stage must be a layer of one position, not {stage_name(last)}")
    for layer in network.layers[:-1]:
        if layer.output is None:
            raise ConfigError(f"layer {layer.name} must have output codes: it is not the last")


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


#: Constants of a stage and their widths: bits, or what the width is called.
_FIELDS: tuple[tuple[str, int | str], ...] = (
    ("read_map", 1),
    ("pooling", 1),
    ("final_layer", 1),
    ("code_signed", 1),
    ("layer", "layer_bits"),
    ("columns", "column_bits"),
    ("passes_less_1", "pass_bits"),
    ("steps_less_1", "step_bits"),
    ("out_width_less_1", "side_bits"),
    ("out_height_less_1", "side_bits"),
    ("kernel_height_less_1", "side_bits"),
    ("kernel_width_less_1", "side_bits"),
    ("map_height", "side_bits"),
    ("y_first", "side_bits"),
    ("y_step", "side_bits"),
    ("map_row", "element_bits"),
    ("kernel_row", "element_bits"),
    ("x_first", "element_bits"),
    ("x_step", "element_bits"),
    ("base_first", "element_bits"),
    ("base_step", "element_bits"),
    ("out_channels", "element_bits"),
)
_MERGING: tuple[tuple[str, int | str], ...] = (  # where a convolution keeps a pooling's maxima
    ("skipped", 1),
    ("window_width_less_1", "side_bits"),
    ("window_height_less_1", "side_bits"),
    ("windows_wide", "side_bits"),
    ("windows_high", "side_bits"),
    ("window_row", "element_bits"),
)
_BATCHED: tuple[tuple[str, int | str], ...] = (  # where images go in batches
    ("shared", 1),  # it runs once for a batch
    ("fills_shared", 1),  # the first such stage reads what it writes
)
#: Names of all constants of a stage.
NAMES = tuple(name for name, _ in (*_FIELDS, *_MERGING))


def fields(bits: dict[str, Any]) -> list[tuple[str, int]]:
    """Name and width of each constant of a stage."""
    given = (
        *_FIELDS,
        *(_MERGING if bits["merging"] else ()),
        *(_BATCHED if bits["batch"] > 1 else ()),
    )
    return [(name, width if isinstance(width, int) else bits[width]) for name, width in given]


def constants(
    network: IntegerNetwork, schedule: Schedule, shapes: Sequence[Shape]
) -> list[dict[str, int]]:
    """Every constant of each stage, by its name."""
    rows: list[dict[str, int]] = []
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
        rows.append({name: row.get(name, 0) for name in NAMES})
    return rows


def stage_comment(stage: MultiplyLayer | MaxPool, shape: Shape) -> str:
    """A stage and the map that it reads, for a comment."""
    height, width, channels = shape
    return f"{comment_text(stage_name(stage))}: {height} x {width} x {channels}"


def table(
    network: IntegerNetwork,
    shapes: Sequence[Shape],
    rows: Sequence[dict[str, int]],
    fields: Sequence[tuple[str, int]],
) -> list[dict[str, Any]]:
    """One row of constants per stage, negative numbers as two's complement."""
    made: list[dict[str, Any]] = []
    for stage, shape, row in zip(network.stages, shapes, rows, strict=True):
        masked = {name: row[name] & ((1 << bits) - 1) for name, bits in fields}
        made.append({**masked, "comment": stage_comment(stage, shape)})
    return made


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

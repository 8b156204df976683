"""The memories of the build: weights in map order, row map, biases, thresholds.

Every memory is one :class:`~hascodesign.contract.build.Rom`; ``rom_files`` writes each as ``.mem``,
``.coe`` and ``.h`` beside a manifest. The RTL and the HLS C++ take the widths from here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from hascodesign.contract.array import (
    k_order,
    row_preloads,
    stored_preloads,
    stored_weights,
)
from hascodesign.contract.build import Rom
from hascodesign.contract.errors import ModelError, ScheduleError
from hascodesign.contract.memories import (
    Memory,
    control_memories,
    preload_bank,
    preload_name,
    signed_bits,
    threshold_stages,
    weight_bits,
    weights_name,
)
from hascodesign.contract.types import (
    ArraySpec,
    IntArray,
    IntegerNetwork,
    MultiplyLayer,
    Schedule,
    Thresholds,
)
from hascodesign.render.rom_format import check_rom_files, mem_words, rom_files

__all__ = [
    "build_roms",
    "check_rom_files",
    "mem_words",
    "pack_words",
    "rom_files",
    "threshold_node",
]

_WIDEST_BIAS = 60  # bits; thresholds take two bits more and are held in int64
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def threshold_node(stage: int, node: int, stages: int) -> int:
    """Which threshold a node of the binary search holds: its index in passing order."""
    return (node << (stages - stage)) + (1 << (stages - 1 - stage)) - 1


def pack_words(fields: IntArray, bits: int) -> tuple[int, ...]:
    """Words of [n, fields] two's complement fields of ``bits`` each, field 0 lowest."""
    planes = ((fields[:, :, None] >> np.arange(bits)) & 1).astype(np.uint8)
    packed = np.packbits(planes.reshape(len(fields), -1), axis=1, bitorder="little")
    return tuple(int.from_bytes(row.tobytes(), "little") for row in packed)


def build_roms(
    network: IntegerNetwork,
    schedule: Schedule,
    on_chip: Sequence[bool],
    orders: Sequence[IntArray] | None = None,
) -> tuple[Rom, ...]:
    """Every memory of the array for one schedule.

    Parameters
    ----------
    network : the integer network.
    schedule : one row map per multiply layer, in their order.
    on_chip : per multiply layer, whether its weights lie in the weight memories. Without any
        layer on chip there are no weight memories; all other memories hold every layer.
    orders : [T, S] K index per layer, -1 for padding; the array's own order by default.

    Returns
    -------
    ``weights_pe<PP>`` (one per PE), ``row_map``, ``bias``, ``descending``, where a layer has
    thresholds ``thresholds_<i>`` for each stage i of the binary search, and where preloads are
    built ``preload_pe<PP>``.

    Raises
    ------
    ScheduleError : the schedule is not one of this network on its array.
    ModelError : weights, thresholds or biases that the memories cannot hold.
    """
    spec = schedule.array
    layers = network.layers
    orders = [k_order(layer.depth, spec.simd) for layer in layers] if orders is None else orders
    _check(network, schedule, on_chip, orders)
    return (
        *_weights(network, schedule, on_chip, orders),
        *(_control(memory, network, schedule) for memory in control_memories(network, schedule)),
        *_preloads(network, schedule),
    )


def _weights(
    network: IntegerNetwork,
    schedule: Schedule,
    on_chip: Sequence[bool],
    orders: Sequence[IntArray],
) -> list[Rom]:
    spec = schedule.array
    layers = zip(network.layers, schedule.layers, orders, on_chip, strict=True)
    banks = [  # per layer [P, words, S]
        stored_weights(layer.weights, order, row_map.slots).reshape(spec.pe, -1, spec.simd)
        for layer, row_map, order, inside in layers
        if inside
    ]
    if not banks:
        return []
    names = [layer.name for layer, inside in zip(network.layers, on_chip, strict=True) if inside]
    return [
        Rom(
            name=weights_name(pe, spec.pe),
            content="weights",
            width=weight_bits(spec),
            words=pack_words(np.concatenate([bank[pe] for bank in banks]), spec.weight_bits),
            order="layer, pass, step",
            layer=None if all(on_chip) else " ".join(names),
        )
        for pe in range(spec.pe)
    ]


def _preloads(network: IntegerNetwork, schedule: Schedule) -> list[Rom]:
    pes = schedule.array.pe
    banks = [
        stored_preloads(row_preloads(layer), row_map.slots)
        for layer, row_map in zip(network.layers, schedule.layers, strict=True)
    ]
    return [
        Rom(
            name=preload_name(pe, pes),
            content=memory.content,
            width=memory.width,
            words=tuple(np.concatenate([bank[pe] for bank in banks]).tolist()),
            order="layer, pass",
        )
        for memory in preload_bank(network, schedule)
        for pe in range(pes)
    ]


def _control(memory: Memory, network: IntegerNetwork, schedule: Schedule) -> Rom:
    """A memory beside the weights, filled."""
    idle, order = None, "layer, row"
    if memory.content == "row_map":
        idle, order = (1 << memory.width) - 1, "layer, pass, PE"
        words = _row_map(schedule, idle)
    elif memory.content == "bias":
        words = np.concatenate([layer.bias for layer in network.layers])
    elif memory.content == "descending":
        words = _descending(network)
    else:
        order = "layer, row, node"
        words = _thresholds(network, int(memory.name.rpartition("_")[2]), memory.width)
    if len(words) != memory.depth:
        raise ScheduleError(f"{memory.name} must have {memory.depth} words, not {len(words)}")
    return Rom(memory.name, memory.content, memory.width, tuple(words.tolist()), order, idle=idle)


def _row_map(schedule: Schedule, idle: int) -> IntArray:
    slots = np.concatenate([row_map.slots.ravel() for row_map in schedule.layers])
    return np.where(slots < 0, idle, slots)


def _descending(network: IntegerNetwork) -> IntArray:
    down = [
        layer.output.descending
        if isinstance(layer.output, Thresholds)
        else np.zeros(layer.rows, dtype=np.bool_)
        for layer in network.layers
    ]
    return np.concatenate(down).astype(np.int64)


def _thresholds(network: IntegerNetwork, stage: int, width: int) -> IntArray:
    """Words of one stage of the binary search."""
    stages = threshold_stages(network)
    nodes = [threshold_node(stage, node, stages) for node in range(1 << stage)]
    limit = 1 << (width - 1)
    full = (_full_table(layer, (1 << stages) - 1, limit) for layer in network.layers)
    return np.concatenate([table[:, nodes].ravel() for table in full])


def _full_table(layer: MultiplyLayer, levels: int, limit: int) -> IntArray:
    """Thresholds [R, levels] within -limit..limit-1; "never" beyond those of the layer."""
    if not isinstance(layer.output, Thresholds):
        return np.full((layer.rows, levels), limit - 1, dtype=np.int64)
    values, down = layer.output.values, layer.output.descending
    never = np.where(down, -limit, limit - 1)
    table = np.repeat(never[:, None], levels, axis=1)
    # v lies within -limit/2..limit/2-1: a threshold beyond the word's range means the same there
    table[:, : values.shape[1]] = np.clip(values, -limit, limit - 1)
    return table


# ------------------------------------------------------------------------------------- helpers


def _check(
    network: IntegerNetwork,
    schedule: Schedule,
    on_chip: Sequence[bool],
    orders: Sequence[IntArray],
) -> None:
    layers, spec = network.layers, schedule.array
    counts = (len(schedule.layers), len(on_chip), len(orders))
    if counts != (len(layers),) * 3:
        raise ScheduleError(
            f"row maps, on-chip flags and K orders must be {len(layers)} each, one per multiply "
            f"layer, not {counts[0]}, {counts[1]} and {counts[2]}"
        )
    for layer, row_map, order in zip(layers, schedule.layers, orders, strict=True):
        _check_layer(layer, spec)
        placed = np.sort(row_map.slots[row_map.slots >= 0])
        fits = row_map.slots.ndim == 2 and row_map.slots.shape[1] == spec.pe
        if not fits or not np.array_equal(placed, np.arange(layer.rows)):
            raise ScheduleError(
                f"the row map of layer {layer.name} must hold each of {layer.rows} rows once on "
                f"{spec.pe} PEs, not {len(placed)} entries in slots of shape {row_map.slots.shape}"
            )
        taken = np.sort(order[order >= 0])
        shape = (spec.steps(layer.depth), spec.simd)
        if order.shape != shape or not np.array_equal(taken, np.arange(layer.depth)):
            raise ScheduleError(
                f"the K order of layer {layer.name} must hold each of {layer.depth} indices once "
                f"in shape {shape}, not {len(taken)} in shape {order.shape}"
            )


def _check_layer(layer: MultiplyLayer, spec: ArraySpec) -> None:
    if not _IDENTIFIER.fullmatch(layer.name):
        raise ModelError(f"a layer name must be letters, digits and _, not {layer.name!r}")
    if signed_bits(layer.weights) > spec.weight_bits:
        raise ModelError(
            f"weights of layer {layer.name} must fit {spec.weight_bits} bits, "
            f"not {signed_bits(layer.weights)}"
        )
    if layer.preload is not None and signed_bits(layer.preload) > spec.acc_bits:
        raise ModelError(
            f"preloads of layer {layer.name} must fit {spec.acc_bits} bits, "
            f"not {signed_bits(layer.preload)}"
        )
    if signed_bits(layer.bias) > _WIDEST_BIAS:
        raise ModelError(f"biases of layer {layer.name} must fit {_WIDEST_BIAS} bits")
    if isinstance(layer.output, Thresholds):
        count, most = layer.output.values.shape[1], (1 << layer.out_bits) - 1
        if count > most:
            raise ModelError(
                f"thresholds of layer {layer.name} must be at most {most}, not {count}"
            )

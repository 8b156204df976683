"""The memories of the build: weights in map order, row map, biases, thresholds.

Every memory is one :class:`~hascodesign.contract.build.Rom`; ``rom_files`` writes each as ``.mem``,
``.coe`` and ``.h`` beside a manifest. The RTL and the HLS C++ take the widths from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from hascodesign.contract.array import k_order, stored_weights
from hascodesign.contract.build import Rom
from hascodesign.contract.errors import ModelError, ScheduleError
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
    "bias_bits",
    "build_roms",
    "check_rom_files",
    "mem_words",
    "pack_words",
    "rom_files",
    "row_bits",
    "threshold_node",
    "threshold_stages",
    "value_bits",
    "weights_name",
]

_WIDEST_BIAS = 60  # bits; thresholds take two bits more and are held in int64
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def weights_name(pe: int, pes: int) -> str:
    """File stem of one PE's weights; two digits, more where the array has more than 100 PEs."""
    return f"weights_pe{pe:0{max(2, len(str(pes - 1)))}d}"


def row_bits(network: IntegerNetwork) -> int:
    """Bits of a row-map word: all ones (idle) is never a row."""
    return max(layer.rows for layer in network.layers).bit_length()


def bias_bits(network: IntegerNetwork) -> int:
    """BB, bits of a bias word: enough for every bias, two's complement, at least 2."""
    return max(2, *(_signed_bits(layer.bias) for layer in network.layers))


def value_bits(network: IntegerNetwork, array: ArraySpec) -> int:
    """VB, bits of v = ACC + bias: one more than the wider of the two."""
    return max(array.acc_bits, bias_bits(network)) + 1


def threshold_stages(network: IntegerNetwork) -> int:
    """n, stages of the binary search: most output bits of a threshold layer, 0 without one."""
    return max((layer.out_bits for layer in _threshold_layers(network)), default=0)


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
    ``weights_pe<PP>`` (one per PE), ``row_map``, ``bias``, ``descending`` and, where a layer
    has thresholds, ``thresholds_<i>`` for each stage i of the binary search.

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
        _row_map(network, schedule),
        _bias(network),
        _descending(network),
        *_thresholds(network, spec),
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
            width=spec.simd * spec.weight_bits,
            words=pack_words(np.concatenate([bank[pe] for bank in banks]), spec.weight_bits),
            order="layer, pass, step",
            layer=None if all(on_chip) else " ".join(names),
        )
        for pe in range(spec.pe)
    ]


def _row_map(network: IntegerNetwork, schedule: Schedule) -> Rom:
    width = row_bits(network)
    idle = (1 << width) - 1
    slots = np.concatenate([row_map.slots.ravel() for row_map in schedule.layers])
    words = tuple(np.where(slots < 0, idle, slots).tolist())
    return Rom("row_map", "row_map", width, words, "layer, pass, PE", idle=idle)


def _bias(network: IntegerNetwork) -> Rom:
    words = tuple(np.concatenate([layer.bias for layer in network.layers]).tolist())
    return Rom("bias", "bias", bias_bits(network), words, "layer, row")


def _descending(network: IntegerNetwork) -> Rom:
    words: list[int] = []
    for layer in network.layers:
        if isinstance(layer.output, Thresholds):
            words += [int(d) for d in layer.output.descending]
        else:
            words += [0] * layer.rows
    return Rom("descending", "descending", 1, tuple(words), "layer, row")


def _thresholds(network: IntegerNetwork, spec: ArraySpec) -> list[Rom]:
    stages = threshold_stages(network)
    limit = 1 << value_bits(network, spec)
    full = [_full_table(layer, (1 << stages) - 1, limit) for layer in network.layers]
    roms = []
    for stage in range(stages):
        nodes = [threshold_node(stage, node, stages) for node in range(1 << stage)]
        words = np.concatenate([table[:, nodes].ravel() for table in full])
        roms.append(
            Rom(
                f"thresholds_{stage}",
                "thresholds",
                value_bits(network, spec) + 1,
                tuple(words.tolist()),
                "layer, row, node",
            )
        )
    return roms


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


def _threshold_layers(network: IntegerNetwork) -> Iterable[MultiplyLayer]:
    return (layer for layer in network.layers if isinstance(layer.output, Thresholds))


def _signed_bits(values: IntArray) -> int:
    """Bits that hold every value in two's complement."""
    ends = (int(values.min()), int(values.max()))
    return max((v if v >= 0 else ~v).bit_length() for v in ends) + 1


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
        shape = (-(-layer.depth // spec.simd), spec.simd)
        if order.shape != shape or not np.array_equal(taken, np.arange(layer.depth)):
            raise ScheduleError(
                f"the K order of layer {layer.name} must hold each of {layer.depth} indices once "
                f"in shape {shape}, not {len(taken)} in shape {order.shape}"
            )


def _check_layer(layer: MultiplyLayer, spec: ArraySpec) -> None:
    if not _IDENTIFIER.fullmatch(layer.name):
        raise ModelError(f"a layer name must be letters, digits and _, not {layer.name!r}")
    if _signed_bits(layer.weights) > spec.weight_bits:
        raise ModelError(
            f"weights of layer {layer.name} must fit {spec.weight_bits} bits, "
            f"not {_signed_bits(layer.weights)}"
        )
    if _signed_bits(layer.bias) > _WIDEST_BIAS:
        raise ModelError(f"biases of layer {layer.name} must fit {_WIDEST_BIAS} bits")
    if isinstance(layer.output, Thresholds):
        count, most = layer.output.values.shape[1], (1 << layer.out_bits) - 1
        if count > most:
            raise ModelError(
                f"thresholds of layer {layer.name} must be at most {most}, not {count}"
            )

"""Width and depth of every memory of the build: capacity, ROMs, RTL and thresholds ask here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hascodesign.contract.array import layer_words
from hascodesign.contract.types import ArraySpec, IntArray, IntegerNetwork, Schedule, Thresholds


@dataclass(frozen=True, slots=True)
class Memory:
    """One memory of the array."""

    name: str
    content: str  # weights, row_map, bias, descending, thresholds, preload
    width: int  # bits of a word
    depth: int  # words


def control_memories(network: IntegerNetwork, schedule: Schedule) -> tuple[Memory, ...]:
    """Row map, biases, directions and each stage of the thresholds, in the order of their number.

    Whoever writes memories at run time counts them so, from 1: 0 are the weights.

    Parameters
    ----------
    network : its rows give biases and thresholds.
    schedule : its passes give the row map's words; its array the accumulator's bits.
    """
    spec = schedule.array
    rows = sum(layer.rows for layer in network.layers)
    slots = sum(row_map.passes for row_map in schedule.layers) * spec.pe
    threshold_bits = value_bits(network, spec) + 1  # "always" and "never" are thresholds, too
    return (
        Memory("row_map", "row_map", row_bits(network), slots),
        Memory("bias", "bias", bias_bits(network, spec), rows),
        Memory("descending", "descending", 1, rows),
        *(
            Memory(f"thresholds_{stage}", "thresholds", threshold_bits, rows << stage)
            for stage in range(threshold_stages(network))
        ),
    )


def preload_bank(network: IntegerNetwork, schedule: Schedule) -> tuple[Memory, ...]:
    """The memory of one PE's preloads, a word for each pass of each layer; none where not built.

    Whoever writes memories at run time writes those of all PEs at once, PE 0 lowest; their number
    is the one after the last stage of the thresholds.
    """
    if not network.preloaded:
        return ()
    passes = sum(row_map.passes for row_map in schedule.layers)
    return (Memory("preload_pe", "preload", schedule.array.acc_bits, passes),)


def written_memories(
    network: IntegerNetwork, schedule: Schedule, on_chip: Sequence[bool], *, core: bool
) -> tuple[Memory, ...]:
    """Memories that are written at run time: by the core's registers, or by the weight stream.

    Parameters
    ----------
    on_chip : [layers] whether a layer's weights are in the banks.
    core : whether the accelerator is built, whose registers write every memory.
    """
    fixed, streamed = bank_depths(network, schedule, on_chip)
    bank = Memory("weights_pe", "weights", weight_bits(schedule.array), fixed + streamed)
    banks = (bank,) if core or streamed else ()
    if not core:
        return banks
    return (*banks, *control_memories(network, schedule), *preload_bank(network, schedule))


def weights_name(pe: int, pes: int) -> str:
    """File stem of one PE's weights; two digits, more where the array has more than 100 PEs."""
    return _of_pe("weights", pe, pes)


def preload_name(pe: int, pes: int) -> str:
    """File stem of one PE's preloads."""
    return _of_pe("preload", pe, pes)


def _of_pe(content: str, pe: int, pes: int) -> str:
    return f"{content}_pe{pe:0{max(2, len(str(pes - 1)))}d}"


def weight_bits(array: ArraySpec) -> int:
    """Bits of a word of a PE's weight bank: S weights, multiplier 0 lowest."""
    return array.simd * array.weight_bits


def bank_depths(
    network: IntegerNetwork, schedule: Schedule, on_chip: Sequence[bool]
) -> tuple[int, int]:
    """Words of each PE's weight bank: of fixed contents, and filled by the weight stream.

    Layers on chip keep every pass; the stream holds one pass of the longest external layer.
    """
    words = layer_words(network, schedule)
    steps = [schedule.array.steps(layer.depth) for layer in network.layers]
    fixed = sum(count for count, inside in zip(words, on_chip, strict=True) if inside)
    streamed = (t for t, inside in zip(steps, on_chip, strict=True) if not inside)
    return fixed, max(streamed, default=0)


def row_bits(network: IntegerNetwork) -> int:
    """Bits of a row-map word: all ones (idle) is never a row."""
    return max(layer.rows for layer in network.layers).bit_length()


def bias_bits(network: IntegerNetwork, array: ArraySpec) -> int:
    """BB, bits of a bias word: those of the accumulator, more where a bias needs them.

    So that what a fault adds can be taken out of any row, and one build takes every schedule.
    """
    return max(array.acc_bits, *(signed_bits(layer.bias) for layer in network.layers))


def value_bits(network: IntegerNetwork, array: ArraySpec) -> int:
    """VB, bits of v = ACC + bias: one more than the wider of the two."""
    return max(sum_bits(layer.bias, array.acc_bits) for layer in network.layers)


def sum_bits(bias: IntArray, acc_bits: int) -> int:
    """Bits of v = ACC + bias of one layer."""
    return max(acc_bits, signed_bits(bias)) + 1


def threshold_stages(network: IntegerNetwork) -> int:
    """n, stages of the binary search: most output bits of a threshold layer, 0 without one."""
    return max(
        (layer.out_bits for layer in network.layers if isinstance(layer.output, Thresholds)),
        default=0,
    )


def signed_bits(values: IntArray) -> int:
    """Least bits of a two's complement word that holds every value."""
    ends = (int(values.min()), int(values.max()))
    return max((v if v >= 0 else ~v).bit_length() for v in ends) + 1

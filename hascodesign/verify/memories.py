"""The memory files of a build, read back and walked as the hardware walks them.

The simulated columns need not come near every word: a bit that they pass over would stay wrong in
silence. Nothing here is shared with what rendered the files but docs/array.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hascodesign.contract import arithmetic
from hascodesign.contract.array import k_order
from hascodesign.contract.build import Build
from hascodesign.contract.errors import VerificationMismatch
from hascodesign.contract.memories import (
    bias_bits,
    preload_name,
    row_bits,
    threshold_stages,
    value_bits,
    weight_bits,
    weights_name,
)
from hascodesign.contract.types import IntArray, MultiplyLayer, Thresholds


def check_memories(build: Build, on_chip: Sequence[bool]) -> None:
    """Hold what every memory file says to the network and the map.

    Parameters
    ----------
    build : its ``roms/*.mem`` are read.
    on_chip : per layer, whether its weights lie in the weight memories.

    Raises
    ------
    VerificationMismatch
        A word that the hardware would read otherwise than the network and the map have it.
    """
    held = build.plan.under("roms")
    _check_weights(held, build, on_chip)
    _check_row_map(held, build)
    biases = np.concatenate([layer.bias for layer in build.network.layers])
    _require(
        "bias",
        _signed(_words(held, "bias", bias_bits(build.network, build.schedule.array), len(biases))),
        biases,
    )
    _check_thresholds(held, build)
    if build.network.preloaded:
        _check_preloads(held, build)


def _words(held: Mapping[str, bytes], name: str, bits: int, count: int) -> list[tuple[int, int]]:
    """Every word of a memory, with its bits."""
    lines = held.get(f"{name}.mem", b"").split()
    if len(lines) != count:
        raise VerificationMismatch(f"roms/{name}.mem must hold {count} words, not {len(lines)}")
    words = [(int(line, 16), bits) for line in lines]
    if max(word for word, _ in words) >> bits:
        raise VerificationMismatch(f"the words of roms/{name}.mem must have {bits} bits")
    return words


def _signed(words: Sequence[tuple[int, int]]) -> IntArray:
    return np.array([w - (1 << bits) if w >> (bits - 1) else w for w, bits in words])


def _require(name: str, got: IntArray, wanted: IntArray) -> None:
    if not np.array_equal(got, wanted):
        place = np.flatnonzero(got != wanted)[0]
        raise VerificationMismatch(
            f"word {place} of roms/{name}.mem must mean {wanted[place]}, not {got[place]}"
        )


def _check_weights(held: Mapping[str, bytes], build: Build, on_chip: Sequence[bool]) -> None:
    spec, network = build.schedule.array, build.network
    bits, mask = spec.weight_bits, (1 << spec.weight_bits) - 1
    wanted: list[list[int]] = [[] for _ in range(spec.pe)]  # the weights that each PE multiplies
    for layer, row_map, inside in zip(network.layers, build.schedule.layers, on_chip, strict=True):
        order = k_order(layer.depth, spec.simd).reshape(-1)
        for slots in row_map.slots if inside else ():
            for pe, row in enumerate(slots.tolist()):
                taken = np.where(order < 0, 0, layer.weights[row][order] if row >= 0 else 0)
                wanted[pe] += taken.tolist()
    for pe, weights in enumerate(wanted):
        if not weights:
            continue  # every layer's weights are streamed
        name = weights_name(pe, spec.pe)
        words = _words(held, name, weight_bits(spec), len(weights) // spec.simd)
        fields = [((w >> (s * bits)) & mask, bits) for w, _ in words for s in range(spec.simd)]
        _require(name, _signed(fields), np.array(weights))


def _check_preloads(held: Mapping[str, bytes], build: Build) -> None:
    spec = build.schedule.array
    wanted: list[list[int]] = [[] for _ in range(spec.pe)]  # what each PE's sums start from
    for layer, row_map in zip(build.network.layers, build.schedule.layers, strict=True):
        words = [0] * layer.rows if layer.preload is None else layer.preload.tolist()
        for slots in row_map.slots.tolist():
            for pe, row in enumerate(slots):
                wanted[pe].append(words[row] if row >= 0 else 0)
    for pe, words in enumerate(wanted):
        name = preload_name(pe, spec.pe)
        got = _signed(_words(held, name, spec.acc_bits, len(words)))
        _require(name, got, np.array(words))


def _check_row_map(held: Mapping[str, bytes], build: Build) -> None:
    bits = row_bits(build.network)
    slots = np.concatenate([one.slots.reshape(-1) for one in build.schedule.layers])
    words = [word for word, _ in _words(held, "row_map", bits, len(slots))]
    idle = (1 << bits) - 1
    _require("row_map", np.array([-1 if word == idle else word for word in words]), slots)


def _check_thresholds(held: Mapping[str, bytes], build: Build) -> None:
    """Search as the hardware does, at each threshold of a row, beside it and at both ends.

    A word that no such search meets is met by no value at all.
    """
    network = build.network
    rows, stages = sum(layer.rows for layer in network.layers), threshold_stages(network)
    bits = value_bits(network, build.schedule.array)
    down = np.array([word for word, _ in _words(held, "descending", 1, rows)], dtype=np.bool_)
    tables = [
        _signed(_words(held, f"thresholds_{i}", bits + 1, rows << i)).reshape(rows, -1)
        for i in range(stages)
    ]
    first = 0
    for layer in network.layers:
        mine = slice(first, first + layer.rows)
        values = _near(layer, bits)
        passed = np.zeros(values.shape, dtype=np.int64)
        for table in tables:
            limits = np.take_along_axis(table[mine], passed, axis=1)
            over = np.where(down[mine, None], values <= limits, values >= limits)
            passed = 2 * passed + over
        wrong = np.flatnonzero((passed != _passed(layer, values)).any(axis=1))
        if wrong.size:
            raise VerificationMismatch(
                f"roms/thresholds_*.mem must give row {wrong[0]} of {layer.name} its codes"
            )
        first += layer.rows


def _near(layer: MultiplyLayer, bits: int) -> IntArray:
    """Values [R, n] of ACC + bias at which a row's code may change, and both ends."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    ends = np.broadcast_to([low, high], (layer.rows, 2))
    if not isinstance(layer.output, Thresholds):
        return ends
    at = np.clip(layer.output.values, low - 1, high + 1)
    return np.clip(np.concatenate([at - 1, at, at + 1, ends], axis=1), low, high)


def _passed(layer: MultiplyLayer, values: IntArray) -> IntArray:
    """Thresholds [R, n] that values pass; none in a layer that has none."""
    if not isinstance(layer.output, Thresholds):
        return np.zeros(values.shape, dtype=np.int64)
    return arithmetic.output_codes(layer.output, values) - layer.output.lowest

"""Which layer, PE, row and bit a bit of a memory belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .contents import Contents
from .description import Description, Layer


def differing(wanted: int, got: int) -> Iterator[int]:
    """Bits in which two words differ, lowest first."""
    rest = wanted ^ got
    while rest:
        low = rest & -rest
        yield low.bit_length() - 1
        rest ^= low


def place(built: Description, contents: Contents, memory: int, address: int, bit: int) -> str:
    """In words: the layer, where it stands and which bit of it.

    Parameters
    ----------
    contents : the schedule; its row map says which PE computes a row.
    memory, address, bit : as the registers count them.
    """
    content = built.memories[memory].content
    if content == "weights":
        return _weight(built, contents, address, bit)
    if content == "row_map":
        layer, at = _layer(built, address, lambda one: one.passes * built.array.pe)
        number, pe = divmod(at, built.array.pe)
        return f"row map of {built.layers[layer].name}, pass {number}, PE {pe}, bit {bit}"
    if content == "preload":
        return _preload(built, contents, address, bit)
    nodes = 1
    what = content
    if content == "thresholds":
        stage = int(built.memories[memory].name.rpartition("_")[2])
        nodes = 1 << stage
    layer, at = _layer(built, address, lambda one: one.rows * nodes)
    row, node = divmod(at, nodes)
    if content == "thresholds":
        what = f"threshold (stage {stage}, node {node})"
    name = built.layers[layer].name
    return f"{what} of {name}, {_pe_of(contents, layer, row)}, row {row}, bit {bit}"


def wmem_place(built: Description, address: int, bit: int) -> tuple[int, int, int, int]:
    """PE, multiplier, bit of the weight and bank address of a bit of memory 0."""
    array = built.array
    pe, rest = divmod(bit, array.simd * array.weight_bits)
    lane, low = divmod(rest, array.weight_bits)
    return pe, lane, low, address


def _weight(built: Description, contents: Contents, address: int, bit: int) -> str:
    pe, lane, low, _ = wmem_place(built, address, bit)
    inside = [index for index, layer in enumerate(built.layers) if layer.on_chip]
    start = 0
    for index in inside:
        layer = built.layers[index]
        steps = layer.steps(built.array)
        if address < start + layer.passes * steps:
            number, step = divmod(address - start, steps)
            row = contents.slots[index][number][pe]
            k = step * built.array.simd + lane
            where = f"row {row}, weight {k}" if row >= 0 and k < layer.depth else "no row"
            return (
                f"weight of {layer.name}, PE {pe}, {where} (pass {number}, step {step},"
                f" multiplier {lane}), bit {low}"
            )
        start += layer.passes * steps
    raise ValueError(f"memory 0 has no word {address}")


def _preload(built: Description, contents: Contents, address: int, bit: int) -> str:
    pe, low = divmod(bit, built.array.acc_bits)
    layer, number = _layer(built, address, lambda one: one.passes)
    row = contents.slots[layer][number][pe]
    where = f"row {row}" if row >= 0 else "no row"
    return f"preload of {built.layers[layer].name}, PE {pe}, {where} (pass {number}), bit {low}"


def _layer(built: Description, address: int, words: Callable[[Layer], int]) -> tuple[int, int]:
    """Index of the layer that a word belongs to, and its place among that layer's words."""
    for index, layer in enumerate(built.layers):
        size = words(layer)
        if address < size:
            return index, address
        address -= size
    raise ValueError(f"no layer has a word {address} further on")


def _pe_of(contents: Contents, layer: int, row: int) -> str:
    for number, slots in enumerate(contents.slots[layer]):
        if row in slots:
            return f"PE {slots.index(row)} (pass {number})"
    raise ValueError(f"row {row} stands nowhere")

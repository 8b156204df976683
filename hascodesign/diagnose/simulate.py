"""The fault model plays the chip: answers of an array with a known profile."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from hascodesign.common.display import ProgressCall, silent
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import FaultProfile, IntArray, MultiplyLayer, RowMap, frozen
from hascodesign.diagnose.infer import MOST_RUNS
from hascodesign.diagnose.vectors import Block, TestSet
from hascodesign.faults.places import check_amount

TOGETHER = 64  # passes of one call of the engine; paired, it computes their square
Accumulate = Callable[..., IntArray]  # as engine.gemm.accumulate, or the reference


def simulate(
    test_set: TestSet,
    profile: FaultProfile,
    *,
    runs: int = 1,
    accumulate: Accumulate | None = None,
    progress: ProgressCall = silent,
) -> NDArray[np.int32]:
    """Answers [runs, P, answers] of an array with the faults of ``profile``.

    Parameters
    ----------
    test_set : what is played.
    profile : a checked profile of the same array.
    runs : times that everything is played; transients draw anew in each.
    accumulate : what computes a layer; the engine where None.
    progress : told of every block.
    """
    if profile.array != test_set.array:
        raise ConfigError(
            f"the profile must be of the array that is tested, {test_set.array}, not "
            f"{profile.array}"
        )
    check_amount("runs", runs, MOST_RUNS, low=1)
    if accumulate is None:
        from hascodesign.engine import gemm  # noqa: PLC0415  (numba: start-up time)

        accumulate = gemm.accumulate
    varying = any(fault.kind == "transient" for fault in profile.faults)
    found = np.empty((runs, test_set.array.pe, test_set.answers), dtype=np.int32)
    index = 0  # of the call: with the column, what a transient draws by
    places = _places(test_set)
    for number, (block, starts) in enumerate(places):
        progress("blocks", number, len(places))
        plays, at = runs * len(starts) if varying else 1, 0
        for piece in _pieces(block):
            acc = _play(profile, piece, index, accumulate, plays)
            acc = np.broadcast_to(acc, (runs * len(starts), *acc.shape[1:]))
            by_start = acc.reshape(len(starts), runs, *acc.shape[1:])
            for start, held in zip(starts, by_start, strict=True):
                found[:, :, start + at : start + at + piece.answers] = held
            index, at = index + 1, at + piece.answers
    return found


def _places(test_set: TestSet) -> list[tuple[Block, list[int]]]:
    """Each block once, with its places among the answers: more where it is played again."""
    found: dict[int, tuple[Block, list[int]]] = {}
    at = 0
    for block in test_set.blocks:
        found.setdefault(id(block), (block, []))[1].append(at)
        at += block.answers
    return list(found.values())


def _pieces(block: Block) -> Iterator[Block]:
    """A block, cut to what one call takes."""
    for start in range(0, len(block.words), TOGETHER):
        part = slice(start, start + TOGETHER)
        yield Block(
            signed=block.signed,
            base=block.base + start * block.steps,
            words=block.words[part],
            codes=block.codes[part] if block.paired else block.codes,
            paired=block.paired,
        )


def _play(
    profile: FaultProfile, block: Block, index: int, accumulate: Accumulate, plays: int
) -> IntArray:
    """[plays, P, answers] of one block as a dense layer of which every PE has every pass."""
    array, passes = profile.array, len(block.words)
    words = np.repeat(block.words.reshape(passes, -1), array.pe, axis=0)
    layer = MultiplyLayer(
        name="diagnose",
        index=index,
        weights=frozen(words),
        bias=frozen(np.zeros(len(words))),
        weight_bits=array.weight_bits,
        in_bits=array.act_bits,
        in_signed=block.signed,
        conv=None,
        output=None,
        out_bits=0,
        out_signed=True,
    )
    row_map = RowMap(layer.name, len(words), frozen(np.arange(len(words)).reshape(passes, -1)))
    codes = np.tile(block.codes.reshape(len(block.codes), -1).T, (1, plays))
    acc = accumulate(profile, layer, row_map, codes, wmem_base=block.base)
    acc = acc.reshape(passes, array.pe, plays, -1).transpose(2, 1, 0, 3)  # ..., passes, columns
    if block.paired:
        return acc[..., np.arange(passes), np.arange(passes)]
    return acc.reshape(plays, array.pe, -1)

"""What of a network an array on a board can hold: multipliers and on-chip weights."""

from __future__ import annotations

from collections.abc import Sequence

from hascodesign.board.boards import GUIDELINE
from hascodesign.contract.array import k_order, layer_passes, wmem_words
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import (
    ArraySpec,
    Board,
    IntegerNetwork,
    Multipliers,
    Schedule,
    Thresholds,
)

# aspect ratios of one 18 kbit block of 7-series and UltraScale+, (bits, words); UG473 table 1-3
_RAMB18 = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))


def check_array(array: ArraySpec, board: Board, multipliers: Multipliers = "dsp") -> None:
    """Refuse an array with more multipliers than the board has DSP blocks.

    Raises
    ------
    ConfigError
        P * S above the board's DSPs, unless ``multipliers`` is ``"lut"``.
    """
    wanted = array.pe * array.simd
    if multipliers == "dsp" and wanted > board.dsp:
        raise ConfigError(
            f"array must have at most {board.dsp} multipliers, the DSPs of {board.name}, not "
            f"{array.pe} PEs x {array.simd} SIMD = {wanted}; --multipliers lut builds them of LUTs"
        )


def ramb18(width: int, depth: int) -> int:
    """Blocks of 18 kbit that a memory of ``depth`` words of ``width`` bits takes."""
    if width == 0 or depth == 0:
        return 0
    return min(-(-width // bits) * -(-depth // words) for bits, words in _RAMB18)


def bank_words(network: IntegerNetwork, schedule: Schedule) -> tuple[int, ...]:
    """Words that each layer takes in every weight bank: passes * T."""
    simd = schedule.array.simd
    return tuple(
        row_map.passes * len(k_order(layer.depth, simd))
        for layer, row_map in zip(network.layers, schedule.layers, strict=True)
    )


def words_allowed(
    network: IntegerNetwork, array: ArraySpec, extra_passes: int = 0, spare_passes: float = 0.0
) -> int:
    """Words of each weight bank that any schedule with so many spare passes fits into.

    Parameters
    ----------
    extra_passes : spare passes of every layer.
    spare_passes : spare passes in all, as a share of the least number; any layer may take them.
    """
    steps = [-(-layer.depth // array.simd) for layer in network.layers]
    least = sum(layer_passes(network, array.pe))
    anywhere = int(spare_passes * least) * max(steps)
    return wmem_words(network, array) + extra_passes * sum(steps) + anywhere


def control_ramb18(network: IntegerNetwork, schedule: Schedule, array: ArraySpec) -> int:
    """Blocks of 18 kbit for row map, biases, directions and thresholds of all layers."""
    rows = sum(layer.rows for layer in network.layers)
    slots = sum(row_map.passes for row_map in schedule.layers) * array.pe
    bias_bits = max(2, *(_signed_bits(int(b)) for m in network.layers for b in m.bias))
    # v = ACC + bias, and one bit more so that "always" and "never" are thresholds too
    threshold_bits = max(array.acc_bits, bias_bits) + 2
    stages = max(
        (m.out_bits for m in network.layers if isinstance(m.output, Thresholds)), default=0
    )
    return (
        ramb18(max(layer.rows for layer in network.layers).bit_length(), slots)
        + ramb18(bias_bits, rows)
        + ramb18(1, rows)
        + sum(ramb18(threshold_bits, rows << stage) for stage in range(stages))
    )


def weights_on_chip(
    network: IntegerNetwork, schedule: Schedule, array: ArraySpec, board: Board, taken: int = 0
) -> tuple[bool, ...]:
    """Which layers keep their weights in the board's block RAM; the others stream them in.

    A layer is on chip or external as a whole. Layers are taken smallest first (of equal ones the
    earlier first), so that as many as possible stay on chip, and each is kept where the PEs' banks
    still fit: P banks of S*WB bits, as many words as the kept layers need and one pass of the
    longest external layer, counted in whole blocks of 18 kbit, within the guideline share (80 %) of
    the board's block RAM less what row map, biases, thresholds and ``taken`` take. UltraRAM does
    not count: it cannot be initialised by a bitstream.

    Parameters
    ----------
    network, schedule : the layers and their passes.
    array : gives P, S and WB.
    board : gives the block RAM.
    taken : blocks of 18 kbit that something else takes.

    Returns
    -------
    [layers] True where on chip.
    """
    words = bank_words(network, schedule)
    budget = int(2 * board.bram36 * GUIDELINE["BRAM36"] / 100)
    budget -= control_ramb18(network, schedule, array) + taken
    kept = [False] * len(words)
    for index in sorted(range(len(words)), key=lambda i: (words[i], i)):
        trial = [*kept[:index], True, *kept[index + 1 :]]
        depth = _bank_depth(network, words, trial, array)
        if array.pe * ramb18(array.simd * array.weight_bits, depth) <= budget:
            kept = trial
    return tuple(kept)


def _bank_depth(
    network: IntegerNetwork, words: Sequence[int], kept: Sequence[bool], array: ArraySpec
) -> int:
    """Words of a bank: those of the kept layers, and one pass of the longest external layer."""
    steps = [len(k_order(layer.depth, array.simd)) for layer in network.layers]
    inside = sum(count for count, keep in zip(words, kept, strict=True) if keep)
    return inside + max((t for t, keep in zip(steps, kept, strict=True) if not keep), default=0)


def _signed_bits(value: int) -> int:
    """Least bits of a two's complement word that holds ``value``."""
    return (value if value >= 0 else ~value).bit_length() + 1

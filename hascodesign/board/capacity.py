"""What of a network an array on a board can hold: multipliers and on-chip weights."""

from __future__ import annotations

from hascodesign.board.boards import GUIDELINE
from hascodesign.contract.array import layer_passes, layer_words, wmem_words
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.memories import bank_depths, control_memories, weight_bits
from hascodesign.contract.types import (
    ArraySpec,
    Board,
    IntegerNetwork,
    Multipliers,
    Schedule,
)

# aspect ratios of one 18 kbit block of 7-series and UltraScale+, (bits, words); UG473 table 1-3
_RAMB18 = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))


# bits of the wider operand of a DSP48E1 (UG479), DSP48E2 (UG579) and MULT18X18D (FPGA-TN-02205);
# the other one has 18
_DSP_BITS = {"xc7": 25, "xcup": 27, "ecp5": 18}
#: Why the systolic array has no shared multipliers.
PAIRED_WS = (
    "--multipliers dsp2 needs dataflow os, in which two PEs take an activation in the same cycle,"
    " not ws"
)


def check_array(array: ArraySpec, board: Board, multipliers: Multipliers = "dsp") -> None:
    """Refuse an array that takes more DSP blocks than the board has, or has no use for them.

    Raises
    ------
    ConfigError
        Too many blocks for ``multipliers``; with ``"dsp2"`` a dataflow whose PEs share no
        activation, or two weights too wide to be packed into one operand of the board's blocks.
    """
    if multipliers == "dsp2":
        _check_pairs(array, board)
    wanted = dsp_blocks(array, multipliers)
    if wanted > board.dsp:
        size = f"{array.pe} PEs x {array.simd} SIMD"
        raise ConfigError(
            f"array must have at most {board.dsp} multipliers, the DSPs of {board.name}, not "
            f"{size + ' in pairs' if multipliers == 'dsp2' else size} = {wanted};"
            " --multipliers lut builds them of LUTs"
        )


def dsp_blocks(array: ArraySpec, multipliers: Multipliers = "dsp") -> int:
    """DSP blocks that the multipliers of an array take."""
    rows = {"dsp": array.pe, "dsp2": -(-array.pe // 2), "lut": 0}
    return rows[multipliers] * array.simd


def _check_pairs(array: ArraySpec, board: Board) -> None:
    if array.dataflow == "ws":
        raise ConfigError(PAIRED_WS)
    most = _DSP_BITS[board.family]
    packed = array.product_bits + array.weight_bits + 1
    if packed > most:
        raise ConfigError(
            "--multipliers dsp2 packs two weights into 2 * weight_bits + act_bits + 2 bits, which"
            f" must be at most {most} for a DSP of {board.name}, not {packed}; --multipliers dsp"
            " takes a DSP for each product"
        )


def ramb18(width: int, depth: int) -> int:
    """Blocks of 18 kbit that a memory of ``depth`` words of ``width`` bits takes."""
    if width == 0 or depth == 0:
        return 0
    return min(-(-width // bits) * -(-depth // words) for bits, words in _RAMB18)


def words_allowed(
    network: IntegerNetwork, array: ArraySpec, extra_passes: int = 0, spare_passes: float = 0.0
) -> int:
    """Words of each weight bank that any schedule with so many spare passes fits into.

    Parameters
    ----------
    extra_passes : spare passes of every layer.
    spare_passes : spare passes in all, as a share of the least number; any layer may take them.
    """
    steps = [array.steps(layer.depth) for layer in network.layers]
    least = sum(layer_passes(network, array.pe))
    anywhere = int(spare_passes * least) * max(steps)
    return wmem_words(network, array) + extra_passes * sum(steps) + anywhere


def control_ramb18(network: IntegerNetwork, schedule: Schedule) -> int:
    """Blocks of 18 kbit for row map, biases, directions and thresholds of all layers."""
    return sum(ramb18(m.width, m.depth) for m in control_memories(network, schedule))


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
    words = layer_words(network, schedule)
    budget = int(2 * board.bram36 * GUIDELINE["BRAM36"] / 100)
    budget -= control_ramb18(network, schedule) + taken
    kept = [False] * len(words)
    for index in sorted(range(len(words)), key=lambda i: (words[i], i)):
        trial = [*kept[:index], True, *kept[index + 1 :]]
        depth = sum(bank_depths(network, schedule, trial))
        if array.pe * ramb18(weight_bits(array), depth) <= budget:
            kept = trial
    return tuple(kept)

"""The largest array that a board holds for a network, and the images that it takes a second."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from hascodesign.board.boards import GUIDELINE
from hascodesign.board.capacity import check_array, dsp_blocks
from hascodesign.contract.array import identity_schedule
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, Board, FaultProfile, IntegerNetwork, Multipliers
from hascodesign.render.build import core_refusal
from hascodesign.render.core_fit import build_ramb18, fitted, port_cycles, room_ramb18
from hascodesign.render.core_sizes import image_cycles
from hascodesign.render.rtl import RtlOptions

SIMDS = (1, 2, 4, 8, 16, 32, 64)
LEAST_PE, MOST_PE = 4, 256


@dataclass(frozen=True, slots=True)
class Largest:
    """An array with its accelerator, as predicted; LUTs and clock are the synthesis's to say."""

    board: str
    pe: int
    simd: int
    dsp: int
    bram18: int
    streamed: tuple[str, ...]  # layers whose weights come from memory, for every batch
    batch: int  # images of a batch
    cycles: int  # of an image, predicted
    images_per_second: float  # at the board's clock


def largest(
    network: IntegerNetwork, spec: ArraySpec, board: Board, multipliers: Multipliers = "dsp"
) -> Largest:
    """The array of most multipliers within the guideline shares of DSPs and block RAM.

    Of arrays with as many multipliers the one of most images a second. P and S are powers of two.
    Streamed weights cost ``port_cycles`` a beat: one memory port feeds them.

    Parameters
    ----------
    network : the integer network.
    spec : gives the widths and the dataflow.
    board : what it has to fit.
    multipliers : ``"dsp"``, or ``"dsp2"`` for two products in a DSP block.

    Raises
    ------
    ConfigError
        No array of 4 PEs or more fits; the reason of the smallest is given. Or a board whose blocks
        do not take two products of these widths.
    """
    options = RtlOptions(multipliers=multipliers)
    arrays = list(_arrays(spec, board, multipliers))
    check_array(arrays[0], board, multipliers)
    reason = ""
    for size in sorted({array.pe * array.simd for array in arrays}, reverse=True):
        found = []
        for array in arrays:
            if array.pe * array.simd == size:
                try:
                    found.append(_predicted(network, array, board, options))
                except ConfigError as error:
                    reason = str(error)
        if found:
            return max(found, key=lambda one: one.images_per_second)
    raise ConfigError(f"{board.name} must hold an array of {LEAST_PE} PEs or more: {reason}")


def _arrays(spec: ArraySpec, board: Board, multipliers: Multipliers) -> Iterator[ArraySpec]:
    most = int(board.dsp * GUIDELINE["DSP"] / 100)
    pe = LEAST_PE
    while pe <= MOST_PE:
        shapes = (replace(spec, pe=pe, simd=simd) for simd in SIMDS)
        yield from (array for array in shapes if dsp_blocks(array, multipliers) <= most)
        pe *= 2


def _predicted(
    network: IntegerNetwork, spec: ArraySpec, board: Board, options: RtlOptions
) -> Largest:
    schedule = identity_schedule(network, spec)
    hardware = fitted(network, schedule, board, options, with_core=True)
    kept = hardware.array.on_chip
    blocks, room = build_ramb18(network, schedule, hardware), room_ramb18(board)
    if blocks > room:
        raise ConfigError(f"block RAM must be at most {room} blocks of 18 kbit, not {blocks}")
    refusal = core_refusal(network, schedule, FaultProfile(spec))
    if refusal is not None:
        raise ConfigError(refusal)
    cycles = image_cycles(network, schedule, kept, hardware, port_cycles(spec, board))
    return Largest(
        board=board.name,
        pe=spec.pe,
        simd=spec.simd,
        dsp=dsp_blocks(spec, options.multipliers),
        bram18=blocks,
        streamed=tuple(
            layer.name for layer, inside in zip(network.layers, kept, strict=True) if not inside
        ),
        batch=hardware.batch,
        cycles=cycles,
        images_per_second=board.clock_mhz * 1e6 / cycles,
    )

"""The accelerator fitted to a board: layers on chip, results a cycle, images of a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from hascodesign.board.boards import GUIDELINE
from hascodesign.board.capacity import control_ramb18, ramb18, weights_on_chip
from hascodesign.contract.batches import MOST_IMAGES, batch_refusal
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.memories import bank_depths, weight_bits
from hascodesign.contract.types import ArraySpec, Board, IntegerNetwork, Schedule
from hascodesign.render import core_sizes, ulx3s
from hascodesign.render.core_cycles import WORTH, runs_with
from hascodesign.render.core_sizes import CoreOptions
from hascodesign.render.rtl import RtlOptions


def fitted(
    network: IntegerNetwork,
    schedule: Schedule,
    board: Board,
    options: RtlOptions,
    *,
    with_core: bool,
    batch: int | None = None,
) -> CoreOptions:
    """How a network is built for a board.

    Where all weights stay on chip beside what the accelerator takes by itself, nothing is chosen.
    Where some are streamed, lanes, layers on chip and images of a batch share the block RAM: of all
    that fit, those of the least cycles an image over one memory port, and of those within `WORTH`
    of it the fewest images. Where none fits, what takes the fewest blocks: one result a cycle.

    Parameters
    ----------
    network : with its rows as written.
    options : of the array; its ``on_chip`` is chosen here.
    with_core : whether the accelerator around the array is built.
    batch : images of a batch; None = as many as pay.

    Raises
    ------
    ConfigError
        A batch of more than 1 image that this network cannot run, or that does not fit.
    """
    spec = schedule.array
    taken = core_ramb18(network, schedule, CoreOptions()) if with_core else 0
    kept = weights_on_chip(network, schedule, spec, board, taken)
    plain = CoreOptions(replace(options, on_chip=kept))
    if all(kept) or not with_core:
        _check_used(batch, network, kept)
        return plain
    found = []
    refusal = ""
    for wanted in _choices(network, schedule, options, batch):
        try:
            choice = _with_layers(network, schedule, board, wanted)
        except ConfigError as error:
            refusal = str(error)
            continue
        inside, port = choice.array.on_chip, port_cycles(spec, board)
        found.append((core_sizes.image_cycles(network, schedule, inside, choice, port), choice))
    if not found:
        if batch is not None and batch > 1:
            raise ConfigError(f"--batch {batch}: {refusal}")
        return _fewest(network, schedule, board, options)
    most = min(cycles for cycles, _ in found) * (1 + WORTH)
    return min((c for c in found if c[0] <= most), key=lambda c: (c[1].batch, c[0]))[1]


def port_cycles(spec: ArraySpec, board: Board) -> int:
    """Cycles in which one memory port, or the serial line, brings a step's weights of all PEs."""
    bits = spec.pe * weight_bits(spec)
    if not board.axi_hp_bits:
        return ulx3s.line_cycles(bits, board.clock_mhz)
    return -(-bits // board.axi_hp_bits)


def build_ramb18(network: IntegerNetwork, schedule: Schedule, options: CoreOptions) -> int:
    """Blocks of 18 kbit that an array with its accelerator takes at most."""
    spec = schedule.array
    depth = sum(bank_depths(network, schedule, options.array.on_chip))
    banks = spec.pe * ramb18(weight_bits(spec), depth)
    control = control_ramb18(network, schedule)
    return banks + control + core_ramb18(network, schedule, options)


def core_ramb18(network: IntegerNetwork, schedule: Schedule, options: CoreOptions) -> int:
    """Blocks of 18 kbit that the accelerator takes at most beside the array of one lane."""
    spec = schedule.array
    lanes = core_sizes.result_lanes(network, spec, options)
    banks, words = core_sizes.buffer_sizes(network, schedule, options)
    copies = banks * core_sizes.runs_read(network, spec, options)
    buffers = sum(copies * ramb18(spec.act_bits, count) for count in words)
    slots = sum(row_map.passes for row_map in schedule.layers) * spec.pe
    checked = ramb18(max(layer.rows for layer in network.layers).bit_length(), slots)
    return buffers + checked + (lanes - 1) * control_ramb18(network, schedule)


def room_ramb18(board: Board) -> int:
    """Blocks of 18 kbit of a board up to the guideline share."""
    return int(2 * board.bram36 * GUIDELINE["BRAM36"] / 100)


def _check_used(batch: int | None, network: IntegerNetwork, kept: Sequence[bool]) -> None:
    if batch is not None and batch > 1:
        why = batch_refusal(network, kept) or "the accelerator is not built"
        raise ConfigError(f"--batch {batch} must be 1 or left out: {why}")


def _choices(
    network: IntegerNetwork,
    schedule: Schedule,
    options: RtlOptions,
    batch: int | None,
) -> Iterator[CoreOptions]:
    """Every number of lanes and images."""
    spec = schedule.array
    lanes = core_sizes.result_lanes(network, spec, CoreOptions())
    while lanes:
        images = 1 if batch is None else batch
        while images <= MOST_IMAGES:
            runs = runs_with(network, spec, lanes)
            yield CoreOptions(options, lanes=lanes, runs=runs, batch=images)
            if batch is not None:
                break
            images *= 2
        lanes //= 2


def _fewest(
    network: IntegerNetwork, schedule: Schedule, board: Board, options: RtlOptions
) -> CoreOptions:
    """One result a cycle and one image: what takes the fewest blocks, though more than a share."""
    runs = runs_with(network, schedule.array, 1)
    choice = CoreOptions(options, lanes=1, runs=runs)
    taken = core_ramb18(network, schedule, choice)
    kept = weights_on_chip(network, schedule, schedule.array, board, taken)
    return replace(choice, array=replace(options, on_chip=kept))


def _with_layers(
    network: IntegerNetwork, schedule: Schedule, board: Board, choice: CoreOptions
) -> CoreOptions:
    """The layers on chip that fit beside a choice, whose maps depend on them in turn.

    Raises
    ------
    ConfigError
        A batch of more than 1 image that this network cannot run, or that does not fit.
    """
    spec, room = schedule.array, room_ramb18(board)
    taken = core_ramb18(network, schedule, replace(choice, batch=1))
    kept = weights_on_chip(network, schedule, spec, board, taken)
    refusal = batch_refusal(network, kept)
    if choice.batch > 1 and refusal is not None:
        raise ConfigError(refusal)
    for _ in network.layers:
        choice = replace(choice, array=replace(choice.array, on_chip=kept))
        taken = core_ramb18(network, schedule, choice)
        again = weights_on_chip(network, schedule, spec, board, taken)
        if choice.batch == 1 or again == kept or batch_refusal(network, again) is not None:
            break
        kept = again
    blocks = build_ramb18(network, schedule, choice)
    if blocks > room:
        raise ConfigError(
            f"block RAM must be at most {room} blocks of 18 kbit of {board.name}, not {blocks};"
            " a smaller batch takes fewer"
        )
    return choice

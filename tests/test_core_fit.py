"""Lanes, layers on chip and images of a batch, chosen for a board together."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from hascodesign.board import boards
from hascodesign.contract.array import identity_schedule
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, Board, FaultProfile, IntegerNetwork, Schedule
from hascodesign.render.core import render_core
from hascodesign.render.core_fit import build_ramb18, fitted, port_cycles, room_ramb18
from hascodesign.render.core_sizes import CoreOptions, buffer_sizes, image_cycles
from hascodesign.render.rtl import RtlOptions
from tests import core_cases

SPEC = ArraySpec(8, 4, 4, 4, 20)
Z2 = boards.find("pynq-z2")


def case(hidden: int = 2000, convs: int = 1) -> tuple[IntegerNetwork, Schedule]:
    rng = np.random.default_rng(3)
    layers = [(8, 3, 1, 1), (40, 3, 1, 1)][:convs]
    net = core_cases.random_network(rng, SPEC, (6, 6, 4), layers, beside=True, hidden=hidden)
    return net, identity_schedule(net, SPEC)


def chosen(built: tuple[IntegerNetwork, Schedule], board: Board, **how: int) -> CoreOptions:
    return fitted(*built, board, RtlOptions(), with_core=True, **how)


def test_nothing_is_chosen_where_all_weights_stay_on_chip() -> None:
    built = case(hidden=20)
    options = chosen(built, Z2)
    assert options == CoreOptions(RtlOptions(on_chip=(True,) * 3))
    assert chosen(built, Z2, batch=1) == options
    with pytest.raises(ConfigError, match=r"^--batch 8 must be 1 or left out: no layer's weights"):
        chosen(built, Z2, batch=8)
    with pytest.raises(ConfigError, match="1 or left out: the accelerator is not built"):
        fitted(*case(), replace(Z2, bram36=45), RtlOptions(), with_core=False, batch=8)


@pytest.mark.parametrize("blocks", [60, 50, 45])
def test_of_all_that_fit_the_least_cycles_are_taken(blocks: int) -> None:
    """And the fewest images of those within 2 % of them; less block RAM, smaller batches."""
    built, board = case(), replace(Z2, bram36=blocks)
    options = chosen(built, board)
    assert options.array.on_chip == (True, False, True)
    assert options.batch == {60: 64, 50: 32, 45: 16}[blocks]
    assert build_ramb18(*built, options) <= room_ramb18(board)
    port = port_cycles(SPEC, board)

    def cycles(one: CoreOptions) -> int:
        return image_cycles(*built, one.array.on_chip, one, port)

    found = []
    for lanes, batch in itertools.product((1, 2, 4, 8), (1, 2, 4, 8, 16, 32, 64)):
        other = replace(options, lanes=lanes, batch=batch)
        if build_ramb18(*built, other) <= room_ramb18(board):
            found.append((cycles(other), batch))
    assert len(found) > 3
    assert cycles(options) <= min(found)[0] * 1.02
    assert all(batch >= options.batch for n, batch in found if n < cycles(options))


def test_where_nothing_fits_the_fewest_blocks_are_taken() -> None:
    """They may fit the part, though not the share of it that is the guideline."""
    rng = np.random.default_rng(3)
    net = core_cases.random_network(
        rng, SPEC, (6, 6, 4), [(40, 1, 1, 0)], pool=False, hidden=2000
    )  # a lane for each PE
    built, board = (net, identity_schedule(net, SPEC)), replace(Z2, bram36=40)
    options = chosen(built, board)
    assert room_ramb18(board) < build_ramb18(*built, options) <= 2 * board.bram36
    assert build_ramb18(*built, replace(options, lanes=0, runs=0)) > 2 * board.bram36
    assert (options.batch, chosen(built, board, batch=1)) == (1, options)


def test_a_batch_that_is_asked_for_is_taken_or_refused() -> None:
    built, board = case(), replace(Z2, bram36=50)
    assert chosen(built, board, batch=5).batch == 5
    assert chosen(built, board, batch=1).batch == 1
    with pytest.raises(ConfigError) as told:
        chosen(built, board, batch=64)
    assert str(told.value) == (
        "--batch 64: block RAM must be at most 80 blocks of 18 kbit of pynq-z2, not 94; a smaller"
        " batch takes fewer"
    )


def test_a_convolution_behind_streamed_weights_takes_no_batch() -> None:
    net, schedule = case(hidden=0, convs=2)
    options = CoreOptions(RtlOptions(on_chip=(False, True, True)), batch=4)
    with pytest.raises(ConfigError, match="1 image, not 4: layer layer0 stands at or behind"):
        build_ramb18(net, schedule, options)
    options = replace(options, array=RtlOptions(on_chip=(True, True, False)))
    with pytest.raises(ConfigError, match="the weights of the last layer, layer2, are streamed"):
        build_ramb18(net, schedule, options)


@pytest.mark.parametrize("batch", [2, 3, 7, 64])
def test_what_the_last_beat_of_a_batch_writes_is_in_the_buffer(batch: int) -> None:
    """Where images themselves lie beside each other: a beat is SIMD codes, used or not."""
    rng = np.random.default_rng(batch)
    for elements in range(1, 12):
        net = core_cases.random_network(rng, SPEC, (1, 1, elements), [], hidden=3)
        options = CoreOptions(RtlOptions(on_chip=(False, True)), batch=batch, test=False)
        banks, words = buffer_sizes(net, identity_schedule(net, SPEC), options)
        beats = -(-elements // SPEC.simd)
        assert banks * words[0] >= (batch - 1) * elements + beats * SPEC.simd


def test_a_batch_shows_in_the_verilog_alone_where_it_is_built() -> None:
    net, schedule = case(hidden=20)
    made = {}
    for batch in (1, 2):
        array = RtlOptions(on_chip=(True, False, True))
        options = CoreOptions(array, batch=batch)
        made[batch] = render_core(net, schedule, FaultProfile(SPEC), options)
    other = {path for path in made[1] if made[1][path] != made[2][path]}
    assert other == {
        f"rtl/has_{name}.v" for name in ("core", "registers", "sequencer", "stage_table")
    }
    assert b"atch" not in made[1]["rtl/has_sequencer.v"]
    assert b"AT_BATCH" in made[2]["rtl/has_registers.v"]
    assert b"AT_BATCH" not in made[1]["rtl/has_registers.v"]

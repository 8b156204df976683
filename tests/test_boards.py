"""Boards, and what of a network fits on one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hascodesign.board import boards, capacity
from hascodesign.contract.array import identity_schedule, layer_words
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import (
    ArraySpec,
    InputQuant,
    IntegerNetwork,
    MultiplyLayer,
    Thresholds,
)


def dense(
    index: int, rows: int, depth: int, bits: int = 4, *, last: bool = False, bias: int = 0
) -> MultiplyLayer:
    levels = np.tile(np.arange(2**bits - 1), (rows, 1))
    return MultiplyLayer(
        name=f"dense{index}",
        index=index,
        weights=np.ones((rows, depth), dtype=np.int64),
        bias=np.full(rows, bias, dtype=np.int64),
        weight_bits=4,
        in_bits=bits,
        in_signed=False,
        conv=None,
        output=None if last else Thresholds(levels, np.zeros(rows, dtype=bool), 0),
        out_bits=0 if last else bits,
        out_signed=False,
    )


def network(*layers: MultiplyLayer) -> IntegerNetwork:
    return IntegerNetwork("net", InputQuant(1.0, 4, False, 0, 15), (1, 1, 4), layers, 1.0)


ARRAY = ArraySpec(pe=16, simd=8, weight_bits=4, act_bits=8, acc_bits=24)


def test_names_of_the_published_table() -> None:
    assert sorted(boards.BOARDS) == [
        "kv260",
        "pynq-z1",
        "pynq-z2",
        "ultra96-v2",
        "ulx3s-85f",
        "zcu102",
        "zcu104",
    ]


@pytest.mark.parametrize("name", ["pynq-z2", "Pynq-Z2", "pynq_z2", " PYNQ Z2 "])
def test_spellings_name_one_board(name: str) -> None:
    assert boards.find(name) is boards.BOARDS["pynq-z2"]


def test_unknown_board_names_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"^board must be one of .*, not 'pynk-z2'; did you mean pynq-z2\?$"
    ):
        boards.find("pynk-z2")
    with pytest.raises(ConfigError, match="did you mean zcu104"):
        boards.find("zcu-104")


def test_a_repeated_key_cannot_pass() -> None:
    board = boards.find("zcu102")
    with pytest.raises(ValueError, match="two records for board ZCU102"):
        boards.table([board, dataclasses.replace(board, name="ZCU102")])


def test_resources_and_ports_by_family() -> None:
    z2 = boards.find("pynq-z2")
    assert boards.available(z2) == {
        "LUT": 53200,
        "FF": 106400,
        "BRAM36": 140,
        "URAM": 0,
        "DSP": 220,
    }
    assert boards.available(boards.find("zcu104"))["URAM"] == 96
    open_board = boards.find("ulx3s-85f")
    assert (open_board.family, open_board.axi_hp_bits, open_board.clock_mhz) == ("ecp5", 0, 50.0)
    assert boards.available(open_board) == {
        "LUT": 83640, "FF": 83640, "BRAM36": 104, "URAM": 0, "DSP": 156
    }  # fmt: skip
    for board in boards.BOARDS.values():
        if board is open_board:
            continue
        zynq7000 = board.part.startswith("xc7")
        assert board.family == ("xc7" if zynq7000 else "xcup")
        assert board.axi_hp_bits == (64 if zynq7000 else 128)
        assert board.clock_mhz == (100.0 if zynq7000 else 200.0)


def test_more_multipliers_than_dsps_are_refused() -> None:
    board = boards.find("pynq-z2")
    capacity.check_array(dataclasses.replace(ARRAY, pe=22, simd=10), board)
    with pytest.raises(ConfigError, match=r"at most 220 multipliers.*13 PEs x 17 SIMD = 221"):
        capacity.check_array(dataclasses.replace(ARRAY, pe=13, simd=17), board)
    capacity.check_array(dataclasses.replace(ARRAY, pe=13, simd=17), board, "lut")


@pytest.mark.parametrize(
    ("width", "depth", "blocks"),
    [(32, 512, 1), (32, 513, 2), (36, 512, 1), (37, 512, 2), (18, 1024, 1), (1, 16384, 1),
     (1, 16385, 2), (9, 2049, 2), (0, 100, 0), (8, 0, 0), (32, 2048, 4)],
)  # fmt: skip
def test_blocks_of_18_kbit(width: int, depth: int, blocks: int) -> None:
    assert capacity.ramb18(width, depth) == blocks


def test_memories_beside_the_weights() -> None:
    net = network(dense(0, 20, 16), dense(1, 10, 20, last=True, bias=-300))
    schedule = identity_schedule(net, ARRAY)
    # one block each: map, bias, direction; four stages of thresholds of 26 bits x 30..240 words
    assert capacity.control_ramb18(net, schedule) == 3 + 4


def test_small_network_is_on_chip() -> None:
    net = network(dense(0, 20, 16), dense(1, 10, 20, last=True))
    schedule = identity_schedule(net, ARRAY)
    assert layer_words(net, schedule) == (2 * 2, 1 * 3)
    assert capacity.weights_on_chip(net, schedule, ARRAY, boards.find("pynq-z2")) == (True, True)


def test_layers_stay_on_chip_up_to_the_last_block() -> None:
    # one pass each; layer words = depth / 8, so one 18 kbit block per bank holds 512 of them
    net = network(dense(0, 16, 8 * 400), dense(1, 16, 8 * 113), dense(2, 10, 8 * 112, last=True))
    schedule = identity_schedule(net, ARRAY)
    control = capacity.control_ramb18(net, schedule)
    one_block_per_bank = dataclasses.replace(
        boards.find("pynq-z2"), bram36=-(-(16 + control) * 100 // 160)
    )
    # the big one streams in, one pass of 400 words at a time, which leaves room for 112 more
    assert capacity.weights_on_chip(net, schedule, ARRAY, one_block_per_bank) == (
        False,
        False,
        True,
    )
    fits = network(dense(0, 16, 8 * 400), dense(1, 10, 8 * 112, last=True))
    plain = identity_schedule(fits, ARRAY)
    assert capacity.weights_on_chip(fits, plain, ARRAY, one_block_per_bank) == (True, True)
    over = network(dense(0, 16, 8 * 401), dense(1, 10, 8 * 112, last=True))
    plain = identity_schedule(over, ARRAY)
    assert capacity.weights_on_chip(over, plain, ARRAY, one_block_per_bank) == (False, False)


def test_nineteen_megabits_do_not_fit_on_a_pynq() -> None:
    net = network(dense(0, 1024, 4608), dense(1, 256, 1024), dense(2, 10, 256, last=True))
    schedule = identity_schedule(net, ARRAY)
    kept = capacity.weights_on_chip(net, schedule, ARRAY, boards.find("pynq-z2"))
    assert kept == (False, True, True)

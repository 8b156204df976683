"""has_bank_address alone: where each of BANKS neighbours lies."""

from __future__ import annotations

import random
from typing import Any

import cocotb
from module_bench import drive, settle, size, split, value


@cocotb.test()
async def neighbours_lie_in_different_banks(dut: Any) -> None:
    """Element e in bank e mod BANKS at word e / BANKS, for elements of every size."""
    rng = random.Random(1)
    banks, word_bits = size(dut, "BANKS"), size(dut, "WORD_BITS")
    element_bits = size(dut, "ELEMENT_BITS")
    for number in range(600):
        element = number if number < 300 else rng.getrandbits(element_bits)
        element &= (1 << element_bits) - 1
        drive(dut, element=element)
        await settle()
        words = [0] * banks
        for lane in range(banks):
            words[(element + lane) % banks] = (element + lane) // banks & ((1 << word_bits) - 1)
        assert value(dut, "offset") == element % banks, element
        assert split(value(dut, "address"), word_bits, banks) == words, element

"""has_scatter alone: neighbouring codes into their banks."""

from __future__ import annotations

import random
from typing import Any

import cocotb
from module_bench import any_bits, begin, drive, edge, join, size, split, value


@cocotb.test()
async def codes_reach_their_banks(dut: Any) -> None:
    """The lanes that count, at their words, and no other bank."""
    rng = random.Random(1)
    simd, banks, bits = (size(dut, name) for name in ("SIMD", "BANKS", "CODE_BITS"))
    element_bits, word_bits = size(dut, "ELEMENT_BITS"), size(dut, "WORD_BITS")
    await begin(dut, in_valid=0)
    for cycle in range(600):
        element, lanes = rng.getrandbits(element_bits), rng.randrange(1, simd + 1)
        codes, valid = [any_bits(rng, bits) for _ in range(simd)], rng.random() < 0.8
        drive(dut, in_valid=int(valid), in_element=element, in_lanes=lanes)
        drive(dut, in_codes=join(codes, bits))
        await edge(dut)
        places = {(element + lane) % banks: lane for lane in range(lanes)} if valid else {}
        assert value(dut, "write_enable") == sum(1 << bank for bank in places), cycle
        addresses = split(value(dut, "write_address"), word_bits, banks)
        words = split(value(dut, "write_data"), bits, banks)
        for bank, lane in places.items():
            word = (element + lane) // banks & ((1 << word_bits) - 1)
            assert (addresses[bank], words[bank]) == (word, codes[lane]), (cycle, bank)

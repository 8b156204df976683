"""has_act_buffer alone: banks that are written and read apart."""

from __future__ import annotations

import random
from typing import Any

import cocotb
from module_bench import any_bits, begin, drive, edge, join, size, split, value


@cocotb.test()
async def every_bank_keeps_its_words(dut: Any) -> None:
    """Written where enabled alone; a read is one enabled cycle late and sees no write beside it."""
    rng = random.Random(1)
    banks, bits, depth = (size(dut, name) for name in ("BANKS", "CODE_BITS", "DEPTH"))
    word_bits, index = size(dut, "WORD_BITS"), max(1, (depth - 1).bit_length())
    await begin(dut, read_enable=0, write_enable=0)
    held: list[dict[int, int]] = [{} for _ in range(banks)]
    last: list[int | None] = [None] * banks
    for cycle in range(depth + 30 * depth):
        filling = cycle < depth
        # bits above the index name no word
        high = rng.getrandbits(word_bits) >> index << index
        to = [cycle if filling else rng.randrange(depth) for _ in range(banks)]
        of = [cycle if filling else rng.randrange(depth) for _ in range(banks)]
        words = [any_bits(rng, bits) for _ in range(banks)]
        writes = (1 << banks) - 1 if filling else rng.getrandbits(banks)
        reads = not filling and rng.random() < 0.7
        drive(dut, write_enable=writes, read_enable=int(reads))
        drive(dut, write_address=join([a | high for a in to], word_bits))
        drive(dut, read_address=join([a | high for a in of], word_bits))
        drive(dut, write_data=join(words, bits))
        await edge(dut)
        if reads:
            last = [bank[a] for bank, a in zip(held, of, strict=True)]
        for bank in range(banks):
            if writes >> bank & 1:
                held[bank][to[bank]] = words[bank]
        if last[0] is not None:
            assert split(value(dut, "read_data"), bits, banks) == last, cycle

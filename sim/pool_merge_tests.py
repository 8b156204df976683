"""has_pool_merge alone, with a memory beside it: the greatest code of each word stays."""

from __future__ import annotations

import random
from typing import Any

import cocotb
from module_bench import any_bits, as_signed, begin, drive, edge, join, settle, size, split, value


@cocotb.test()
async def the_greatest_code_stays(dut: Any) -> None:
    """Few words, so that one is often written in cycles that follow each other."""
    rng = random.Random(1)
    banks, bits, width = (size(dut, name) for name in ("BANKS", "CODE_BITS", "WORD_BITS"))
    words = min(3, 1 << width)
    await begin(dut, code_signed=0, in_enable=0, in_address=0, in_data=0, read_data=0)
    again = 0
    for signed in (0, 1):
        drive(dut, code_signed=signed)
        memory: list[dict[int, int]] = [{} for _ in range(banks)]  # what the map holds
        wanted: list[dict[int, int]] = [{} for _ in range(banks)]
        before: list[int | None] = [None] * banks
        for turn in range(600):
            enable, addresses, data = 0, [], []
            last = turn > 596  # what is under way comes out
            for bank in range(banks):
                word, code = rng.randrange(words), any_bits(rng, bits)
                first = word not in wanted[bank] or rng.random() < 0.1
                addresses.append(word)
                data.append(code | first << bits)
                if last or rng.random() < 0.3:
                    before[bank] = None
                    continue
                enable |= 1 << bank
                again += before[bank] == word
                before[bank] = word
                order = (lambda c: as_signed(c, bits)) if signed else int
                held = code if first else wanted[bank][word]
                wanted[bank][word] = max(held, code, key=order)
            drive(
                dut, in_enable=enable, in_address=join(addresses, width),
                in_data=join(data, bits + 1),
            )  # fmt: skip
            await settle()
            asked = split(value(dut, "read_address"), width, banks)
            come = [memory[b].get(asked[b], 0) for b in range(banks)]  # as before this write
            if write := int(dut.write_enable.value) if turn else 0:
                places = split(value(dut, "write_address"), width, banks)
                codes = split(value(dut, "write_data"), bits, banks)
                for bank in range(banks):
                    if write >> bank & 1:
                        memory[bank][places[bank]] = codes[bank]
            await edge(dut)
            drive(dut, read_data=join(come, bits))
        assert memory == wanted
    assert again > 100, "words written twice running must have been among them"

"""has_feature_maps alone: two maps, each read while any is written."""

from __future__ import annotations

import random
from typing import Any

import cocotb
from module_bench import any_bits, begin, drive, edge, join, size, split, value


@cocotb.test()
async def maps_do_not_meet(dut: Any) -> None:
    """Each map keeps what was written to it, at every port that reads it."""
    rng = random.Random(1)
    banks, bits, word_bits = (size(dut, name) for name in ("BANKS", "CODE_BITS", "WORD_BITS"))
    depths = size(dut, "DEPTH_0"), size(dut, "DEPTH_1")
    ports = [("read_address", "read_data"), ("read_address_b", "read_data_b")]
    ports = ports[: size(dut, "RUNS")]
    held = [[[0] * depth for _ in range(banks)] for depth in depths]
    await begin(dut, read_enable=0, write_enable=0, read_map=0, write_map=0)
    for which, depth in enumerate(depths):
        for word in range(depth):
            words = [any_bits(rng, bits) for _ in range(banks)]
            drive(dut, write_map=which, write_enable=(1 << banks) - 1)
            drive(dut, write_address=join([word] * banks, word_bits))
            drive(dut, write_data=join(words, bits))
            for bank in range(banks):
                held[which][bank][word] = words[bank]
            await edge(dut)
    for turn in range(4):
        which = turn & 1  # stands still while a stage runs
        drive(dut, read_map=which, read_enable=1)
        for cycle in range(6 * max(depths)):
            target, writes = rng.randrange(2), rng.getrandbits(banks)
            to = [rng.randrange(depths[target]) for _ in range(banks)]
            words = [any_bits(rng, bits) for _ in range(banks)]
            drive(dut, write_map=target, write_enable=writes)
            drive(dut, write_address=join(to, word_bits), write_data=join(words, bits))
            expected = []
            for address, _ in ports:
                of = [rng.randrange(depths[which]) for _ in range(banks)]
                drive(dut, **{address: join(of, word_bits)})
                expected.append([held[which][bank][a] for bank, a in enumerate(of)])
            await edge(dut)
            for (_, data), want in zip(ports, expected, strict=True):
                assert split(value(dut, data), bits, banks) == want, (which, cycle)
            for bank in range(banks):
                if writes >> bank & 1:
                    held[target][bank][to[bank]] = words[bank]

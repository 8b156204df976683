"""has_lane_range alone: which lanes a run means, and which lie in the map."""

from __future__ import annotations

import random
from typing import Any

import cocotb
from module_bench import any_bits, as_signed, drive, settle, size, value


@cocotb.test()
async def lanes_meant_and_inside(dut: Any) -> None:
    """At and about the borders of the map's row, and anywhere."""
    rng = random.Random(1)
    simd, bits = size(dut, "SIMD"), size(dut, "ELEMENT_BITS")
    for number in range(1500):
        first = rng.randrange(simd + 1)
        end = rng.randrange(first, simd + 1)
        row = any_bits(rng, bits - 1)
        border = rng.choice((0, row, 1 << (bits - 1)))
        place = border + rng.randrange(-simd - 1, 2) if number % 4 else any_bits(rng, bits)
        inside = rng.random() < 0.9
        drive(dut, lane_first=first, lane_end=end, map_row=row, y_inside=inside)
        drive(dut, x_place=place & ((1 << bits) - 1))
        await settle()
        meant = sum(1 << lane for lane in range(first, end))
        places = [as_signed(place + lane, bits) for lane in range(simd)]
        in_map = sum((inside and 0 <= x < row) << lane for lane, x in enumerate(places))
        assert value(dut, "meant") == meant, (first, end)
        assert value(dut, "in_map") == in_map, (place, row, inside)

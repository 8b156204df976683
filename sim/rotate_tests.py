"""has_rotate alone: every turn of random words."""

from __future__ import annotations

import random
from typing import Any

import cocotb
from module_bench import any_bits, drive, join, settle, size, split, value


@cocotb.test()
async def lane_i_is_lane_i_plus_by(dut: Any) -> None:
    """Modulo the lanes."""
    rng = random.Random(1)
    lanes, width = size(dut, "LANES"), size(dut, "WIDTH")
    for turn in range(40 * lanes):
        words = [any_bits(rng, width) for _ in range(lanes)]
        by = turn % lanes
        drive(dut, by=by)
        getattr(dut, "in").value = join(words, width)
        await settle()
        expected = [words[(lane + by) % lanes] for lane in range(lanes)]
        assert split(value(dut, "out"), width, lanes) == expected, f"by {by}"

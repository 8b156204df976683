"""has_transient alone: draws against the hash in plain integers."""

from __future__ import annotations

import random
from typing import Any

import cocotb
from module_bench import any_bits, drive, settle, size, value

WORD = 0xFFFFFFFF
GOLDEN = 0x9E3779B9
PLACES = ("seed", "layer", "entry", "pass", "column", "step")


def mix(x: int) -> int:
    """The finaliser of the hash."""
    x ^= x >> 16
    x = x * 0x7FEB352D & WORD
    x ^= x >> 15
    x = x * 0x846CA68B & WORD
    return x ^ x >> 16


@cocotb.test()
async def the_draw_of_every_place(dut: Any) -> None:
    """Which bit is inverted, and at which thresholds none."""
    rng, width = random.Random(1), size(dut, "WIDTH")
    for number in range(700):
        words = [any_bits(rng, 32) for _ in PLACES]
        h = mix(words[0] + GOLDEN & WORD)
        for word in words[1:]:
            h = mix((h ^ word) + GOLDEN & WORD)
        drawn = mix(h + GOLDEN & WORD)
        threshold = (1 << 32, h + 1, h, rng.getrandbits(32), h ^ 1 << rng.randrange(32))[number % 5]
        span = rng.randrange(1, width + 1)
        lowest = rng.randrange(width - span + 1)
        drive(dut, **dict(zip(PLACES, words, strict=True)), threshold=threshold)
        drive(dut, lowest=lowest, span=span)
        await settle()
        flip = 1 << lowest + (drawn * span >> 32) if h < threshold else 0
        assert value(dut, "flip") == flip, (words, threshold, lowest, span)

"""has_shift alone: every shift, values about the ties and the ends."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import cocotb
from module_bench import any_bits, as_signed, begin, drive, edge, size, value

CYCLES = 4


def rounded(v: int, shift: int, low: int, high: int) -> int:
    """The quotient of v and 2^shift, halves to even, clamped."""
    quotient, rest = v >> shift, v & ((1 << shift) - 1)
    half = (1 << shift) / 2 if shift else 1
    up = rest > half or (rest == half and quotient & 1)
    return min(max(quotient + int(up), low), high)


@cocotb.test()
async def halves_to_even(dut: Any) -> None:
    """With idle cycles in which every stage holds."""
    rng = random.Random(1)
    v_bits, bits, shift_bits = (size(dut, n) for n in ("V_BITS", "CODE_BITS", "SHIFT_BITS"))
    await begin(dut, enable=1, v=0, shift=0, low=0, high=0)
    most = min(v_bits, (1 << shift_bits) - 1)
    for turn in range(3 * (most + 1)):
        shift = turn % (most + 1)
        ends = rng.choice(((0, (1 << bits) - 1), (-(1 << bits - 1), (1 << bits - 1) - 1)))
        if turn % 2 == 0:
            some = [rng.randint(*ends) for _ in range(2)]
            ends = min(some), max(some)
        drive(dut, shift=shift, low=ends[0] & ((2 << bits) - 1), high=ends[1] & ((2 << bits) - 1))
        due: deque[int | None] = deque([None] * (CYCLES - 1))
        while len(due) < 30:
            code = rng.randint(ends[0] - 1, ends[1] + 1)
            near = (
                (code << shift)
                + rng.choice((0, 0, 1, -1))
                + rng.choice((-1, 0, 1)) * ((1 << shift) >> 1)
            )
            v = as_signed(near if rng.random() < 0.7 else any_bits(rng, v_bits), v_bits)
            due.append(rounded(v, shift, *ends) & ((1 << bits) - 1))
            drive(dut, v=v & ((1 << v_bits) - 1), enable=1)
            await edge(dut)
            check(dut, due[len(due) - CYCLES])
            if rng.random() < 0.3:
                drive(dut, enable=0, v=rng.getrandbits(v_bits))
                await edge(dut)
                check(dut, due[len(due) - CYCLES])


def check(dut: Any, code: int | None) -> None:
    """The code of this cycle, once one is due."""
    if code is not None:
        assert value(dut, "code") == code

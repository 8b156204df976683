"""has_pool_place alone: where each column's codes stand, against the definition of the windows."""

from __future__ import annotations

import random
from typing import Any

import cocotb
from module_bench import any_bits, begin, drive, edge, settle, size, value


@cocotb.test()
async def every_column_has_its_place(dut: Any) -> None:
    """Shapes and windows drawn, some columns shown for several cycles, some cycles without one."""
    rng = random.Random(1)
    columns, elements = size(dut, "COLUMN_BITS"), size(dut, "ELEMENT_BITS")
    await begin(dut, take=0, column=0)
    left_out = 0
    for _ in range(60):
        height, width, channels = rng.randint(1, 7), rng.randint(1, 7), rng.randint(1, 9)
        down, across = 1, 1
        if rng.random() < 0.7:
            down, across = rng.randint(1, height), rng.randint(1, width)
        high, wide = height // down, width // across
        drive(
            dut, width_less_1=width - 1, window_width_less_1=across - 1,
            window_height_less_1=down - 1, windows_wide=wide, windows_high=high,
            channels=channels, window_row=wide * channels,
        )  # fmt: skip
        for column in range(height * width * 2):  # two passes
            y, x = divmod(column % (height * width), width)
            for _ in range(rng.choice((1, 1, 2, 3))):
                drive(dut, take=1, column=column % (height * width))
                await settle()
                whole = y // down < high and x // across < wide
                left_out += not whole
                assert value(dut, "whole") == whole, (y, x)
                if whole:
                    place = (y // down * wide + x // across) * channels
                    assert value(dut, "base") == place % (1 << elements), (y, x)
                    assert value(dut, "begins") == (y % down == 0 and x % across == 0), (y, x)
                await edge(dut)
            if rng.random() < 0.3:
                drive(dut, take=0, column=any_bits(rng, columns))
                await edge(dut)
    assert left_out, "windows that the map cuts off must have been among them"

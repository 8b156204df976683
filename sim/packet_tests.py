"""has_packet alone: which answers close a packet."""

from __future__ import annotations

import random
from typing import Any

import cocotb
from module_bench import begin, drive, edge, settle, value


@cocotb.test()
async def every_nth_answer_closes(dut: Any) -> None:
    """Counted from the last clear or new number; 0 counts as 1; large numbers count down."""
    rng = random.Random(1)
    images, sent = 1, 0
    await begin(dut, clear=1, set=0, images=1, send=0)
    for _ in range(4000):
        what = rng.random()
        clear, new = int(what < 0.01), int(0.01 <= what < 0.03)
        if new:
            images = rng.choice((0, 1, 2, 3, 7, 40, 257, 65535))
        send = int(rng.random() < 0.7)
        drive(dut, clear=clear, set=new, images=images, send=send)
        await settle()
        if not new:
            assert value(dut, "close") == int(sent == max(images, 1) - 1), (images, sent)
        await edge(dut)
        sent = 0 if clear or new else (sent + send) % max(images, 1)

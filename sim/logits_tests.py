"""has_logits alone: the class of random logits, and the stream that tells it."""

from __future__ import annotations

import random
from typing import Any

import cocotb
from module_bench import any_bits, as_signed, begin, drive, edge, size, value


@cocotb.test()
async def the_greatest_logit_of_the_lowest_class(dut: Any) -> None:
    """Whatever the order of the classes, with ties, class alone and whole, and back-pressure."""
    rng = random.Random(1)
    classes, bits, data_bits = (size(dut, name) for name in ("CLASSES", "V_BITS", "DATA_BITS"))
    await begin(dut, rst=1, clear=0, take=0, send=0, class_only=0, m_axis_tready=0)
    drive(dut, rst=0)
    for image in range(120):
        if image % 3:  # few different, then many
            pool = [any_bits(rng, bits) for _ in range(2)]
            logits = [rng.choice(pool) for _ in range(classes)]
        else:
            logits = [any_bits(rng, bits) for _ in range(classes)]
        await take(dut, rng, logits)
        only, close = image % 2, rng.getrandbits(1)
        beats = await answer(dut, rng, only, close)
        values = [as_signed(logit, bits) for logit in logits]
        best = values.index(max(values))
        whole = [(v & ((1 << data_bits) - 1), best, int(c == classes - 1) & close)
                 for c, v in enumerate(values)]  # fmt: skip
        assert beats == ([(best, best, close)] if only else whole), (image, values)


async def take(dut: Any, rng: random.Random, logits: list[int]) -> None:
    """The logits of an image in any order, with gaps."""
    drive(dut, clear=1)
    await edge(dut)
    drive(dut, clear=0)
    for label in rng.sample(range(len(logits)), len(logits)):
        while rng.random() < 0.3:
            drive(dut, take=0, take_class=rng.randrange(len(logits)), take_logit=0)
            await edge(dut)
        drive(dut, take=1, take_class=label, take_logit=logits[label])
        await edge(dut)
    drive(dut, take=0)
    await edge(dut)


async def answer(dut: Any, rng: random.Random, only: int, close: int) -> list[tuple[int, int, int]]:
    """What leaves, up to the cycle in which ``sent`` is told."""
    drive(dut, send=1, class_only=only, close=close)
    await edge(dut)
    drive(dut, send=0, class_only=1 - only, close=1 - close)
    count = 1 if only else size(dut, "CLASSES")
    beats: list[tuple[int, int, int]] = []
    for _ in range(400):
        ready = rng.random() < 0.6
        drive(dut, m_axis_tready=int(ready))
        taken = bool(ready and value(dut, "m_axis_tvalid"))
        if taken:
            fields = ("m_axis_tdata", "m_axis_tuser", "m_axis_tlast")
            data, user, last = (value(dut, name) for name in fields)
            beats.append((data, user, last))
        await edge(dut)
        if value(dut, "sent"):
            assert taken and len(beats) == count, "sent comes with the last beat and then alone"
            for _ in range(3):
                assert not value(dut, "m_axis_tvalid")
                await edge(dut)
                assert not value(dut, "sent")
            return beats
        assert not (taken and len(beats) == count), "the last beat must be told"
    raise AssertionError("the answer must leave")

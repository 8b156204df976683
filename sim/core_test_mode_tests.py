"""Test mode of has_core: the accumulators of every slot, and images as before after it.

Environment: HAS_VECTORS, folder with ``images.npz`` (all weights on chip), ``memories.npz`` (the
memory words of that build) and ``stages.npz``: of each test stage i ``shape_<i>`` (signed, base,
steps, passes, advance), ``words_<i>`` [W, P, S] from word base on, ``codes_<i>`` [n, T, S] and
``acc_<i>`` [n, passes, P].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cocotb
import core_registers as core
import numpy as np
from core_bench import CoreBench
from core_job import Beat, with_last
from core_map_tests import memories, preload, write
from core_steps import FOLDER, check, idle, job, ready, wait
from streams import IntArray, pack, signed

WEIGHTS = 0  # memory
ON, SIGNED, ADVANCE = 1, 2, 4  # bits of TEST


@dataclass(frozen=True, slots=True)
class Stage:
    """One test stage and what it is to give."""

    signed: int
    base: int
    steps: int
    passes: int
    advance: int
    words: IntArray  # [W, P, S]
    codes: IntArray  # [n, T, S]
    acc: IntArray  # [n, passes, P]

    @property
    def mode(self) -> int:
        """What is written to TEST."""
        return ON | SIGNED * self.signed | ADVANCE * self.advance

    def beats(self, bits: int) -> Iterator[Beat]:
        """Its images."""
        for image in self.codes:
            yield from with_last(pack(image, bits))


def stages() -> list[Stage]:
    """All of the folder."""
    with np.load(FOLDER / "stages.npz", allow_pickle=False) as file:
        count = sum(name.startswith("shape_") for name in file.files)
        found = []
        for i in range(count):
            sign, base, steps, passes, advance = (int(value) for value in file[f"shape_{i}"])
            words, codes, acc = (
                file[f"{part}_{i}"].astype(np.int64) for part in ("words", "codes", "acc")
            )
            found.append(Stage(sign, base, steps, passes, advance, words, codes, acc))
    return found


async def begin(bench: CoreBench, stage: Stage) -> None:
    """Weights and registers of a stage; images may come."""
    await idle(bench)
    set_ = bench.registers.set
    await set_(core.CONTROL, 0)
    width = bench.pe * bench.simd * bench.weight_bits
    words = pack(stage.words.reshape(len(stage.words), -1), bench.weight_bits)
    await bench.registers.write_memory(WEIGHTS, words, width, stage.base)
    await set_(core.AT["TEST"], stage.mode)
    await set_(core.AT["TEST_SHAPE"], stage.steps - 1 | (stage.passes - 1) << 16)
    await set_(core.AT["TEST_BASE"], stage.base)
    await set_(core.IMAGES, 0)
    await set_(core.PACKET, len(stage.codes))
    bench.results.packets.clear()
    await set_(core.CONTROL, core.ENABLE)


def answers(bench: CoreBench, stage: Stage, packet: list[tuple[int, int]]) -> IntArray:
    """Accumulators [n, passes, P] of a packet."""
    values = np.array([data for data, _ in packet], dtype=np.int64)
    return signed(values, len(bench.dut.m_axis_result_tdata)).reshape(-1, stage.passes, bench.pe)


async def play(bench: CoreBench, stage: Stage) -> int:
    """Run a stage and hold its answers to the engine's; how many were compared."""
    await begin(bench, stage)
    bench.images.send(stage.beats(bench.act_bits))
    await bench.until(1)
    await idle(bench)
    (packet,) = bench.results.packets
    got = answers(bench, stage, packet)
    assert got.shape == stage.acc.shape
    assert np.array_equal(got, stage.acc), f"{(got != stage.acc).sum()} of {got.size} differ"
    on = stage.base + stage.advance * len(stage.codes) * stage.steps * stage.passes
    words = await bench.registers.value(core.AT["TEST_WORDS"])
    assert await bench.registers.value(core.AT["TEST_BASE"]) == on or on >= words
    assert await bench.registers.value(core.IMAGES) == len(stage.codes)
    assert await bench.registers.value(core.STATUS) == 0
    return got.size


async def back_to_images(bench: CoreBench) -> None:
    """The schedule's own words, test mode off, no reset: images are right."""
    await bench.registers.set(core.CONTROL, 0)
    await bench.registers.set(core.AT["TEST"], 0)
    await bench.registers.set(core.PACKET, 1)
    await bench.registers.set(core.IMAGES, 0)  # of which transients ask
    await write(bench, memories())
    await check(bench, job())


async def cleared(dut: Any, pauses: int | None = None) -> CoreBench:
    """A core whose accumulators start from 0."""
    bench = await ready(dut, pauses)
    await idle(bench)
    await bench.registers.set(core.CONTROL, 0)
    if (key := preload()) is not None:
        await bench.registers.write_memory(key[0], [0] * len(memories()[key]), key[1])
    await bench.registers.set(core.CONTROL, core.ENABLE)
    return bench


@cocotb.test()
@cocotb.parametrize(part=[0, 1])
async def every_accumulator_is_the_engines(dut: Any, part: int) -> None:
    """Every second stage, of one half with idle cycles and back-pressure; then images."""
    bench = await cleared(dut, pauses=31 if part else None)
    own = stages()[part::2]
    compared = 0
    for stage in own:
        compared += await play(bench, stage)
    dut._log.info(f"{compared} accumulators compared, 0 differ")
    assert compared == sum(stage.acc.size for stage in own) > 0
    await back_to_images(bench)


@cocotb.test()
async def limits_are_told_and_held(dut: Any) -> None:
    """What is beyond them is illegal, and so is any write of the mode while images may come."""
    bench = await ready(dut)
    await idle(bench)
    read, at = bench.registers.value, core.AT
    limits, words = await read(at["TEST_LIMITS"]), await read(at["TEST_WORDS"])
    steps, passes = limits & 0xFFFF, limits >> 16
    assert steps >= 4 and passes >= 1
    ((key, held),) = (item for item in memories().items() if item[0][0] == WEIGHTS)
    assert words == len(held), key
    names = ("TEST", "TEST_SHAPE", "TEST_BASE")
    good = (7, steps - 1 | passes - 1 << 16, words - 1)
    for name in names:  # images may come
        assert await bench.registers.write(at[name], 0) == core.OKAY
        assert await read(core.ILLEGAL) == 1 << 31 | at[name]
        await bench.registers.set(core.STATUS, core.BAD_ACCESS)
    await bench.registers.set(core.CONTROL, 0)
    for name, value in zip(names, good, strict=True):
        await bench.registers.set(at[name], value)
        assert await read(at[name]) == value
    assert await read(core.STATUS) == 0
    for name, value in (
        ("TEST_SHAPE", steps), ("TEST_SHAPE", passes << 16), ("TEST_BASE", words),
        ("TEST_LIMITS", 0), ("TEST_WORDS", 0),
    ):  # fmt: skip
        await bench.registers.set(at[name], value)
        assert await read(core.ILLEGAL) == 1 << 31 | at[name]
        await bench.registers.set(core.STATUS, core.BAD_ACCESS)
    assert tuple([await read(at[name]) for name in names]) == good
    await bench.reset()
    assert await read(at["TEST"]) == 0
    await check(bench, job())


@cocotb.test()
async def a_restart_lets_answers_finish(dut: Any) -> None:
    """At any moment of an image: its answers come whole or not at all, and nothing is left."""
    bench = await cleared(dut, pauses=13)
    stage = max(stages(), key=lambda one: one.steps)
    whole = none = 0
    for moment in (0, *range(3, 66, 9)):
        await begin(bench, stage)
        await bench.registers.set(core.CONTROL, core.ENABLE | core.RESTART)  # the map is checked
        await idle(bench)
        beats = list(with_last(pack(stage.codes[0], bench.act_bits)))
        bench.images.send(iter(beats if moment else beats[:-1]))
        await bench.registers.set(core.IMAGES, 0)
        bench.results.abandon()
        await wait(bench, moment)
        await bench.registers.set(core.CONTROL, core.ENABLE | core.RESTART)
        bench.images.send(())
        await idle(bench)
        packet = bench.results.packets[0] if bench.results.packets else bench.results.taken()
        if packet:
            assert np.array_equal(answers(bench, stage, packet)[0], stage.acc[0]), moment
            whole += 1
        else:
            none += 1
        bench.results.abandon()
    assert none >= 1 and whole >= 2, "a restart must come before the answers, others among them"
    await back_to_images(bench)

"""The driver loads schedules on the simulated core, reads memories back, and finds turned bits.

Environment: as driver_steps.py says; ``bench.json`` has ``refused``, words by the folder that must
be refused with them.
"""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from driver_board import CORE
from driver_steps import FOLDER, OTHER, SCHEDULE, blocking, board, expected, images, opened
from has_driver import Accelerator, DriverError, InputError

ROW_MAP = 1  # memory


def put(core: Accelerator, memory: int, address: int, word: int) -> None:
    """Write one word of a memory, as the registers do it."""
    registers = core._runner.registers
    core._runner.stop()
    registers.write("SELECT", memory)
    registers.write("ADDRESS", address)
    for part in range(-(-core.built.memories[memory].width // 32)):
        registers.write("VALUE", word >> (32 * part) & 0xFFFF_FFFF, part)
    registers.write("COMMIT", 0)
    core.restart()


@cocotb.test()
async def a_schedule_is_loaded_between_two_batches(dut: Any) -> None:
    """The engine's logits before and after; what cannot be loaded leaves all as it was."""
    made = await board(dut)
    before, after = images(), images(OTHER)
    assert not np.array_equal(before["logits"], after["logits"])

    def run() -> None:
        core = opened(made)
        assert np.array_equal(core.logits_of_codes(before["codes"]), before["logits"])
        writes = made.writes
        for folder, words in expected()["refused"].items():
            with pytest.raises(InputError, match=words):
                core.load_schedule(FOLDER / folder)
        assert made.writes == writes
        assert np.array_equal(core.logits_of_codes(before["codes"]), before["logits"])
        core.load_schedule(OTHER)
        assert np.array_equal(core.logits_of_codes(after["codes"]), after["logits"])
        found = core.verify()
        assert found.good and found.logits == after["logits"].size, str(found)
        assert found.bits > sum(memory.width * memory.depth for memory in core.built.memories) / 2
        # a delta is of the memories as built, whatever was loaded since: here other places alone
        core.load_delta(FOLDER / "moved.npz")
        assert np.array_equal(core.logits_of_codes(before["codes"]), before["logits"])
        moved = core.contents
        assert core.verify().good
        core.load_schedule(SCHEDULE)
        assert np.array_equal(core.logits_of_codes(before["codes"]), before["logits"])
        assert core.contents.words[ROW_MAP] != moved.words[ROW_MAP]

    await blocking(run)


@cocotb.test()
async def a_bit_that_turned_is_found_by_its_place(dut: Any) -> None:
    """In a weight, a bias and a threshold, in row map and preload, written at run time."""
    made = await board(dut)

    def run() -> None:
        core = opened(made)
        core.load_schedule(OTHER)
        lanes = core._runner.registers.read("LANES")
        for together in expected()["turned"]:
            places, kept = [], []
            for memory, address, bit, words in together:
                word = core.contents.words[memory][address]
                kept.append((memory, address, word))
                put(core, memory, address, word ^ (1 << bit))
                whole = core.built.memories[memory].content in ("weights", "preload")
                places += [words] * (1 if whole else lanes)
            found = core.verify(images=1)
            assert not found.good and found.wrong_bits == len(places), str(found)
            assert bool(found.halted) == (together[0][0] == ROW_MAP), str(found)
            assert len(found.places) == min(5, len(places))
            for place, words in zip(found.places, places, strict=False):
                assert place.startswith(words), str(found)
            for one in kept:
                put(core, *one)
        assert core.verify(images=1).good

    await blocking(run)


@cocotb.test()
async def a_load_that_fails_leaves_the_core_stopped(dut: Any) -> None:
    """ENABLE is 0, nothing is classified, and it says so; a whole load mends it."""
    made = await board(dut)
    job = images(OTHER)

    def run() -> None:
        core = opened(made)
        made.spoil[CORE + core.built.registers["VALUE"]] = 1 << 2
        with pytest.raises(DriverError, match=r"weight of .*, bit 2 must be .*; .*ENABLE is 0"):
            core.load_schedule(OTHER)
        assert not core.status().enabled
        for call in (lambda: core.logits_of_codes(job["codes"]), core.restart, core.verify):
            with pytest.raises(DriverError, match="a schedule was not loaded to its end"):
                call()
            assert not core.status().enabled
        core.load_schedule(OTHER)
        assert np.array_equal(core.logits_of_codes(job["codes"]), job["logits"])

    await blocking(run)

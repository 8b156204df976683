"""The driver for the board, on the simulated core: every method of it.

Environment: HAS_VECTORS, folder with ``driver/`` as the flow delivers it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.task import bridge
from cocotb.triggers import ClockCycles, RisingEdge
from driver_board import DMASR, INTERNAL_ERROR, Board

FOLDER = Path(os.environ.get("HAS_VECTORS", "."))
sys.path.insert(0, str(FOLDER / "driver"))

from has_driver import Accelerator, DriverError, InputError, WaitError  # noqa: E402

TIMEOUT = 1e-4  # simulated seconds


async def board(dut: Any, **options: Any) -> Board:
    """A board under power."""
    Clock(dut.clk, 10, unit="ns").start()
    made = Board(dut, **options)
    made.install()
    await made.reset()
    return made


def opened(made: Board, **options: Any) -> Accelerator:
    """The driver on it."""
    return Accelerator(
        FOLDER / "has_core.bit", batch=options.pop("batch", 3), timeout=TIMEOUT, clock=made.seconds
    )


async def blocking(function: Callable[..., Any], *values: Any) -> Any:
    """Run the driver's blocking code while the simulation goes on."""
    return await bridge(function)(*values)


def images() -> dict[str, Any]:
    """Codes and what the engine gives for them."""
    with np.load(FOLDER / "driver" / "schedule" / "images.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@cocotb.test()
async def logits_and_classes_are_those_of_the_engine(dut: Any) -> None:
    """In batches that are full and not, with the buffers allocated once."""
    made = await board(dut)
    job = images()

    def run() -> None:
        core = opened(made)
        assert made.overlays == [str(FOLDER / "has_core.bit")]
        before = made.memory.allocated
        got = core.logits_of_codes(job["codes"])
        assert got.shape == job["logits"].shape and got.size
        assert np.array_equal(got, job["logits"]), (got, job["logits"])
        status = core.status()
        assert status.images == len(got) and status.enabled and not status.busy
        assert not status.errors and not status.halted and status.cycles > 0
        cycles = core.stage_cycles()
        assert list(cycles) == list(core.built.stage_names)
        assert 0 < sum(cycles.values()) < status.cycles
        assert made.memory.allocated == before

    await blocking(run)


@cocotb.test()
async def real_images_are_quantised_and_classified(dut: Any) -> None:
    """Classes from the core, which sends one beat an image."""
    made = await board(dut)
    job = images()

    def run() -> None:
        core = opened(made)
        real = np.moveaxis(job["codes"], -1, 1) * core.built.input.scale
        assert np.array_equal(core.classify(real), np.argmax(job["logits"], axis=1))
        assert np.array_equal(core.logits(real[:1]), job["logits"][:1])
        assert core.classify(real[:0]).shape == (0,)

    await blocking(run)


@cocotb.test()
async def a_hung_result_stream_ends_the_wait(dut: Any) -> None:
    """With the registers in the message; the next call begins anew."""
    made = await board(dut)
    job = images()

    def run() -> None:
        core = opened(made)
        made.results.stuck = True
        with pytest.raises(WaitError, match=r"the answer to \d images must come within .*STATUS"):
            core.logits_of_codes(job["codes"])
        made.results.stuck = False
        assert np.array_equal(core.logits_of_codes(job["codes"]), job["logits"])

    await blocking(run)


@cocotb.test()
async def a_hung_image_stream_ends_the_wait(dut: Any) -> None:
    """Half an image has gone: the restart begins it anew."""
    made = await board(dut)
    job = images()

    def run() -> None:
        core = opened(made)
        made.images.halt_after(3)
        with pytest.raises(WaitError, match=r"takes image 1 of \d must come within .*image DMASR"):
            core.logits_of_codes(job["codes"])
        assert made.images.taken == 3
        assert np.array_equal(core.logits_of_codes(job["codes"]), job["logits"])

    await blocking(run)


@cocotb.test()
async def a_reset_in_the_middle_of_a_batch_is_told(dut: Any) -> None:
    """No answer comes, or one too short; the next batch is right, and the memories are kept."""
    made = await board(dut)
    job = images()

    async def pull() -> None:
        while not int(dut.s_axis_image_tvalid.value):
            await RisingEdge(dut.clk)
        await ClockCycles(dut.clk, 60)
        await made.reset()

    def run() -> None:
        core = opened(made)
        cocotb.start_soon(pull())
        with pytest.raises(DriverError, match=r"STATUS|answer"):
            core.logits_of_codes(job["codes"])
        assert np.array_equal(core.logits_of_codes(job["codes"]), job["logits"])
        assert core.status().images == len(job["codes"])

    await blocking(run)


@cocotb.test()
async def a_failing_dma_is_told(dut: Any) -> None:
    """An answer longer than the memory that waits for it."""
    made = await board(dut)
    job = images()

    def run() -> None:
        core = opened(made)
        made.results.registers[DMASR] |= INTERNAL_ERROR
        with pytest.raises(DriverError, match=r"result DMA must not fail: its DMASR is 0x\d+"):
            core.logits_of_codes(job["codes"])
        assert np.array_equal(core.logits_of_codes(job["codes"]), job["logits"])

    await blocking(run)


@cocotb.test()
async def what_cannot_be_taken_is_refused_in_one_line(dut: Any) -> None:
    """Before anything reaches the core."""
    made = await board(dut)
    job = images()
    shape = job["codes"].shape[1:]

    def run() -> None:
        core = opened(made)
        before = made.accesses
        for wrong, words in (
            (np.zeros((1, 2, 3)), "images must be"),
            (np.full((1, shape[2], *shape[:2]), np.nan), "finite"),
            ([["a"]], "numbers"),
        ):
            with pytest.raises(InputError, match=words):
                core.logits(wrong)
        for codes, words in (
            (job["codes"].astype(float), "integers"),
            (job["codes"][:, :-1], "integers"),
            (job["codes"] + 1000, "codes must be from"),
        ):
            with pytest.raises(InputError, match=words):
                core.logits_of_codes(codes)
        assert made.accesses == before
        with pytest.raises(InputError, match="batch must be at least 1 image, not 0"):
            Accelerator(FOLDER / "has_core.bit", batch=0)
        with pytest.raises(InputError, match="timeout must be more than 0 s, not 0"):
            Accelerator(FOLDER / "has_core.bit", timeout=0)
        with pytest.raises(InputError, match=r"no\.bit must be the overlay's bitstream"):
            Accelerator(FOLDER / "no.bit")

    await blocking(run)


@cocotb.test()
async def a_schedule_is_loaded_between_two_batches(dut: Any) -> None:
    """The engine's logits before and after, and what cannot be loaded leaves all as it was."""
    made = await board(dut)
    before, after = images(), images(OTHER)

    def run() -> None:
        core = opened(made)
        assert np.array_equal(core.logits_of_codes(before["codes"]), before["logits"])
        writes = made.writes
        for folder, words in REFUSED:
            with pytest.raises(InputError, match=words):
                core.load_schedule(FOLDER / folder)
        assert made.writes == writes
        assert np.array_equal(core.logits_of_codes(before["codes"]), before["logits"])
        core.load_schedule(OTHER)
        assert not np.array_equal(before["logits"], after["logits"])
        assert np.array_equal(core.logits_of_codes(after["codes"]), after["logits"])
        found = core.verify()
        assert found.good and found.logits == after["logits"].size and found.bits, str(found)
        core.load_schedule(SCHEDULE)
        assert np.array_equal(core.logits_of_codes(before["codes"]), before["logits"])

    await blocking(run)

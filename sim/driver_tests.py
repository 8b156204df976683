"""The driver for the board, on the simulated core: images, waits that end, refusals.

Environment: as driver_steps.py says.
"""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles, RisingEdge
from driver_board import CORE, DMA, DMASR, INTERNAL_ERROR, S2MM
from driver_steps import BITSTREAM, FOLDER, SCHEDULE, blocking, board, images, opened
from has_driver import Accelerator, DriverError, InputError, MissingError, WaitError


@cocotb.test()
async def logits_and_classes_are_those_of_the_engine(dut: Any) -> None:
    """In batches that are full and not, with the buffers allocated once."""
    made = await board(dut)
    job = images()

    def run() -> None:
        core = opened(made)
        assert made.overlays == [(str(BITSTREAM), True)]
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
        with pytest.raises(
            WaitError, match=r"taking image \d of 3 must end within .*result DMASR 0x0"
        ):
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
        with pytest.raises(
            WaitError, match=r"taking image 1 of 3 must end within .*image DMASR 0x0"
        ):
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
        core.restart()  # an answer that has begun is still counted
        answered = core.status().images
        assert np.array_equal(core.logits_of_codes(job["codes"]), job["logits"])
        assert core.status().images == answered + len(job["codes"])

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
        with pytest.raises(InputError, match="batch must be from 1 to 65535 images, not 0"):
            Accelerator(BITSTREAM, SCHEDULE, batch=0)
        with pytest.raises(InputError, match="timeout must be more than 0 s, not 0"):
            Accelerator(BITSTREAM, SCHEDULE, timeout=0)
        with pytest.raises(InputError, match=r"no\.bit must be the overlay's bitstream"):
            Accelerator(FOLDER / "no.bit", SCHEDULE)

    await blocking(run)


@cocotb.test()
async def every_other_wait_ends(dut: Any) -> None:
    """For the end of what is under way, a DMA's reset and its start."""
    made = await board(dut)

    def run() -> None:
        core = opened(made)
        status = CORE + core.built.registers["STATUS"]
        for address, value, words in (
            (status, 1, "what is under way must end within .*busy"),
            (DMA, 4, "the reset of the image DMA must end within .*STATUS"),
            (DMA + S2MM + 4, 1, "the start of the result DMA must end within .*result DMASR 0x1"),
        ):
            made.answers[address] = value
            with pytest.raises(WaitError, match=words):
                core.restart()
            made.answers.clear()
            core.restart()
        assert core.status().enabled

    await blocking(run)


@cocotb.test()
async def a_build_or_an_overlay_that_is_another_is_told(dut: Any) -> None:
    """And pynq that is not there."""
    made = await board(dut)

    def run() -> None:
        core = opened(made)
        for name in ("VERSION", "SHAPE"):
            made.answers[CORE + core.built.registers[name]] = 0x99
            with pytest.raises(InputError, match=f"{name} must be 0x.*, not 0x99"):
                opened(made)
            made.answers.clear()
        made.blocks.pop("axi_dma_0")
        with pytest.raises(MissingError, match="must have a block axi_dma_0, and has has_core_0"):
            opened(made)
        made.broken = "no root"
        with pytest.raises(MissingError, match=r"has_core\.bit must load: no root"):
            opened(made)
        made.uninstall()
        with pytest.raises(MissingError, match="needs pynq"):
            opened(made)

    await blocking(run)

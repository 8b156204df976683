"""The driver on the simulated core behind its serial line: its very files, bit by bit.

Environment: as driver_steps.py says; ``bench.json`` has ``baud``, of the simulated line.
"""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles, Timer
from driver_steps import OTHER, SCHEDULE, blocking, expected, images
from has_driver import Accelerator, DriverError, InputError, WaitError, description, serial_link
from has_driver.__main__ import main
from has_driver.serial_link import SerialLink
from serial_board import PORT, Board

TIMEOUT = 1.2e-4  # simulated seconds
serial_link.POLL = TIMEOUT / 8


async def board(dut: Any) -> Board:
    """A board under power."""
    made = Board(dut)
    made.install()
    await made.begin()
    return made


def opened(made: Board, batch: int = 3, timeout: float = TIMEOUT) -> Accelerator:
    """The driver on it."""
    built = description.read(SCHEDULE)
    link = SerialLink(
        PORT, built, expected()["baud"], timeout=timeout / 4, batch=batch, clock=made.seconds
    )
    return Accelerator(folder=SCHEDULE, batch=batch, timeout=timeout, link=link, clock=made.seconds)


@cocotb.test()
async def logits_are_those_of_the_engine(dut: Any) -> None:
    """In batches that are full and not; the counters of the core tell the same."""
    made = await board(dut)
    job = images()

    def run() -> None:
        core = opened(made)
        got = core.logits_of_codes(job["codes"])
        assert got.shape == job["logits"].shape and got.size
        assert np.array_equal(got, job["logits"]), (got, job["logits"])
        status = core.status()
        assert status.images == len(got) and status.enabled and not status.errors
        cycles = core.stage_cycles()
        assert 0 < sum(cycles.values()) < status.cycles

    await blocking(run)


@cocotb.test()
async def a_line_that_fails_is_told_and_the_next_call_begins_anew(dut: Any) -> None:
    """Bytes lost, a bit turned round, a reset in a batch, an answer that is cut."""
    made = await board(dut)
    job = images()

    async def pull() -> None:
        await Timer(30, unit="us")
        await made.reset()

    def right(core: Accelerator) -> None:
        assert np.array_equal(core.logits_of_codes(job["codes"][:1]), job["logits"][:1])

    def run() -> None:
        core = opened(made)
        made.deaf = True
        with pytest.raises(WaitError, match=f"the board on {PORT} must answer within"):
            core.logits_of_codes(job["codes"])
        made.deaf = False
        right(core)
        made.spoil = 60
        with pytest.raises(DriverError, match=r"found a frame (that was not whole|out of turn)"):
            core.logits_of_codes(job["codes"])
        right(core)
        cocotb.start_soon(pull())
        with pytest.raises(DriverError, match=PORT):
            core.logits_of_codes(job["codes"])
        right(core)
        link: Any = core._runner.link
        packed = np.zeros((1, link._image), np.uint8)  # one beat is no image: no answer comes
        with pytest.raises(WaitError, match=r"answering image 1 of 1 must end within .*CONTROL"):
            link.exchange(packed, 4 * core.built.classes, core._runner.wait)
        core.restart()
        right(core)

    await blocking(run)


def call(*arguments: Any) -> tuple[int, str, str]:
    """Exit code, output and errors of one call of the command line."""
    out, error = io.StringIO(), io.StringIO()
    given = ["--schedule", SCHEDULE, "--batch", 3, *arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        code = main([str(one) for one in given])
    return code, out.getvalue(), error.getvalue()


@cocotb.test()
async def the_command_line_takes_a_port(dut: Any) -> None:
    """With its exit code, and one line where it fails."""
    made = await board(dut)
    job, baud = images(), expected()["baud"]
    classes = np.argmax(job["logits"], axis=1)

    def run() -> None:
        right = int(np.count_nonzero(classes == job["labels"]))
        got = call("--port", PORT, "--baud", baud, "classify")
        assert got == (0, f"{right} of {len(classes)} held-out images are right\n", "")
        for code, words, *arguments in (
            (2, "/dev/none must be a serial port", "--port", "/dev/none", "--baud", baud, "status"),
            (2, "--baud is of a serial line", "--baud", baud, "status"),
        ):
            found, out, error = call(*arguments)
            assert found == code and not out and words in error, (arguments, found, error)
            assert error.count("\n") == 1
        made.gone = True
        found, _, error = call("--port", PORT, "--baud", baud, "status")
        assert found == 1 and error.startswith(f"error: {PORT} must take"), error
        made.uninstall()
        found, _, error = call("--port", PORT, "--baud", baud, "status")
        assert found == 3 and "needs pyserial" in error and error.count("\n") == 1

    await blocking(run)


@cocotb.test()
async def a_build_without_a_line_is_refused(dut: Any) -> None:
    """Where no baud is given."""
    made = await board(dut)
    await ClockCycles(dut.clk, 1)
    written = json.loads((SCHEDULE / "core.json").read_text())

    def run() -> None:
        built = description.read(SCHEDULE)
        assert built.baud == written["baud"] is None
        with pytest.raises(InputError, match="must be of a build with a serial line"):
            SerialLink(PORT, built, clock=made.seconds)

    await blocking(run)


@cocotb.test()
async def a_schedule_is_loaded(dut: Any) -> None:
    """Every word of every copy goes there and back; weights stream by the line. It stays: last."""
    made = await board(dut)
    other = images(OTHER)

    def run() -> None:
        core = opened(made)
        core.load_schedule(OTHER)
        got = core.logits_of_codes(other["codes"][:2])
        assert got.size and np.array_equal(got, other["logits"][:2])
        assert not np.array_equal(got, images()["logits"][:2])

    await blocking(run)

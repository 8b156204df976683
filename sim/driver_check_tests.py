"""The driver holds a running core to its self-test; faults come and go meanwhile.

Environment: as driver_steps.py says. Where ``masks/`` is there, ``none.npz`` and ``one.npz`` are
faults for tb_fault_masks, and ``bench.json`` has ``pe``, the PE of the latter; else the build has
the faults of its profile, ``bench.json`` ``known``, the PEs without a transient fault, and
``other/`` is another schedule.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import cocotb
import numpy as np
import pytest
from cocotb.task import resume
from driver_steps import (
    BITSTREAM,
    FOLDER,
    OTHER,
    SCHEDULE,
    blocking,
    board,
    expected,
    images,
    opened,
)
from fault_switch import switch
from has_driver import DriverError, InputError
from has_driver.__main__ import main

MASKS = FOLDER / "masks"


async def switchable(dut: Any) -> tuple[Any, Any, Callable[[str], None]]:
    """A board, its images, and what gives the array a file's masks, from the driver's thread."""
    made = await board(dut)

    async def faults(name: str) -> None:
        switch(dut, MASKS / name)

    return made, images(), resume(faults)


@cocotb.test(skip=not MASKS.exists())
async def a_fault_that_comes_is_noticed(dut: Any) -> None:
    """Before it all is as it was, after it the PE is named; images go on; it goes, all is well."""
    made, job, put = await switchable(dut)

    def run() -> None:
        core = opened(made)
        right = core.logits_of_codes(job["codes"])
        assert np.array_equal(right, job["logits"])
        writes, counted = made.writes, core.status().images
        found = core.check()
        assert found.good and found.sums == found.played.size and not found.unknown, str(found)
        assert made.writes - writes < 40  # no memory
        assert core.status().images == counted and core.status().enabled
        assert np.array_equal(core.logits_of_codes(job["codes"]), right)
        put("one.npz")
        found = core.check()
        pe = expected()["pe"]
        assert not found.good and [one for one, _ in found.differing] == [pe], str(found)
        assert f"PE {pe}: " in str(found) and "sums are not as they were" in str(found)
        assert not np.array_equal(core.logits_of_codes(job["codes"]), right)
        given = ["--bitstream", BITSTREAM, "--schedule", SCHEDULE, "check"]
        with contextlib.redirect_stdout(io.StringIO()) as said:
            assert main([str(one) for one in given]) == 1
        assert f"PE {pe}: " in said.getvalue()
        put("none.npz")
        assert core.check().good
        with contextlib.redirect_stdout(io.StringIO()):
            assert main([str(one) for one in given]) == 0
        assert np.array_equal(core.logits_of_codes(job["codes"]), right)

    await blocking(run)


@cocotb.test(skip=not MASKS.exists())
async def a_core_that_watches_tells_by_itself(dut: Any) -> None:
    """The call for images says so; where the array is not as it was to begin with none watches."""
    made, job, put = await switchable(dut)

    def run() -> None:
        core = opened(made)
        with pytest.raises(InputError, match="must be 0 to 65535, not 65536"):
            core.watch(65536)
        assert core.watch(2).good
        for _ in range(2):
            assert np.array_equal(core.logits_of_codes(job["codes"]), job["logits"])
        assert core.check().good and core.status().errors == ()
        put("one.npz")
        with pytest.raises(DriverError, match="array that has changed"):
            core.logits_of_codes(job["codes"])
            core.logits_of_codes(job["codes"])
        assert [pe for pe, _ in core.check().differing] == [expected()["pe"]]
        with pytest.raises(DriverError, match="array that has changed"):
            core.logits_of_codes(job["codes"])  # watched again, and first of all
        assert not core.watch(2).good
        core.logits_of_codes(job["codes"])  # told, and no longer watched
        put("none.npz")
        assert core.watch(1).good
        assert np.array_equal(core.logits_of_codes(job["codes"]), job["logits"])
        assert core.watch(0).good and dut.registers.watch.value == 0

    await blocking(run)


@cocotb.test(skip=MASKS.exists())
async def known_faults_are_no_news(dut: Any) -> None:
    """The sums of faulty PEs and words are predicted; so they are for a schedule loaded later."""
    made = await board(dut)
    job, known = images(), expected()["known"]

    def run() -> None:
        core = opened(made)
        for folder in (SCHEDULE, OTHER):
            found = core.check()
            assert found.good and found.sums == len(known) * found.played[:, 0].size, str(found)
            assert not set(found.unknown) & set(known)
            core.load_schedule(OTHER if folder == SCHEDULE else SCHEDULE)
        assert np.array_equal(core.logits_of_codes(job["codes"]), job["logits"])
        with pytest.raises(DriverError, match="the build must watch its array, as `--watch`"):
            core.watch(1)
        core._of_folder = False  # as a delta leaves it
        with pytest.raises(InputError, match="a delta brings no self-test"):
            core.check()
        core.load_schedule(SCHEDULE)
        (SCHEDULE / "selftest.npz").rename(SCHEDULE / "gone")
        writes = made.writes
        with pytest.raises(InputError, match="must hold a self-test, as the flow renders it"):
            core.check()
        assert made.writes == writes
        (SCHEDULE / "gone").rename(SCHEDULE / "selftest.npz")

    await blocking(run)

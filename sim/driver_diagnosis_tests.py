"""The driver plays test vectors on the simulated array, by the core's test mode.

Environment: as driver_steps.py says; ``tests/`` and ``few/`` hold vectors, ``wrong/`` those of
another array, ``deep/`` some that the banks have no room for, ``answers.npz`` what the fault model
answers.
"""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from driver_steps import BITSTREAM, FOLDER, SCHEDULE, blocking, board, images, opened
from has_driver import DriverError, InputError
from has_driver.__main__ import main


@cocotb.test()
async def every_accumulator_is_that_of_the_fault_model(dut: Any) -> None:
    """In test mode; images before and after it; what cannot be played is refused."""
    made = await board(dut)
    job = images()
    with np.load(FOLDER / "answers.npz", allow_pickle=False) as file:
        wanted, digest = file["acc"], file["digest"]

    def run() -> None:
        core = opened(made)
        assert np.array_equal(core.logits_of_codes(job["codes"]), job["logits"])
        writes = made.writes
        for folder, words in (
            ("wrong", "of the build's array, pe 4, not 8"),
            ("deep", "must fit the 16 words of each weight bank, not take"),
            ("none", "must hold what `hascodesign diagnose vectors` writes"),
        ):
            with pytest.raises(InputError, match=words):
                core.answers(FOLDER / folder)
        with pytest.raises(InputError, match="runs must be from 1 to 1000, not 0"):
            core.answers(FOLDER / "tests", runs=0)
        assert made.writes == writes
        found = core.answers(FOLDER / "tests")
        assert found.acc.shape == wanted.shape and wanted.size
        assert np.array_equal(found.acc, wanted), np.argwhere(found.acc != wanted)[:5]
        assert np.array_equal(found.digest, digest)
        assert core.verify(images=1).good
        assert np.array_equal(core.logits_of_codes(job["codes"]), job["logits"])

    await blocking(run)


@cocotb.test()
async def vectors_that_hang_leave_the_core_stopped(dut: Any) -> None:
    """The weights are the vectors': no image runs until a schedule has been loaded."""
    made = await board(dut)
    job = images()

    def run() -> None:
        core = opened(made)
        made.results.stuck = True
        with pytest.raises(DriverError, match=r"must end within .*; .*ENABLE is 0"):
            core.answers(FOLDER / "tests")
        made.results.stuck = False
        with pytest.raises(DriverError, match="a schedule was not loaded to its end"):
            core.logits_of_codes(job["codes"])
        core.load_schedule(SCHEDULE)
        assert np.array_equal(core.logits_of_codes(job["codes"]), job["logits"])

    await blocking(run)


@cocotb.test()
async def the_command_writes_the_answers(dut: Any) -> None:
    """As `hascodesign diagnose infer` reads them."""
    await board(dut)
    given = ["--bitstream", BITSTREAM, "--schedule", SCHEDULE, "diagnose", FOLDER / "few"]

    def run() -> None:
        assert main([str(one) for one in (*given, "--out", FOLDER / "acc.txt")]) == 2
        assert main([str(one) for one in (*given, "--runs", 2, "--out", FOLDER / "acc.npz")]) == 0

    await blocking(run)

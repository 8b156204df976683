"""The driver changes over to what a host made of a chip's answers, on the simulated core.

Environment: as driver_steps.py says; ``board/`` holds a schedule, vectors and what the fault model
predicts; ``wrong/`` the same where a logit and an answer of PE 2 are predicted wrongly and PE 1 is
not explained and PE 3 has a transient fault, ``others/`` with a prediction for other vectors.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import cocotb
import numpy as np
import pytest
from driver_board import CORE
from driver_steps import BITSTREAM, FOLDER, SCHEDULE, blocking, board, images, opened
from has_driver import DriverError, InputError
from has_driver.__main__ import main

NEW = FOLDER / "board" / "schedule"


def predicted(folder: str) -> Any:
    """Answers [PEs, answers] of a prediction."""
    with np.load(FOLDER / folder / "predicted.npz") as file:
        return file["acc"]


@cocotb.test()
async def what_differs_is_written_and_all_is_held_to_the_prediction(dut: Any) -> None:
    """Images before, the change, images after."""
    made = await board(dut)
    job, new = images(), images(NEW)

    def run() -> None:
        core = opened(made)
        assert np.array_equal(core.logits_of_codes(job["codes"]), job["logits"])
        found = core.heal(FOLDER / "board")
        assert found.good and not found.verified.differing, str(found)
        assert 0 < found.written < found.words == sum(map(len, core.contents.words))
        assert found.verified.logits == new["logits"].size and found.verified.bits
        assert found.answers == predicted("board").size
        assert np.array_equal(core.logits_of_codes(new["codes"]), new["logits"])

    await blocking(run)


@cocotb.test()
async def what_is_not_as_predicted_is_named(dut: Any) -> None:
    """An answer, a logit, a PE of which nothing is predicted: exit code 1."""
    await board(dut)

    def call(folder: str) -> tuple[int, str]:
        given = ["--bitstream", BITSTREAM, "--schedule", SCHEDULE, "heal", FOLDER / folder]
        with contextlib.redirect_stdout(io.StringIO()) as said:
            return main([*map(str, given), "--images", "1"]), said.getvalue()

    def run() -> None:
        code, said = call("wrong")
        compared = predicted("wrong").size * 2 // 4
        assert code == 1 and f"{compared} answers to test vectors compared, 1 differ" in said
        assert "PE 2: 1 answers are not those predicted" in said
        assert "not explained, and idle: PE 1" in said
        assert "transient faults, not compared: PE 3; logits may differ by them" in said
        assert "1 images, 5 logits compared, 1 differ" in said and "class 2 must be" in said
        assert call("others") == (2, "")

    await blocking(run)


@cocotb.test()
async def nothing_is_written_of_what_cannot_be_held(dut: Any) -> None:
    """A prediction for other vectors, no folder, and a core without the test mode."""
    made = await board(dut)

    def run() -> None:
        core = opened(made)
        writes = made.writes
        for folder, words in (
            ("others", "must be of the vectors in tests/"),
            ("none", "must hold what `hascodesign diagnose vectors` writes"),
        ):
            with pytest.raises(InputError, match=words):
                core.heal(FOLDER / folder)
        made.answers[CORE + core.built.registers["TEST_LIMITS"]] = 0
        for call in (core.heal, core.answers):
            with pytest.raises(DriverError, match="must have a test mode, and TEST_LIMITS is 0"):
                call(FOLDER / "board" if call == core.heal else FOLDER / "board" / "tests")
        assert made.writes == writes

    await blocking(run)


@cocotb.test()
async def a_word_that_does_not_hold_stops_the_core(dut: Any) -> None:
    """Reading back tells; no image runs until a schedule has been loaded to its end."""
    made = await board(dut)

    def run() -> None:
        core = opened(made)
        made.spoil[CORE + core.built.registers["VALUE"]] = 1
        with pytest.raises(DriverError, match=r"must be read back: .*ENABLE is 0"):
            core.heal(FOLDER / "board")
        with pytest.raises(DriverError, match="a schedule was not loaded to its end"):
            core.heal(FOLDER / "board")
        core.load_schedule(SCHEDULE)
        assert core.status().enabled

    await blocking(run)

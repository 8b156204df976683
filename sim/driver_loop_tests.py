"""One half of the loop from a chip's answers to its own schedule, on the simulated core.

Environment: as driver_steps.py says; ``bench.json`` has ``half``: "play", which plays the vectors
in ``tests/``, or "load", which loads the schedule in ``other/`` and verifies it; HAS_RESULTS,
folder for what came out.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from driver_steps import FOLDER, OTHER, blocking, board, expected, opened


@cocotb.test()
async def half_of_the_loop(dut: Any) -> None:
    """On the bitstream that was built, and no other."""
    made = await board(dut)
    results = Path(os.environ.get("HAS_RESULTS", "results"))
    results.mkdir(parents=True, exist_ok=True)

    def run() -> None:
        core = opened(made, batch=32)
        if expected()["half"] == "play":
            core.answers(FOLDER / "tests").save(results / "acc.npz")
            return
        core.load_schedule(OTHER)
        found = core.verify()
        np.savez(
            results / "loaded.npz",
            logits=found.logits,
            differing=found.differing,
            bits=found.bits,
            wrong_bits=found.wrong_bits,
        )
        assert not found.halted, str(found)

    await blocking(run)

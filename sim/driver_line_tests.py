"""The driver classifies images on a simulated core of any size behind its serial line.

Environment: as driver_steps.py says; ``bench.json`` has ``images``, how many, and ``baud``;
HAS_RESULTS, folder for ``line.npz`` with what came out.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from driver_serial_tests import board, opened
from driver_steps import blocking, expected, images


@cocotb.test()
async def logits_of_images_over_the_line(dut: Any) -> None:
    """Every logit is the engine's."""
    made = await board(dut)
    job, count = images(), int(expected()["images"])
    results = Path(os.environ.get("HAS_RESULTS", "results"))

    def run() -> None:
        core = opened(made, batch=8, timeout=1e-2)
        start = made.seconds()
        got = core.logits_of_codes(job["codes"][:count])
        seconds = made.seconds() - start
        cycles = core.status().cycles
        results.mkdir(parents=True, exist_ok=True)
        np.savez(
            results / "line.npz", logits=got, cycles=np.array(cycles), seconds=np.array(seconds)
        )
        assert np.array_equal(got, job["logits"][:count])

    await blocking(run)

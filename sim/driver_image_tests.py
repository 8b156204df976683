"""The driver classifies many images on the simulated core.

Environment: as driver_steps.py says; ``bench.json`` has ``images``, how many; HAS_RESULTS, folder
for ``images.npz`` with what came out.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from driver_steps import blocking, board, expected, images, opened


@cocotb.test()
async def logits_of_many_images(dut: Any) -> None:
    """Every logit is the engine's; the classes, too."""
    made = await board(dut)
    job, count = images(), int(expected()["images"])
    results = Path(os.environ.get("HAS_RESULTS", "results"))

    def run() -> None:
        core = opened(made, batch=32)
        got = core.logits_of_codes(job["codes"][:count])
        cycles = core.status().cycles
        classes = core.classes_of_codes(job["codes"][:2])
        results.mkdir(parents=True, exist_ok=True)
        np.savez(results / "images.npz", logits=got, cycles=np.array(cycles))
        assert np.array_equal(got, job["logits"][:count])
        assert np.array_equal(classes, np.argmax(got[:2], axis=1))

    await blocking(run)

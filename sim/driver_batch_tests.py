"""The driver on the simulated core of a build whose streamed weights come once for a batch.

Environment: as driver_steps.py says; the build's batches are of three images.
"""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from driver_steps import SCHEDULE, blocking, board, images, opened


@cocotb.test()
async def batches_full_and_not(dut: Any) -> None:
    """Eight images: by 3, 3 and 2; by 2 where the driver takes no more; one by itself."""
    made = await board(dut, weights=True)
    job = images()
    codes, logits = job["codes"], job["logits"]
    assert len(codes) == 8

    def run() -> None:
        core = opened(made, batch=7)
        assert core.built.batch == 3
        assert [len(part) for part in core._runner.parts(codes)] == [6, 2]
        assert np.array_equal(core.logits_of_codes(codes), logits)
        assert core.status().images == 8
        cycles = core.throughput(2).cycles  # each has half of the batch's
        assert cycles == -(-core.status().cycles // 2)
        core = opened(made, batch=64)  # room for all: what is left by itself all the same
        assert [len(part) for part in core._runner.parts(codes)] == [6, 2]
        assert np.array_equal(core.logits_of_codes(codes), logits)
        core = opened(made, batch=2)
        assert [len(part) for part in core._runner.parts(codes)] == [2] * 4
        assert np.array_equal(core.logits_of_codes(codes[:5]), logits[:5])
        core.load_schedule(SCHEDULE)
        assert np.array_equal(core.logits_of_codes(codes[:1]), logits[:1])
        assert np.array_equal(core.classes_of_codes(codes), np.argmax(logits, axis=1))
        assert core.verify(images=8).good

    await blocking(run)

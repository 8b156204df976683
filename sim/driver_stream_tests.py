"""The driver on the simulated core with a layer whose weights are streamed.

Environment: as driver_steps.py says.
"""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
import pytest
from driver_steps import OTHER, SCHEDULE, blocking, board, images, opened
from has_driver import WaitError


@cocotb.test()
async def weights_go_with_every_image(dut: Any) -> None:
    """Those of the schedule that is loaded; a stream that hangs ends the wait."""
    made = await board(dut, weights=True)
    job, other = images(), images(OTHER)
    assert made.weights is not None
    weights = made.weights

    def run() -> None:
        core = opened(made)
        assert np.array_equal(core.logits_of_codes(job["codes"]), job["logits"])
        weights.halt_after(2)
        with pytest.raises(WaitError, match=r"weights of pass 1 of \d must end .*weight DMASR 0x0"):
            core.logits_of_codes(job["codes"])
        assert np.array_equal(core.logits_of_codes(job["codes"]), job["logits"])
        core.load_schedule(OTHER)
        assert np.array_equal(core.logits_of_codes(other["codes"]), other["logits"])
        assert core.verify(images=1).good
        core.load_schedule(SCHEDULE)
        assert np.array_equal(core.logits_of_codes(job["codes"]), job["logits"])

    await blocking(run)

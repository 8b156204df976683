"""The driver finds bits that are wrong in the memories from power-up on.

Environment: as driver_steps.py says; ``bench.json`` has ``places``, how each is named.
"""

from __future__ import annotations

from typing import Any

import cocotb
from driver_steps import blocking, board, expected, opened


@cocotb.test()
async def bits_turned_in_the_roms_are_named(dut: Any) -> None:
    """Logits differ, and the first bits by layer, PE, row and bit."""
    made = await board(dut)

    def run() -> None:
        core = opened(made)
        found = core.verify()
        assert not found.good and found.differing and found.first and not found.halted
        weight, threshold = expected()["places"]
        assert found.places[0].startswith(weight), str(found)
        assert len(found.places) > 1, str(found)
        assert all(one.startswith(threshold) for one in found.places[1:]), str(found)
        assert found.wrong_bits == 1 + core._runner.registers.read("LANES"), str(found)

    await blocking(run)

"""What the benches of the driver have in common.

Environment: HAS_VECTORS, folder with ``driver/`` as the flow delivers it, ``other/``, the schedule
of another delivery, and ``bench.json``, what else a bench expects.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from cocotb.clock import Clock
from cocotb.task import bridge
from driver_board import Board

FOLDER = Path(os.environ.get("HAS_VECTORS", "."))
sys.path.insert(0, str(FOLDER / "driver"))  # its very files

from has_driver import Accelerator  # noqa: E402

BITSTREAM = FOLDER / "has_core.bit"
SCHEDULE = FOLDER / "driver" / "schedule"
OTHER = FOLDER / "other"
TIMEOUT = 3e-5  # simulated seconds


async def board(dut: Any, **options: Any) -> Board:
    """A board under power."""
    Clock(dut.clk, 10, unit="ns").start()
    made = Board(dut, **options)
    made.install()
    await made.reset()
    return made


def opened(made: Board, batch: int = 3) -> Accelerator:
    """The driver on it."""
    return Accelerator(BITSTREAM, SCHEDULE, batch=batch, timeout=TIMEOUT, clock=made.seconds)


async def blocking(function: Callable[[], None]) -> None:
    """Run the driver's blocking code while the simulation goes on."""
    await bridge(function)()


def images(folder: Path = SCHEDULE) -> dict[str, Any]:
    """Codes and what the engine gives for them."""
    with np.load(folder / "images.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def expected() -> dict[str, Any]:
    """What else the bench was given."""
    return dict(json.loads((FOLDER / "bench.json").read_text()))

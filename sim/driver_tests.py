"""The driver for the board, on the simulated core: every method of it.

Environment: HAS_VECTORS, folder with ``driver/`` as the flow delivers it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.task import bridge
from driver_board import Board

FOLDER = Path(os.environ.get("HAS_VECTORS", "."))
sys.path.insert(0, str(FOLDER / "driver"))

from has_driver import Accelerator  # noqa: E402

TIMEOUT = 2e-3  # simulated seconds


async def board(dut: Any, **options: Any) -> Board:
    """A board under power."""
    Clock(dut.clk, 10, unit="ns").start()
    made = Board(dut, **options)
    made.install()
    await made.reset()
    return made


def opened(made: Board, **options: Any) -> Accelerator:
    """The driver on it."""
    return Accelerator(
        FOLDER / "has_core.bit", batch=options.pop("batch", 3), timeout=TIMEOUT, clock=made.seconds
    )


async def blocking(function: Callable[..., Any], *values: Any) -> Any:
    """Run the driver's blocking code while the simulation goes on."""
    return await bridge(function)(*values)


def images() -> dict[str, Any]:
    """Codes and what the engine gives for them."""
    with np.load(FOLDER / "driver" / "schedule" / "images.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@cocotb.test()
async def logits_and_classes_are_those_of_the_engine(dut: Any) -> None:
    """In batches that are full and not, with the buffers allocated once."""
    made = await board(dut)
    job = images()

    def run() -> None:
        core = opened(made)
        assert made.overlays == [str(FOLDER / "has_core.bit")]
        before = made.memory.allocated
        got = core.logits_of_codes(job["codes"])
        assert got.shape == job["logits"].shape and got.size
        assert np.array_equal(got, job["logits"]), (got, job["logits"])
        status = core.status()
        assert status.images == len(got) and status.enabled and not status.busy
        assert not status.errors and not status.halted and status.cycles > 0
        cycles = core.stage_cycles()
        assert list(cycles) == list(core.built.stage_names)
        assert 0 < sum(cycles.values()) < status.cycles
        assert made.memory.allocated == before

    await blocking(run)


@cocotb.test()
async def real_images_are_quantised_and_classified(dut: Any) -> None:
    """Classes from the core, which sends one beat an image."""
    made = await board(dut)
    job = images()

    def run() -> None:
        core = opened(made)
        real = np.moveaxis(job["codes"], -1, 1) * core.built.input.scale
        assert np.array_equal(core.classify(real), np.argmax(job["logits"], axis=1))
        assert np.array_equal(core.logits(real[:1]), job["logits"][:1])
        assert core.classify(real[:0]).shape == (0,)

    await blocking(run)

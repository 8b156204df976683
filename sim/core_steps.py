"""What the tests of has_core's behaviour have in common.

Environment: HAS_VECTORS, folder of the jobs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import core_registers as core
import numpy as np
from core_bench import CoreBench
from core_check import arrange, mismatches
from core_job import ImageJob
from streams import IntArray

FOLDER = Path(os.environ.get("HAS_VECTORS", "."))


def job(name: str = "images") -> ImageJob:
    """One job file of the folder."""
    return ImageJob.read(FOLDER / f"{name}.npz")


async def ready(dut: Any, pauses: int | None = None) -> CoreBench:
    """A core after reset."""
    bench = CoreBench(dut, pauses)
    await bench.start()
    return bench


async def check(bench: CoreBench, images: ImageJob) -> None:
    """Run a job from here on, and hold everything to it."""
    bench.codes.results.clear()
    bench.codes.puts.clear()
    await bench.classify(images)
    await wait(bench, 4)  # the last image is counted just after its last beat
    wrong = mismatches(arrange(bench, images), images)
    assert not wrong, f"{len(wrong)} integers differ:\n" + "\n".join(wrong[:5])


async def wait(bench: CoreBench, cycles: int) -> None:
    """Let time pass."""
    for _ in range(cycles):
        await bench.edge()


async def idle(bench: CoreBench) -> None:
    """Let time pass until nothing is under way."""
    for _ in range(2000):
        if not await bench.registers.value(core.STATUS) & core.BUSY:
            return
    raise AssertionError("the core must become idle")


async def registers(bench: CoreBench, images: ImageJob) -> dict[str, IntArray]:
    """Cycles and status after a job, by the names under which they are kept."""
    await idle(bench)  # busy falls a few cycles after the last beat
    read = bench.registers.value
    stages = range(len(images.acc) + len(images.pools))
    return {
        "stage_cycles": np.array([await read(core.STAGE_CYCLES + 4 * i) for i in stages]),
        "image_cycles": np.array(await read(core.CYCLES)),
        "status": np.array(await read(core.STATUS)),
    }

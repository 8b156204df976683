"""Run images through has_core, and hold every code of every layer to what the job expects.

Environment: HAS_VECTORS, folder with ``images.npz``; HAS_RESULTS, folder for what came out (default
``results``); HAS_PAUSES, seed of random idle cycles and back-pressure (default none).
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from core_bench import CYCLES, STAGE_CYCLES, STATUS, CoreBench, ImageJob
from core_check import arrange, mismatches
from core_steps import idle


@cocotb.test()
async def images(dut: Any) -> None:
    """Every accumulator, code and logit of every image is the expected one."""
    job = ImageJob.read(Path(os.environ["HAS_VECTORS"]) / "images.npz")
    results = Path(os.environ.get("HAS_RESULTS", "results"))
    pauses = os.environ.get("HAS_PAUSES")
    bench = CoreBench(dut, int(pauses) if pauses else None)
    await bench.start()
    start, first = time.perf_counter(), bench.cycles
    await bench.classify(job)
    seconds, cycles = time.perf_counter() - start, bench.cycles - first
    seen = arrange(bench, job)
    await idle(bench)  # busy falls a few cycles after the last beat
    status = await bench.registers.value(STATUS)
    stages = len(job.acc) + len(job.pools)
    stage_cycles = [await bench.registers.value(STAGE_CYCLES + 4 * i) for i in range(stages)]
    results.mkdir(parents=True, exist_ok=True)
    values = {
        **{f"acc_{i}": array for i, array in seen.acc.items()},
        **{f"out_{i}": array for i, array in seen.out.items()},
        **{f"pool_{i}": array for i, array in seen.pools.items()},
        "logits": seen.logits,
        "stage_cycles": np.array(stage_cycles),
        "image_cycles": np.array(await bench.registers.value(CYCLES)),
        "cycles": np.array(cycles),
        "status": np.array(status),
    }
    np.savez(results / "images.npz", allow_pickle=False, **values)
    dut._log.info(f"{len(job.codes)} images, {cycles} cycles, {cycles / seconds:.0f} cycles/s")
    wrong = mismatches(seen, job)
    assert not wrong, f"{len(wrong)} integers differ:\n" + "\n".join(wrong[:5])
    assert status == 0, f"status must be idle and without an error, not {status:#x}"

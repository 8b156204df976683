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
from core_bench import CoreBench
from core_check import arrange, mismatches
from core_job import ImageJob
from core_steps import registers


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
    values = {
        **{f"acc_{i}": array for i, array in seen.acc.items()},
        **{f"out_{i}": array for i, array in seen.out.items()},
        **{f"pool_{i}": array for i, array in seen.pools.items()},
        "logits": seen.logits,
        "cycles": np.array(cycles),
        **await registers(bench, job),
    }
    results.mkdir(parents=True, exist_ok=True)
    np.savez(results / "images.npz", allow_pickle=False, **values)
    dut._log.info(f"{len(job.codes)} images, {cycles} cycles, {cycles / seconds:.0f} cycles/s")
    wrong = mismatches(seen, job)
    assert not wrong, f"{len(wrong)} integers differ:\n" + "\n".join(wrong[:5])
    assert values["status"] == 0, f"status must be idle and without an error: {values['status']}"

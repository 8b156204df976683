"""Run images through a has_core of which only the ports are seen, as of a netlist.

Environment: that of ``core_tests``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from core_bench import CoreBench
from core_job import ImageJob
from core_steps import registers


@cocotb.test()
async def images(dut: Any) -> None:
    """Every logit and class of every image is the expected one."""
    job = ImageJob.read(Path(os.environ["HAS_VECTORS"]) / "images.npz")
    results = Path(os.environ.get("HAS_RESULTS", "results"))
    pauses = os.environ.get("HAS_PAUSES")
    bench = CoreBench(dut, int(pauses) if pauses else None, watch=False)
    await bench.start()
    first = bench.cycles
    await bench.classify(job)
    cycles = bench.cycles - first
    logits = np.array([bench.logits(packet) for packet in bench.results.packets])
    values = {"logits": logits, "cycles": np.array(cycles), **await registers(bench, job)}
    results.mkdir(parents=True, exist_ok=True)
    np.savez(results / "images.npz", allow_pickle=False, **values)
    assert (logits == job.logits).all(), f"logits must be {job.logits}, not {logits}"
    assert values["status"] == 0, f"status must be idle and without an error: {values['status']}"

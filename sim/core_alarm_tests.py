"""Many images through a core that watches its healthy array, with a check after each: no alarm.

Environment: HAS_VECTORS, folder with ``images.npz``, ``watch.npz`` as core_watch_tests.py has it
and ``times``, how often the images are sent; HAS_RESULTS, folder for what came out.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cocotb
import core_registers as core
import numpy as np
from core_bench import CoreBench
from core_steps import idle, job
from core_watch_tests import Checks, arm, held, status


@cocotb.test()
async def no_alarm_on_a_healthy_array(dut: Any) -> None:
    """Every logit is held to the engine's, and the alarm is looked for at every cycle."""
    bench = CoreBench(dut, watch=False)
    await bench.start()
    checks, images, times = Checks(dut), job(), int(held()["times"])
    wanted = np.tile(images.logits, (times, 1))
    await arm(bench, 1)
    cycles = bench.cycles
    await bench.registers.set(core.IRQ_ENABLE, core.ERROR_SET)
    for _ in range(times):
        await bench.classify(images)
    cycles = bench.cycles - cycles
    assert (await status(bench))[::2] == (0, 0)
    await idle(bench)
    packets = bench.results.packets
    got = np.array([bench.logits(packet) for packet in packets])
    said = {
        "images": len(got),
        "checks": checks.count,
        "cycles of a check": checks.cycles / checks.count,
        "cycles": cycles,
        "alarms": checks.alarms,
        "logits": got.size,
        "differ": int(np.count_nonzero(got != wanted)),
    }
    folder = Path(os.environ.get("HAS_RESULTS", "results"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "alarms.json").write_text(json.dumps(said))
    assert got.shape == wanted.shape and not said["differ"] and not checks.alarms, said
    assert checks.count == len(got) + 1, said

"""Many chips on one simulated core: each plays the vectors and classifies images.

Environment: as driver_steps.py says; the array is built with the masks of the bench. ``chips.npz``
has ``<chip>/<register of tb_fault_masks>`` for chips 0, 1, ...; ``bench.json``: ``tests``, for each
chip the folder of its vectors, and ``images``. HAS_RESULTS, folder for ``acc_<chip>.npz`` and
``logits.npz``, whose `<chip>` are the logits of the images.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.task import resume
from driver_steps import FOLDER, blocking, board, expected, images, opened
from streams import pack

RESULTS = Path(os.environ.get("HAS_RESULTS", "results"))


@cocotb.test()
async def every_chip(dut: Any) -> None:
    """What comes is written, not judged here."""
    made = await board(dut)
    said = expected()
    codes = images()["codes"][: int(said["images"])]
    RESULTS.mkdir(parents=True, exist_ok=True)
    with np.load(FOLDER / "chips.npz", allow_pickle=False) as file:
        held = {name: file[name] for name in file.files}

    async def become(chip: int) -> None:
        for name, values in held.items():
            number, register = name.split("/")
            if int(number) != chip:
                continue
            for pe, fields in enumerate(values.reshape(len(values), -1)):
                handle = getattr(dut.layers.array.g_pe[pe].g_masks.masks, register)
                handle.value = pack(fields[None], len(handle) // len(fields))[0]

    def run() -> None:
        core = opened(made, batch=32)
        logits: dict[str, Any] = {}
        for chip, tests in enumerate(said["tests"]):
            resume(become)(chip)
            core.answers(FOLDER / tests).save(RESULTS / f"acc_{chip}.npz")
            logits[str(chip)] = core.logits_of_codes(codes)
            dut._log.info(f"chip {chip + 1} of {len(said['tests'])}")
        np.savez(RESULTS / "logits.npz", **logits)

    await blocking(run)

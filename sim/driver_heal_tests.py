"""A chip healed while it runs: images, the driver's vectors, the host's answer, images.

Environment: as driver_steps.py says; ``tests/`` holds the vectors, ``bench.json``: ``images`` to
classify before and after. The answers go to ``acc.npz``; the simulation waits for ``healed.json``,
whose ``board`` is the folder that a host made of them, empty where it made none. HAS_RESULTS,
folder for ``healed.json`` and ``healed.npz``, what came out. Where ``masks.npz`` is there the
faults appear between two images: they are written into the registers of tb_fault_masks after half
of the images.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.simtime import get_sim_time
from cocotb.task import resume
from driver_board import Board
from driver_steps import FOLDER, blocking, board, expected, images, opened
from fault_switch import switch

RESULTS = Path(os.environ.get("HAS_RESULTS", "results"))
MASKS = FOLDER / "masks.npz"
PERIOD_NS = 10


class Phases:
    """Cycles and accesses of the registers, by what they were for."""

    def __init__(self, made: Board) -> None:
        self._made = made
        self._cycles, self._accesses = self._now(), made.accesses
        self.found: dict[str, tuple[int, int]] = {}

    def _now(self) -> int:
        return int(get_sim_time("ns")) // PERIOD_NS

    def end(self, name: str) -> None:
        """What has passed since the last phase was this one."""
        now, accesses = self._now(), self._made.accesses
        self.found[name] = (now - self._cycles, accesses - self._accesses)
        self._cycles, self._accesses = now, accesses


def answer_of_host() -> str:
    """The folder that it made of the answers; simulated time stands still meanwhile."""
    path = FOLDER / "healed.json"
    while not path.exists():
        time.sleep(0.05)
    return str(json.loads(path.read_text())["board"])


@cocotb.test()
async def healed_while_it_runs(dut: Any) -> None:
    """What came of it is written, not judged here: the caller has both sides."""
    made = await board(dut)
    codes = images()["codes"][: int(expected()["images"])]
    RESULTS.mkdir(parents=True, exist_ok=True)

    async def faults() -> None:
        switch(dut, MASKS)

    def run() -> None:
        core = opened(made, batch=32)
        phases, half = Phases(made), len(codes) // 2
        first = core.logits_of_codes(codes[:half])
        if MASKS.exists():
            resume(faults)()
        before = np.concatenate([first, core.logits_of_codes(codes[half:])])
        phases.end("images before")
        core.answers(FOLDER / "tests").save(FOLDER / "new.npz")
        (FOLDER / "new.npz").rename(FOLDER / "acc.npz")
        phases.end("vectors played")
        folder = answer_of_host()
        if not folder:
            return  # the host says why
        brought = len(images(Path(folder) / "schedule")["codes"])  # fewer than a build may have
        found = core.heal(folder, images=min(len(codes), brought))
        phases.end("written, read back, held to the prediction")
        after = core.logits_of_codes(codes)
        phases.end("images after")
        np.savez(RESULTS / "healed.npz", before=before, after=after)
        said = {"good": found.good, "words": str(found), "phases": phases.found}
        (RESULTS / "healed.json").write_text(json.dumps(said))

    await blocking(run)

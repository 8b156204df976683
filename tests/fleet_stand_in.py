"""A fleet whose chips take a moment each: clients, workers and store without a search.

``FLEET_LOG`` names a file that takes a line for each chip as it is begun: ``begun`` or, where its
part lies in the store ``FLEET_STORE`` already, ``again``; the key; the process. ``FLEET_SECONDS``
is what a chip takes.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from hascodesign.contract.types import Dataset, Equivalence, Fault, FaultProfile, Split, frozen
from hascodesign.fleet.chips import Chip, alike
from hascodesign.fleet.work import Shared, require_same
from hascodesign.flow.config import board_config, load_config
from tests.schedule_stand_in import dense_network

CONFIG = load_config(board_config("pynq-z2"), {"board": "pynq-z2"})
ARRAY = CONFIG.array.spec()


def shared() -> Shared:
    split = Split(np.zeros((4, 5), dtype=np.float32), frozen([0, 1, 2, 0]))
    equal = Equivalence(("a",), (0,), (4,), (2,), 0.0, 4, 4, 4, 0.0)
    network = dense_network([6, 3], 5, seed=1)
    return Shared(network, equal, Dataset("none", split, split), CONFIG)


def fleet(count: int) -> tuple[Chip, ...]:
    """So many chips; the last has the faults of the first."""
    faults = [Fault(i % 16, "sa1", "product", 0, i // 16) for i in range(count - 1)]
    faults.append(faults[0])
    return tuple(
        Chip(f"chip{number}", alike(FaultProfile(ARRAY, (fault,), 3, f"number {number}")))
        for number, fault in enumerate(faults)
    )


def note(word: str, key: str) -> None:
    with Path(os.environ["FLEET_LOG"]).open("a") as file:
        file.write(f"{word} {key} {os.getpid()}\n")


def notes(log: Path) -> list[list[str]]:
    """The lines so far: word, key, process."""
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def chip(_name: str, program: str, key: str, profile: bytes) -> tuple[dict[str, Any], bytes]:
    """What `work.chip` gives, of nothing but the profile."""
    require_same(program, "here")
    if log := os.environ.get("FLEET_LOG"):
        part = Path(os.environ["FLEET_STORE"], "chips", f"{key}.parquet")
        note("again" if part.exists() else "begun", key)
        del log
    time.sleep(float(os.environ.get("FLEET_SECONDS", "0")))
    digest = hashlib.sha256(profile).hexdigest()
    row = {
        "key": key, "faults": 1, "faulty_pes": 1, "heldout": 200, "healthy_correct": 198,
        "plain_correct": int(digest[:2], 16) % 198, "scheduled_correct": 190 + int(digest[2], 16),
        "passes": 2, "least_passes": 2, "evaluations": 0, "healthy_loss": 0.1, "plain_loss": 2.0,
        "scheduled_loss": 0.25, "notes": ["A note."], "roms_sha256": digest,
        "seconds": 0.1, "cpu_seconds": 0.05, "worker": str(os.getpid()), "finished": "now",
    }  # fmt: skip
    return row, profile

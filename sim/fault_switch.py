"""Faults that come and go while a core runs: registers of tb_fault_masks, written by a bench."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from streams import pack


def switch(dut: Any, masks: Path) -> None:
    """Have the faults of a file act from here on, and no others."""
    with np.load(masks, allow_pickle=False) as file:
        for name in file.files:
            for pe, fields in enumerate(file[name].reshape(len(file[name]), -1)):
                handle = getattr(dut.layers.array.g_pe[pe].g_masks.masks, name)
                handle.value = pack(fields[None], len(handle) // len(fields))[0]

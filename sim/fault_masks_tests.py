"""has_fault_masks alone: what the masks make of zeros and ones, against the array contract.

``masks.npz`` has places [N, 5] (layer, bank address, pass, column, step) and for each port
``<pe>_<site>_<v>`` [N]: the wires as hexadecimal text, the lowest in the lowest bits, after the
faults have met wires that all carry v.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from module_bench import drive, join, settle, size, value

SITES = ("wmem", "weight", "act", "product", "psum", "acc")


@cocotb.test()
async def every_site_at_every_place(dut: Any) -> None:
    """F(0) and F(1) of every wire are all that masks can be told by."""
    compared = 0
    with np.load(Path(os.environ["HAS_VECTORS"]) / "masks.npz", allow_pickle=False) as job:
        held = {name: job[name] for name in job.files}
    pe = size(dut, "PE")
    for number, place in enumerate(held["places"].tolist()):
        drive(dut, coordinates=join(place[::-1], 32))
        await settle()
        for site in SITES:
            if f"{pe}_{site}_0" not in held:
                continue
            met, set_, flipped = (value(dut, f"{site}_{mask}") for mask in ("and", "or", "xor"))
            for bit, got in ((0, set_ ^ flipped), (1, (met | set_) ^ flipped)):
                wanted = int(str(held[f"{pe}_{site}_{bit}"][number]), 16)
                assert got == wanted, (pe, site, bit, place, hex(got), hex(wanted))
                compared += 1
    assert compared

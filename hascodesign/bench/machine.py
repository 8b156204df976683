"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numba
import torch

from hascodesign.engine.matrix import int8_is_best

PACKAGES = ("numpy", "torch", "numba", "brevitas")


@dataclass(frozen=True, slots=True)
class Machine:
    """Processor, threads and versions."""

    processor: str
    cores: int
    torch_threads: int
    numba_threads: int
    wait_policy: str  # of OpenMP's threads between parallel regions
    int8: bool  # whether the engine multiplies in 8 bits here
    load: float  # mean number of other runnable processes in the minute before
    python: str
    packages: dict[str, str]

    @property
    def title(self) -> str:
        """One line for a table or a plot."""
        return (
            f"{self.processor}, {self.cores} cores, torch {self.packages['torch']} on "
            f"{self.torch_threads} threads, numba {self.packages['numba']} on {self.numba_threads}"
        )


def describe() -> Machine:
    """The machine and the versions that this process runs on."""
    int8 = int8_is_best()  # first: torch settles its threads at the first product
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        torch_threads=torch.get_num_threads(),
        numba_threads=numba.get_num_threads(),
        wait_policy=os.environ.get("OMP_WAIT_POLICY", "default"),
        int8=int8,
        load=os.getloadavg()[0],
        python=platform.python_version(),
        packages={name: version(name) for name in PACKAGES},
    )


def _processor() -> str:
    """Model name, with the instructions for 8-bit products that it has."""
    name, flags = platform.processor() or platform.machine(), ""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8").splitlines()
        parts = (line.partition(":") for line in lines)
        entries = {key.strip(): value.strip() for key, _, value in parts}
        name, flags = entries.get("model name", name), entries.get("flags", "")
    known = {"amx_int8": "AMX int8", "avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX VNNI"}
    found = [label for flag, label in known.items() if flag in flags.split()]
    return f"{name} ({found[0]})" if found else name

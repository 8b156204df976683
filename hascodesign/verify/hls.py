"""The HLS C++ of the whole network, compiled, and every integer of it held to the engine."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path

from hascodesign.board import tools
from hascodesign.common import files, processes
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.errors import StepFailed, VerificationMismatch
from hascodesign.contract.results import HlsRun

FLAGS = ("-std=c++14", "-O0", "-DHAS_PROBE=1")
SOURCES = ("hls/has_network.cpp", "hls/has_network_tb.cpp")
LIMIT_S = 1800.0
_SHOWN = 500  # characters of what a bench said
_LAST = re.compile(r"(\d+) integers compared, (\d+) mismatches")


def run_network(
    plan: BuildPlan, vectors: Mapping[str, bytes], images: int, integers: int, *, work: Path
) -> tuple[HlsRun, ...]:
    """Compile a plan's network with g++, without and with its faults, and run its bench.

    Parameters
    ----------
    plan : the build, with ``hls/`` and ``roms/``; the compiler reads its very bytes.
    vectors : ``healthy`` and ``faulty``: images of a bench built with HAS_PROBE 1.
    images : of each file.
    integers : that each must compare.
    work : folder; what is compiled and its logs stay there.

    Raises
    ------
    VerificationMismatch
        An integer that differs, or that was not compared.
    StepFailed
        The C++ does not compile, or runs past its limit.
    """
    compiler = tools.require("g++")
    kept = ("hls/", "roms/")
    files.write_tree(
        work, {p: b for p, b in plan.files.items() if p.startswith(kept) and p.endswith(_TEXT)}
    )
    return tuple(
        _run(compiler, run, vectors[run], (images, integers), work) for run in ("healthy", "faulty")
    )


_TEXT = (".h", ".cpp")


def _run(compiler: Path, run: str, vectors: bytes, sizes: tuple[int, int], work: Path) -> HlsRun:
    start = time.perf_counter()
    program = (work / run).resolve()
    defines = [f"-DHAS_FAULT_SITES={int(run == 'faulty')}"]
    log = work / f"{run}.log"
    tools.run(
        [compiler, *FLAGS, *defines, *SOURCES, "-o", program], cwd=work, log=log, timeout=LIMIT_S
    )
    (work / f"{run}.txt").write_bytes(vectors)
    done = processes.run([program, f"{run}.txt"], cwd=work, log=log, limit_s=LIMIT_S)
    if done.status is None:
        raise StepFailed(f"verify: the C++ of hls/ ran past {LIMIT_S:g} s; its log is {log}")
    text = done.output.decode("utf-8", "replace").strip()
    images, integers = sizes
    last = _LAST.fullmatch(text.splitlines()[-1] if text else "")
    compared = 0 if last is None else int(last[1])
    if done.status or compared != integers:
        raise VerificationMismatch(
            f"the C++ of hls/ must equal the fault model in {integers:,} integers of the {run} run,"
            f" of which {compared:,} were compared: {text[:_SHOWN]} (log: {log})"
        )
    return HlsRun(run, images, compared, time.perf_counter() - start)

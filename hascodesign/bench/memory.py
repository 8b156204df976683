"""Peak memory of the default flow and of a search, each in a process of its own.

``python -m hascodesign.bench.memory NETWORK IMAGES GENERATIONS`` is one search.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import platformdirs

from hascodesign.bench.result import Line
from hascodesign.bench.search import drawn_profile
from hascodesign.bench.subject import make_subject
from hascodesign.common.display import silent
from hascodesign.common.process_memory import high_water
from hascodesign.contract.array import generator
from hascodesign.contract.errors import StepFailed
from hascodesign.engine.network import Evaluator
from hascodesign.schedule import genetic
from hascodesign.schedule.fitness import Fitness, by_network
from hascodesign.schedule.options import SearchOptions
from hascodesign.schedule.space import make_space

FLOW_TARGET = 2.0  # GB
FLAT = 1.05  # peak of many generations to that of few
#: Bytes of rows that these keep, so little that few generations fill it; a flow keeps 512 MiB.
CACHE = 64 << 20
GENERATIONS = (10, 40)
INTERVAL = 0.02  # seconds between two looks


def peaks(
    network: str,
    told: Callable[[Line], None],
    *,
    images: int = 377,
    generations: tuple[int, int] = GENERATIONS,
    flow: bool = True,
) -> list[Line]:
    """Peak resident memory of a flow, and of searches with few and with many generations.

    Parameters
    ----------
    network : name of a bundled network.
    told : every line as it comes.
    images : that the searches judge on.
    generations : few and many.
    flow : whether to run the flow as well; that of an MNIST network needs its data.
    """
    lines = []
    if flow and (network == "digits-cnn" or os.environ.get("HASCODESIGN_DATA")):
        with tempfile.TemporaryDirectory(prefix="hascodesign-") as folder:
            command = ["-m", "hascodesign", "flow", "--model", network, "--out", folder]
            peak = _peak(command)
        name = f"flow --model {network}, peak"
        lines.append(Line("memory", name, value=peak / 1e9, unit="GB", target=FLOW_TARGET))
    elif flow:
        note = "not measured: HASCODESIGN_DATA must name the folder with the MNIST files"
        lines.append(Line("memory", f"flow --model {network}, peak", note=note))
    for line in lines:
        told(line)
    few, many = (
        _peak(["-m", "hascodesign.bench.memory", network, str(images), str(g)]) for g in generations
    )
    name = (
        f"search, {generations[1]} generations to {generations[0]}, {CACHE >> 20} MiB of rows kept"
    )
    note = f"{megabytes(few)} and {megabytes(many)}"
    lines.append(Line("memory", name, value=many / few, unit="", target=FLAT, note=note))
    told(lines[-1])
    return lines


def megabytes(size: float) -> str:
    """Bytes in megabytes."""
    return f"{size / 1e6:.0f} MB"


def _peak(arguments: Sequence[str]) -> float:
    """Most resident bytes of a Python process.

    Its own high-water mark, looked at until it ends: what the kernel reports of a child afterwards
    counts the parent that it was started from.
    """
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        peak = 0
        try:
            while child.poll() is None:
                peak = max(peak, high_water(child.pid))
                time.sleep(INTERVAL)
        except BaseException:
            child.terminate()  # a flow ends its own programs first
            child.wait()
            raise
        if child.returncode:
            log.seek(0)
            last = log.read().decode("utf-8", "replace").strip().splitlines()[-1:]
            raise StepFailed(f"{' '.join(arguments)} must end with 0: {' '.join(last)}")
    return peak


def main(arguments: Sequence[str]) -> None:
    """Search once with so many generations, whatever they bring."""
    name, images, generations = arguments[0], int(arguments[1]), int(arguments[2])
    cache = Path(platformdirs.user_cache_dir("hascodesign"))
    subject = make_subject(name, 10, cache, silent)
    profile = drawn_profile(subject, 1)
    codes, labels = (part[:images] for part in subject.calibration)
    options = SearchOptions(
        generations=generations, plateau=generations + 1, evaluations=10**6, polish=False
    )
    evaluator = Evaluator(subject.network, profile, codes, labels, cache_bytes=CACHE)
    space = make_space(subject.network, profile)
    fitness = Fitness(space, by_network(space, evaluator), 10**6)
    rng = generator(1, "bench memory")
    genetic.evolve(fitness, None, [], options, rng, lambda _loss: None)


if __name__ == "__main__":
    main(sys.argv[1:])

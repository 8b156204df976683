"""Progress is told while a program runs, not after it, and an estimate before."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hascodesign.board.synthesis import _passes
from hascodesign.common.follow import following
from hascodesign.verify import progress
from tests import verify_cases as cases
from tests.test_verify_simulation import build, verify


def test_lines_come_while_the_program_runs(tmp_path: Path) -> None:
    """The program waits for an answer to its first line: told after its end, it would not end."""
    log, answer = tmp_path / "log", tmp_path / "answer"
    told: list[str] = []
    log.write_text("of an earlier run\n")

    def take(line: str) -> None:
        told.append(line)
        answer.touch()

    program = (
        "import pathlib, sys, time\n"
        "print('first', flush=True)\n"
        "end = time.monotonic() + 60\n"
        "while not pathlib.Path(sys.argv[1]).exists() and time.monotonic() < end:\n"
        "    time.sleep(0.01)\n"
        "print('answered' if pathlib.Path(sys.argv[1]).exists() else 'silence')\n"
    )
    with following(log, take), log.open("wb") as file:
        subprocess.run([sys.executable, "-c", program, str(answer)], stdout=file, check=True)
    assert told == ["first", "answered"]
    assert not any(thread.name.startswith("Thread") for thread in threading.enumerate()[1:])


def test_a_run_goes_on_where_nobody_reads(tmp_path: Path) -> None:
    """Standard error is a pipe whose reader is gone; the log has every line, and says so."""
    log = tmp_path / "flow.log"
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from hascodesign.common.display import Display\n"
        "sys.stdin.read()\n"
        "with Display(Path(sys.argv[1])) as display:\n"
        "    display.line('first')\n"
        "    display._last_line = -9.0\n"
        "    display.progress('second', 1, 2)\n"
        "    display.line('third')\n"
        "print('to the end')\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", program, str(log)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert run.stdin is not None and run.stdout is not None and run.stderr is not None
    run.stderr.close()
    run.stdin.close()
    assert run.stdout.read() == b"to the end\n"
    assert run.wait(60) == 0
    told = [line.split(maxsplit=2)[2] for line in log.read_text().splitlines()]
    assert told == ["nobody reads the screen any more: the rest is here", "first", "third"]


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is missing")
def test_layers_are_told_in_steps(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    said: list[str] = []
    verify(build(), tmp_path, progress=lambda *at: seen.append(at), say=said.append)
    names = [layer.name for layer in cases.network().layers]
    layers = {f"{run} {name}" for run in ("healthy", "faulty") for name in names}
    assert {what for what, *_ in seen} == layers | {"verify"}
    for name in layers:
        steps = [(done, total) for what, done, total in seen if what == name]
        assert steps == sorted(steps) and steps[-1][0] == steps[-1][1] and len(steps) > 3
    assert len(said) == 1 and "cycles to simulate, about" in said[0] and "(estimate)" in said[0]


def test_the_image_that_is_in_the_array_is_told() -> None:
    seen: list[tuple[str, int, int]] = []
    told = progress.images_reader("faulty", 2, 1000, lambda *at: seen.append(at))
    for line in ("0.00ns INFO", "progress cycles 200 0 2", "progress cycles 600 1 2", "x",
                 "progress cycles 800 1 2", "progress cycles 1400 2 2"):  # fmt: skip
        told(line)
    first, second = ("faulty image 1 of 2, cycles", "faulty image 2 of 2, cycles")
    assert seen == [(first, 200, 500), (first, 500, 500), (second, 0, 500), (second, 200, 500),
                    (second, 500, 500)]  # fmt: skip


def test_an_estimate_takes_the_rate_that_was_measured() -> None:
    spec = cases.ARRAY
    known = progress.seconds(10_000, spec, "icarus", rate=100.0)
    assert known == progress.BUILD_S["icarus"] + 100.0
    unknown = progress.seconds(10_000, spec, "icarus") - progress.BUILD_S["icarus"]
    assert unknown == pytest.approx(1e4 * spec.pe * spec.simd * progress.MULTIPLIER_S["icarus"])
    assert progress.words("layers", 1200, 300.0) == (
        "layers: 1,200 cycles to simulate, about 5 min (estimate)"
    )


def test_every_pass_of_yosys_counts() -> None:
    seen: list[tuple[str, int, int]] = []
    told = _passes(3, lambda *at: seen.append(at))
    log = "1. Executing Verilog frontend.\nParsing\n2.1.3. Executing OPT pass\n"
    for line in (log + "3. Executing A\n4. Executing B").splitlines():
        told(line)
    assert [done for _, done, _ in seen] == [1, 2, 2, 2]  # never whole before yosys has ended

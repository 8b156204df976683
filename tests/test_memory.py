"""Peak memory: a process's own and its children's, not that of what started it."""

from __future__ import annotations

import subprocess
import sys

from hascodesign.common import process_memory

HOLD = "x = bytearray({0} << 20); x[::4096] = b'1' * len(x[::4096]); "
RUN = "import subprocess, sys; subprocess.run([sys.executable, '-c', {0!r}], check=True); "
ASK = "from hascodesign.common.process_memory import peak; print(peak())"


def told(program: str) -> int:
    return int(subprocess.check_output([sys.executable, "-c", program]))


def test_what_started_a_process_does_not_count() -> None:
    alone = told(ASK)
    assert abs(told(HOLD.format(200) + RUN.format(ASK)) - alone) < 10e6


def test_own_memory_and_that_of_children_count() -> None:
    alone = told(ASK)
    assert 190e6 < told(HOLD.format(200) + ASK) - alone < 230e6
    assert 190e6 < told(RUN.format(HOLD.format(200)) + ASK) < 230e6 + alone


def test_a_process_that_is_gone_holds_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert process_memory.high_water(process.pid) == 0
    assert process_memory.high_water() > 1 << 20

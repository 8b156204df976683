"""Peak memory: a process's own and its children's, not that of what started it; pages kept."""

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


def test_what_large_blocks_leave_is_kept_for_the_next() -> None:
    again = "\n".join((
        "import resource",
        "for _ in range(20): b'1' * (48 << 20)",
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)",
    ))  # fmt: skip
    hold = "from hascodesign.common.process_memory import hold_freed; hold_freed()\n"
    pages = 20 * (48 << 20) // 4096
    assert told(again) > pages
    assert told(hold + again) < pages // 5

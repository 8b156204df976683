"""Run one program so that it never outlives whoever started this: a script, not a module.

    python -I -S supervise.py PARENT COMMAND...

The program runs in a process group of its own, which is killed as a whole when standard input
closes (its other end is the parent's alone: it is stopped, or dead), when a signal comes, and when
the program itself has ended. This then ends as the program did, by status or by signal. Nothing
but the standard library is imported: it starts once for each program.
"""

import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
from contextlib import suppress

NOT_STARTED = 127  # as of a shell
_PR_SET_PDEATHSIG = 1


def die_with_parent(number: int) -> None:
    """Ask the kernel for a signal to this process when the one that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def main(parent: int, command: list[str]) -> int:
    """Status of the program; negative for the signal that ended it."""
    stopping = threading.Event()
    groups: list[int] = []

    def stop(*_: object) -> None:
        stopping.set()
        for group in groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)

    def watch() -> None:
        while os.read(0, 1):
            pass
        stop()

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    die_with_parent(signal.SIGTERM)
    if os.getppid() != parent:
        return -signal.SIGKILL  # it ended before the kernel was asked
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=lambda: die_with_parent(signal.SIGKILL),  # noqa: PLW1509  (one thread yet)
        )
    except OSError as error:
        print(f"error: {command[0]} could not be started: {error.strerror}", file=sys.stderr)
        return NOT_STARTED
    groups.append(child.pid)
    if stopping.is_set():
        stop()
    threading.Thread(target=watch, daemon=True).start()
    # not reaped yet: as long as it is not, no other group can have its number
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    stop()
    return child.wait()


if __name__ == "__main__":
    status = main(int(sys.argv[1]), sys.argv[2:])
    sys.stdout.flush()
    sys.stderr.flush()
    if status < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core of the program's is enough
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)  # not waiting for the thread that reads

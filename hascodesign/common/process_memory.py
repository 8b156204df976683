"""How much memory processes hold and have held."""

from __future__ import annotations

import ctypes
import re
import resource
from contextlib import suppress
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_HELD = 1 << 30  # bytes


def hold_freed() -> None:
    """Keep what arrays leave for the next ones, up to a GB, where the C library is glibc.

    It hands large blocks back to the kernel as soon as they are freed; a search frees and takes
    arrays of some MB all the time, and spends a quarter of its time on pages brought anew.
    """
    with suppress(OSError, AttributeError):  # another C library
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _HELD)
        library.mallopt(_TRIM_THRESHOLD, _HELD)


def high_water(pid: int | None = None) -> int:
    """Most bytes that a process has had resident since its program was loaded; 0 once it ended.

    Parameters
    ----------
    pid : the process; this one where None.
    """
    try:
        status = Path(f"/proc/{pid or 'self'}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return 1024 * int(found[1]) if found else 0


def peak() -> int:
    """Most bytes that this process or any that it has started and waited for has held at once.

    What `getrusage` says of a process counts the program that started it, which may be larger; of
    those that this one started, that is this one.
    """
    children = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    own = high_water() or 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return max(own, children)

"""How much memory processes have held."""

from __future__ import annotations

import re
import resource
from pathlib import Path


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

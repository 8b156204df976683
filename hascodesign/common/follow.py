"""Read a growing log line by line while the program that writes it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

INTERVAL = 0.5  # seconds between two looks


@contextmanager
def following(log: Path, told: Callable[[str], None]) -> Iterator[None]:
    """Tell of each whole line of a log as it comes, from a thread of its own.

    Parameters
    ----------
    log : file that is made anew within this context; what an earlier run left goes first.
    told : called with every line, without its end; all of them by the end of the context.
    """
    log.unlink(missing_ok=True)
    ended = threading.Event()
    thread = threading.Thread(target=_follow, args=(log, told, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _follow(log: Path, told: Callable[[str], None], ended: threading.Event) -> None:
    place, rest, last = 0, b"", False
    while not last:
        last = ended.wait(INTERVAL)
        if not log.is_file():
            continue
        with log.open("rb") as file:
            file.seek(place)
            chunk = file.read()
        place += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            told(line.decode("utf-8", "replace"))

"""Ctrl-C: the first ends a search with what it has, the second ends the program at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

from hascodesign.contract.errors import Interrupted
from hascodesign.contract.results import SearchResult

EXIT_CODE = 130  # as of a program that SIGINT ends

_seen = threading.Event()


def install() -> None:
    """Note every Ctrl-C from now on; as before, each raises KeyboardInterrupt."""
    _seen.clear()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _note)


def _note(_number: int, _frame: FrameType | None) -> None:
    _seen.set()
    raise KeyboardInterrupt


def ignore() -> None:
    """No Ctrl-C counts any more: the program is ending, and has said so."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def check() -> None:
    """Raise the KeyboardInterrupt of a Ctrl-C that compiled code on its way has swallowed."""
    if _seen.is_set():
        _seen.clear()
        raise KeyboardInterrupt


def whole(search: Callable[[], SearchResult]) -> SearchResult:
    """Result of a search that ran to its end; one that Ctrl-C stopped is not to be stored.

    Raises
    ------
    Interrupted
        With the best schedule so far, where the search had one.
    """
    try:
        result = search()
    except KeyboardInterrupt:
        raise Interrupted("the search was stopped by Ctrl-C, it has no map to write") from None
    if result.interrupted:
        text = f"the search was stopped by Ctrl-C after {result.evaluations} evaluations"
        raise Interrupted(text, result.schedule)
    return result

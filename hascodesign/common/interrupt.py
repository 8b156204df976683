"""Signals: the first Ctrl-C ends a search with what it has, the second ends the program at once.

SIGTERM and SIGHUP end the program at once, after what it must put in order.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from hascodesign.contract.errors import Interrupted
from hascodesign.contract.results import SearchResult

EXIT_CODE = 130  # as of a program that SIGINT ends

_seen: list[int] = []  # signals that nobody has been seen to answer yet


class Terminated(BaseException):
    """SIGTERM or SIGHUP: no error of a step, so that nothing on the way takes it for one."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number  # as of a program that the signal ends


def install() -> None:
    """From now on Ctrl-C is noted, and SIGTERM and SIGHUP raise Terminated.

    As before, each Ctrl-C raises KeyboardInterrupt. What the caller had ignored, as `nohup` does
    with SIGHUP, stays ignored.
    """
    _seen.clear()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _note)
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _note)


def _note(number: int, _frame: FrameType | None) -> None:
    _seen.append(number)
    _raise(number)


def _raise(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Terminated(number)


def ignore() -> None:
    """No signal counts any more: the program is ending, and has said so."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


def check() -> None:
    """Raise what a signal has raised and compiled code on its way has swallowed."""
    if _seen:
        number = _seen[-1]
        _seen.clear()
        _raise(number)


def check_terminated() -> None:
    """Raise what SIGTERM or SIGHUP has raised and compiled code on its way has swallowed."""
    for number in _seen:
        if number != signal.SIGINT:
            _raise(number)


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
        raise Interrupted(text, result.schedule, result.written)
    return result

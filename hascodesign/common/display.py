"""What the user sees while the flow works: bars on a terminal, plain lines elsewhere, and a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hascodesign.common import interrupt

ProgressCall = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody looks at."""


class _Screen(Console):
    """Standard error. A run does not end because nobody reads on, as behind ``| head``."""

    def __init__(self, closed: Callable[[], None]) -> None:
        super().__init__(stderr=True, highlight=False)
        self._closed = closed

    def on_broken_pipe(self) -> None:
        """Show no more, and say so once where it can still be read."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stderr.fileno())
        os.close(nowhere)
        self.quiet = True
        self._closed()


class Display:
    """Progress and messages of one run; a context manager.

    Parameters
    ----------
    log : file that every message goes to as well, None for no log.
    """

    def __init__(self, log: Path | None = None) -> None:
        self.console: Console = _Screen(
            lambda: self.record("nobody reads the screen any more: the rest is here")
        )
        self._log = log
        self._bars: Progress | None = None
        self._last_line = 0.0

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=self.console,
                transient=True,
            )
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def line(self, text: str) -> None:
        """One message, on the screen and in the log."""
        self.console.print(text, markup=False, soft_wrap=True)
        self.record(text)

    def record(self, text: str) -> None:
        """One message for the log alone."""
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def progress(self, what: str, done: int, total: int) -> None:
        """``done`` of ``total`` of something that takes a while; may be called very often."""
        interrupt.check_terminated()
        if self._bars is not None:
            self._bar(what, done, total)
            return
        now = time.monotonic()
        if done == 0 or (now - self._last_line < 5.0):
            self._last_line = now if done == 0 else self._last_line
            return
        self._last_line = now
        self.console.print(f"  {what}: {done}/{total}", markup=False, soft_wrap=True)

    def _bar(self, what: str, done: int, total: int) -> None:
        bars = self._bars
        if bars is None:
            return
        known = {task.description: task.id for task in bars.tasks}
        task = known.get(what)
        if task is None:
            task = bars.add_task(what, total=total)
        bars.update(task, completed=done, total=total)
        if done >= total:
            bars.remove_task(task)

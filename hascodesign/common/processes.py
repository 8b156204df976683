"""Start programs: in groups of their own, with limits, and never to outlive this process."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_SUPERVISOR = Path(__file__).with_name("supervise.py")
_PYTHON = sys.executable
_CHUNK = 1 << 16
_TUNABLES, _PRELOAD = "GLIBC_TUNABLES", "LD_PRELOAD"
_LIBRARIES = (Path("/usr/lib"), Path("/usr/lib64"), Path("/usr/local/lib"))
_JEMALLOC = "libjemalloc.so.2"


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended."""

    status: int | None  # negative: the signal that ended it; None: it ran past its limit
    output: bytes  # standard output and standard error

    @property
    def words(self) -> str:
        """The status for a message."""
        if self.status is None:
            return "was stopped at its limit"
        if self.status < 0:
            return f"was ended by {signal.Signals(-self.status).name}"
        return f"ended with status {self.status}"


class _Group:
    """Programs that the threads of one pool wait for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: set[subprocess.Popen[bytes]] = set()
        self._ended = False

    @contextmanager
    def holding(self, child: subprocess.Popen[bytes]) -> Iterator[None]:
        with self._lock:
            self._live.add(child)
            if self._ended:
                _stop(child)
        try:
            yield
        finally:
            with self._lock:
                self._live.discard(child)

    def end(self) -> None:
        """Stop what runs, and from now on what starts."""
        with self._lock:
            self._ended = True
            for child in self._live:
                _stop(child)


class _Count:
    """How many programs run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        with self._lock:
            self.now += 1
        try:
            yield
        finally:
            with self._lock:
                self.now -= 1


_programs = _Count()


class _Local(threading.local):
    group: _Group | None = None


_local = _Local()


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    limit_s: float | None = None,
    on_line: Callable[[str], None] | None = None,
) -> Finished:
    """Run a program to its end, with all that it starts.

    It and its children are killed when it runs past its limit, when an exception (Ctrl-C, a
    signal, a full disk) leaves this call, and when this process ends, however it ends.

    Parameters
    ----------
    command : program and arguments; no shell. Its standard input is empty.
    cwd, env : its folder and environment; this process's own where None.
    log : file that takes standard output and standard error together, as they come.
    limit_s : seconds of wall clock; None for no limit.
    on_line : told of each line of the output as it comes, without its end.

    Raises
    ------
    OSError
        The program cannot be started, or the log cannot be written.
    """
    pipe = subprocess.PIPE
    supervised = [_PYTHON, "-I", "-S", os.fspath(_SUPERVISOR), str(os.getpid())]
    parts = [os.fspath(part) for part in command]
    end = None if limit_s is None else time.monotonic() + limit_s
    with open(os.devnull if log is None else log, "wb", buffering=0) as kept:  # noqa: PTH123
        child = subprocess.Popen(
            [*supervised, *parts], cwd=cwd, env=_with_fast_memory(env), stdin=pipe, stdout=pipe,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        group = _local.group or _Group()
        output: list[bytes] = []
        with group.holding(child), _programs.one_more():
            try:
                status = _follow(child, end, _tee(output, kept.write, on_line))
            finally:
                _stop(child)
                child.wait()
                if child.stdout is not None:
                    child.stdout.close()
    return Finished(status, b"".join(output))


def _with_fast_memory(env: Mapping[str, str] | None) -> dict[str, str]:
    """The environment with jemalloc, where it is installed, and memory in pages of 2 MB.

    Synthesis and simulation walk over hundreds of MB in small pieces; yosys takes a quarter less
    time with both. What the user set stays.
    """
    found = dict(os.environ if env is None else env)
    tunables = (found.get(_TUNABLES), "glibc.malloc.hugetlb=1")
    found[_TUNABLES] = ":".join(filter(None, tunables))
    jemalloc = _jemalloc()
    if jemalloc is not None:
        found[_PRELOAD] = ":".join(filter(None, (found.get(_PRELOAD), jemalloc)))
        found.setdefault("MALLOC_CONF", "thp:always,dirty_decay_ms:-1,muzzy_decay_ms:-1,narenas:1")
    return found


@cache
def _jemalloc() -> str | None:
    """Path of the allocator, or None: asked for by name where it is not, the loader complains."""
    places = (
        *(place / _JEMALLOC for place in _LIBRARIES),
        *sorted(_LIBRARIES[0].glob(f"*-linux-gnu/{_JEMALLOC}")),
    )
    return next((str(place) for place in places if place.is_file()), None)


def _tee(
    output: list[bytes], write: Callable[[bytes], int | None], on_line: Callable[[str], None] | None
) -> Callable[[bytes], None]:
    rest = b""

    def take(chunk: bytes) -> None:
        nonlocal rest
        output.append(chunk)
        left = memoryview(chunk)
        while left:  # a file system may take a part
            left = left[write(bytes(left)) :]
        if on_line is not None:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                on_line(line.decode("utf-8", "replace").rstrip("\r"))

    return take


def _follow(
    child: subprocess.Popen[bytes], end: float | None, take: Callable[[bytes], None]
) -> int | None:
    """Read the output until it ends; the program's status, None past the limit."""
    assert child.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return None
            if not selector.select(left):
                continue
            chunk = os.read(child.stdout.fileno(), _CHUNK)
            if not chunk:
                break
            take(chunk)
    try:
        return child.wait(None if end is None else max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Close the supervisor's input, on which it kills the program's whole group."""
    if child.stdin is not None and not child.stdin.closed:
        child.stdin.close()


@contextmanager
def threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads that run programs; an exception here stops those first.

    A plain pool waits at its end for programs that nobody wants any more. It has at most ``count``
    threads, and no more than there are cores without a program now, but for the first: what began
    before, a synthesis, is what a flow waits for in the end, and keeps a core to itself.
    """
    count = max(1, min(count, len(os.sched_getaffinity(0)) - _programs.now))
    group = _Group()

    def enter() -> None:
        _local.group = group

    pool = ThreadPoolExecutor(count, initializer=enter)
    try:
        yield pool
    except BaseException:
        group.end()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()

"""The files that a user names: regular ones only, and none larger than its kind may be.

A file is opened without waiting, its descriptor is looked at, and only then are bytes read: a
FIFO, a device or a file that is too large costs nothing. ``KINDS`` holds every limit.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hascodesign.contract.errors import ConfigError, FaultProfileError, ModelError, ScheduleError

MIB = 1 << 20
RATIO = 100  # bytes that one packed byte may become, past ALWAYS
ALWAYS = 64 * MIB  # bytes that any packed file may become
_PIECE = MIB


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of input: its name in a message, its limits, and the error that refuses it."""

    what: str
    most: int  # bytes of the file
    error: type[ConfigError]
    unpacked: int = 0  # bytes that its content may take unpacked; 0 = the file is not packed

    def refused(self, path: Path, problem: str) -> ConfigError:
        """The error that says what is wrong with the file at ``path``."""
        return self.error(f"{printable(path)}: {self.what} {problem}")

    def most_unpacked(self, size: int) -> int:
        """Bytes that a packed file of ``size`` bytes may become."""
        return min(self.unpacked, max(ALWAYS, RATIO * size))


PROFILE = Kind("the file", 64 * MIB, FaultProfileError)
MEASURED = Kind("the file", 64 * MIB, FaultProfileError)
PROBABILITIES = Kind("the file", 512 * MIB, FaultProfileError)
SCHEDULE = Kind("schedule", 32 * MIB, ScheduleError)
FLOW_FILE = Kind("flow file", 16 << 10, ConfigError)
MODEL_FILE = Kind("model file", MIB, ModelError)
ONNX = Kind("QONNX network", 256 * MIB, ModelError)
NPZ = Kind("data", 1024 * MIB, ModelError, 1024 * MIB)
IDX = Kind("IDX file", 1024 * MIB, ModelError, 1024 * MIB)
CHECKPOINT = Kind("checkpoint", 1024 * MIB, ModelError, 1024 * MIB)
TESTS = Kind("test set", MIB, ConfigError)
RESULTS = Kind("results", 64 * MIB, ConfigError)
CORE = Kind("build", MIB, ConfigError)
RESPONSES = Kind("answers", 1024 * MIB, ConfigError, 1024 * MIB)
ANY = Kind("the file", 1024 * MIB, ConfigError)  # whose own reader comes later
#: Every kind by the name that the table of limits in docs/array.md gives it.
KINDS = {
    "fault profile, `.json`, `.csv` or `.cells.json`": PROFILE,
    "measured list of block RAM faults, `.csv`": MEASURED,
    "probabilities, `.npy`": PROBABILITIES,
    "schedule, `.json`": SCHEDULE,
    "flow file, `.toml`": FLOW_FILE,
    "model file, `.py`": MODEL_FILE,
    "QONNX network, `.onnx`": ONNX,
    "data, `.npz`": NPZ,
    "data, IDX, plain or `.gz`": IDX,
    "checkpoint": CHECKPOINT,
    "test set of a diagnosis, `tests.json`": TESTS,
    "answers to it, `.npz`": RESPONSES,
    "`core.json` of a build": CORE,
    "results of a benchmark, `.json`": RESULTS,
}

_TYPES = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


class Unreadable(ValueError):
    """Bytes that are not what they should be; the reader of the file puts its name before."""


@contextmanager
def opened(path: Path, kind: Kind) -> Iterator[tuple[BinaryIO, int]]:
    """The file open for reading, and its size.

    Raises
    ------
    ConfigError
        Of the class of ``kind``: no regular file, too large, or it cannot be read; also where an
        ``Unreadable`` or ``OSError`` leaves the body.
    """
    if "\0" in str(path):
        raise kind.refused(path, "must be readable: bad name")
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                came = next((name for test, name in _TYPES if test(status.st_mode)), "another")
                raise Unreadable(f"must be a regular file, not {came}")
            if status.st_size > kind.most:
                raise Unreadable(f"must be at most {amount(kind.most)}, not {status.st_size} bytes")
            yield file, status.st_size
    except Unreadable as error:
        raise kind.refused(path, str(error)) from None
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise kind.refused(path, f"must be readable: {reason}") from None


def read(path: Path, kind: Kind) -> bytes:
    """All bytes of the file."""
    with opened(path, kind) as (file, size):
        return exactly(file, size)


def head(path: Path, kind: Kind, count: int) -> bytes:
    """The first ``count`` bytes of the file, or what it has."""
    with opened(path, kind) as (file, size):
        return file.read(min(count, size))


def digest(path: Path, kind: Kind) -> str:
    """sha256 of the file, read piece by piece."""
    total = hashlib.sha256()
    with opened(path, kind) as (file, size):
        left = size
        while left:
            piece = file.read(min(left, _PIECE))
            if not piece:
                raise Unreadable("must keep its size while it is read")
            total.update(piece)
            left -= len(piece)
        exactly(file, 0)
    return total.hexdigest()


def is_folder(path: Path) -> bool:
    """Whether a folder stands at ``path``; a name that no system takes is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def exactly(file: BinaryIO, size: int) -> bytes:
    """The ``size`` bytes up to the end of the file, which must be there."""
    # one byte more shows a file that grows, and those of /proc, whose size is said to be 0
    content = file.read(size + 1) or b""
    if len(content) != size:
        raise Unreadable("must keep its size while it is read")
    return content


def amount(count: int) -> str:
    """A limit in bytes as a message says it."""
    for unit, name in ((MIB, "MiB"), (1 << 10, "KiB")):
        if count >= unit and count % unit == 0:
            return f"{count // unit} {name}"
    return f"{count} bytes"


def printable(path: Path | str) -> str:
    """A path or a name for an error message: one line whatever it is."""
    text = str(path)
    return text if text.isprintable() else ascii(text)


def one_line(error: BaseException) -> str:
    """What an error of a library says, as one short printable line."""
    text = next(iter(str(error).splitlines()), "") or type(error).__name__
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 200 else text[:200] + "..."


def _without_waiting(path: str, flags: int) -> int:
    # a FIFO without a writer would make open() wait for one
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)

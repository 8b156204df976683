"""What can go wrong, each as one line; the command line ends with ``exit_code``.

DriverError             1   the accelerator, or what was held against it
    WaitError           1   a wait that did not end; the registers are in the message
    InputError          2   bad input or usage, or a schedule of another build
    MissingError        3   pynq or a part of the overlay is not there
"""

from __future__ import annotations

import zipfile
import zlib

#: What reading a file raises that is cut off, damaged or another: JSON, .npy, .npz.
UNREADABLE = (
    OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError, OverflowError,
    MemoryError, NotImplementedError, RecursionError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class DriverError(Exception):
    """One line: what was required, what came, and the registers where they say more."""

    exit_code = 1


class WaitError(DriverError):
    """Something did not happen in time."""


class InputError(DriverError):
    """Bad input or usage."""

    exit_code = 2


class MissingError(DriverError):
    """Pynq, or a part of the overlay, is not there."""

    exit_code = 3

"""Driver of an accelerator that hascodesign has built; needs numpy, and pynq on the board."""

from .accelerator import Accelerator, Throughput
from .errors import DriverError, InputError, MissingError, WaitError
from .registers import Status
from .verification import Verification

__all__ = [
    "Accelerator",
    "DriverError",
    "InputError",
    "MissingError",
    "Status",
    "Throughput",
    "Verification",
    "WaitError",
]

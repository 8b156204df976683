"""Driver of an accelerator that hascodesign has built; needs numpy, and pynq on the board."""

from .accelerator import Accelerator, Throughput
from .errors import DriverError, InputError, MissingError, WaitError
from .healing import Healing
from .registers import Status
from .verification import Verification

__all__ = [
    "Accelerator",
    "DriverError",
    "Healing",
    "InputError",
    "MissingError",
    "Status",
    "Throughput",
    "Verification",
    "WaitError",
]

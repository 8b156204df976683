"""Driver of an accelerator that hascodesign has built; needs numpy, and pynq on the board."""

from .accelerator import Accelerator
from .errors import DriverError, InputError, MissingError, WaitError
from .healing import Healing
from .registers import Status
from .self_test import Check
from .throughput import Throughput
from .verification import Verification

__all__ = [
    "Accelerator",
    "Check",
    "DriverError",
    "Healing",
    "InputError",
    "MissingError",
    "Status",
    "Throughput",
    "Verification",
    "WaitError",
]

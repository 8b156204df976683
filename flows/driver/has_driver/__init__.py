"""Driver of an accelerator that hascodesign has built; needs numpy, and pynq on the board."""

from .accelerator import Accelerator
from .errors import DriverError, InputError, MissingError, WaitError
from .registers import Status

__all__ = ["Accelerator", "DriverError", "InputError", "MissingError", "Status", "WaitError"]

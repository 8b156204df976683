"""Errors that a user can act on; the command line prints each as one line and exits so:

HascodesignError            1
ConfigError             2   bad input or usage
FaultProfileError   2   of a profile
ModelError          2   of a model, a checkpoint or data
ScheduleError       2   of a row map
ToolNotFound            3   with the command that installs it
StepFailed              1   an external program failed
DiskError               1
VerificationMismatch    1   Verilog and fault model differ
Interrupted           130   Ctrl-C; ``best`` is the best schedule so far
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hascodesign.contract.types import IntegerNetwork, Schedule


class HascodesignError(Exception):
    """Base of every error raised on purpose: one line saying what was required, what came."""

    exit_code = 1


class ConfigError(HascodesignError):
    """Bad input or usage: a file, an option, a model or a profile that cannot be taken."""

    exit_code = 2


class FaultProfileError(ConfigError):
    """A fault profile that breaks the format or names a place outside the array."""


class ModelError(ConfigError):
    """A model, checkpoint or data set that cannot be turned into an integer network."""


class ScheduleError(ConfigError):
    """A row map that is not a schedule of the network on the array."""


class ToolNotFound(HascodesignError):
    """An external program is missing; the message holds the command that installs it."""

    exit_code = 3


class StepFailed(HascodesignError):
    """An external program ran and failed; the message names its log."""


class DiskError(HascodesignError):
    """A full disk, a limit on the size of files, or an output that cannot be replaced."""


class Interrupted(HascodesignError):
    """Ctrl-C ended the search.

    ``best`` is the best schedule so far, None where there is none; ``written`` the network with its
    rows as written for it, None where they are as trained.
    """

    exit_code = 130  # as of a program that SIGINT ends

    def __init__(
        self,
        message: str,
        best: Schedule | None = None,
        written: IntegerNetwork | None = None,
    ) -> None:
        super().__init__(message)
        self.best, self.written = best, written


class VerificationMismatch(HascodesignError):
    """The simulated RTL and the fault model gave different integers."""

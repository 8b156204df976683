"""What kind of source of faults a file or folder is, by its name and its first bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from hascodesign.common import inputs
from hascodesign.contract.errors import FaultProfileError
from hascodesign.faults import bram

CELLS_SUFFIX = ".cells.json"
#: A profile; cells with the voltages at which they fail; probabilities; a measured list.
Kind = Literal["profile", "cells", "probabilities", "measured"]


def kind_of(source: Path) -> Kind:
    """Kind of a source; what is none of the others is a profile, whose reader says what is wrong.

    Parameters
    ----------
    source : a file, or the folder of a measured list.
    """
    if source.name.endswith(CELLS_SUFFIX):
        return "cells"
    if source.suffix == ".npy":
        return "probabilities"
    return "measured" if inputs.is_folder(source) or _is_measured(source) else "profile"


def _is_measured(source: Path) -> bool:
    first = bram.COLUMNS[0].encode()
    if source.suffix != ".csv":
        return False
    try:
        return inputs.head(source, inputs.MEASURED, len(first)) == first
    except FaultProfileError:
        return False  # the profile's reader says what is wrong, with the name

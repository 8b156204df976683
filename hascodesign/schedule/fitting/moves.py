"""What may be done to a row so that it suits its slot."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from hascodesign.contract.results import MOVES, Move


@dataclass(frozen=True, slots=True)
class Moves:
    """The moves that are allowed; each takes effect through the memories alone."""

    sign: bool = True  # row, bias and thresholds negated, the direction turned
    words: bool = True  # at a faulty multiplier those whose faulty products lie nearest
    constant: bool = True  # what the fault adds whatever the input goes into thresholds or bias
    thresholds: bool = True  # fitted anew to the faulty sums
    reconstruction: bool = True  # healthy words make up for what the faulty ones lack


def moves_of(names: Collection[Move]) -> Moves:
    """The moves of these names and no others."""
    return Moves(**{name: name in names for name in MOVES})

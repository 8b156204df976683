"""What may be done to a row so that it suits its slot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hascodesign.contract.errors import ConfigError
from hascodesign.contract.results import MOVES, Move


@dataclass(frozen=True, slots=True)
class Moves:
    """The moves that are allowed; each takes effect through the memories alone."""

    sign: bool = True  # row, bias and thresholds negated, the direction turned
    words: bool = True  # at a faulty multiplier those whose faulty products lie nearest
    constant: bool = True  # what the fault adds whatever the input goes into thresholds or bias
    thresholds: bool = True  # fitted anew to the faulty sums
    reconstruction: bool = True  # healthy words make up for what the faulty ones lack

    @property
    def any(self) -> bool:
        """Whether a row may be changed at all."""
        return any(getattr(self, name) for name in MOVES)


def moves_of(names: Iterable[Move]) -> Moves:
    """The moves of these names.

    Raises
    ------
    ConfigError
        A name that is none of a move.
    """
    given = tuple(names)
    for name in given:
        if name not in MOVES:
            raise ConfigError(f"a move must be one of {', '.join(MOVES)}, not {name}")
    return Moves(**{name: name in given for name in MOVES})

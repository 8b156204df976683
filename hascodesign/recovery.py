"""How much of what the faults cost a schedule wins back."""

from __future__ import annotations

from collections.abc import Mapping

from hascodesign.results import Accuracy

#: Below this loss, in points, a ratio of losses says nothing.
LEAST_POINTS = 1.0


def recovery(accuracy: Mapping[str, Accuracy]) -> float | None:
    """(scheduled - faulty_identity) / (integer - faulty_identity), None below one point of loss."""
    plain = accuracy["faulty_identity"].value
    loss = accuracy["integer"].value - plain
    if loss < LEAST_POINTS:
        return None
    return (accuracy["scheduled"].value - plain) / loss

"""What a host predicts of a diagnosed chip, and what the chip showed.

A folder that `hascodesign heal` writes: ``schedule/``, as `load_schedule` takes it, ``tests/``, the
vectors that were played, and ``predicted.npz``: `acc` [PEs, answers] of the diagnosed profile,
`explained` [PEs], where it says anything, `varies` [PEs], where a transient fault inverts some of
the answers, and `digest` of the vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .description import Description
from .diagnosis import Acc, Tests
from .errors import UNREADABLE, InputError
from .verification import Verification

SCHEDULE, TESTS, FILE = "schedule", "tests", "predicted.npz"


@dataclass(frozen=True)
class Predicted:
    """What the diagnosed profile answers to the vectors."""

    acc: Acc  # [PEs, answers]
    explained: NDArray[np.bool_]  # [PEs]; the rest is idle in the schedule
    varies: NDArray[np.bool_]  # [PEs] that have a transient fault: not all answers are as said


@dataclass(frozen=True)
class Healing:
    """What was written, what was compared, and what differed."""

    written: int  # words that were not in the memories before
    words: int  # of all memories
    answers: int  # accumulators compared
    differing: tuple[tuple[int, int], ...]  # PE and how many of its answers differ
    unexplained: tuple[int, ...]  # PEs of which nothing is predicted
    varying: tuple[int, ...]  # PEs with a transient fault, whose answers are not compared
    verified: Verification

    @property
    def good(self) -> bool:
        """All is as predicted, some answer was compared, and every PE is explained."""
        wrong = self.differing or self.unexplained or not self.answers
        return not wrong and self.verified.good

    def __str__(self) -> str:
        wrong = sum(count for _, count in self.differing)
        found = [
            f"{self.written} of {self.words} words written",
            str(self.verified),
            f"{self.answers} answers to test vectors compared, {wrong} differ",
        ]
        found += [
            f"PE {pe}: {count} answers are not those predicted" for pe, count in self.differing
        ]
        if not self.answers:
            found.append("no PE answers the same each time: nothing shows that it is the chip")
        if self.unexplained:
            named = ", ".join(map(str, self.unexplained))
            found.append(f"not explained, and idle: PE {named}")
        if self.varying:
            named = ", ".join(map(str, self.varying))
            found.append(f"transient faults, not compared: PE {named}; logits may differ by them")
        return "\n".join(found)


def read(folder: Path, tests: Tests, built: Description) -> Predicted:
    """The prediction in a folder, for the vectors beside it.

    Raises
    ------
    InputError
        There is none, or it is of other vectors.
    """
    path = folder / FILE
    try:
        with np.load(path, allow_pickle=False) as file:
            held: dict[str, NDArray[Any]] = {
                name: file[name] for name in ("acc", "explained", "varies", "digest")
            }
    except UNREADABLE as error:
        raise InputError(f"{path} must be what `hascodesign heal` writes: {error!r}") from None
    pes, answers = built.array.pe, sum(block.answers for block in tests.blocks)
    shapes = held["acc"].shape == (pes, answers)
    shapes &= held["explained"].shape == held["varies"].shape == (pes,)
    if not shapes or not np.array_equal(held["digest"], tests.digest):
        raise InputError(
            f"{path} must be of the vectors in {TESTS}/: {answers} answers of {pes} PEs"
        )
    explained, varies = (held[name].astype(np.bool_) for name in ("explained", "varies"))
    return Predicted(held["acc"].astype(np.int32), explained, varies)


def compare(
    predicted: Predicted, played: Acc, verified: Verification, words: tuple[int, int]
) -> Healing:
    """Hold the answers [PEs, answers] of explained PEs that do not vary to the prediction.

    Parameters
    ----------
    words : that were written, and of all memories.
    """
    counts = (predicted.acc != played).sum(axis=1)
    known = np.flatnonzero(predicted.explained & ~predicted.varies).tolist()
    written, whole = words
    return Healing(
        written=written,
        words=whole,
        answers=len(known) * played.shape[1],
        differing=tuple((pe, int(counts[pe])) for pe in known if counts[pe]),
        unexplained=tuple(np.flatnonzero(~predicted.explained).tolist()),
        varying=tuple(np.flatnonzero(predicted.explained & predicted.varies).tolist()),
        verified=verified,
    )

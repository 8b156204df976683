"""The accelerator held against the engine: whole images, and every word of every memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .codes import classes_of
from .description import Description
from .errors import UNREADABLE, InputError

FILE = "images.npz"
FIRST = 5  # differing bits that are named


@dataclass(frozen=True)
class Expected:
    """Images, and what the engine gives for them."""

    codes: NDArray[np.int64]  # [n, height, width, channels]
    labels: NDArray[np.int64]  # [n]
    logits: NDArray[np.int64]  # [n, classes] with the profile's faults
    healthy: NDArray[np.int64]  # [n, classes] without

    def classes(self, built: Description) -> NDArray[np.int64]:
        """Classes [n] that the engine gives, with the faults."""
        return classes_of(self.logits, built)


@dataclass(frozen=True)
class Verification:
    """What was compared, and what differed."""

    halted: str  # why no image ran; empty where they did
    images: int
    logits: int  # compared
    differing: int
    first: str  # the first logit that differs; empty where none does
    as_healthy: bool  # all logits are those of an array without faults
    bits: int  # of memories, read back
    wrong_bits: int
    places: tuple[str, ...]  # the first five

    @property
    def good(self) -> bool:
        """Nothing differs."""
        return not (self.halted or self.differing or self.wrong_bits)

    def __str__(self) -> str:
        found = [
            f"{self.images} images, {self.logits} logits compared, {self.differing} differ;"
            f" {self.bits} bits of memories read back, {self.wrong_bits} differ"
        ]
        if self.halted:
            found.append(f"the accelerator takes no image, it has halted: {self.halted}")
        if self.first:
            found.append(f"first logit: {self.first}")
        found += self.places
        if self.differing and self.as_healthy:
            found.append("the logits are those of an array without the profile's faults")
        elif self.differing and not self.wrong_bits:
            found.append("the memories hold what was written: the array is not as the profile says")
        return "\n".join(found)


def read(folder: Path, shape: tuple[int, ...], classes: int) -> Expected:
    """The images of a schedule's folder.

    Raises
    ------
    InputError
        There are none, or not of this network.
    """
    path = folder / FILE
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {
                name: file[name].astype(np.int64)
                for name in ("codes", "labels", "logits", "healthy")
            }
    except UNREADABLE as error:
        raise InputError(f"{path} must hold images with their logits: {error!r}") from None
    found = Expected(**arrays)
    count = len(found.codes)
    fits = count and found.codes.shape[1:] == shape and found.labels.shape == (count,)
    if not fits or not found.logits.shape == found.healthy.shape == (count, classes):
        raise InputError(f"{path} must hold images of {shape} with {classes} logits each")
    return found


def first_difference(wanted: NDArray[np.int64], got: NDArray[np.int64]) -> str:
    """The first logit that differs, in words; empty where none does."""
    for image, one in np.argwhere(wanted != got)[:1].tolist():
        return f"image {image}, class {one} must be {wanted[image, one]}, not {got[image, one]}"
    return ""

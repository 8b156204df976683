"""Whole images and the logits that an array must give for them: what a board is held to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract import arithmetic
from hascodesign.contract.types import FaultProfile, IntArray, IntegerNetwork, Schedule
from hascodesign.engine import gemm
from hascodesign.verify.vectors import npz

PATH = "deploy/driver/schedule/images.npz"
MOST = 1000  # images that the file holds


def image_file(
    network: IntegerNetwork,
    schedule: Schedule,
    profile: FaultProfile,
    codes: arithmetic.Codes,
    labels: IntArray,
) -> dict[str, bytes]:
    """Codes of the first images, and the logits of the engine.

    Parameters
    ----------
    network, schedule : what runs, rows as written.
    profile : faults of the array.
    codes : [n, height, width, channels] held-out input codes.
    labels : [n] their classes.

    Returns
    -------
    ``PATH``: ``codes``, ``labels``, ``logits`` [n, classes] on the array with its faults,
    ``healthy`` on one without.
    """
    codes, labels = codes[:MOST], labels[:MOST]
    arrays: dict[str, NDArray[np.generic]] = {
        "codes": codes.astype(np.int16),
        "labels": labels,
        "logits": _logits(network, schedule, profile, codes),
        "healthy": _logits(network, schedule, replace(profile, faults=()), codes),
    }
    return {PATH: npz(arrays)}


def _logits(
    network: IntegerNetwork, schedule: Schedule, profile: FaultProfile, codes: arithmetic.Codes
) -> IntArray:
    """[n, classes]."""
    *_, last = gemm.trace(network, schedule, profile, codes)
    return last.codes.T.astype(np.int64)

"""The share of a profile's faults that stay without effect, as the report gives it."""

from __future__ import annotations

import numpy as np

from hascodesign.common import records
from hascodesign.contract import arithmetic, array
from hascodesign.contract.results import Masking
from hascodesign.flow.flow import Flow

STEP = "masked"
MOST_FAULTS = 200
MOST_IMAGES = 256


def shares(flow: Flow) -> Masking:
    """Faults of the flow's profile without effect on its schedule, on calibration images.

    The first ``MOST_IMAGES`` images judge; of more than ``MOST_FAULTS`` faults so many are drawn
    evenly.
    """
    data = records.digest(flow.dataset.calibration)
    inputs = (flow.network, flow.profile, flow.schedule, flow.config.seed, data)
    found: Masking = flow.store.run(STEP, inputs, lambda: _shares(flow))
    return found


def _shares(flow: Flow) -> Masking:
    from hascodesign.engine.masked import masked  # noqa: PLC0415  (numba compiles)

    total = len(flow.profile.faults)
    entries = np.arange(total)
    if total > MOST_FAULTS:
        rng = array.generator(flow.config.seed, "masked")
        entries = np.sort(rng.permutation(total)[:MOST_FAULTS])
    images = flow.dataset.calibration.images[:MOST_IMAGES]
    codes = arithmetic.quantise(images, flow.network.input)
    silent, kept = masked(flow.network, flow.profile, flow.schedule, codes, entries.tolist())
    return Masking(total, len(entries), len(images), silent, kept)

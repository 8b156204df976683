"""How many faults of a profile stay without effect, each alone on an otherwise healthy array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hascodesign.contract import arithmetic
from hascodesign.contract.types import (
    Fault,
    FaultProfile,
    IntArray,
    IntegerNetwork,
    Schedule,
)
from hascodesign.engine import gemm


def masked(
    network: IntegerNetwork,
    profile: FaultProfile,
    schedule: Schedule,
    codes: arithmetic.Codes,
    entries: Sequence[int] | None = None,
) -> tuple[float, float]:
    """Share of the profile's faults that change no accumulator, and no class.

    Each fault is put on the healthy array by itself and keeps its entry, so that a transient draws
    as it does in the profile. Any row of any layer counts, on the activations that the array with
    this fault feeds the layer.

    Parameters
    ----------
    network : the integer network.
    profile : a checked profile of the schedule's array.
    schedule : the network's row maps.
    codes : [n, height, width, channels] input codes, of calibration images.
    entries : the faults to try; all where None.

    Returns
    -------
    (share without a changed accumulator, share without a changed class), 0 to 1; the second is
    never below the first. A profile without faults has (1, 1).
    """
    entries = range(len(profile.faults)) if entries is None else entries
    if not entries:
        return 1.0, 1.0
    healthy = _run(network, replace(profile, faults=()), schedule, codes)
    classes = arithmetic.classify(healthy[-1].T, network.logit_scale)
    silent = kept = 0
    for entry in entries:
        struck = _run(network, _alone(profile, entry), schedule, codes)
        pairs = zip(struck, healthy, strict=True)
        silent += all(np.array_equal(one, other) for one, other in pairs)
        kept += bool(
            np.array_equal(arithmetic.classify(struck[-1].T, network.logit_scale), classes)
        )
    return silent / len(entries), kept / len(entries)


def _alone(profile: FaultProfile, entry: int) -> FaultProfile:
    """The profile with this fault only, in its place; what stood before it becomes harmless."""
    # a transient draws by its entry; every other fault is the same anywhere
    fault = profile.faults[entry]
    if fault.kind != "transient":
        return replace(profile, faults=(fault,))
    harmless = Fault(fault.pe, "transient", "product", 0, 0, p=0.0)
    return replace(profile, faults=(*[harmless] * entry, fault))


def _run(
    network: IntegerNetwork, profile: FaultProfile, schedule: Schedule, codes: arithmetic.Codes
) -> list[IntArray]:
    """Accumulators [R, N] of every layer; of the last one ACC + bias."""
    found = [trace.acc for trace in gemm.trace(network, schedule, profile, codes)]
    found[-1] = found[-1] + network.layers[-1].bias[:, None]
    return found

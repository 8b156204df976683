"""How sure a win is."""

from __future__ import annotations

from hascodesign.contract.types import FloatArray

NORMAL_95 = 1.959963984540054  # two-sided 95 % point of the normal distribution


def win_note(before: FloatArray, after: FloatArray) -> list[str]:
    """One sentence where the win over the plain order is not above its own noise, else none.

    The noise is the 95 % normal interval of the mean paired difference of the images' losses.

    Parameters
    ----------
    before, after : loss [n] of each image in plain order and as scheduled, nats.
    """
    won = before - after
    if won.size < 2:
        return []
    margin = NORMAL_95 * float(won.std(ddof=1)) / won.size**0.5
    if won.mean() > margin:
        return []
    return [
        f"The schedule wins {won.mean():.4f} nats over the plain order on {won.size} calibration "
        f"images, which is within its noise of {margin:.4f} nats."
    ]

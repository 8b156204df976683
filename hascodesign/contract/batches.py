"""Batches of images: layers with streamed weights take each word once for all of a batch.

What the accelerator, its verification and its driver must agree on.
"""

from __future__ import annotations

from collections.abc import Sequence

from hascodesign.contract.types import IntegerNetwork, MultiplyLayer

MOST_IMAGES = 64  # of a batch


def first_shared(network: IntegerNetwork, on_chip: Sequence[bool]) -> int:
    """Place of the first stage that runs once for a whole batch: the first with streamed weights.

    The stages before it run for each image, and so does the last; all between run once. Only of a
    network that `batch_refusal` does not refuse.
    """
    return next(
        place
        for place, stage in enumerate(network.stages)
        if isinstance(stage, MultiplyLayer) and not on_chip[stage.index]
    )


def batch_refusal(network: IntegerNetwork, on_chip: Sequence[bool]) -> str | None:
    """Why images do not go through the accelerator in batches; None where they may."""
    if all(on_chip):
        return "no layer's weights are streamed"
    if not on_chip[-1]:
        return f"the weights of the last layer, {network.layers[-1].name}, are streamed"
    for stage in network.stages[first_shared(network, on_chip) :]:
        if not isinstance(stage, MultiplyLayer) or stage.conv is not None:
            name = "a pooling" if not isinstance(stage, MultiplyLayer) else f"layer {stage.name}"
            return (
                f"{name} stands at or behind streamed weights, and only dense layers take a batch"
            )
    return None


def batch_sizes(images: int, batch: int) -> list[int]:
    """Images of each batch: full ones, then what is left."""
    left = images % batch
    return [batch] * (images // batch) + [left] * (left > 0)

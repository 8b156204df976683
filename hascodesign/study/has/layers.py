"""Maps of the layers after the first: what one corrupted partial sum does to the answer.

Rows of a dense layer are too many to be judged one by one. Here every partial sum of some images
is corrupted on its own, its change is carried to the logits along the healthy network's slope,
and the harm is the square of how far the change goes towards another class, at most 1. A row in
a slot costs the sum over K-tiles of harm times probability; the assignment of least cost is the
map.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.types import FloatArray, IntArray
from hascodesign.study.has.faults import (
    KINDS,
    BlockProfile,
    _compiled,
    corrupted,
    first_tiles,
    groups_of,
)
from hascodesign.study.has.forward import conv_sums, pool
from hascodesign.study.has.model import Floats, Images, StudyNetwork
from hascodesign.study.has.search import assign

EXPONENT_BITS = 7


def harms(network: StudyNetwork, images: Images, kind: str) -> tuple[FloatArray, ...]:
    """Expected harm [R, tiles] of one corrupted partial sum, for each layer after the first."""
    inputs, sums = _healthy(network, images)
    logits = sums[-1]
    slopes = _slopes(network, sums)
    found = []
    for index in range(1, len(network.layers)):
        layer = network.layers[index]
        harm = np.zeros((layer.rows, layer.tiles))
        _harm(
            inputs[index - 1], layer.weights, sums[index - 1], slopes[index - 1], logits,
            images.labels, index < len(network.layers) - 1, layer.k_tile, KINDS.index(kind), harm,
        )  # fmt: skip
        found.append(harm)
    return tuple(found)


def costs(
    network: StudyNetwork, found: tuple[FloatArray, ...], profile: BlockProfile
) -> tuple[FloatArray, ...]:
    """Cost [R, slots] of each row in each slot, for each layer after the first."""
    layers = zip(network.layers[1:], found, first_tiles(network)[1:], strict=True)
    return tuple(
        harm @ profile.slots(groups_of(layer.rows), layer.tiles, first).T
        for layer, harm, first in layers
    )


def maps(cost: tuple[FloatArray, ...]) -> tuple[IntArray, ...]:
    """Assignment of least cost for each layer after the first."""
    return tuple(assign(one) for one in cost)


def _healthy(network: StudyNetwork, images: Images) -> tuple[list[Floats], list[Floats]]:
    """Inputs [n, K] and sums with bias [n, R] of each layer after the first."""
    convolution = network.layers[0]
    flat = conv_sums(network, images.pixels).reshape(convolution.rows, -1)
    values = pool(network, flat, convolution.bias).reshape(len(images), -1)
    inputs, sums = [], []
    for layer in network.layers[1:]:
        inputs.append(np.ascontiguousarray(values))
        sums.append(values @ layer.weights.T + layer.bias)
        values = np.maximum(sums[-1], np.float32(0))
    return inputs, sums


def _slopes(network: StudyNetwork, sums: list[Floats]) -> list[Floats]:
    """Slope [n, classes, R] of the logits by each layer's activations, layers after the first."""
    images, classes = sums[-1].shape
    slope = np.broadcast_to(np.eye(classes, dtype=np.float32), (images, classes, classes))
    found = [np.ascontiguousarray(slope)]
    for index in range(len(network.layers) - 1, 1, -1):
        if index < len(network.layers) - 1:
            slope = slope * (sums[index - 1] > 0)[:, None, :]
        slope = slope @ network.layers[index].weights
        found.append(np.ascontiguousarray(slope))
    return found[::-1]


@_compiled
def _harm(
    inputs: Floats,
    weights: Floats,
    sums: Floats,
    slope: Floats,
    logits: Floats,
    labels: NDArray[np.int64],
    rectified: bool,
    k_tile: int,
    kind: int,
    harm: FloatArray,
) -> None:
    """Add to ``harm`` [R, tiles] the mean over images and drawn bits."""
    images, depth = inputs.shape
    draws = EXPONENT_BITS if kind < 3 else 1
    share = 1.0 / (images * draws)
    zero = np.float32(0)
    for image in range(images):
        label = labels[image]
        for row in range(weights.shape[0]):
            base = sums[image, row]
            for tile in range(harm.shape[1]):
                partial = zero
                for k in range(tile * k_tile, min(depth, (tile + 1) * k_tile)):
                    partial += weights[row, k] * inputs[image, k]
                for draw in range(draws):
                    struck = corrupted(partial, kind, (draw + 0.5) / EXPONENT_BITS)
                    after = base + (struck - partial)
                    change = max(after, zero) - max(base, zero) if rectified else after - base
                    if change == zero:
                        continue
                    worst = 0.0
                    for other in range(logits.shape[1]):
                        margin = logits[image, label] - logits[image, other]
                        if other == label or margin <= 0:
                            continue
                        rise = slope[image, other, row] - slope[image, label, row]
                        worst = max(worst, change * rise / margin)
                    harm[row, tile] += share * min(1.0, worst) ** 2

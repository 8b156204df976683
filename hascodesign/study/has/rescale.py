"""The same network with partial sums below 1: rows scaled by powers of two.

The drawn exponent bits make a partial sum explode only where it passes 2. ReLU and the maximum
commute with a positive scale, so a row may be divided by a power of two and the columns of the next
layer that read it be multiplied by it: in floating point the very same function, logits included
but for one common power of two. Nothing is trained, and no row moves.

References
----------
M. Nagel, M. van Baalen, T. Blankevoort, M. Welling, "Data-Free Quantization Through Weight
Equalization and Bias Correction", ICCV 2019, doi:10.1109/ICCV.2019.00141, scales rows so, by any
positive number.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hascodesign.contract.types import IntArray, frozen
from hascodesign.study.has.forward import conv_sums, pool
from hascodesign.study.has.model import Floats, Images, StudyLayer, StudyNetwork


def rescaled(network: StudyNetwork, images: Images, *, every: bool) -> StudyNetwork:
    """The network whose largest partial sum in each row lies in [1/2, 1) on ``images``.

    Parameters
    ----------
    network : a trained network.
    images : calibration images; on others a partial sum may pass 1, and 2 is a factor of 2 off.
    every : scale the rows of every layer, those of the last by one common power; else of the
        convolution alone.

    Returns
    -------
    Another network of the same shapes; its logits are those of ``network`` times a power of two,
    to the bit where nothing underflows.
    """
    layers = list(network.layers)
    for index, exponents in enumerate(_exponents(network, images, every)):
        here = layers[index]
        layers[index] = replace(
            here,
            weights=frozen(np.ldexp(here.weights, -exponents[:, None]), np.float32),
            bias=frozen(np.ldexp(here.bias, -exponents), np.float32),
        )
        if index + 1 < len(layers):
            following = layers[index + 1]
            # channels of a feature map run slowest in a dense layer's inputs
            columns = np.repeat(exponents, following.weights.shape[1] // len(exponents))
            wider = np.ldexp(following.weights, columns)
            layers[index + 1] = replace(following, weights=frozen(wider, np.float32))
    return replace(network, layers=tuple(layers))


def _exponents(network: StudyNetwork, images: Images, every: bool) -> list[IntArray]:
    """By layer: e [R] such that a row's largest partial sum is below 2**e and not below half."""
    convolution, *dense = network.layers
    sums = conv_sums(network, images.pixels).reshape(convolution.rows, -1)
    found = [_above(np.abs(sums).max(axis=1))]
    if not every:
        return found
    inputs = pool(network, sums, convolution.bias).reshape(len(images), -1)
    for layer in dense:
        found.append(_above(_largest(layer, inputs)))
        inputs = np.maximum(inputs @ layer.weights.T + layer.bias, np.float32(0))
    found[-1] = np.full_like(found[-1], found[-1].max())
    return found


def _largest(layer: StudyLayer, inputs: Floats) -> Floats:
    """Largest magnitude of a partial sum in each row, [R]."""
    largest = np.zeros(layer.rows, dtype=np.float32)
    for start in range(0, layer.weights.shape[1], layer.k_tile):
        tile = slice(start, start + layer.k_tile)
        partial = layer.weights[:, tile] @ inputs[:, tile].T
        largest = np.maximum(largest, np.abs(partial).max(axis=1))
    return largest


def _above(largest: Floats) -> IntArray:
    return np.frexp(largest)[1].astype(np.int64)

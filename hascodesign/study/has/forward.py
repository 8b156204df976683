"""The study's networks, faulty: which images they classify correctly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from hascodesign.contract.types import BoolArray, FloatArray, IntArray
from hascodesign.study.has.faults import KINDS, BlockProfile, first_tiles, groups_of, strike
from hascodesign.study.has.faults import strike_first as _strike_first
from hascodesign.study.has.model import KERNEL, Floats, Images, StudyNetwork

CHUNK = 500  # images at a time: bounds the memory of the full walk


@dataclass(frozen=True, slots=True)
class Strike:
    """What the partial sums of one layer meet."""

    p: FloatArray  # [R, tiles] probability of each row, in its slot
    pmax: float
    kind: str


def strikes(
    network: StudyNetwork,
    profile: BlockProfile,
    kind: str,
    maps: Sequence[IntArray | None],
) -> tuple[Strike | None, ...]:
    """One strike per layer; None where the layer's map is None: it stays healthy.

    Parameters
    ----------
    maps : slot [R] of each row of each layer.
    """
    found: list[Strike | None] = []
    layers = zip(network.layers, maps, first_tiles(network), strict=True)
    for layer, slots, first in layers:
        if slots is None:
            found.append(None)
            continue
        p = profile.slots(groups_of(layer.rows), layer.tiles, first)
        found.append(Strike(np.ascontiguousarray(p[slots]), profile.pmax, kind))
    return tuple(found)


def correct(
    network: StudyNetwork, images: Images, struck: Sequence[Strike | None], seed: int
) -> BoolArray:
    """Which images [n] a faulty network classifies correctly, walking through every layer."""
    parts = []
    for start in range(0, len(images), CHUNK):
        part = images.part(start, start + CHUNK)
        logits = walk(network, part.pixels, struck, seed + 7919 * (start // CHUNK))
        parts.append(logits.argmax(axis=1) == part.labels)
    return np.concatenate(parts)


def walk(
    network: StudyNetwork, pixels: Floats, struck: Sequence[Strike | None], seed: int
) -> Floats:
    """Logits [n, classes]; ``seed`` of the draws."""
    inputs: Floats = _patches(pixels)
    for index, (layer, one) in enumerate(zip(network.layers, struck, strict=True)):
        sums = (
            layer.weights @ inputs.T
            if index
            else conv_sums(network, pixels).reshape(layer.rows, -1)
        )
        if one is not None:
            kind = KINDS.index(one.kind)
            strike(
                sums, inputs, layer.weights, one.p, one.pmax, layer.k_tile, kind,
                seed + 1_000_003 * index,
            )  # fmt: skip
        if index == 0:
            inputs = pool(network, sums, layer.bias).reshape(len(pixels), -1)
            continue
        sums += layer.bias[:, None]
        if index == len(network.layers) - 1:
            return np.ascontiguousarray(sums.T)
        inputs = np.ascontiguousarray(np.maximum(sums, np.float32(0)).T)
    raise ValueError("a network has a dense layer at its end")


def conv_sums(network: StudyNetwork, pixels: Floats) -> Floats:
    """Healthy sums [R, n, positions, positions] of the convolution, without its bias."""
    weights = torch.from_numpy(np.array(network.layers[0].weights))
    given = torch.from_numpy(np.array(pixels))[:, None]
    sums = functional.conv2d(given, weights.reshape(-1, 1, KERNEL, KERNEL))
    return np.ascontiguousarray(sums.numpy().transpose(1, 0, 2, 3))


def pool(network: StudyNetwork, sums: Floats, bias: Floats) -> Floats:
    """Activations [n, R, pooled, pooled] of the convolution's sums [R, n*positions^2]."""
    side, half = network.positions, network.pooled
    maps = sums.reshape(len(sums), -1, side, side)[:, :, : 2 * half, : 2 * half]
    windows = maps.reshape(len(sums), -1, half, 2, half, 2)
    best = windows.max(axis=(3, 5)) + bias[:, None, None, None]
    return np.ascontiguousarray(np.maximum(best, np.float32(0)).transpose(1, 0, 2, 3))


def _patches(pixels: Floats) -> Floats:
    """Inputs [n*positions^2, K] of the convolution."""
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (KERNEL, KERNEL), axis=(1, 2))
    return np.ascontiguousarray(windows).reshape(-1, KERNEL * KERNEL)


class FirstLayer:
    """The network with faults in its convolution alone: only what changes is computed again.

    Parameters
    ----------
    network : the network.
    images : that it is judged on.
    kind : one of KINDS.
    """

    def __init__(self, network: StudyNetwork, images: Images, kind: str) -> None:
        self.network = network
        self.labels = images.labels
        self._kind = KINDS.index(kind)
        convolution, dense, *rest = network.layers
        self._sums = conv_sums(network, images.pixels)
        flat = self._sums.reshape(convolution.rows, -1)
        self._pooled = pool(network, flat, convolution.bias)
        self._following = np.ascontiguousarray(dense.weights.T)
        self._hidden = self._pooled.reshape(len(images), -1) @ self._following + dense.bias
        self._rest = rest
        self.healthy = self._right(self._hidden)

    def correct(self, p: FloatArray, pmax: float, seed: int) -> BoolArray:
        """Which images [n] are classified correctly with probability ``p`` [R] of each row."""
        hidden = self._hidden.copy()
        _strike_first(
            self._sums, self.network.layers[0].bias, self._pooled, self._following, hidden,
            np.asarray(p, dtype=np.float64), pmax, self._kind, seed,
        )  # fmt: skip
        return self._right(hidden)

    def _right(self, hidden: Floats) -> BoolArray:
        values = np.maximum(hidden, np.float32(0))
        for index, layer in enumerate(self._rest):
            values = values @ layer.weights.T + layer.bias
            if index < len(self._rest) - 1:
                values = np.maximum(values, np.float32(0))
        return np.asarray(values.argmax(axis=1) == self.labels)

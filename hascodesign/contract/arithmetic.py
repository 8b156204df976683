"""The integer operations around the array, in numpy: columns of X, output codes, pooling.

All functions keep the dtype of what they are given (any integer dtype) unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from hascodesign.contract.types import (
    FloatArray,
    InputQuant,
    IntArray,
    IntegerNetwork,
    MaxPool,
    MultiplyLayer,
    Shift,
    Thresholds,
)

Codes = NDArray[Any]


def quantise(images: NDArray[np.floating[Any]], quant: InputQuant) -> IntArray:
    """Codes [n, height, width, channels] of real images [n, channels, height, width].

    The one place where a real number enters: evaluated in float64, rounded half to even. Vectors
    [n, features] are images of one pixel: codes [n, 1, 1, features].
    """
    real = np.asarray(images, dtype=np.float64)
    real = real[:, None, None] if real.ndim == 2 else np.moveaxis(real, 1, -1)
    # 1 and 0 change no number, but the sign of a zero, which both quantisers pass over
    real = quant.gain * real + quant.offset
    if quant.binary:
        return np.where(real >= 0, quant.high, quant.low).astype(np.int64)
    return np.clip(np.rint(real / quant.scale), quant.low, quant.high).astype(np.int64)


def columns(layer: MultiplyLayer, maps: Codes) -> Codes:
    """X [K, N] of a layer; columns run image by image, then output y, then x.

    Parameters
    ----------
    layer : the layer; K runs (ky, kx, channel) or, dense, (y, x, channel).
    maps : [n, height, width, channels] or [n, K] codes.
    """
    if layer.conv is None:
        return np.ascontiguousarray(maps.reshape(len(maps), -1).T)
    conv = layer.conv
    (py, px), (sy, sx), (ky, kx) = conv.padding, conv.stride, conv.kernel
    padded = np.pad(maps, ((0, 0), (py, py), (px, px), (0, 0)))
    windows = sliding_window_view(padded, (ky, kx), axis=(1, 2))[:, ::sy, ::sx]
    k_first = windows.transpose(4, 5, 3, 0, 1, 2)  # ky, kx, channel, image, y, x
    return np.ascontiguousarray(k_first).reshape(ky * kx * conv.in_shape[2], -1)


def maps_of(layer: MultiplyLayer, rows: Codes) -> Codes:
    """[R, N] as feature maps [n, height, width, R], or [n, R] for a dense layer."""
    if layer.conv is None:
        return np.ascontiguousarray(rows.T)
    height, width = layer.conv.out_size
    return np.ascontiguousarray(rows.T).reshape(-1, height, width, layer.rows)


def round_half_even_shift(values: Codes, shift: int) -> Codes:
    """Values / 2^shift rounded half to even, in integers."""
    if shift == 0:
        return values
    quotient = values >> shift
    rest = values - (quotient << shift)
    half = 1 << (shift - 1)
    return quotient + ((rest > half) | ((rest == half) & (quotient & 1 == 1)))


def output_codes(output: Thresholds | Shift, sums: IntArray) -> IntArray:
    """Codes [R, N] of v = ACC + bias [R, N]."""
    if isinstance(output, Shift):
        return np.clip(round_half_even_shift(sums, output.shift), output.low, output.high)
    # v <= t is -v >= -t, so that one ascending comparison serves both directions
    sign = np.where(output.descending, -1, 1)
    values, limits = sums * sign[:, None], output.values * sign[:, None]
    codes = np.full(sums.shape, output.lowest, dtype=np.int64)
    for level in range(limits.shape[1]):
        codes += values >= limits[:, level, None]
    return codes


def max_pool(pool: MaxPool, maps: Codes) -> Codes:
    """Maximum over windows of [n, height, width, channels]."""
    (ky, kx), (sy, sx) = pool.kernel, pool.stride
    height, width = (maps.shape[1] - ky) // sy + 1, (maps.shape[2] - kx) // sx + 1
    best = maps[:, : sy * height : sy, : sx * width : sx].copy()
    for y in range(ky):
        for x in range(kx):
            np.maximum(best, maps[:, y : y + sy * height : sy, x : x + sx * width : sx], out=best)
    return best


@dataclass(frozen=True, slots=True)
class LayerTrace:
    """What one multiply layer took and gave."""

    layer: MultiplyLayer
    activations: Codes  # X [K, N]
    acc: IntArray  # [R, N]
    codes: IntArray  # [R, N]; for the last layer ACC + bias


def walk(
    network: IntegerNetwork,
    codes: Codes,
    accumulate: Callable[[MultiplyLayer, Codes], IntArray],
) -> Iterator[LayerTrace]:
    """Run a network layer by layer, ``accumulate(layer, X)`` giving each ACC [R, N].

    Parameters
    ----------
    network : the network.
    codes : [n, height, width, channels] input codes.
    accumulate : the array: healthy or faulty.
    """
    maps = codes
    for stage in network.stages:
        if isinstance(stage, MaxPool):
            maps = max_pool(stage, maps)
            continue
        activations = columns(stage, maps)
        acc = accumulate(stage, activations)
        sums = acc + stage.bias[:, None]
        out = sums if stage.output is None else output_codes(stage.output, sums)
        yield LayerTrace(stage, activations, acc, out)
        maps = maps_of(stage, out)


def classify(logits: IntArray, scale: float | FloatArray = 1.0) -> IntArray:
    """Class of each image from integer logits [n, classes]; the lowest class wins a tie.

    Parameters
    ----------
    logits : ACC + bias.
    scale : the network's; where each class has a factor of its own, of 24 bits, their products in
        float64 decide, exact for integers of up to 29 bits.
    """
    return np.argmax(logits if np.ndim(scale) == 0 else logits * scale, axis=1)

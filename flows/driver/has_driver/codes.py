"""Images as codes and beats, logits as classes: what the accelerator's streams carry."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .description import Description
from .errors import InputError

Codes = NDArray[np.int64]


def quantise(images: Any, built: Description) -> Codes:
    """Codes [n, height, width, channels] of real images.

    Parameters
    ----------
    images : [n, channels, height, width], or [n, features] of a network that takes vectors.

    Raises
    ------
    InputError
        Another shape, no number, or one that is not finite.
    """
    height, width, channels = built.in_shape
    try:
        real = np.asarray(images, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("images must be an array of numbers") from None
    if real.ndim == 2:
        real = real[:, None, None]
    elif real.ndim == 4:
        real = np.moveaxis(real, 1, -1)
    if real.shape[1:] != built.in_shape:
        vectors = f" or [n, {channels}]" if height == width == 1 else ""
        raise InputError(
            f"images must be [n, {channels}, {height}, {width}]{vectors}, not"
            f" {list(np.shape(images))}"
        )
    if not np.isfinite(real).all():
        raise InputError("images must be finite numbers")
    quant = built.input
    real = quant.gain * real + quant.offset
    if quant.binary:
        return np.where(real >= 0, quant.high, quant.low).astype(np.int64)
    return np.clip(np.rint(real / quant.scale), quant.low, quant.high).astype(np.int64)


def checked(codes: Any, built: Description) -> Codes:
    """Codes [n, height, width, channels] within the input quantiser's bounds."""
    found = np.asarray(codes)
    if not np.issubdtype(found.dtype, np.integer) or found.shape[1:] != built.in_shape:
        raise InputError(
            f"codes must be integers [n, {', '.join(map(str, built.in_shape))}], not"
            f" {found.dtype} {list(found.shape)}"
        )
    low, high = built.input.low, built.input.high
    if found.size and not low <= found.min() <= found.max() <= high:
        raise InputError(
            f"codes must be from {low} to {high}, not from {found.min()} to {found.max()}"
        )
    return found.astype(np.int64)


def beat_bytes(bits: int) -> int:
    """Bytes of a stream beat of so many bits in memory: the next power of two."""
    return 1 << max(0, (-(-bits // 8) - 1).bit_length())


def image_beats(built: Description) -> int:
    """Beats of one image."""
    return -(-built.codes_of_image // built.array.simd)


def pack(codes: Codes, built: Description) -> NDArray[np.uint8]:
    """Images [n, bytes] as they lie in memory: SIMD codes a beat, code 0 lowest."""
    flat = codes.reshape(len(codes), -1)
    simd = built.array.simd
    flat = np.pad(flat, ((0, 0), (0, image_beats(built) * simd - flat.shape[1])))
    return pack_steps(flat.reshape(len(codes), -1, simd), built)


def pack_steps(codes: Codes, built: Description) -> NDArray[np.uint8]:
    """Beats [n, bytes] of codes [n, beats, SIMD] as they lie in memory, code 0 lowest."""
    array, beats = built.array, codes.shape[1]
    size = beat_bytes(array.simd * array.act_bits)
    flat = codes.reshape(len(codes), -1)
    if array.act_bits == 8 and size == array.simd:
        return flat.astype(np.uint8)
    planes = (flat[:, :, None] >> np.arange(array.act_bits)) & 1
    bits = planes.astype(np.uint8).reshape(len(codes), beats, -1)
    packed = np.packbits(bits, axis=2, bitorder="little")
    whole = np.pad(packed, ((0, 0), (0, 0), (0, size - packed.shape[2])))
    return whole.reshape(len(codes), -1)


def classes_of(logits: Codes, built: Description) -> Codes:
    """Class of each image [n]; of equal logits the lowest class wins."""
    scale = built.logit_scale
    values = logits if isinstance(scale, float) else logits * scale
    return np.argmax(values, axis=1)

"""Files of the IDX format (MNIST's), plain or gzip."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hascodesign.common import inputs
from hascodesign.common.inputs import Unreadable, one_line

UINT8 = 0x08  # the only element type that image and label files use


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Array of one IDX file of unsigned bytes.

    Parameters
    ----------
    path : the file; a name that ends in ``.gz`` is decompressed.
    dimensions : number of dimensions that it must have: 3 for images, 1 for labels.

    Raises
    ------
    ModelError
        The magic number, the element type or the length is wrong, or the file cannot be read.
    """
    with inputs.opened(path, inputs.IDX) as (file, size):
        if path.suffix != ".gz":
            head = file.read(4 + 4 * dimensions)
            shape = _shape(head, dimensions, size - len(head))
            return _array(shape, file.read(math.prod(shape)))
        # the header comes first out of the stream, and says how much more may come out
        with gzip.open(file, "rb") as stream:
            try:
                head = stream.read(4 + 4 * dimensions)
                shape = _shape(head, dimensions)
                _check_ratio(shape, size)
                # one byte more than the header promises shows a file that is too long
                return _array(shape, stream.read(math.prod(shape) + 1))
            except (EOFError, zlib.error) as error:
                raise Unreadable(f"must be readable: {one_line(error)}") from None


def _array(shape: tuple[int, ...], body: bytes) -> NDArray[np.uint8]:
    _check_length(math.prod(shape), len(body))
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def _check_length(promised: int, came: int) -> None:
    if came != promised:
        got = f"{came} bytes" if came < promised else "more"
        raise Unreadable(f"body must be {promised} bytes as its header says, not {got}")


def _check_ratio(shape: tuple[int, ...], size: int) -> None:
    most = inputs.IDX.most_unpacked(size)
    if math.prod(shape) > most:
        raise Unreadable(
            f"body must be at most {inputs.amount(most)} in a file of {size} bytes,"
            f" not {math.prod(shape)} bytes"
        )


def _shape(head: bytes, dimensions: int, left: int | None = None) -> tuple[int, ...]:
    """The sizes in a header, held against the ``left`` bytes that follow where they are known."""
    magic = bytes([0, 0, UINT8, dimensions])
    if head[:4] != magic:
        got = head[:4].hex() or "an empty file"
        raise Unreadable(f"magic must be {magic.hex()}, not {got}")
    if len(head) < 4 + 4 * dimensions:
        raise Unreadable(f"header must hold {dimensions} sizes, not only {len(head)} bytes")
    shape = tuple(int(n) for n in np.frombuffer(head[4:], dtype=">u4"))
    if math.prod(shape) > inputs.IDX.unpacked:  # a header can promise more than memory holds
        most = inputs.amount(inputs.IDX.unpacked)
        raise Unreadable(f"body must be at most {most}, not {shape}")
    if left is not None:
        _check_length(math.prod(shape), left)
    return shape

"""Files of the IDX format (MNIST's), plain or gzip."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.errors import ModelError

MOST_BYTES = 1 << 31
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
    try:
        with _open(path) as file:
            head = file.read(4 + 4 * dimensions)
            shape = _shape(path, head, dimensions)
            size = math.prod(shape)
            # one byte more than the header promises shows a file that is too long
            body = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ModelError(f"{path}: IDX file must be readable: {error}") from error
    if len(body) != size:
        got = f"{len(body)} bytes" if len(body) < size else "more"
        raise ModelError(f"{path}: IDX body must be {size} bytes as its header says, not {got}")
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def _open(path: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    return path.open("rb")


def _shape(path: Path, head: bytes, dimensions: int) -> tuple[int, ...]:
    magic = bytes([0, 0, UINT8, dimensions])
    if head[:4] != magic:
        got = head[:4].hex() or "an empty file"
        raise ModelError(f"{path}: IDX magic must be {magic.hex()}, not {got}")
    if len(head) < 4 + 4 * dimensions:
        raise ModelError(
            f"{path}: IDX header must hold {dimensions} sizes, not only {len(head)} bytes"
        )
    shape = tuple(int(n) for n in np.frombuffer(head[4:], dtype=">u4"))
    if math.prod(shape) > MOST_BYTES:  # a header can promise more than memory holds
        raise ModelError(f"{path}: IDX body must be at most {MOST_BYTES} bytes, not {shape}")
    return shape

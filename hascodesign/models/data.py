"""Images and labels, cut once by a fixed rule into calibration and held-out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from hascodesign.common import inputs
from hascodesign.common.arrays import read_npz
from hascodesign.contract.array import generator
from hascodesign.contract.errors import ModelError
from hascodesign.contract.types import Dataset, IntArray, Split, frozen
from hascodesign.models.idx import read_idx

SPLIT_SEED = 0  # fixed: what is held out never depends on the seed of a run
DIGITS_HELDOUT = 0.3  # of 1,797 images, by class: 540
MNIST_HELDOUT = 0.2  # of the test file's 10,000 images: 2,000
USER_HELDOUT = 1 / 3


def digits() -> Dataset:
    """UCI handwritten digits as scikit-learn ships them: 8x8, values 0..16, one channel."""
    raw = load_digits()
    images = np.asarray(raw.images, dtype=np.float32)[:, None]
    return _cut("uci-digits", images, np.asarray(raw.target), DIGITS_HELDOUT)


def mnist(folder: Path) -> Dataset:
    """MNIST from a folder of IDX files, plain or gzip; values 0..1.

    With the train files, these are calibration and the test file is held out; with the test file
    alone, 8,000 of its images are calibration and 2,000 held out, the same ones always.

    Raises
    ------
    ModelError
        The folder holds no t10k pair, or a file of it is malformed.
    """
    return _idx_dataset("mnist", folder, MNIST_HELDOUT)


def user_data(path: Path) -> Dataset:
    """The user's images and labels: an ``.npz`` file or a folder of IDX files.

    Parameters
    ----------
    path : ``.npz`` with ``images`` [n, channels, height, width] or [n, height, width], float or
        uint8 (scaled by 1/255, as are IDX images), and ``labels`` [n], integers from 0; or a
        folder with one ``*images*`` and one ``*labels*`` IDX file, or with MNIST's train and t10k
        pairs, of which the second is held out.

    Returns
    -------
    Two thirds of each class for calibration, one third held out; the cut is fixed.

    Raises
    ------
    ModelError
        Anything else, with what was required and what came.
    """
    if inputs.is_folder(path):
        return _idx_dataset(path.name, path, USER_HELDOUT)
    images, labels = _read_npz(path)
    return _cut(path.stem, images, labels, USER_HELDOUT, inputs.printable(path))


# ---------------------------------------------------------------------------------------- files


def _read_npz(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    arrays = read_npz(path, inputs.NPZ, ("images", "labels"))
    return arrays["images"], arrays["labels"]


def _idx_dataset(name: str, folder: Path, fraction: float) -> Dataset:
    pairs = idx_pairs(folder)
    if {"train", "t10k"} <= pairs.keys():
        train, test = (_checked_idx(*pairs[key]) for key in ("train", "t10k"))
        if train.images.shape[1:] != test.images.shape[1:]:
            raise ModelError(f"{folder}: train and t10k images must be of one size")
        return Dataset(name, train, test)
    if len(pairs) != 1:
        found = ", ".join(sorted(pairs)) or "none"
        raise ModelError(
            f"{folder}: an IDX folder must hold one pair of *images* and *labels* files,"
            f" or train and t10k, not: {found}"
        )
    split = _checked_idx(*next(iter(pairs.values())))
    return _cut(name, split.images, split.labels, fraction, str(folder))


def idx_pairs(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Pairs (images, labels) of a folder's IDX files by what stands before ``images``.

    Of a file that is there plain and as gzip the plain one counts.
    """
    pairs: dict[str, tuple[Path, Path]] = {}
    for images in sorted(_listed(folder), reverse=True):
        if "images" not in images.name or "idx" not in images.name:
            continue
        prefix = images.name.partition("images")[0].rstrip("-_.")
        labels = images.name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
        candidates = [folder / labels, folder / f"{labels}.gz"]
        for candidate in candidates:
            if candidate.is_file():
                pairs[prefix] = (images, candidate)
                break
        else:
            raise ModelError(f"{folder}: {images.name} must have its labels beside it: {labels}")
    return pairs


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise ModelError(
            f"{inputs.printable(folder)}: the folder must be readable: {error.strerror}"
        ) from None


def _checked_idx(images: Path, labels: Path) -> Split:
    return _checked(read_idx(images, 3), read_idx(labels, 1), str(images))


# ----------------------------------------------------------------------------- checks and the cut


def _checked(images: NDArray[Any], labels: NDArray[Any], where: str) -> Split:
    """Images as float32 [n, c, h, w] and labels as int64 [n], or the reason why not."""
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or 0 in images.shape:
        shape = "x".join(map(str, images.shape))
        raise ModelError(f"{where}: images must be [n, c, h, w] or [n, h, w], not {shape}")
    if labels.ndim != 1:
        raise ModelError(f"{where}: labels must be [n], not {labels.ndim}-dimensional")
    if len(images) != len(labels):
        raise ModelError(
            f"{where}: images and labels must be of one length, not {len(images)} and {len(labels)}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ModelError(f"{where}: labels must be integers, not {labels.dtype}")
    if labels.min() < 0:
        raise ModelError(f"{where}: labels must be 0 or more, not {labels.min()}")
    return Split(_real(images, where), frozen(labels))


def _real(images: NDArray[Any], where: str) -> NDArray[np.float32]:
    if images.dtype == np.uint8:
        return frozen(images.astype(np.float32) / np.float32(255), np.float32)
    if not np.issubdtype(images.dtype, np.floating):
        raise ModelError(f"{where}: images must be float or uint8, not {images.dtype}")
    with np.errstate(over="ignore"):  # told below, as the infinity that it turns into
        real = frozen(images, np.float32)
    bad = np.flatnonzero(~np.isfinite(real).all(axis=(1, 2, 3)))
    if len(bad):
        raise ModelError(f"{where}: images must be finite, not NaN or infinite as image {bad[0]}")
    return real


def _cut(
    name: str, images: NDArray[Any], labels: NDArray[Any], fraction: float, where: str = ""
) -> Dataset:
    whole = _checked(images, labels, where or name)
    held = heldout_indices(whole.labels, fraction)
    kept = np.setdiff1d(np.arange(len(whole.labels)), held)
    if not len(held) or not len(kept):
        raise ModelError(
            f"{where or name}: data must fill both parts, not {len(kept)} calibration"
            f" and {len(held)} held-out images"
        )
    parts = (
        Split(frozen(whole.images[i], np.float32), frozen(whole.labels[i])) for i in (kept, held)
    )
    return Dataset(name, *parts)


def heldout_indices(labels: IntArray, fraction: float) -> IntArray:
    """Indices of the held-out images: ``fraction`` of each class, rounded, in rising order."""
    rng = generator(SPLIT_SEED, "held-out split")
    parts = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        parts.append(members[: round(len(members) * fraction)])
    return np.sort(np.concatenate(parts))

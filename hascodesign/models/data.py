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
DIGITS_HELDOUT = 0.3  # of 1,797 images, by class: 539
MNIST_HELDOUT = 0.2  # of the test file's 10,000 images: 2,000
USER_HELDOUT = 1 / 3
MOST_LABEL = 1 << 20  # far above any number of classes
# what is known of the held-out images, for the report
HELD_OF_MNIST = "held out of the training of the bundled network and of the search"
HELD_OF_DIGITS = f"{HELD_OF_MNIST}; the recipe of the training was chosen with an eye on them"
HELD_OF_USER = "held out of the search; whether the network was trained on them is not known here"


def digits() -> Dataset:
    """UCI handwritten digits as scikit-learn ships them: 8x8, values 0..16, one channel."""
    raw = load_digits()
    images = np.asarray(raw.images, dtype=np.float32)[:, None]
    return _cut("uci-digits", images, np.asarray(raw.target), DIGITS_HELDOUT, HELD_OF_DIGITS)


def mnist(folder: Path) -> Dataset:
    """MNIST from a folder of IDX files, plain or gzip; values 0..1.

    With the train files, these are calibration and the test file is held out; with the test file
    alone, 8,000 of its images are calibration and 2,000 held out, the same ones always.

    Raises
    ------
    ModelError
        The folder holds no t10k pair, or a file of it is malformed.
    """
    return _idx_dataset("mnist", folder, MNIST_HELDOUT, HELD_OF_MNIST)


def user_data(path: Path) -> Dataset:
    """The user's images and labels: an ``.npz`` file or a folder of IDX files.

    Parameters
    ----------
    path : ``.npz`` with ``images`` [n, channels, height, width], [n, height, width] or vectors
        [n, features], float or uint8 (scaled by 1/255, as are IDX images), and ``labels`` [n],
        integers from 0, and perhaps ``heldout_images`` and ``heldout_labels``; or a folder with
        one ``*images*`` and one ``*labels*`` IDX file, or with MNIST's train and t10k pairs, of
        which the second is held out.

    Returns
    -------
    The user's own split where there is one; else two thirds of each class for calibration, one
    third held out, and the cut is fixed.

    Raises
    ------
    ModelError
        Anything else, with what was required and what came.
    """
    if inputs.is_folder(path):
        return _idx_dataset(path.name, path, USER_HELDOUT, HELD_OF_USER)
    arrays, where = _read_npz(path), inputs.printable(path)
    if "heldout_images" not in arrays:
        images, labels = arrays["images"], arrays["labels"]
        return _cut(path.stem, images, labels, USER_HELDOUT, HELD_OF_USER, where)
    parts = {
        prefix: _checked(arrays[f"{prefix}images"], arrays[f"{prefix}labels"], f"{where}: {name}")
        for prefix, name in (("", "calibration"), ("heldout_", "held out"))
    }
    notes = (*_small_bytes(arrays["images"]), *_small_bytes(arrays["heldout_images"]))
    return _split(path.stem, parts[""], parts["heldout_"], HELD_OF_USER, notes, where)


# ---------------------------------------------------------------------------------------- files


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    split = ("heldout_images", "heldout_labels")
    arrays = read_npz(path, inputs.NPZ, ("images", "labels"), split)
    for name, other in (split, split[::-1]):
        if name in arrays and other not in arrays:
            raise ModelError(f"{inputs.printable(path)}: .npz must hold {other!r} beside {name!r}")
    return arrays


def _idx_dataset(name: str, folder: Path, fraction: float, held: str) -> Dataset:
    pairs = idx_pairs(folder)
    if {"train", "t10k"} <= pairs.keys():
        (train, low), (test, low_too) = (_checked_idx(pairs[key]) for key in ("train", "t10k"))
        return _split(name, train, test, held, (*low, *low_too), str(folder))
    if len(pairs) != 1:
        found = ", ".join(sorted(pairs)) or "none"
        raise ModelError(
            f"{folder}: an IDX folder must hold one pair of *images* and *labels* files,"
            f" or train and t10k, not: {found}"
        )
    files = next(iter(pairs.values()))
    images, labels = read_idx(files[0], 3), read_idx(files[1], 1)
    return _cut(name, images, labels, fraction, held, str(folder))


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


def _checked_idx(pair: tuple[Path, Path]) -> tuple[Split, tuple[str, ...]]:
    """Images and labels of a pair, and what is to be said of them."""
    images, labels = pair
    pixels = read_idx(images, 3)
    return _checked(pixels, read_idx(labels, 1), str(images)), _small_bytes(pixels)


# ----------------------------------------------------------------------------- checks and the cut


def _checked(images: NDArray[Any], labels: NDArray[Any], where: str) -> Split:
    """Images as float32 [n, c, h, w] and labels as int64 [n], or the reason why not."""
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim not in {2, 4} or 0 in images.shape:
        shape = "x".join(map(str, images.shape))
        raise ModelError(
            f"{where}: images must be [n, c, h, w] or [n, h, w], or vectors [n, features], not"
            f" {shape}"
        )
    if labels.ndim != 1:
        raise ModelError(f"{where}: labels must be [n], not {labels.ndim}-dimensional")
    if len(images) != len(labels):
        raise ModelError(
            f"{where}: images and labels must be of one length, not {len(images)} and {len(labels)}"
        )
    if labels.dtype.kind not in "iu":  # numpy counts spans of time among its integers
        raise ModelError(f"{where}: labels must be integers, not {labels.dtype}")
    # asked before the cast to int64, in which an unsigned label can wrap into the range
    if labels.min() < 0:
        raise ModelError(f"{where}: labels must be 0 or more, not {labels.min()}")
    if labels.max() > MOST_LABEL:
        raise ModelError(f"{where}: labels must be at most {MOST_LABEL}, not {labels.max()}")
    return Split(_real(images, where), frozen(labels))


def _real(images: NDArray[Any], where: str) -> NDArray[np.float32]:
    if images.dtype == np.uint8:
        return frozen(images.astype(np.float32) / np.float32(255), np.float32)
    if not np.issubdtype(images.dtype, np.floating):
        raise ModelError(f"{where}: images must be float or uint8, not {images.dtype}")
    with np.errstate(over="ignore"):  # told below, as the infinity that it turns into
        real = frozen(images, np.float32)
    bad = np.flatnonzero(~np.isfinite(real).all(axis=tuple(range(1, real.ndim))))
    if len(bad):
        raise ModelError(f"{where}: images must be finite, not NaN or infinite as image {bad[0]}")
    return real


def _small_bytes(images: NDArray[Any]) -> tuple[str, ...]:
    """A warning where bytes do not look like pixels of 0..255."""
    if images.dtype != np.uint8 or not images.size or images.max() >= 128:
        return ()
    return (
        f"uint8 images are scaled by 1/255 and the largest value here is {images.max()}: where they"
        " are not meant as 0..255, store them as float, which is taken as it is",
    )


def _split(
    name: str, kept: Split, held: Split, words: str, notes: tuple[str, ...], where: str
) -> Dataset:
    """A split that was given, with a warning where an image stands on both sides."""
    sizes = ["x".join(map(str, part.images.shape[1:])) for part in (kept, held)]
    if sizes[0] != sizes[1]:
        raise ModelError(
            f"{where}: calibration (train) and held-out (t10k) images must be of one size, not"
            f" {sizes[0]} and {sizes[1]}"
        )
    return Dataset(name, kept, held, words, (*dict.fromkeys(notes), *_shared(kept, held)))


def _shared(kept: Split, held: Split) -> tuple[str, ...]:
    known = {image.tobytes() for image in kept.images}
    twice = sum(image.tobytes() in known for image in held.images)
    if not twice:
        return ()
    return (
        f"{twice} of {len(held.labels)} held-out images are among the calibration images too: their"
        " accuracy is not that of unseen images",
    )


def _cut(
    name: str,
    images: NDArray[Any],
    labels: NDArray[Any],
    fraction: float,
    words: str,
    where: str = "",
) -> Dataset:
    whole = _checked(images, labels, where or name)
    held = heldout_indices(whole.labels, fraction)
    kept = np.setdiff1d(np.arange(len(whole.labels)), held)
    if not len(held) or not len(kept):
        raise ModelError(
            f"{where or name}: data must fill both parts, not {len(kept)} calibration"
            f" and {len(held)} held-out images"
        )
    first, second = (
        Split(frozen(whole.images[i], np.float32), frozen(whole.labels[i])) for i in (kept, held)
    )
    return _split(name, first, second, words, _small_bytes(images), where or name)


def heldout_indices(labels: IntArray, fraction: float) -> IntArray:
    """Indices of the held-out images: ``fraction`` of each class, rounded, in rising order."""
    rng = generator(SPLIT_SEED, "held-out split")
    parts = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        parts.append(members[: round(len(members) * fraction)])
    return np.sort(np.concatenate(parts))

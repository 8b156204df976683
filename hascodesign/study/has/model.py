"""The networks of the HAS study in float32: built, trained once and kept under a hash.

mnist32-cnn is MNIST resized to 32x32, a convolution of 32 filters 4x4 without padding, ReLU,
2x2 maximum, and dense layers of 1024, 256, 64 and 10 rows. The digits network is the same with
UCI digits resized to 16x16 and dense layers of 256, 64 and 10 rows.

References
----------
S. Shresthamali, Y. He, M. Kondo, "Fault-aware Hardware Scheduling of Computations in Deep Neural
Networks", IPSJ SIG Technical Report 2022-ARC-249 no. 19.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hascodesign.common.files import write_atomic
from hascodesign.contract.errors import ModelError
from hascodesign.contract.types import IntArray, Split, frozen
from hascodesign.models import data
from hascodesign.models.checkpoint import read_state

Floats = NDArray[np.float32]
Progress = Callable[[str, int, int], None]  # (what, done, total)

FILTERS = 32
KERNEL = 4
CONV_TILE = 16  # K of one partial sum, convolution
DENSE_TILE = 32  # K of one partial sum, dense


@dataclass(frozen=True, slots=True)
class Recipe:
    """One of the study's networks, and how it is trained here."""

    side: int  # pixels that images are resized to
    dense: tuple[int, ...]  # rows of the dense layers
    epochs: int
    batch: int  # images
    rate: float  # learning rate of stochastic gradient descent


MOMENTUM = 0.9
#: mnist: optimiser, rate, momentum, batch and start of the weights are those of the study's own
#: code, and so is the number of updates: 25 epochs of 60,000 images there, 184 of 8,000 here.
RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "mnist": Recipe(32, (1024, 256, 64, 10), 184, 1024, 0.01),
        "digits": Recipe(16, (256, 64, 10), 80, 64, 0.01),
    }
)


@dataclass(frozen=True, slots=True)
class StudyLayer:
    """Weights of one layer; the first is the convolution, K running (ky, kx)."""

    weights: Floats  # [R, K]
    bias: Floats  # [R], added once the partial sums are together
    k_tile: int  # K of one partial sum

    @property
    def rows(self) -> int:
        """R, output channels."""
        return len(self.weights)

    @property
    def tiles(self) -> int:
        """Partial sums of one output element."""
        return -(-self.weights.shape[1] // self.k_tile)


@dataclass(frozen=True, slots=True)
class StudyNetwork:
    """A trained network: one convolution, maximum over 2x2, then dense layers; ReLU between."""

    name: str
    side: int  # pixels of an image
    layers: tuple[StudyLayer, ...]

    @property
    def positions(self) -> int:
        """Output positions of the convolution along one side."""
        return self.side - KERNEL + 1

    @property
    def pooled(self) -> int:
        """Positions along one side after the maximum."""
        return self.positions // 2


@dataclass(frozen=True, slots=True)
class Images:
    """Images as the network takes them, and their labels."""

    pixels: Floats  # [n, side, side], 0..1
    labels: IntArray  # [n]

    def part(self, start: int, stop: int) -> Images:
        """The images from ``start`` up to ``stop``."""
        return Images(self.pixels[start:stop], self.labels[start:stop])

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class StudyData:
    """Images for training and searching, and images for judging; no image is in both."""

    name: str
    calibration: Images
    heldout: Images


def mnist_folder() -> Path | None:
    """Folder of the MNIST IDX files below HASCODESIGN_DATA, None where there is none."""
    named = os.environ.get("HASCODESIGN_DATA")
    if named is None:
        return None
    for folder in (Path(named, "mnist"), Path(named, "mnist-t10k"), Path(named)):
        if folder.is_dir() and any(folder.glob("*images*idx*")):
            return folder
    return None


def load_data(name: str) -> StudyData:
    """Images of ``mnist`` or ``digits``, resized; pixels 0..1 as in the study's own code.

    The scale matters: with standardised pixels the partial sums of most rows pass 2, where a
    corrupted exponent explodes; with 0..1 those of some.

    Raises
    ------
    ModelError
        No such data set, or MNIST's files are not there.
    """
    if name not in RECIPES:
        raise ModelError(f"dataset must be one of {', '.join(RECIPES)}, not {name}")
    if name == "digits":
        raw = data.digits()
    else:
        folder = mnist_folder()
        if folder is None:
            raise ModelError("dataset mnist needs HASCODESIGN_DATA to name the folder of its files")
        raw = data.mnist(folder)
    side = RECIPES[name].side
    white = float(raw.calibration.images.max())

    def resized(split: Split) -> Images:
        return Images(frozen(_resized(split, side) / white, np.float32), split.labels)

    return StudyData(name, resized(raw.calibration), resized(raw.heldout))


def _resized(split: Split, side: int) -> Floats:
    given = torch.from_numpy(np.array(split.images))
    size = functional.interpolate(given, (side, side), mode="bilinear", align_corners=False)
    return np.asarray(size[:, 0].numpy())


# --------------------------------------------------------------------------------------- training


def trained(images: StudyData, seed: int, cache: Path, progress: Progress) -> StudyNetwork:
    """The network of one seed: out of the cache, or trained and put there.

    Parameters
    ----------
    images : its calibration part trains the network.
    seed : of the first weights and the order of images.
    cache : folder of trained networks; it need not exist.
    progress : told after each epoch.
    """
    path = cache / f"has-{images.name}-{seed}-{_fingerprint(images, seed)}.pt"
    state = _stored(path)
    if state is None:
        with _one_thread():
            state = _train(images, seed, progress)
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomic(path, buffer.getvalue())
    return _frozen(images.name, state)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread of torch: sums that are split over threads round as many ways as there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _build(recipe: Recipe) -> nn.Sequential:
    pooled = (recipe.side - KERNEL + 1) // 2
    parts: list[nn.Module] = [nn.Conv2d(1, FILTERS, KERNEL), nn.ReLU(), nn.MaxPool2d(2)]
    parts.append(nn.Flatten())
    depth = FILTERS * pooled * pooled
    for rows in recipe.dense:
        parts += [nn.Linear(depth, rows), nn.ReLU()]
        depth = rows
    model = nn.Sequential(*parts[:-1])
    layers = [part for part in model if isinstance(part, nn.Conv2d | nn.Linear)]
    for part in layers:
        # the study's start: He-uniform, which is why some partial sums pass 2, and Glorot last
        start = nn.init.xavier_uniform_ if part is layers[-1] else nn.init.kaiming_uniform_
        start(part.weight)
        if part.bias is not None:
            nn.init.zeros_(part.bias)
    return model


def _train(images: StudyData, seed: int, progress: Progress) -> dict[str, Tensor]:
    recipe = RECIPES[images.name]
    pixels = torch.from_numpy(np.array(images.calibration.pixels))[:, None]
    labels = torch.from_numpy(np.array(images.calibration.labels))
    what = f"train {images.name} network {seed}"
    progress(what, 0, recipe.epochs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _build(recipe)
        optimiser = torch.optim.SGD(model.parameters(), lr=recipe.rate, momentum=MOMENTUM)
        for epoch in range(recipe.epochs):
            for chosen in torch.split(torch.randperm(len(labels)), recipe.batch):
                loss = functional.cross_entropy(model(pixels[chosen]), labels[chosen])
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                optimiser.step()
            progress(what, epoch + 1, recipe.epochs)
    return model.state_dict()


def _frozen(name: str, state: Mapping[str, Tensor]) -> StudyNetwork:
    weights = [value.numpy() for key, value in state.items() if key.endswith("weight")]
    biases = [value.numpy() for key, value in state.items() if key.endswith("bias")]
    layers = tuple(
        StudyLayer(
            frozen(weight.reshape(len(weight), -1), np.float32),
            frozen(bias, np.float32),
            DENSE_TILE if index else CONV_TILE,
        )
        for index, (weight, bias) in enumerate(zip(weights, biases, strict=True))
    )
    return StudyNetwork(name, RECIPES[name].side, layers)


def _stored(path: Path) -> dict[str, Tensor] | None:
    if not path.is_file():
        return None
    return read_state(path)


def _fingerprint(images: StudyData, seed: int) -> str:
    """Hash of all that goes into a trained network: recipe, data, seed, torch, this code."""
    total = hashlib.sha256(f"{images.name} {seed} torch {torch.__version__}".encode())
    for part in (Recipe, _resized, _build, _train):
        total.update(inspect.getsource(part).encode())
    total.update(repr(RECIPES[images.name]).encode())
    for array in (images.calibration.pixels, images.calibration.labels):
        total.update(_bytes(array))
    return total.hexdigest()[:16]


def _bytes(array: NDArray[Any]) -> bytes:
    return f"{array.shape} {array.dtype}".encode() + np.ascontiguousarray(array).tobytes()

"""The bundled networks: how each is built and trained.

``python -m hascodesign.models.zoo digits-cnn --out digits_cnn.pt`` trains one again.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import brevitas
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hascodesign.common.files import write_atomic
from hascodesign.contract.errors import ConfigError, ModelError
from hascodesign.contract.types import Dataset, Split
from hascodesign.models import networks
from hascodesign.models.data import digits, mnist
from hascodesign.models.graph import quiet

Progress = Callable[[str, int, int], None]  # (what, done, total)
SEED = 0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one network is built and trained."""

    build: Callable[[], nn.Sequential]
    dataset: str  # "digits" or "mnist"
    epochs: int
    batch: int  # images
    rate: float  # highest learning rate of the one-cycle schedule
    shift: int  # pixels that images are moved by at most, at random, in training


def recipe(name: str) -> Recipe:
    """Recipe of a bundled network.

    Raises
    ------
    ConfigError
        There is none of that name.
    """
    if name not in RECIPES:
        raise ConfigError(
            f"model must be one of {', '.join(RECIPES)} or file.py:factory, not {name}"
        )
    return RECIPES[name]


RECIPES: dict[str, Recipe] = {
    "digits-cnn": Recipe(networks.digits_cnn, "digits", 60, 64, 5e-3, 1),
    "mnist-cnn": Recipe(networks.mnist_cnn, "mnist", 5, 64, 2e-3, 0),
    "mnist-mlp": Recipe(networks.mnist_mlp, "mnist", 30, 64, 5e-3, 0),
}


# --------------------------------------------------------------------------------------- training


def train(name: str, data: Split, progress: Progress, seed: int = SEED) -> nn.Sequential:
    """Network trained from scratch; the same seed and torch give the same network.

    Parameters
    ----------
    name : a key of RECIPES.
    data : calibration images and their labels.
    progress : told after each epoch.
    seed : seeds the first weights, the order of images, dropout and shifts.
    """
    made = recipe(name)
    with quiet(), _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = made.build()
        images = torch.from_numpy(np.array(data.images))
        labels = torch.from_numpy(np.array(data.labels))
        steps = made.epochs * -(-len(labels) // made.batch)
        optimiser = torch.optim.AdamW(model.parameters(), lr=made.rate, weight_decay=0.0)
        rates = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, made.rate, total_steps=steps, pct_start=0.15
        )
        model.train()
        for epoch in range(made.epochs):
            for chosen in torch.split(torch.randperm(len(labels)), made.batch):
                batch = _shifted(images[chosen], made.shift)
                loss = functional.cross_entropy(model(batch), labels[chosen])
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                optimiser.step()
                rates.step()
            progress(f"train {name}", epoch + 1, made.epochs)
    return model.eval()


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread of torch: sums that are split over threads round as many ways as there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _shifted(images: Tensor, most: int) -> Tensor:
    """The batch moved by up to ``most`` pixels either way."""
    if not most:
        return images
    height, width = images.shape[2:]
    down, right = (int(n) for n in torch.randint(0, 2 * most + 1, (2,)))
    return functional.pad(images, (most,) * 4)[:, :, down : down + height, right : right + width]


@torch.no_grad()
def accuracy(model: nn.Module, data: Split) -> float:
    """Part of the images that a model classifies correctly, 0..1."""
    with quiet():
        found: Any = model(torch.from_numpy(np.array(data.images))).argmax(dim=1)
    return float((found.numpy() == data.labels).mean())


# -------------------------------------------------------------------------------------- the cache


def fingerprint(name: str, data: Split, seed: int = SEED) -> str:
    """Hash of all that goes into a trained network: recipe, data, seed, versions."""
    total = hashlib.sha256()
    versions = f"{name} {seed} torch {torch.__version__} brevitas {brevitas.__version__}"
    total.update(versions.encode())
    for module in (networks, sys.modules[__name__]):
        total.update(inspect.getsource(module).encode())
    for array in (data.images, data.labels):
        total.update(f"{array.shape} {array.dtype}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:16]


def save(model: nn.Module, path: Path) -> None:
    """Write a state dict in one move: a killed run leaves no half of it."""
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    try:
        write_atomic(path, buffer.getvalue())
    except OSError as error:
        raise ConfigError(f"folder of trained models must be writable: {path.parent}") from error


def dataset(name: str, data_dir: Path | None) -> Dataset:
    """Data of a bundled network.

    Parameters
    ----------
    name : a key of RECIPES.
    data_dir : for MNIST, the folder of its IDX files or one that holds it as ``mnist`` or
        ``mnist-t10k``; None = the folder that HASCODESIGN_DATA names.
    """
    if recipe(name).dataset == "digits":
        return digits()
    named = os.environ.get("HASCODESIGN_DATA")
    folder = data_dir or (Path(named) if named else None)
    if folder is None:
        raise ModelError(
            f"{name} needs the MNIST IDX files: HASCODESIGN_DATA must name their folder, or --data"
        )
    for candidate in (folder / "mnist", folder / "mnist-t10k", folder):
        if candidate.is_dir() and any(candidate.glob("*images*idx*")):
            return mnist(candidate)
    raise ModelError(f"{folder} must hold the MNIST IDX files (t10k-images-idx3-ubyte.gz, ...)")


def main(arguments: list[str] | None = None) -> None:
    """Train a bundled network and write its checkpoint."""
    parser = argparse.ArgumentParser(prog="python -m hascodesign.models.zoo", description=__doc__)
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    parser.add_argument("--data", type=Path, help="folder of the MNIST IDX files")
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args(arguments)
    data = dataset(given.name, given.data)
    model = train(given.name, data.calibration, print, given.seed)
    save(model, given.out)
    print(f"{given.name}: {accuracy(model, data.heldout):.4f} of held-out images correct")


if __name__ == "__main__":
    main()

"""The network that is measured: in Brevitas, in plain float32 and as integers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hascodesign.contract import arithmetic
from hascodesign.contract.array import generator
from hascodesign.contract.types import (
    ArraySpec,
    Conv,
    Dataset,
    IntArray,
    IntegerNetwork,
    MaxPool,
    Split,
)
from hascodesign.models import integer, zoo
from hascodesign.models.graph import quiet
from hascodesign.models.load import load_bundled

ARRAY = ArraySpec(pe=16, simd=8, weight_bits=4, act_bits=8, acc_bits=24)
SEED = 0
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Subject:
    """One network with one batch of images."""

    brevitas: nn.Module
    clean: nn.Module  # the same layers in float32, batch normalisation folded away
    network: IntegerNetwork
    pixels: Tensor  # [batch, channels, height, width] float32
    labels: IntArray  # [batch]
    codes: IntArray  # [batch, height, width, channels]
    calibration: tuple[IntArray, IntArray]  # codes and labels that a flow searches on
    source: str  # where weights and images come from, in words

    @property
    def batch(self) -> int:
        """Images of the batch."""
        return len(self.labels)

    def clean_forward(self) -> Tensor:
        """The plain float32 forward pass of the batch: what every ratio is to."""
        with torch.inference_mode():
            return self.clean(self.pixels)

    def brevitas_forward(self) -> object:
        """The quantised forward pass in Brevitas."""
        with torch.inference_mode(), quiet():
            return self.brevitas(self.pixels)


def make_subject(name: str, batch: int, cache: Path, progress: Progress) -> Subject:
    """A bundled network, trained where its data is at hand, else with random weights and images.

    Parameters
    ----------
    name : digits-cnn, mnist-cnn or mnist-mlp.
    batch : images of one pass; repeated where the data holds fewer.
    cache : folder of trained models.
    progress : told of a training.
    """
    if name == "digits-cnn" or os.environ.get("HASCODESIGN_DATA"):
        loaded = load_bundled(name, None, cache, progress)
        model, data = loaded.model, loaded.dataset
        source = f"trained weights, {data.name} images"
    else:
        model, data = _random(name)
        source = "random weights and images"
    shape = data.calibration.images.shape[1:]
    network = integer.integerise(model, name, (shape[0], shape[1], shape[2]), ARRAY.acc_bits)
    chosen = np.resize(np.arange(len(data.calibration.labels)), batch)
    images, labels = data.calibration.images[chosen], data.calibration.labels[chosen]
    return Subject(
        brevitas=model,
        clean=clean_network(network),
        network=network,
        pixels=torch.from_numpy(images.copy()),
        labels=labels,
        codes=arithmetic.quantise(images, network.input),
        calibration=(
            arithmetic.quantise(data.calibration.images, network.input),
            data.calibration.labels,
        ),
        source=source,
    )


def clean_network(network: IntegerNetwork) -> nn.Sequential:
    """The float32 network of the same layers, its weights scaled to keep sums near one."""
    parts: list[nn.Module] = []
    flat = False
    for stage in network.stages:
        if isinstance(stage, MaxPool):
            parts.append(nn.MaxPool2d(stage.kernel, stage.stride))
            continue
        if stage.conv is None and not flat:
            parts.append(nn.Flatten())
            flat = True
        layer = _conv(stage.rows, stage.conv) if stage.conv else nn.Linear(stage.depth, stage.rows)
        if not isinstance(layer.weight, Tensor):
            raise TypeError("a layer's weight is a tensor")
        scale = float(stage.depth) ** 0.5 * 4
        values = stage.weights.reshape(tuple(layer.weight.shape)) / scale
        layer.weight.data = torch.from_numpy(values).float()
        parts += [layer, nn.ReLU()]
    return nn.Sequential(*parts[:-1]).eval()


def _conv(rows: int, conv: Conv) -> nn.Conv2d:
    return nn.Conv2d(conv.in_shape[2], rows, conv.kernel, conv.stride, conv.padding)


def _random(name: str, images: int = 2000) -> tuple[nn.Module, Dataset]:
    """The untrained network, its scales settled on random images, and such images."""
    rng = generator(SEED, "bench images")
    pixels = rng.random((images, 1, 28, 28), dtype=np.float32)
    whole = Split(pixels, rng.integers(0, 10, images))
    with quiet(), torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = zoo.recipe(name).build()
        model.train()
        for part in torch.split(torch.from_numpy(pixels), 100)[:10]:
            model(part)
    half = images // 2
    dataset = Dataset(
        "random",
        Split(whole.images[:half], whole.labels[:half]),
        Split(whole.images[half:], whole.labels[half:]),
    )
    return model.eval(), dataset


def first_images(subject: Subject, count: int) -> Subject:
    """The same network on the first images of its batch."""
    return replace(
        subject,
        pixels=subject.pixels[:count].clone(),
        labels=subject.labels[:count],
        codes=subject.codes[:count],
    )

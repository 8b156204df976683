"""Networks with one axis: as those with two, on maps of height 1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from brevitas import nn as qnn
from brevitas.quant import Int8WeightPerTensorFloat
from torch import nn
from torch.nn import functional

import hascodesign as has
from hascodesign.contract.errors import ModelError
from hascodesign.models.integer import compare, integerise
from hascodesign.models.load import Rows, load_user
from tests.model_cases import images, last, line, pixels, relu, settle

SHAPE = (2, 1, 12)
PLAIN: dict[str, Any] = {"bias": False, "bias_quant": None}


class Functions(nn.Module):
    """Pools and an average by functions of torch and methods of the tensor."""

    def __init__(self, average: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.layers = nn.Sequential(pixels(), line(2, 4, padding=1), qnn.QuantReLU(bit_width=4))
        self.average, self.end = average, last(4, **PLAIN)

    def forward(self, x: torch.Tensor) -> Any:
        return self.end(self.average(functional.max_pool1d(self.layers(x), 2)))


class Residual(nn.Module):
    """A sum of two maps."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(pixels(), line(2, 4), relu())
        self.second, self.shared, self.act = line(4, 4, padding=1), pixels(4), relu()
        self.flat, self.end = nn.Flatten(), last(40)

    def forward(self, x: torch.Tensor) -> Any:
        x = self.first(x)
        return self.end(self.flat(self.act(self.shared(self.second(x)) + self.shared(x))))


NETWORKS: dict[str, Callable[[], list[nn.Module]]] = {
    "stride, padding, norm, pool": lambda: [
        pixels(), line(2, 4, stride=2, padding=1), nn.BatchNorm1d(4), relu(), nn.MaxPool1d(2),
        nn.Flatten(), last(12),
    ],
    "groups, dilation, padding by its name, average": lambda: [
        pixels(), line(2, 4, groups=2, dilation=2, padding="same"), relu(), nn.AvgPool1d(2),
        nn.Flatten(), last(24, **PLAIN),
    ],
    "two layers and a global average": lambda: [
        pixels(), line(2, 4), relu(), line(4, 4, 1), nn.BatchNorm1d(4), relu(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), last(4, **PLAIN),
    ],
    "global maximum": lambda: [
        pixels(), line(2, 4), relu(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), last(4, **PLAIN),
    ],
    "padded pool": lambda: [
        pixels(), line(2, 4), relu(), nn.MaxPool1d(3, 2, padding=1), nn.Flatten(), last(20),
    ],
    "padded average with a quantiser": lambda: [
        pixels(), line(2, 4), relu(), nn.AvgPool1d(3, 2, padding=1), relu(3), line(4, 2, 2),
        relu(), nn.Flatten(), last(8),
    ],
    "convolution at the end": lambda: [
        pixels(), line(2, 4), relu(), line(4, 3, 10, weight_quant=Int8WeightPerTensorFloat),
        nn.Flatten(),
    ],
    "functions": lambda: [Functions(lambda x: functional.adaptive_avg_pool1d(x, 1).flatten(1))],
    "mean": lambda: [Functions(lambda x: x.mean(2))],
    "residual": lambda: [Residual()],
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_equal_code_for_code(name: str) -> None:
    torch.manual_seed(0)
    model = settle(Rows(nn.Sequential(*NETWORKS[name]())), SHAPE)
    found = compare(model, integerise(model, "line", SHAPE), images(shape=SHAPE))
    assert found.total == 0, found
    assert sum(found.compared) > 2000 and all(count > 1 for count in found.values)


#: What torch takes for a map without a batch, and pools across the batch's or the channels' axis.
ACROSS: dict[str, Callable[[], list[nn.Module]]] = {
    "MaxPool2d of 3 axes": lambda: [nn.MaxPool2d(2), nn.Flatten(), last(10)],
    "AvgPool2d of 3 axes": lambda: [nn.AvgPool2d(2), relu(), nn.Flatten(), last(10)],
    "AdaptiveAvgPool2d of 3 axes": lambda: [nn.AdaptiveAvgPool2d(1), nn.Flatten(), last(1)],
    "AdaptiveMaxPool2d of 3 axes": lambda: [nn.AdaptiveMaxPool2d(1), nn.Flatten(), last(1)],
    "MaxPool1d of 2 axes": lambda: [nn.Flatten(), nn.MaxPool1d(2), last(20)],
    "AvgPool1d of 2 axes": lambda: [nn.Flatten(), nn.AvgPool1d(2), relu(), last(20)],
    "'max_pool2d() in ": lambda: [Pooled(), nn.Flatten(), last(10)],
}


class Pooled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.max_pool2d(x, 2)


@pytest.mark.parametrize("name", ACROSS)
def test_pools_across_other_axes_are_refused(name: str) -> None:
    model = settle(Rows(nn.Sequential(pixels(), line(2, 4), relu(), *ACROSS[name]())), SHAPE)
    with pytest.raises(ModelError, match="must be one of") as told:
        integerise(model, "across", SHAPE)
    assert name in str(told.value)


def test_words_are_those_of_a_convolution_of_height_one() -> None:
    torch.manual_seed(0)
    one = settle(Rows(nn.Sequential(pixels(), line(2, 4), relu(), nn.Flatten(), last(40))), SHAPE)
    network = integerise(one, "line", SHAPE)
    conv = network.layers[0].conv
    assert conv is not None and (conv.in_shape, conv.kernel) == ((1, 12, 2), (1, 3))
    kernel = one.inner[1].quant_weight().int().numpy()
    assert np.array_equal(network.layers[0].weights, kernel.transpose(0, 2, 1).reshape(4, 6))


FACTORY = """
from brevitas import nn as qnn
from torch import nn
def line():
    return nn.Sequential(
        qnn.QuantIdentity(bit_width=8),
        qnn.QuantConv1d({channels}, 4, 3, bias=False, weight_bit_width=4),
        qnn.QuantReLU(bit_width=4), nn.Flatten(), qnn.QuantLinear(40, 3, bias=False)).eval()
"""


@pytest.mark.parametrize(
    "given", [(2, 12), (2, 1, 12), (1, 12), (1, 1, 12)], ids=lambda shape: "x".join(map(str, shape))
)
def test_a_users_rows(tmp_path: Path, given: tuple[int, ...]) -> None:
    """[n, channels, length], or with a height of 1."""
    values = np.random.default_rng(0).normal(size=(60, *given)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", images=values, labels=np.arange(60) % 3)
    (tmp_path / "net.py").write_text(FACTORY.format(channels=given[0]))
    loaded = load_user(f"{tmp_path}/net.py:line", None, tmp_path / "rows.npz")
    assert loaded.in_shape == (given[0], 1, 12)
    held = loaded.dataset.heldout
    known = {value.tobytes() for value in values}
    assert all(np.ascontiguousarray(image).tobytes() in known for image in held.images)
    network = integerise(loaded.model, "rows", loaded.in_shape)
    assert compare(loaded.model, network, held).compared[0] == len(held.labels) * 12 * given[0]
    if given == (2, 12):
        whole = has.load(f"{tmp_path}/net.py:line", data=tmp_path / "rows.npz")
        assert whole.in_shape == (2, 1, 12)

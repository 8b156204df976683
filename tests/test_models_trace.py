"""Networks as users write them: what runs, in the order in which it runs, code for code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from brevitas import nn as qnn
from brevitas.quant import (
    Int8ActPerTensorFloat,
    Int8WeightPerTensorFloat,
    SignedBinaryActPerTensorConst,
    SignedBinaryWeightPerTensorConst,
    SignedTernaryActPerTensorConst,
    SignedTernaryWeightPerTensorConst,
)
from brevitas_examples.bnn_pynq.models import model_with_cfg
from torch import nn

from hascodesign.contract.types import Split, frozen
from hascodesign.models.integer import compare, integerise
from tests.model_cases import IMAGE, conv, dense, images, last, pixels, relu, settle, settled

PLAIN: dict[str, Any] = {"bias": False, "bias_quant": None}  # no quantised codes are asked for


class Late(nn.Module):
    """Registered in another order than it runs in, with a layer that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.end, self.first, self.spare = last(24), conv(2, 4, padding=1), nn.LSTM(3, 3)
        self.act, self.quant = relu(), pixels()

    def forward(self, x: Any) -> Any:
        x = nn.functional.max_pool2d(self.act(self.first(self.quant(x))), 2)
        return self.end(torch.flatten(x, 1))


class Shared(nn.Module):
    """One activation behind two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.act = pixels(), relu()
        self.first, self.second, self.end = conv(2, 4), conv(4, 4, 1), last(48)

    def forward(self, x: Any) -> Any:
        x = self.act(self.second(self.act(self.first(self.quant(x)))))
        return self.end(x.view(x.shape[0], -1))


class Scaled(nn.Module):
    """The images scaled, a norm of the whole at the end, as FINN's networks have them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(pixels(), nn.Flatten(), dense(60, 8), relu(), last(8))
        self.mean, self.factor = nn.Parameter(torch.ones(1) / 3), nn.Parameter(torch.ones(1) * 0.7)

    def forward(self, x: Any) -> Any:
        x = 2.0 * x - torch.tensor([1.0])
        return (self.body(x) - self.mean) / 1.5 * self.factor + 1


class Means(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.quant, self.first, self.end = pixels(), conv(2, 4), last(4, **PLAIN)
        self.act = qnn.QuantReLU(bit_width=4)

    def forward(self, x: Any) -> Any:
        return self.end(self.act(self.first(self.quant(x))).mean((2, 3)))


class Odd(qnn.QuantConv2d):
    """A subclass that computes what its base does."""


def odd() -> nn.Module:
    return Odd(2, 4, 3, bias=False, weight_bit_width=4)


def binary(act: Any, weight: Any) -> nn.Module:
    def quant() -> nn.Module:
        return qnn.QuantIdentity(act_quant=act)

    return settled(
        quant(), conv(2, 4, padding=1, weight_quant=weight), nn.BatchNorm2d(4), quant(),
        nn.MaxPool2d(2), nn.Flatten(), last(24, weight_quant=weight, **PLAIN),
    )  # fmt: skip


def behind(*layers: nn.Module, features: int = 48, first: nn.Module | None = None) -> nn.Module:
    end = last(features, **PLAIN)
    return settled(pixels(), first or conv(2, 4), *layers, nn.Flatten(), end)


ACCEPTED: dict[str, Callable[[], nn.Module]] = {
    "registered late": lambda: settle(Late()),
    "one activation twice": lambda: settle(Shared()),
    "scaled images": lambda: settle(Scaled()),
    "mean over the map": lambda: settle(Means()),
    "average of windows": lambda: behind(
        relu(), nn.AvgPool2d((2, 1), (1, 2)), features=24
    ),
    "adaptive average": lambda: behind(relu(), nn.AdaptiveAvgPool2d(1), features=4),
    "average with an integer bias": lambda: settled(
        pixels(), conv(2, 4), relu(), nn.AvgPool2d(2), nn.Flatten(), last(8)
    ),
    "average before a hidden layer": lambda: settled(
        pixels(), conv(2, 4), relu(), nn.AvgPool2d(2), nn.Flatten(), dense(8, 6), relu(), last(6)
    ),
    "groups": lambda: behind(relu(), first=conv(2, 4, groups=2)),
    "depthwise": lambda: settled(
        pixels(), conv(2, 4), relu(), conv(4, 4, groups=4, padding=1), nn.BatchNorm2d(4), relu(),
        nn.Flatten(), last(48),
    ),
    "dilation": lambda: behind(relu(), first=conv(2, 4, dilation=(2, 1)), features=24),
    "dilation, same": lambda: behind(
        relu(), first=conv(2, 4, dilation=2, padding="same"), features=120
    ),
    "nn.ReLU": lambda: behind(nn.BatchNorm2d(4), nn.ReLU(), pixels(4)),
    "QuantHardTanh": lambda: behind(qnn.QuantHardTanh(bit_width=4, max_val=1.0, min_val=-1.0)),
    "QuantTanh": lambda: behind(nn.BatchNorm2d(4), qnn.QuantTanh(bit_width=4)),
    "QuantSigmoid": lambda: behind(nn.BatchNorm2d(4), qnn.QuantSigmoid(bit_width=3)),
    "input_quant": lambda: settled(
        conv(2, 4, input_quant=Int8ActPerTensorFloat), relu(), nn.Flatten(),
        last(48, input_quant=Int8ActPerTensorFloat, **PLAIN),
    ),
    "output_quant": lambda: behind(relu(), first=conv(2, 4, output_quant=Int8ActPerTensorFloat)),
    "output_quant alone": lambda: settled(
        pixels(), conv(2, 4, output_quant=Int8ActPerTensorFloat), nn.Flatten(), last(48, **PLAIN)
    ),
    "QuantReLU on the images": lambda: settled(relu(8), nn.Flatten(), last(60)),
    "binary": lambda: binary(SignedBinaryActPerTensorConst, SignedBinaryWeightPerTensorConst),
    "ternary weights": lambda: behind(
        relu(), first=conv(2, 4, weight_quant=SignedTernaryWeightPerTensorConst)
    ),
    "ternary activations": lambda: behind(
        nn.BatchNorm2d(4), qnn.QuantIdentity(act_quant=SignedTernaryActPerTensorConst)
    ),
    "a convolution at the end": lambda: settled(
        pixels(), conv(2, 4), relu(), last_conv((4, 3)), nn.Flatten()
    ),
    "a padded one": lambda: settled(
        pixels(), conv(2, 4), relu(), last_conv((5, 4), padding=1, stride=3), nn.Flatten()
    ),
    "defaults of Brevitas's": lambda: settled(
        nn.Flatten(), qnn.QuantIdentity(), qnn.QuantLinear(60, 8, bias=True), qnn.QuantReLU(),
        qnn.QuantLinear(8, 3, bias=False),
    ),
    "an autoencoder": lambda: settled(
        pixels(), nn.Flatten(), dense(60, 5, bias=True), nn.BatchNorm1d(5), relu(), last(5, 60)
    ),
    "softmax": lambda: settled(pixels(), nn.Flatten(), last(60), nn.Softmax(1)),
    "log_softmax": lambda: settled(pixels(), nn.Flatten(), last(60), nn.LogSoftmax(-1)),
    "subclass": lambda: behind(relu(), first=odd()),
}  # fmt: skip


def last_conv(kernel: Any, **options: Any) -> nn.Module:
    return conv(4, 3, kernel, weight_quant=Int8WeightPerTensorFloat, **options)


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted_and_equal_code_for_code(name: str) -> None:
    model = ACCEPTED[name]()
    network = integerise(model, "net", IMAGE)
    found = compare(model, network, images(60))
    assert found.total == 0, found
    assert found.logit_residual < 1e-6
    assert found.rounded is None
    assert all(count > 1 for count in found.values), found.values


@pytest.mark.parametrize("name", ["tfc_1w1a", "tfc_2w2a"])
def test_networks_that_brevitas_ships(name: str) -> None:
    """As model_with_cfg gives them: a view, 2 x - 1, dropout, TensorNorm."""
    torch.manual_seed(0)
    model, _ = model_with_cfg(name, pretrained=False)
    settle(model, (1, 28, 28))
    network = integerise(model, name, (1, 28, 28))
    assert (network.input.gain, network.input.offset) == (2.0, -1.0)
    assert network.input.binary == (name == "tfc_1w1a")
    rng = np.random.default_rng(1)
    values = rng.random((40, 1, 28, 28))
    found = compare(model, network, Split(frozen(values, np.float32), frozen([0] * 40)))
    assert found.total == 0
    assert all(count > 1 for count in found.values)


@pytest.mark.parametrize("first", [nn.Identity, nn.Flatten])
def test_vectors(first: Callable[[], nn.Module]) -> None:
    model = settled(
        first(), pixels(), dense(16, 8), nn.BatchNorm1d(8), relu(), last(8), shape=(16,)
    )
    network = integerise(model, "vectors", (16,))
    assert network.in_shape == (1, 1, 16)
    assert compare(model, network, images(40, (16,))).total == 0


def test_a_real_bias_of_the_last_layer_is_rounded_and_counted() -> None:
    """All rows are alike, so that the bias alone decides: 1 by its real values, 0 by equal ones."""
    model = settled(pixels(), nn.Flatten(), last(60, bias_quant=None))
    with torch.no_grad():
        model[2].weight[1:] = model[2].weight[:1]
    unit = integerise(model, "real", IMAGE).logit_scale
    with torch.no_grad():
        model[2].bias.copy_(torch.tensor([10.2, 10.4, 9.8]) * unit)
    network = integerise(model, "real", IMAGE)
    assert network.layers[-1].bias.tolist() == [10, 10, 10]
    found = compare(model, network, images(50))
    assert (found.total, found.rounded) == (0, 50)


def test_a_quantiser_behind_the_logits_makes_some_equal() -> None:
    model = settled(pixels(), nn.Flatten(), last(60, 6), pixels(3))
    found = compare(model, integerise(model, "equal", IMAGE), images(200))
    assert found.total == 0
    assert found.rounded is not None and 0 < found.rounded < 100
    with torch.no_grad():
        held = torch.from_numpy(np.array(images(200).images))
        outs = [m.float()(held) for m in (model, nn.Sequential(*list(model)[:-1]))]
    classes = [getattr(out, "value", out).argmax(dim=1) for out in outs]
    assert int((classes[0] != classes[1]).sum()) == found.rounded


def test_logits_behind_a_softmax_are_those_of_the_last_layer() -> None:
    """Else a residual would be taken of probabilities."""
    model = settled(pixels(), nn.Flatten(), last(60), nn.Softmax(1))
    plain = nn.Sequential(*list(model)[:-1])
    given = images(40)
    one, other = (integerise(m, "net", IMAGE) for m in (model, plain))
    assert np.array_equal(one.layers[0].weights, other.layers[0].weights)
    assert compare(model, one, given) == compare(plain, other, given)

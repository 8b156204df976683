"""Each refusal says what to write instead, and a network so written is accepted."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from brevitas import nn as qnn
from brevitas.inject.enum import FloatToIntImplType
from brevitas.quant import (
    Int8ActPerTensorFloat,
    Int8WeightPerTensorFloat,
    ShiftedUint8ActPerTensorFloat,
    ShiftedUint8WeightPerTensorFloat,
    Uint8ActPerTensorFloat,
)
from torch import nn

from hascodesign.contract.errors import ModelError
from hascodesign.models.equivalence import compare, require_equal
from hascodesign.models.integer import integerise
from tests.model_cases import IMAGE, conv, dense, images, last, pixels, relu, settle, settled

Make = Callable[[], nn.Module]


@dataclass(frozen=True)
class Case:
    """A network that is refused, what the refusal names, and the network as it says."""

    refused: Make
    words: tuple[str, ...]  # of the refusal, the first at its beginning
    instead: Make | None
    shape: tuple[int, int, int] = IMAGE
    same: Callable[[nn.Module], nn.Module] | None = None  # of the refused one: the same function


def behind(*layers: nn.Module, features: int = 48, **options: object) -> nn.Module:
    return settled(pixels(), conv(2, 4, **options), *layers, nn.Flatten(), plain(features))


def plain(features: int, rows: int = 3) -> nn.Module:
    return last(features, rows, bias=False, bias_quant=None)


def unsettled(*layers: nn.Module) -> nn.Module:
    """One on which Brevitas itself fails."""
    return nn.Sequential(*layers).eval()


def swapped(model: nn.Module, place: int, *layers: nn.Module) -> nn.Module:
    """The same network but for one layer."""
    old = list(deepcopy(model))
    return nn.Sequential(*old[:place], *layers, *old[place + 1 :]).eval()


def ended(*layers: nn.Module) -> nn.Module:
    return settled(pixels(), nn.Flatten(), dense(60, 6), relu(), plain(6), *layers)


def signed(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.copy_(torch.tensor([1.0, 1.0, -0.5, 1.0]))
    return model


class Functional(nn.Module):
    def __init__(self, *layers: nn.Module, branch: bool, act: nn.Module | None = None) -> None:
        super().__init__()
        self.layers, self.branch = nn.ModuleList(layers), branch
        self.act = act or nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers[:-1]:
            x = layer(x)
        return self.layers[-1](self.act(x + x) if self.branch else x)


class Mean(nn.Module):
    """The average of each channel by a method of the tensor, which a QuantTensor has not."""

    def __init__(self, *, quant_tensor: bool) -> None:
        super().__init__()
        act = qnn.QuantReLU(bit_width=4, return_quant_tensor=quant_tensor)
        self.layers, self.out = nn.Sequential(pixels(), conv(2, 4), act), plain(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.layers(x).mean((2, 3)))


TENSOR = {"weight_quant": Int8WeightPerTensorFloat}
CHANNELS = {
    "per_channel_broadcastable_shape": (1, 4, 1, 1),
    "scaling_stats_permute_dims": (1, 0, 2, 3),
}
MAP = (pixels, lambda: conv(2, 4), relu, nn.Flatten, lambda: plain(48))
CASES = {
    "small last convolution": Case(
        lambda: settled(pixels(), conv(2, 3, **TENSOR), nn.Flatten()),
        (
            "layer 1 '1' (QuantConv2d) must, as the last layer that",
            "put nn.Flatten and a QuantLinear",
        ),
        lambda: settled(pixels(), conv(2, 3, **TENSOR), relu(), nn.Flatten(), last(36)),
    ),
    "activation behind the logits": Case(
        lambda: ended(relu()),
        ("layer 5 '5' (QuantReLU) must not follow", "take it out of the model"),
        ended,
    ),
    "no tensor of codes": Case(
        lambda: unsettled(pixels(), nn.Flatten(), dense(60, 6), qnn.QuantReLU(), last(6)),
        ("model must take images of 2x6x5 at '4'", "the quantiser before it"),
        lambda: settled(
            pixels(), nn.Flatten(), dense(60, 6), qnn.QuantReLU(return_quant_tensor=True), last(6)
        ),
    ),
    "padding mode": Case(
        lambda: behind(relu(), features=120, padding=1, padding_mode="circular"),
        ("layer 1 '1' (QuantConv2d) must pad with zeros", "padding_mode='zeros'"),
        lambda: behind(relu(), features=120, padding=1, padding_mode="zeros"),
    ),
    "padded pool of signed codes": Case(
        lambda: behind(pixels(4), nn.MaxPool2d(2, 2, padding=1), features=24),
        ("layer 3 '3' (MaxPool2d) must have padding 0", "Put a QuantReLU before it"),
        lambda: behind(relu(), nn.MaxPool2d(2, 2, padding=1), features=24),
    ),
    "negative gamma behind a pool": Case(
        lambda: signed(behind(nn.MaxPool2d(2), nn.BatchNorm2d(4), relu(), features=8)),
        ("layer 3 '3' (BatchNorm2d) must have no negative gamma", "behind the activation"),
        lambda: signed(behind(nn.BatchNorm2d(4), relu(), nn.MaxPool2d(2), features=8)),
    ),
    "scale of each channel": Case(
        lambda: behind(relu(4, scaling_per_output_channel=True, **CHANNELS)),
        ("layer 2 '2' (QuantReLU) must have one scale, not 4", "leave scaling_per_output_channel"),
        lambda: behind(relu(4, **CHANNELS)),
    ),
    "rounding of the images": Case(
        lambda: settled(
            pixels(float_to_int_impl_type=FloatToIntImplType.FLOOR), nn.Flatten(), last(60)
        ),
        ("layer 0 '0' (QuantIdentity) must round half to even", "leave float_to_int_impl_type out"),
        lambda: settled(pixels(), nn.Flatten(), last(60)),
    ),
    "zero point of the images": Case(
        lambda: settled(pixels(8, ShiftedUint8ActPerTensorFloat), nn.Flatten(), last(60)),
        (
            "layer 0 '0' (QuantIdentity) must have zero point 0",
            "which the array does not take off",
            "act_quant=Int8ActPerTensorFloat",
        ),
        lambda: settled(pixels(8, Int8ActPerTensorFloat), nn.Flatten(), last(60)),
    ),
    "zero point of weights": Case(
        lambda: behind(relu(), weight_quant=ShiftedUint8WeightPerTensorFloat),
        ("layer 1 '1' (QuantConv2d) must have zero point 0", "Int8WeightPerTensorFloat"),
        lambda: behind(relu(), **TENSOR),
    ),
    "wide activations": Case(
        lambda: behind(relu(9)),
        (
            "layer 2 '2' (QuantReLU) must have at most 8 bits, which the array's words have, not 9",
            "bit_width=8 or less",
        ),
        lambda: behind(relu(8)),
    ),
    "wide weights": Case(
        lambda: behind(relu(), bits=9),
        ("layer 1 '1' (QuantConv2d) must have weights of at most 8 bits", "weight_bit_width=8"),
        lambda: behind(relu(), bits=8),
    ),
    "real weights": Case(
        lambda: behind(relu(), weight_quant=None),
        ("layer 1 '1' (QuantConv2d) must quantise its weights", "Int8WeightPerTensorFloat"),
        lambda: behind(relu(), **TENSOR),
    ),
    "real activations": Case(
        lambda: behind(qnn.QuantReLU(act_quant=None)),
        ("layer 2 '2' (QuantReLU) must quantise", "Uint8ActPerTensorFloat"),
        lambda: behind(qnn.QuantReLU(act_quant=Uint8ActPerTensorFloat)),
    ),
    "no activation": Case(
        behind,
        ("layer 3 '3' (QuantLinear) must take quantised codes", "put a QuantReLU"),
        lambda: behind(relu()),
    ),
    "norm behind the activation": Case(
        lambda: behind(relu(), nn.BatchNorm2d(4), nn.MaxPool2d(2), features=8),
        (
            "layer 3 '3' (BatchNorm2d) must have",
            "this one has a factor for each",
            "put a QuantIdentity directly behind this one",
        ),
        lambda: behind(relu(), nn.BatchNorm2d(4), pixels(4), nn.MaxPool2d(2), features=8),
    ),
    "norm behind flattening": Case(
        lambda: settled(pixels(), conv(2, 4), nn.Flatten(), nn.BatchNorm1d(48), relu(), last(48)),
        ("layer 3 '3' (BatchNorm1d) must stand before", "put nn.BatchNorm2d(4) there"),
        lambda: settled(pixels(), conv(2, 4), nn.BatchNorm2d(4), nn.Flatten(), relu(), last(48)),
    ),
    "norm on the images": Case(
        lambda: settled(pixels(), nn.BatchNorm2d(2), conv(2, 4), relu(), nn.Flatten(), last(48)),
        ("layer 1 '1' (BatchNorm2d) must stand behind", "take it out"),
        lambda: settled(pixels(), conv(2, 4), relu(), nn.Flatten(), last(48)),
    ),
    "no flattening": Case(
        lambda: unsettled(pixels(), dense(60, 6), relu(), last(6)),
        ("layer 1 '1' (QuantLinear) must take a flat vector", "put nn.Flatten before it"),
        lambda: settled(pixels(), nn.Flatten(), dense(60, 6), relu(), last(6), shape=(60, 1, 1)),
        (60, 1, 1),
    ),
    "a method that a QuantTensor has not": Case(
        lambda: Mean(quant_tensor=True).eval(),
        ("model must take images of", "no attribute 'mean'", "leave return_quant_tensor=True out"),
        lambda: settle(Mean(quant_tensor=False)),
    ),
    "plain convolution": Case(
        lambda: settled(pixels(), nn.Conv2d(2, 4, 3), relu(), nn.Flatten(), plain(48)),
        ("layer 1 '1' (Conv2d) must be one of", "write qnn.QuantConv2d in its place"),
        lambda: behind(relu()),
    ),
    "branch": Case(
        lambda: settle(Functional(*(make() for make in MAP), branch=True)),
        ("layer 6 'layers.4' (QuantLinear) must take quantised codes", "behind layer 4 'add()"),
        lambda: settle(Functional(*(make() for make in MAP), branch=True, act=relu())),
    ),
}


def accepted(model: nn.Module, shape: tuple[int, int, int]) -> None:
    network = integerise(model, "instead", shape)
    found = compare(model, network, images(shape=shape))
    require_equal(found)
    assert found.total == 0 and min(found.compared) > 0


@pytest.mark.parametrize("name", CASES)
def test_the_remedy_is_said_and_right(name: str) -> None:
    case = CASES[name]
    model = case.refused()
    with pytest.raises(ModelError) as caught:
        integerise(model, "refused", case.shape)
    said = str(caught.value)
    assert said.startswith(case.words[0]) and "\n" not in said
    assert all(words in said for words in case.words), said
    if case.instead is not None:
        accepted(case.instead(), case.shape)
    if case.same is not None:
        instead = case.same(model)
        accepted(instead, case.shape)
        held = torch.from_numpy(np.array(images().images, np.float64))
        with torch.no_grad():
            outs = [m.double()(held) for m in (model, instead)]
        one, other = (getattr(out, "value", out).reshape(len(held), -1) for out in outs)
        assert torch.allclose(one, other, rtol=0, atol=1e-9)


def test_all_that_is_known_of_a_class_is_one_line() -> None:
    from hascodesign.models import instead, layers  # noqa: PLC0415

    for name, words in instead._INSTEAD.items():
        assert re.search(r"write|give|take|leave|return|let", words), name
        assert "\n" not in words and name not in {kind.__name__ for kind in layers.NAMED}

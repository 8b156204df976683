import re

import pytest
import torch
from brevitas import nn as qnn
from brevitas.inject.enum import FloatToIntImplType
from brevitas.quant import (
    Int8WeightPerTensorFloat,
    ShiftedUint8ActPerTensorFloat,
    ShiftedUint8WeightPerTensorFloat,
    Uint8ActPerTensorFloat,
)
from torch import nn

from hascodesign.contract.errors import ModelError
from hascodesign.models.graph import build
from hascodesign.models.integer import integerise
from hascodesign.models.layers import NAMED
from tests.model_cases import IMAGE, conv, dense, last, pixels, relu, settle, settled

PER_CHANNEL_ACT = {
    "per_channel_broadcastable_shape": (1, 4, 1, 1),
    "scaling_per_output_channel": True,
    "scaling_stats_permute_dims": (1, 0, 2, 3),
}


def behind(*layers: nn.Module, features: int = 48) -> nn.Module:
    """A network whose first convolution has 4 rows, then ``layers``."""
    end = last(features, bias=False, bias_quant=None)  # an integer bias needs quantised codes
    return settled(pixels(), conv(2, 4), *layers, nn.Flatten(), end)


def negative_gamma() -> nn.Module:
    norm = nn.BatchNorm2d(4)
    model = settled(
        pixels(), conv(2, 4, padding=1), nn.MaxPool2d(2), norm, relu(), nn.Flatten(), last(24)
    )
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 1.0, -0.5, 1.0]))
    return model


def not_finite() -> nn.Module:
    model = behind(nn.BatchNorm2d(4), relu())
    with torch.no_grad():
        model[2].running_var[1] = float("nan")
    return model


REFUSED = {
    "unknown layer": (
        lambda: behind(nn.Tanh()),
        "layer 2 '2' (Tanh) must be one of QuantConv2d, QuantConv1d, QuantLinear, QuantEltwiseAdd",
    ),
    "what to write instead": (
        lambda: behind(nn.GELU()),
        "constant: write qnn.QuantReLU in its place",
    ),
    "relu behind the quantiser": (
        lambda: behind(relu(), nn.ReLU()),
        "layer 3 '3' (ReLU) must have a QuantReLU or QuantIdentity before layer 5 '5'"
        " (QuantLinear); move it before layer 2 '2' (QuantReLU)",
    ),
    "average before the quantiser": (
        lambda: settled(pixels(), conv(2, 4), nn.AvgPool2d(2), relu(), nn.Flatten(), last(8)),
        "layer 2 '2' (AvgPool2d) must stand behind layer 3 '3' (QuantReLU), not before it",
    ),
    "average before a convolution": (
        lambda: settled(
            pixels(),
            conv(2, 4),
            relu(),
            nn.AvgPool2d(2),
            conv(4, 2, 1),
            relu(),
            nn.Flatten(),
            last(4),
        ),
        "layer 3 '3' (AvgPool2d) must, as an average over codes, be the only one and have a"
        " QuantLinear or a quantiser behind it, not layer 4 '4' (QuantConv2d)",
    ),
    "softmax in the middle": (
        lambda: settled(pixels(), nn.Flatten(), dense(60, 4), nn.Softmax(1), relu(), last(4)),
        "layer 3 '3' (Softmax) must stand behind the last layer",
    ),
    "softmax over nothing": (
        lambda: settled(pixels(), nn.Flatten(), last(60), nn.Softmax(0)),
        "layer 3 '3' (Softmax) must be over the classes, dim=1, not dim=0",
    ),
    "plain convolution": (
        lambda: settled(pixels(), nn.Conv2d(2, 4, 3), relu(), nn.Flatten(), last(48)),
        "layer 1 '1' (Conv2d) must be one of",
    ),
    "padding mode": (
        lambda: settled(
            pixels(),
            conv(2, 4, padding=1, padding_mode="circular"),
            relu(),
            nn.Flatten(),
            last(120),
        ),
        "must pad with zeros",
    ),
    "no input quantiser": (
        lambda: settled(conv(2, 4), relu(), nn.Flatten(), last(48)),
        "layer 0 '0' (QuantConv2d) must have a quantiser of the images before it: put",
    ),
    "two input quantisers": (
        lambda: settled(pixels(), pixels(4), conv(2, 4), relu(), nn.Flatten(), last(48)),
        "layer 1 '1' (QuantIdentity) must stand behind a layer that multiplies",
    ),
    "norm on the images": (
        lambda: settled(pixels(), nn.BatchNorm2d(2), conv(2, 4), relu(), nn.Flatten(), last(48)),
        "layer 1 '1' (BatchNorm2d) must stand behind a layer that multiplies",
    ),
    "no activation": (
        lambda: behind(nn.BatchNorm2d(4)),
        "layer 4 '4' (QuantLinear) must take quantised codes",
    ),
    "norm after the activation": (
        lambda: behind(relu(), nn.BatchNorm2d(4)),
        "layer 3 '3' (BatchNorm2d) must have a QuantReLU or QuantIdentity before layer 5",
    ),
    "norm after flattening": (
        lambda: settled(pixels(), conv(2, 4), nn.Flatten(), nn.BatchNorm1d(48), relu(), last(48)),
        "layer 3 '3' (BatchNorm1d) must stand before nn.Flatten",
    ),
    "activation after the last layer": (
        lambda: settled(pixels(), nn.Flatten(), last(60), relu()),
        "layer 3 '3' (QuantReLU) must not follow the last layer",
    ),
    "last layer a convolution": (
        lambda: settled(pixels(), conv(2, 3, (5, 5)), nn.Flatten()),
        "layer 1 '1' (QuantConv2d) must, as the last layer that multiplies, give one logit for each"
        " class, not a map of 2x1",
    ),
    "no multiply layer": (lambda: settled(pixels(), nn.Flatten()), "must hold a QuantConv2d or"),
    "zero point of the images": (
        lambda: settled(pixels(8, ShiftedUint8ActPerTensorFloat), nn.Flatten(), last(60)),
        "layer 0 '0' (QuantIdentity) must have zero point 0 for its activations",
    ),
    "zero point of weights": (
        lambda: settled(
            pixels(),
            conv(2, 4, weight_quant=ShiftedUint8WeightPerTensorFloat),
            relu(),
            nn.Flatten(),
            last(48),
        ),
        "layer 1 '1' (QuantConv2d) must have zero point 0 for its weights",
    ),
    "wide weights": (
        lambda: settled(pixels(), conv(2, 4, bits=9), relu(), nn.Flatten(), last(48)),
        "layer 1 '1' (QuantConv2d) must have weights of at most 8 bits, which the array's words"
        " have, not 9",
    ),
    "wide activations": (
        lambda: behind(relu(9)),
        "layer 2 '2' (QuantReLU) must have at most 8 bits, which the array's words have, not 9",
    ),
    "wide images": (
        lambda: settled(pixels(16), nn.Flatten(), last(60)),
        "layer 0 '0' (QuantIdentity) must have at most 8 bits, which the array's words have, not"
        " 16",
    ),
    "real weights": (
        lambda: settled(pixels(), conv(2, 4, weight_quant=None), relu(), nn.Flatten(), last(48)),
        "layer 1 '1' (QuantConv2d) must quantise its weights",
    ),
    "real activations": (
        lambda: behind(qnn.QuantReLU(act_quant=None)),
        "layer 2 '2' (QuantReLU) must quantise, not pass real numbers on",
    ),
    "activation scale per channel": (
        lambda: behind(relu(4, Uint8ActPerTensorFloat, **PER_CHANNEL_ACT)),
        "layer 2 '2' (QuantReLU) must have one scale, not 4",
    ),
    "rounding of the images": (
        lambda: settled(
            pixels(float_to_int_impl_type=FloatToIntImplType.FLOOR), nn.Flatten(), last(60)
        ),
        "layer 0 '0' (QuantIdentity) must round half to even",
    ),
    "padded pool of signed codes": (
        lambda: behind(pixels(4), nn.MaxPool2d(2, padding=1), features=24),
        "layer 3 '3' (MaxPool2d) must have padding 0 and no ceil_mode behind codes that may be",
    ),
    "ceiled pool of signed codes": (
        lambda: behind(pixels(4), nn.MaxPool2d(3, ceil_mode=True), features=8),
        "layer 3 '3' (MaxPool2d) must have padding 0 and no ceil_mode behind codes that may be",
    ),
    "dilated pool": (
        lambda: behind(relu(), nn.MaxPool2d(2, dilation=2), features=4),
        "layer 3 '3' (MaxPool2d) must have dilation 1 and no return_indices",
    ),
    "pool before a negative gamma": (
        negative_gamma,
        "layer 3 '3' (BatchNorm2d) must have no negative gamma behind layer 2 '2' (MaxPool2d),"
        " not -0.5 in channel 2: the maximum would turn into a minimum",
    ),
    "dense layer on a map": (
        lambda: settled(pixels(), dense(5, 4), relu(), nn.Flatten(), last(48)),
        "layer 1 '1' (QuantLinear) must take a flat vector; put nn.Flatten before it",
    ),
    "parameter not finite": (not_finite, "parameter '2.running_var' must be finite"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_name_position_and_reason(case):
    make, words = REFUSED[case]
    with pytest.raises(ModelError, match=re.escape(words)) as caught:
        integerise(make(), "refused", IMAGE)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_all_that_is_supported_is_named_in_the_refusal():
    names = ", ".join(kind.__name__ for kind in NAMED)
    with pytest.raises(ModelError, match=names):
        build(behind(nn.Sigmoid()), IMAGE)


# ------------------------------------------------------------------------- forward passes


class Net(nn.Module):
    """Subclasses bend the forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.quant = pixels()
        self.first = conv(2, 4)
        self.act = relu()
        self.flatten = nn.Flatten()
        self.end = last(48)

    def forward(self, x):
        return self.end(self.flatten(self.act(self.first(self.quant(x)))))


class Residual(Net):
    def forward(self, x):
        x = self.act(self.first(self.quant(x)))
        return self.end(self.flatten(x + self.act(x)))


class Doubled(Net):
    def forward(self, x):
        x = self.act(self.first(self.quant(x)))
        return self.end(self.flatten(x + x))


class Detour(Net):
    """Through numpy, where nothing is seen."""

    def forward(self, x):
        return torch.from_numpy(super().forward(x).numpy().copy())


class Cast(Net):
    def forward(self, x):
        return super().forward(x).float()


class Hidden(Net):
    def __init__(self) -> None:
        super().__init__()
        self.end = last(48, bias=False, bias_quant=None)

    def forward(self, x):
        return self.end(torch.sin(self.act(self.first(self.quant(x)))).flatten(1))


class Turned(Net):
    def forward(self, x):
        return -1.0 * super().forward(x)


class Squeezed(Net):
    """Over the whole batch."""

    def forward(self, x):
        return torch.softmax(super().forward(x), dim=0)


class Own(qnn.QuantLinear):
    def forward(self, x):
        return super().forward(x)


class Subclassed(Net):
    def __init__(self) -> None:
        super().__init__()
        self.end = Own(48, 3, bias=False, weight_quant=Int8WeightPerTensorFloat)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Residual, "must take quantised codes: put a QuantReLU or a QuantIdentity behind layer 4"),
        (Doubled, "must take quantised codes: put a QuantReLU or a QuantIdentity behind layer 3"),
        (Hidden, "layer 3 'sin() in model' must be one of"),
        (Detour, "forward() must return one tensor that the traced layers and functions of torch"),
        (Cast, "(a cast from torch.float64 to torch.float32) must be one of"),
        (Turned, "layer 5 'mul() in model' (Elementwise) must not follow the last layer"),
        (Squeezed, "layer 5 'softmax() in model' must be one of"),
        (Subclassed, "layer 4 'end' (Own) must compute what its base class does: its forward()"),
    ],
)
def test_a_forward_pass_that_is_refused(kind, words):
    with pytest.raises(ModelError, match=re.escape(words)) as caught:
        build(settle(kind()), IMAGE)
    assert "\n" not in str(caught.value)


def test_images_that_do_not_fit_the_model():
    model = settled(pixels(), conv(2, 4), relu(), nn.Flatten(), last(48))
    words = r"model must take images of 3x6x5 at '1': .*channels"
    with pytest.raises(ModelError, match=words) as caught:
        build(model, (3, 6, 5))
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match=r"images of 2x7x5 at '4'"):
        build(model, (2, 7, 5))


def test_shapes_and_classes_are_those_of_the_run():
    graph = build(settled(pixels(), conv(2, 4), relu(), nn.Flatten(), last(48, 7)), IMAGE)
    first, end = graph.blocks
    nodes = (graph.input, first.start, *first.chain, *first.after, end.start)
    assert [node.out_shape for node in nodes] == [
        IMAGE, (4, 4, 3), (4, 4, 3), (48,), (7,)
    ]  # fmt: skip
    assert graph.classes == 7
    assert [block.start.path for block in graph.blocks] == ["1", "4"]
    assert graph.blocks[0].activation.path == "2"

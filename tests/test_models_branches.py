"""Branches that meet: lowered to a sequence, code for code what Brevitas gives."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from brevitas import nn as qnn
from brevitas.inject.enum import ScalingImplType
from brevitas.quant import Int8ActPerTensorFloat, Uint8ActPerTensorFloatMaxInit
from brevitas_examples.bnn_pynq.models.resnet import QuantBasicBlock, QuantResNet
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st
from torch import nn

from hascodesign.contract import arithmetic
from hascodesign.contract.errors import ModelError
from hascodesign.contract.types import MultiplyLayer, Thresholds
from hascodesign.models.graph import build
from hascodesign.models.integer import compare, integerise
from hascodesign.models.lower import plan
from hascodesign.models.outputs import joined, unchanged
from hascodesign.models.quantisers import Activation
from tests.model_cases import IMAGE, conv, dense, images, last, pixels, relu, settle, settled
from tests.random_graphs import Choose, chooser, compared, drawn, through_core

QUICK = settings(
    max_examples=12, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@QUICK
@given(st.data())
def test_random_graphs_are_equal_code_for_code(data: st.DataObject) -> None:
    pair = compared(drawn(chooser(data)))
    if pair is None:
        reject()
    assert pair[1].total == 0, pair[1]
    assert sum(pair[1].compared) > 500


def numbers(seed: int) -> Choose:
    rng = np.random.default_rng(seed)
    return lambda count: int(rng.integers(count))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 100, 25))
def test_a_hundred_random_graphs_through_the_accelerator(tmp_path: Path, first: int) -> None:
    """On arrays with faults."""
    outputs, kinds = 0, Counter[str]()
    for number in range(first, first + 25):
        model = drawn(numbers(number))
        network = integerise(model, "drawn", model.image)
        outputs += through_core(model, network, number, tmp_path / str(number))
        kinds.update(model.kinds)
    assert outputs > 10_000 and len(kinds) > 8


class Net(nn.Module):
    """A stem, what ``body`` does with its codes, and a last layer."""

    def __init__(self, body: Callable[..., Any], features: int, **layers: nn.Module) -> None:
        super().__init__()
        self.quant, self.stem, self.act = pixels(), conv(2, 4, padding=1), relu()
        self.body, self.flat, self.end = body, nn.Flatten(), last(features)
        self.extra = nn.ModuleDict(layers)

    def forward(self, x: Any) -> Any:
        x = self.act(self.stem(self.quant(x)))
        x = self.body(x, **self.extra)
        return self.end(self.flat(x) if x.dim() > 2 else x)


def net(body: Callable[..., Any], features: int = 120, **layers: nn.Module) -> nn.Module:
    return settle(Net(body, features, **layers))


def constant(most: float, bits: int = 4) -> nn.Module:
    """Of a scale that is given."""
    return qnn.QuantReLU(
        act_quant=Uint8ActPerTensorFloatMaxInit, bit_width=bits, max_val=most,
        scaling_impl_type=ScalingImplType.CONST, return_quant_tensor=True,
    )  # fmt: skip


def same(**options: Any) -> nn.Module:
    return conv(4, 4, padding=1, **options)


def widened(x: Any, down: Any, short: Any, second: Any, mid: Any, shared: Any, out: Any) -> Any:
    return out(shared(second(mid(down(x)))) + shared(short(x)))


ACCEPTED: dict[str, Callable[[], nn.Module]] = {
    "identity": lambda: net(
        lambda x, c, s, r: r(s(c(x)) + s(x)), c=same(), s=pixels(4), r=relu()
    ),
    "identity past two layers": lambda: net(
        lambda x, a, q, b, s, r: r(s(b(q(a(x)))) + s(x)),
        a=same(), q=relu(3), b=same(), s=pixels(5), r=relu(),
    ),
    "difference": lambda: net(
        lambda x, c, s, r: r(s(c(x)).value - s(x).value), c=same(), s=pixels(4), r=pixels(4)
    ),
    "the map with itself": lambda: net(lambda x, r: r(x + x), r=relu()),
    "in place": lambda: net(in_place, c=same(), s=pixels(4), r=relu()),
    "scales of 1 : 2": lambda: net(
        lambda x, c, a, b, r: r(a(c(x)).value + b(x).value),
        c=same(), a=constant(3.75), b=constant(7.5), r=relu(),
    ),
    "strided projection": lambda: net(
        widened, 72, down=conv(4, 8, stride=2, padding=1), short=conv(4, 8, 1, stride=2),
        mid=relu(), second=conv(8, 8, padding=1), shared=pixels(5), out=relu(),
    ),
    "kernels of several sizes": lambda: net(
        lambda x, a, b, s, r: r(s(a(x)) + s(b(x))),
        a=conv(4, 4, 5, padding=2), b=conv(4, 4, (1, 3), padding=(0, 1)), s=pixels(4), r=relu(),
    ),
    "an output used twice": lambda: net(
        lambda x, a, b, q, s, t, r: r(t(s(a(x)) + s(q(b(x)))) + t(q(b(x)))),
        a=same(), b=same(), q=relu(3), s=pixels(4), t=pixels(4), r=relu(),
    ),
    "pool behind the add": lambda: net(
        lambda x, c, s, r, p: p(r(s(c(x)) + s(x))), 24,
        c=same(), s=pixels(4), r=relu(), p=nn.MaxPool2d(2),
    ),
    "both branches pooled": lambda: net(
        lambda x, c, s, r, p: r(s(c(p(x))) + s(p(x))), 24,
        c=same(), s=pixels(4), r=relu(), p=nn.MaxPool2d(2),
    ),
    "vectors": lambda: settle(Vectors()),
    "norm behind the add": lambda: net(
        lambda x, c, s, b, r: r(b(s(c(x)) + s(x))),
        c=same(), s=pixels(4), b=nn.BatchNorm2d(4), r=relu(),
    ),
    "average, quantised": lambda: settled(
        pixels(), conv(2, 4), relu(), nn.AvgPool2d(2), relu(3), conv(4, 2, 1), relu(),
        nn.Flatten(), last(4),
    ),
    "average, requantised with a norm": lambda: settled(
        pixels(), conv(2, 4), relu(), nn.AvgPool2d(2), nn.BatchNorm2d(4), pixels(4), nn.Flatten(),
        last(8),
    ),
    "padded average": lambda: settled(
        pixels(), conv(2, 4), relu(), nn.AvgPool2d(2, padding=1), nn.Flatten(), last(24)
    ),
    "average by another divisor": lambda: settled(
        pixels(), conv(2, 4), relu(), nn.AvgPool2d(2, divisor_override=3), nn.Flatten(), last(8)
    ),
    "truncating average": lambda: settled(
        pixels(), conv(2, 4), relu(), qnn.TruncAvgPool2d(2), nn.Flatten(), last(8)
    ),
    "truncating average of signed codes": lambda: settled(
        pixels(), conv(2, 4), pixels(4), qnn.TruncAvgPool2d(2, bit_width=3), nn.Flatten(), last(8)
    ),
    "truncating adaptive average": lambda: settled(
        pixels(), conv(2, 4, padding=1), relu(),
        qnn.TruncAdaptiveAvgPool2d((3, 1), float_to_int_impl_type="FLOOR"), nn.Flatten(), last(12),
    ),
    "padded pool": lambda: settled(
        pixels(), conv(2, 4), relu(), nn.MaxPool2d(3, 2, padding=1), nn.Flatten(), last(16)
    ),
    "padded pool before the quantiser": lambda: settled(
        pixels(), conv(2, 4), nn.MaxPool2d(2, padding=1), relu(), nn.Flatten(), last(24)
    ),
    "ceiled pool": lambda: settled(
        pixels(), conv(2, 4), relu(), nn.MaxPool2d(3, ceil_mode=True), nn.Flatten(), last(8)
    ),
    "padded pool of the images": lambda: settled(
        relu(8), nn.MaxPool2d(2, padding=1), conv(2, 4), relu(), nn.Flatten(), last(8)
    ),
    "even kernel, same": lambda: settled(
        pixels(), conv(2, 4, 2, padding="same"), relu(), nn.Flatten(), last(120)
    ),
}  # fmt: skip


def in_place(x: Any, c: Any, s: Any, r: Any) -> Any:
    y = s(c(x)).value
    y += s(x).value
    return r(y)


class Vectors(nn.Module):
    """A residual network of dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.flat, self.first, self.act = pixels(), nn.Flatten(), dense(60, 8), relu()
        self.second, self.shared, self.out, self.end = dense(8, 8), pixels(4), relu(), last(8)

    def forward(self, x: Any) -> Any:
        x = self.act(self.first(self.flat(self.quant(x))))
        return self.end(self.out(self.shared(self.second(x)) + self.shared(x)))


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted_and_equal_code_for_code(name: str) -> None:
    torch.manual_seed(0)
    model = ACCEPTED[name]()
    found = compare(model, integerise(model, "net", IMAGE), images(60))
    assert found.total == 0, found
    assert all(count > 1 for count in found.values), found.values


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "scales of no ratio": (
        lambda: net(lambda x, c, a, b, r: r(a(c(x)).value + b(x).value),
                    c=same(), a=relu(), b=relu(), r=relu()),
        "'add() in model' (Sum) must add maps whose scales are in a ratio of small whole numbers",
    ),
    "concatenation": (
        lambda: net(lambda x, c, a, r: r(torch.cat([a(c(x)).value, a(x).value], 1)), 240,
                    c=same(), a=relu(), r=relu()),
        "'cat() in model' must be one of",
    ),
    "a size that changes in one branch": (
        lambda: net(lambda x, c, p, s, r: r(s(c(x)) + s(p(x))), 36,
                    c=conv(4, 4, stride=2, padding=1), p=nn.MaxPool2d(2, ceil_mode=True),
                    s=pixels(4), r=relu()),
        "must leave the size of the map as it is while another branch waits",
    ),
    "a stride that keeps the size beside a branch": (
        lambda: net(lambda x, c, s, r: r(s(c(x)) + s(x)),
                    c=conv(4, 4, stride=2, padding=(4, 3)), s=pixels(4), r=relu()),
        "must leave the size of the map as it is while another branch waits",
    ),
    "an add at the end": (
        lambda: net(lambda x, f, a, b, s: s(a(f(x))) + s(b(f(x))), 4, f=nn.Flatten(),
                    a=dense(120, 4), b=dense(120, 4), s=pixels(4)),
        "must take quantised codes: put a QuantReLU or a QuantIdentity behind",
    ),
    "a branch of real numbers": (
        lambda: net(lambda x, c, s, r: r(c(x) + s(x).value), c=same(), s=pixels(4), r=relu()),
        "'add() in model' (Sum) must take quantised codes: put a QuantReLU or a QuantIdentity",
    ),
    "a signed branch beside 8 bits": (
        lambda: net(lambda x, c, w, s, r: r(s(c(w(x))) + s(w(x))),
                    c=same(), w=relu(8), s=pixels(4), r=relu()),
        "must run beside maps whose codes together take 8 bits, not 9",
    ),
    "an average that hides the format": (
        lambda: settled(pixels(), conv(2, 4), qnn.QuantReLU(bit_width=4),
                        qnn.TruncAvgPool2d(2, return_quant_tensor=False),
                        nn.Flatten(), last(8, bias=False, bias_quant=None)),
        "must take a QuantTensor: give the quantiser before it return_quant_tensor=True",
    ),
    "windows of several sizes": (
        lambda: settled(pixels(), conv(2, 4), relu(), qnn.TruncAdaptiveAvgPool2d((3, 1)),
                        nn.Flatten(), last(12)),
        "must have windows of one size, not (3, 1) of (4, 3)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_the_step_and_with_what_to_write_instead(name: str) -> None:
    make, words = REFUSED[name]
    with pytest.raises(ModelError, match=re.escape(words)) as caught:
        integerise(make(), "refused", IMAGE)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("layer ")


def test_a_map_that_waits_is_carried_unchanged() -> None:
    torch.manual_seed(0)
    model = ACCEPTED["identity past two layers"]()
    network = integerise(model, "identity", IMAGE)
    stages = plan(build(model, IMAGE))
    carries = next(stage for stage in stages if stage.carried)
    assert carries.layer is not None and len(carries.carried) == 1
    codes = arithmetic.quantise(images(20).images, network.input)
    traces = list(arithmetic.walk(network, codes, lambda layer, columns: layer.weights @ columns))
    (waiting,) = carries.carried
    before, after = carries.before.of(waiting).span, carries.after.of(waiting).span
    given = traces[carries.layer - 1].codes[before]
    assert len(np.unique(given)) > 4
    assert np.array_equal(given, traces[carries.layer].codes[after])


def test_what_branches_cost_is_rows_of_the_layers_between() -> None:
    """An identity branch: the stem's 4 rows once more in its convolution, and the 4 of the add."""
    model = ACCEPTED["identity"]()
    network = integerise(model, "identity", IMAGE)
    found = compare(model, network, images(20))
    assert (found.branch_rows, found.own_macs) == (8, 30 * (4 * 18 + 4 * 36) + 3 * 120)
    assert network.macs == found.own_macs + 30 * (4 * 36 + 4 * 8)
    layers = network.layers
    assert [layer.rows for layer in layers] == [4, 8, 4, 3]
    assert layers[2].conv is not None and layers[2].conv.kernel == (1, 1)
    assert np.array_equal(layers[2].weights, np.tile(np.eye(4), 2))


def test_rows_of_several_formats_as_rows_of_one() -> None:
    small, signed = Activation(1.0, 2, False, 0, 3), Activation(1.0, 3, True, -4, 2)
    made = joined([unchanged(1, small), unchanged(1, signed)], bits=6)
    assert (made.lowest, made.values.shape) == (-4, (2, 7))
    sums = np.tile(np.arange(-32, 32), (2, 1))
    codes = arithmetic.output_codes(made, sums)
    assert np.array_equal(codes, [np.clip(sums[0], 0, 3), np.clip(sums[1], -4, 2)])
    down = Thresholds(-unchanged(1, small).values, np.array([True]), 0)
    made = joined([down, unchanged(1, signed)], bits=6)
    codes = arithmetic.output_codes(made, sums)
    assert np.array_equal(codes[0], np.clip(-sums[0], 0, 3))


def small_resnet() -> nn.Module:
    """The classes of brevitas_examples, narrower."""
    torch.manual_seed(0)
    model = QuantResNet(QuantBasicBlock, [1, 1, 1, 1], act_bit_width=4, weight_bit_width=4)
    model.conv1 = conv(3, 8, padding=1)
    model.bn1 = nn.BatchNorm2d(8)
    model.in_planes = 8
    shared = model.relu
    blocks = []
    for planes, stride in ((8, 1), (8, 2), (12, 2), (16, 2)):
        block = QuantBasicBlock(model.in_planes, planes, stride, False, shared, 4, 4)
        shared, model.in_planes = block.relu_out, planes
        blocks.append(nn.Sequential(block))
    model.layer1, model.layer2, model.layer3, model.layer4 = blocks
    model.linear = last(16, 10)
    return settle(nn.Sequential(pixels(), model), (3, 32, 32))


def test_the_residual_network_that_brevitas_ships() -> None:
    model = small_resnet()
    network = integerise(model, "resnet", (3, 32, 32))
    found = compare(model, network, images(6, (3, 32, 32)))
    assert found.total == 0
    assert len(found.layers) == 19 and all(count > 1 for count in found.values)
    assert any(name.endswith(":1.layer2.0.downsample.2") for name in found.layers)
    strided = [s for s in network.layers if isinstance(s, MultiplyLayer) and s.conv is not None]
    assert sum(layer.conv.stride == (2, 2) for layer in strided if layer.conv) == 3


def test_an_eltwise_add_quantises_each_of_its_maps() -> None:
    model = net(
        lambda x, c, a, r: r(a(c(x), x)), c=same(), r=relu(),
        a=qnn.QuantEltwiseAdd(
            Int8ActPerTensorFloat, Int8ActPerTensorFloat, bit_width=5, return_quant_tensor=True
        ),
    )  # fmt: skip
    graph = build(model, IMAGE)
    paths = [block.activation.path for block in graph.blocks if block.chain]
    assert paths == ["act", "extra.a.input_quant", "extra.a.input_quant", "extra.r"]
    assert compare(model, integerise(model, "net", IMAGE), images(60)).total == 0


def test_words_that_overlapping_windows_add_up_are_as_wide_as_they_are() -> None:
    model = settled(pixels(), conv(2, 4), relu(), nn.AvgPool2d(2, stride=1), nn.Flatten(), last(24))
    network = integerise(model, "overlap", IMAGE)
    dense = network.layers[-1]
    largest = int(np.abs(dense.weights).max())
    assert largest > 1 << (4 - 1) and dense.weight_bits > largest.bit_length()

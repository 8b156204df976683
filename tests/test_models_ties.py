"""Sums exactly on a step of their quantiser: told in rational numbers, and counted apart."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from brevitas import nn as qnn
from brevitas.inject.enum import FloatToIntImplType, ScalingImplType
from brevitas.quant import (
    Int8ActPerTensorFixedPoint,
    Int8ActPerTensorFloat,
    Int8WeightPerTensorFixedPoint,
    Int8WeightPerTensorFloat,
    SignedBinaryActPerTensorConst,
    Uint8ActPerTensorFixedPoint,
    Uint8ActPerTensorFloatMaxInit,
)
from torch import nn

from hascodesign.contract.types import IntArray, IntegerNetwork, Thresholds, frozen
from hascodesign.models import quantisers, source, ties
from hascodesign.models.equivalence import compare, require_equal
from hascodesign.models.graph import build
from hascodesign.models.integer import integerise
from hascodesign.models.logits import of_last
from hascodesign.models.quantisers import exact
from hascodesign.report.record import ties_words
from tests.model_cases import IMAGE, conv, dense, images, last, pixels, relu, settled

CONST = {"scaling_impl_type": ScalingImplType.CONST}
EIGHTHS = {
    "weight_quant": Int8WeightPerTensorFloat, "weight_scaling_impl_type": ScalingImplType.CONST,
    "weight_scaling_init": 1.0, "weight_narrow_range": False,
}  # fmt: skip
HELD = images(scale=0.5)
SEVENTHS = 0.5845000147819519  # a float32 number; its seventh times 3/2 is none of float64


def fifteenths() -> nn.Module:
    """Images of scale 1/15, which float64 rounds."""
    return pixels(4, Uint8ActPerTensorFloatMaxInit, max_val=1.0, **CONST)


def halving(bits: int = 8) -> nn.Module:
    """Of scale 1/60, two units of a layer behind ``fifteenths``: each odd sum lies on a step.

    ``bits`` are 4 or 8, whose largest values are float32 numbers.
    """
    most = (2**bits - 1) / 60
    return relu(bits, Uint8ActPerTensorFloatMaxInit, max_val=most, **CONST)


def halved(bits: int = 8) -> nn.Module:
    return settled(fifteenths(), nn.Flatten(), dense(60, 8, **EIGHTHS), halving(bits), last(8))


def own_codes(model: nn.Module) -> list[IntArray]:
    """What the model gives by its own float sums."""
    graph = build(model, IMAGE)
    return source.run(graph, HELD.images, of_last(graph)).codes


def moved(network: IntegerNetwork, by: IntArray | int) -> IntegerNetwork:
    """With the first layer's thresholds changed."""
    first, *rest = network.stages
    assert isinstance(first.output, Thresholds)
    output = replace(first.output, values=frozen(first.output.values + by))
    return replace(network, stages=(replace(first, output=output), *rest))


def test_ties_that_float_breaks_either_way_are_counted_apart() -> None:
    model = halved()
    network = integerise(model, "halved", IMAGE)
    found = compare(model, network, HELD)
    require_equal(found)
    assert found.differences == (0, 0, 0) and found.compared == (2400, 320, 120)
    output = network.layers[0].output
    assert isinstance(output, Thresholds)
    assert (output.values % 4)[:, :200].reshape(8, -1, 2).tolist() == [[[2, 3]] * 100] * 8  # even
    # the model's own codes lie on both sides, and what is behind them would differ
    pixel, own, logits = own_codes(model)
    sums = pixel.reshape(40, 60) @ network.layers[0].weights.T
    wanted = np.clip(np.rint(sums / 2), 0, 255).astype(np.int64)
    off = own - wanted
    assert set(np.unique(off)) == {-1, 0, 1} and (sums[off != 0] % 2 == 1).all()
    assert found.ties == (0, np.count_nonzero(off), 0) and np.count_nonzero(off) > 10
    end = network.layers[1]
    assert np.count_nonzero(logits != wanted @ end.weights.T + end.bias) > 10
    said = ties_words(found)
    assert said.startswith(f"{found.ties[1]} of 2,840 codes come of sums exactly on a step")
    assert "\n" not in said and ties_words(replace(found, ties=(0, 0, 0))) == ""


@pytest.mark.parametrize("by", [1, -1])
def test_a_tie_rounded_otherwise_than_the_quantiser_does_is_a_difference(by: int) -> None:
    """A threshold one off takes every second tie to the odd code."""
    model = halved(4)
    network = integerise(model, "halved", IMAGE)
    found = compare(model, moved(network, by), HELD)
    assert found.differences[1] > 10 and found.first == "dense0"
    assert found.ties[1] <= compare(model, network, HELD).ties[1]


def test_one_ulp_beside_a_tie_is_a_difference() -> None:
    """5/2 of a step and the last bit of float64 above it: 3, where a tie would be 2."""
    fixed = {"weight_quant": Int8WeightPerTensorFixedPoint}
    layer = dense(60, 8, bias=True, **fixed)
    act = relu(4, Uint8ActPerTensorFixedPoint)
    model = settled(pixels(2, Int8ActPerTensorFixedPoint), nn.Flatten(), layer, act, last(8))
    twin = model.double()
    scale = float(twin[3].act_quant.scale())
    unit = float(twin[0].act_quant.scale() * twin[2].quant_weight().scale.detach().flatten()[0])
    assert scale / unit >= 2 and math.frexp(scale)[0] == math.frexp(unit)[0] == 0.5
    model.float()
    ulp = math.ulp(2.5 * scale)  # sums of the images' are below 4 scales: none is lost
    with torch.no_grad():
        layer.bias.zero_()
    tied = integerise(model, "tied", IMAGE)
    levels = tied.layers[0].output
    with torch.no_grad():
        layer.bias.fill_(ulp)
    network = integerise(model, "beside", IMAGE)
    found = compare(model, network, HELD)
    assert found.total == 0 and not any(found.ties)
    first, *rest = network.stages
    wrong = replace(network, stages=(replace(first, output=levels), *rest))
    found = compare(model, wrong, HELD)
    assert found.differences[1] > 0 and not any(found.ties)


def test_codes_beyond_a_tie_are_differences() -> None:
    """Sums on a step, and codes that lie on neither side of it."""
    model = halved(4)
    network = integerise(model, "halved", IMAGE)
    found = compare(model, moved(network, 4), HELD)
    assert found.ties[1] == 0 and found.differences[1] > 10


def test_ties_behind_a_pool_and_turned_round() -> None:
    model = settled(
        fifteenths(), conv(2, 16, 5, padding=2, **EIGHTHS), nn.MaxPool2d(2, padding=1), halving(4),
        nn.Flatten(), last(192),
    )  # fmt: skip
    found = compare(model, integerise(model, "pooled", IMAGE), HELD)
    assert found.total == 0 and found.ties[1] > 0
    turned = settled(
        fifteenths(), nn.Flatten(), dense(60, 8, **EIGHTHS), Turned(), halving(4), last(8)
    )
    network = integerise(turned, "turned", IMAGE)
    found = compare(turned, network, HELD)
    assert network.layers[0].output.descending.all()
    assert found.total == 0 and found.ties[1] > 0


class Turned(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.5 - x


def test_a_sign_of_nothing_is_a_tie() -> None:
    """Exactly 0, which float sums leave above or below."""
    binary = qnn.QuantIdentity(SignedBinaryActPerTensorConst, return_quant_tensor=True)
    model = settled(fifteenths(), nn.Flatten(), dense(60, 40, **EIGHTHS), binary, last(40))
    network = integerise(model, "signs", IMAGE)
    output = network.layers[0].output
    assert isinstance(output, Thresholds) and not output.values.any()  # 1 from 0 on
    found = compare(model, network, HELD)
    assert found.total == 0 and found.ties[1] > 3


def test_a_scale_is_the_number_that_was_divided() -> None:
    for whole, levels in ((1.0, 255), (6.0, 15), (0.1, 7), (2.5e-3, 127), (3e9, 1), (0.1, 128)):
        number = float(np.float32(whole))
        assert exact(number / levels) == Fraction(number) / levels
    rng = np.random.default_rng(0)
    drawn = rng.uniform(0, 1, 2000)
    assert all(exact(scale) == Fraction(scale) for scale in drawn.tolist())


def test_halves_below_zero_that_are_rounded_otherwise_than_those_above() -> None:
    """-1.5 is no number of float64 over this scale; 0.5 is, and goes another way."""
    options = {"float_to_int_impl_type": FloatToIntImplType.DPU, "narrow_range": True}
    options |= CONST | {"scaling_init": SEVENTHS}
    act = pixels(4, Int8ActPerTensorFloat, **options)
    block = build(settled(pixels(), nn.Flatten(), dense(60, 4), act, last(4)), IMAGE).blocks[0]
    scale = quantisers.activation(block.activation).scale
    near = -1.5 * scale
    assert all(x / scale != -1.5 for x in (near, math.nextafter(near, 0), math.nextafter(near, -1)))
    codes = ties.Exact(block.acting).codes
    found = [codes(exact(scale) * Fraction(halves, 2), 0) for halves in (-5, -3, -1, 1, 3, 5)]
    assert found == [(-2, -3), (-1, -2), (0, -1), (0, 1), (2, 1), (2, 3)]


def test_a_norm_lies_on_a_step_where_its_root_does_not_matter() -> None:
    norm = nn.BatchNorm1d(1)
    model = settled(pixels(), nn.Flatten(), dense(60, 1), norm, halving(), last(1))
    with torch.no_grad():
        norm.running_mean.fill_(0.75)
        norm.running_var.fill_(2.0)
        norm.weight.fill_(1.0)
        norm.bias.fill_(float(np.float32(0.1)))
    codes = ties.Exact(build(model, IMAGE).blocks[0].acting).codes
    assert codes(Fraction(3, 4), 0) == (6,)  # 0.1 as float32 is no 6/60
    with torch.no_grad():
        norm.bias.fill_(0.125)  # 7.5 / 60
    codes = ties.Exact(build(model, IMAGE).blocks[0].acting).codes
    assert codes(Fraction(3, 4), 0) == (8, 7)
    assert [codes(Fraction(3, 4) + d * Fraction(1, 2**200), 0) for d in (-1, 1)] == [(7,), (8,)]
    with torch.no_grad():  # of a root that is a whole number: 3/4 + 2 * 60ths
        norm.eps, norm.bias[0] = 0.0, 0.0
        norm.running_var.fill_(4.0)
    codes = ties.Exact(build(model, IMAGE).blocks[0].acting).codes
    assert codes(Fraction(3, 4) + Fraction(5, 60), 0) == (2, 3)

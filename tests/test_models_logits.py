"""Last layers whose classes have factors of their own: exact beside integer logits."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from brevitas import nn as qnn
from brevitas.quant import Int8WeightPerChannelFloat, Int8WeightPerTensorFloat, Int32Bias
from torch import nn

from hascodesign.contract import arithmetic
from hascodesign.contract.array import identity_schedule
from hascodesign.contract.errors import ModelError
from hascodesign.contract.types import ArraySpec, FaultProfile
from hascodesign.engine.masked import masked
from hascodesign.engine.network import Evaluator
from hascodesign.models.integer import compare, integerise, require_equal
from hascodesign.torch import FaultyNetwork
from tests.model_cases import IMAGE, conv, dense, images, last, pixels, relu, settled

CHANNELS = {"weight_quant": Int8WeightPerChannelFloat}
Make = Callable[[], nn.Module]


def ended(*layers: nn.Module) -> nn.Module:
    return settled(pixels(), nn.Flatten(), dense(60, 8), relu(), *layers)


def uneven(model: nn.Module) -> nn.Module:
    """Rows of the last layer of sizes far apart, so that their units are."""
    end = [one for one in model if isinstance(one, qnn.QuantConv2d | qnn.QuantLinear)][-1]
    with torch.no_grad():
        sizes = torch.tensor([1.0, 0.2, 3.0, 0.5, 2.0])
        end.weight.mul_(sizes.reshape(-1, *[1] * (end.weight.dim() - 1)))
    return model


ACCEPTED: dict[str, Make] = {
    "a scale for each row": lambda: ended(dense(8, 5)),
    "and a real bias": lambda: ended(dense(8, 5, bias=True)),
    "and an integer one": lambda: ended(last(8, 5, **CHANNELS)),
    "norm": lambda: ended(last(8, 5, bias=False), nn.BatchNorm1d(5)),
    "norm of rows with scales": lambda: ended(dense(8, 5, bias=True), nn.BatchNorm1d(5)),
    "norm without gamma": lambda: ended(dense(8, 5), nn.BatchNorm1d(5, affine=False)),
    "norm, softmax": lambda: ended(dense(8, 5), nn.BatchNorm1d(5), nn.Softmax(1)),
    "two norms": lambda: ended(dense(8, 5), nn.BatchNorm1d(5), nn.BatchNorm1d(5)),
    "norm behind an average": lambda: settled(
        pixels(), conv(2, 6), relu(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), dense(6, 5),
        nn.BatchNorm1d(5),
    ),
    "norm behind a convolution": lambda: settled(
        pixels(), conv(2, 6), relu(), conv(6, 5, (4, 3)), nn.BatchNorm2d(5), nn.Flatten()
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTED)
def test_classes_are_those_of_the_model(name: str) -> None:
    torch.manual_seed(0)
    model = uneven(ACCEPTED[name]())
    network, held = integerise(model, name, IMAGE), images(400)
    found = compare(model, network, held)
    require_equal(found)
    assert found.total == 0 and np.shape(network.logit_scale) == (5,)
    assert found.rounded is not None and found.rounded <= 12  # of 400, by half a unit of a bias
    profile = FaultProfile(ArraySpec(4, 4, 8, 8, 24))
    codes = arithmetic.quantise(held.images, network.input)
    judge = Evaluator(network, profile, codes, held.labels)
    plain = identity_schedule(network, profile.array)
    assert judge.judge(plain).correct == found.integer_correct
    with torch.no_grad():
        out = model.double()(torch.from_numpy(held.images.astype(np.float64)))
    theirs = out.reshape(400, -1).argmax(1).numpy()
    logits = judge.logits(plain)
    ours = arithmetic.classify(logits, network.logit_scale)
    assert int((ours != theirs).sum()) == found.rounded + found.tied
    assert int((logits.argmax(1) != theirs).sum()) > 20  # factors do decide
    answers = FaultyNetwork(network, profile)(torch.from_numpy(np.array(held.images)))
    assert np.array_equal(answers.argmax(1).numpy(), ours)


def test_without_a_bias_nothing_but_the_factors_is_rounded() -> None:
    torch.manual_seed(0)
    model = ACCEPTED["a scale for each row"]()
    network = integerise(model, "rows", IMAGE)
    found = compare(model, network, images(2000))
    assert (found.rounded, found.tied) == (0, 0)
    scale = np.asarray(network.logit_scale)
    assert np.array_equal(scale, scale.astype(np.float32))


def test_a_network_of_one_scale_keeps_it() -> None:
    for end in (last(8, 5), dense(8, 5, weight_quant=Int8WeightPerTensorFloat)):
        assert isinstance(integerise(ended(end), "one", IMAGE).logit_scale, float)


def test_another_factor_than_the_model_has_is_seen() -> None:
    from dataclasses import replace  # noqa: PLC0415

    torch.manual_seed(0)
    model = ACCEPTED["norm"]()
    network = integerise(model, "norm", IMAGE)
    scale = np.asarray(network.logit_scale) * np.array([1, 1, 1.001, 1, 1])
    assert compare(model, replace(network, logit_scale=scale), images(50)).logit_residual > 1e-6


def test_products_of_24_bits_decide_exactly() -> None:
    scale = np.array([1 - 2.0**-24, 1.0])
    logits = np.array([[1 << 24, (1 << 24) - 1], [(1 << 24) + 1, 1 << 24], [1 << 23, 1 << 23]])
    assert arithmetic.classify(logits, scale).tolist() == [0, 1, 1]
    assert arithmetic.classify(logits, -scale).tolist() == [0, 0, 0]


def test_a_masked_fault_is_one_that_changes_no_class_by_its_factors() -> None:
    from hascodesign.contract.types import Fault  # noqa: PLC0415

    torch.manual_seed(0)
    model = ACCEPTED["norm of rows with scales"]()
    network = integerise(model, "masked", IMAGE)
    fault = Fault(0, "sa1", "psum", None, 3)
    profile = FaultProfile(ArraySpec(4, 4, 8, 8, 24), (fault,))
    codes = arithmetic.quantise(images(60).images, network.input)
    plain = identity_schedule(network, profile.array)
    runs = [
        Evaluator(network, FaultProfile(profile.array, faults), codes, images(60).labels)
        for faults in ((), profile.faults)
    ]
    classes = [arithmetic.classify(run.logits(plain), network.logit_scale).tolist() for run in runs]
    assert masked(network, profile, plain, codes)[1] == float(classes[0] == classes[1])


REFUSED: dict[str, tuple[Make, str]] = {
    "a gamma of zero": (
        lambda: silenced(ended(dense(8, 5), nn.BatchNorm1d(5))),
        "layer 5 '5' (BatchNorm1d) must have no gamma of zero, as that of class 2",
    ),
    "a norm behind a softmax": (
        lambda: ended(dense(8, 5), nn.Softmax(1), nn.BatchNorm1d(5)),
        "layer 6 '6' (BatchNorm1d) must not follow the last layer",
    ),
    "a norm behind a quantiser": (
        lambda: ended(
            last(8, 5, bias_quant=Int32Bias), qnn.QuantIdentity(bit_width=8), nn.BatchNorm1d(5)
        ),
        "layer 6 '6' (BatchNorm1d) must not follow the last layer",
    ),
    "a norm of batches": (
        lambda: ended(dense(8, 5), nn.BatchNorm1d(5, track_running_stats=False)),
        "layer 5 '5' (BatchNorm1d) must have running statistics",
    ),
}  # fmt: skip


def silenced(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        model[-1].weight[2] = 0.0
    return model


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    make, words = REFUSED[name]
    with pytest.raises(ModelError, match=re.escape(words)):
        integerise(make(), "refused", IMAGE)

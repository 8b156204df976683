"""A comparison that shows nothing is an error or a warning, never '0 differ'."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from brevitas import nn as qnn
from brevitas_examples.common.generative.quantizers import Int8DynamicActPerTensorFloat
from torch import nn

from hascodesign.contract.errors import ModelError
from hascodesign.contract.types import Dataset, Equivalence, Split, frozen
from hascodesign.flow import oddities
from hascodesign.models import source
from hascodesign.models.integer import compare, integerise
from hascodesign.report.record import ties_words
from tests.model_cases import IMAGE, conv, dense, images, last, pixels, relu, settled


def dynamic() -> nn.Module:
    return qnn.QuantIdentity(act_quant=Int8DynamicActPerTensorFloat, return_quant_tensor=True)


@pytest.mark.parametrize("place", ["images", "hidden"])
def test_a_scale_that_moves_with_the_images_is_refused(place: str) -> None:
    first, hidden = (dynamic(), relu()) if place == "images" else (pixels(), dynamic())
    model = settled(first, nn.Flatten(), dense(60, 6), nn.BatchNorm1d(6), hidden, last(6))
    where = "layer 0 " if place == "images" else "layer 4 "
    with pytest.raises(ModelError, match=f"^{where}.*must have one scale whatever the images are"):
        integerise(model, "dynamic", IMAGE)


class Moving(nn.Module):
    """A quantiser that is constant but in one case."""

    def __init__(self, inner: nn.Module, when: Any) -> None:
        super().__init__()
        self.inner, self.when = inner, when

    def forward(self, x: torch.Tensor) -> Any:
        out = self.inner(x)
        return out._replace(scale=out.scale * 2) if self.when(x) else out

    @property
    def is_quant_enabled(self) -> bool:
        return True


@pytest.mark.parametrize(
    "when",
    [
        lambda x: x.shape[0] > 2,
        lambda x: x.numel() > 2 and x.abs().max() < 0.01,
        lambda x: 1e5 < x.abs().max() < 1e9,
        lambda x: not x.any(),
    ],
)
def test_batches_and_magnitudes_are_tried(when: Any) -> None:
    model = settled(pixels(), nn.Flatten(), dense(60, 6), relu(), last(6))
    integerise(model, "still", IMAGE)
    model[3].act_quant = Moving(model[3].act_quant, when)
    with pytest.raises(ModelError, match="must have one scale whatever the images are"):
        integerise(model, "moving", IMAGE)


class Off(nn.Module):
    """An activation that is not on its own grid where its input is large."""

    def __init__(self, inner: nn.Module, wrong: float) -> None:
        super().__init__()
        self.inner, self.wrong = inner, wrong
        self.is_quant_enabled = True

    def forward(self, x: torch.Tensor) -> Any:
        out = self.inner(x)
        moved = torch.where(x.abs() < 1.0, out.value + self.wrong, out.value)
        return out._replace(value=moved) if x.dim() > 1 and len(x) > 8 else out


@pytest.mark.parametrize("wrong", [1e-9, float("nan")])
def test_an_activation_must_be_code_times_scale(wrong: float) -> None:
    model = settled(pixels(), nn.Flatten(), dense(60, 6), relu(), last(6))
    model[0].act_quant = Off(model[0].act_quant, wrong)
    network = integerise(model, "off", IMAGE)
    with pytest.raises(ModelError, match=r"^layer 0 .* must give multiples of its scale"):
        compare(model, network, images())


def test_logits_must_be_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    model = settled(pixels(), nn.Flatten(), last(60))
    network = integerise(model, "nan", IMAGE)
    plain = qnn.QuantLinear.forward

    @functools.wraps(plain)  # else it would be a forward() of the user's own
    def broken(self: Any, x: Any) -> Any:
        out = plain(self, x)
        return out * float("nan") if len(out) > 1 else out

    monkeypatch.setattr(qnn.QuantLinear, "forward", broken)
    with pytest.raises(ModelError, match="logits must be finite"):
        compare(model, network, images())


def test_no_image_is_no_proof() -> None:
    model = settled(pixels(), nn.Flatten(), last(60))
    none = images(1)
    none = Split(frozen(none.images[:0], np.float32), frozen(none.labels[:0]))
    with pytest.raises(ModelError, match="must be there to compare on"):
        compare(model, integerise(model, "none", IMAGE), none)


def test_what_was_compared_is_counted() -> None:
    model = settled(pixels(), conv(2, 4), nn.BatchNorm2d(4), relu(), nn.Flatten(), last(48))
    found = compare(model, integerise(model, "counted", IMAGE), images(40))
    assert found.images == 40
    assert found.compared == (40 * 60, 40 * 48, 40 * 3)
    assert all(1 < few <= all_ for few, all_ in zip(found.values, found.compared, strict=True))
    assert found.values[1] <= 16  # codes of four bits


def test_accuracy_of_brevitas_is_that_of_its_own_logits() -> None:
    """Rounded to a unit far too large, logits would be all alike."""
    model = settled(pixels(), nn.Flatten(), last(60))
    network = integerise(model, "own", IMAGE)
    held = images(40)
    coarse = compare(model, replace(network, logit_scale=network.logit_scale * 1e9), held)
    with torch.no_grad():
        classes = model.double()(torch.from_numpy(held.images.astype(np.float64))).argmax(1)
    assert coarse.brevitas_correct == int((classes.numpy() == held.labels).sum())


# ---------------------------------------------------------------------------------- warnings


def said(model: nn.Module, held: Split, **given: Any) -> tuple[str, ...]:
    network = integerise(model, "odd", IMAGE)
    found = compare(model, network, held)
    data = Dataset("odd", held, held, "held out")
    return oddities.warnings(network, found, data, **({"factory_weights": False} | given))


def test_each_oddity_has_its_line() -> None:
    model = settled(pixels(), nn.Flatten(), dense(60, 6), relu(), last(6))
    held = images(40)
    with torch.no_grad():
        right = model(torch.from_numpy(np.array(held.images))).argmax(1).numpy()
    trained = Split(held.images, frozen(right))
    assert said(model, trained) == ()
    assert ["no --checkpoint" in w for w in said(model, trained, factory_weights=True)] == [True]
    wrong = Split(held.images, frozen((right + 1) % 3))
    assert ["cannot be told from guessing" in w for w in said(model, wrong)] == [True]
    bright = Split(frozen(np.abs(held.images) * 255, np.float32), held.labels)
    assert "lie outside the range of their quantiser" in said(model, bright)[0]


def test_the_healthy_line_says_what_was_compared() -> None:
    found = Equivalence(("input", "dense0"), (0, 0), (600, 30), (9, 9), 0.0, 10, 9, 8, 0.0)
    held = images(10)
    line = oddities.healthy(found, Dataset("d", held, held, "held out of the search"))
    assert line.startswith("healthy: 80.00 % of 10 held-out images (49.0 .. 94.3 %)")
    assert "Brevitas 90.00 %; 0 of 630 codes differ; images held out of the search" in line


def test_refusals_name_the_layer_and_the_remedy() -> None:
    still = settled(pixels(), conv(2, 4), nn.BatchNorm2d(4), relu(), nn.Flatten(), last(48))
    still[2] = nn.BatchNorm2d(4, track_running_stats=False)
    with pytest.raises(ModelError, match=r"layer 2 '2' \(BatchNorm2d\) must have running stat"):
        integerise(still, "still", IMAGE)


# ------------------------------------------------------------------------- a proof of nothing


def test_codes_that_no_image_moves_are_refused_by_the_layer() -> None:
    """All codes 0, or each row's own constant: what is behind sees no image."""
    held = images(40)
    for gamma, beta in ((1.0, -1e3), (0.0, 0.7)):
        norm = nn.BatchNorm1d(6)
        model = settled(pixels(), nn.Flatten(), dense(60, 6), norm, relu(), last(6))
        with torch.no_grad():
            norm.weight.fill_(gamma)
            norm.bias.copy_(beta * torch.arange(1, 7))
        network = integerise(model, "still", IMAGE)
        with pytest.raises(ModelError, match=r"^layer 4 '4' \(QuantReLU\) must give different co"):
            compare(model, network, held)
    model = settled(pixels(), nn.Flatten(), dense(60, 6), relu(), last(6))
    network = integerise(model, "moving", IMAGE)
    assert compare(model, network, held).total == 0
    same = Split(frozen(np.repeat(held.images[:1], 40, axis=0), np.float32), held.labels)
    with pytest.raises(ModelError, match=r"^layer 0 '0' \(QuantIdentity\) must give different"):
        compare(model, network, same)
    with torch.no_grad():
        model[4].weight.zero_()
    with pytest.raises(ModelError, match=r"^layer 4 '4' \(QuantLinear\) must give different"):
        compare(model, integerise(model, "dead", IMAGE), held)


def test_equal_logits_are_told_as_such_not_as_a_difference(monkeypatch: Any) -> None:
    """Two rows of the same weights: float64 may favour either class by its last bit."""
    model = settled(pixels(), nn.Flatten(), dense(60, 6), relu(), last(6, bias=False))
    with torch.no_grad():
        model[4].weight[1] = model[4].weight[0]
        model[4].weight[2] = -model[4].weight[0].abs()
    network, held = integerise(model, "tied", IMAGE), images(40)
    assert compare(model, network, held).tied == 0
    plain = source.run

    def nudged(*given: Any) -> Any:
        found = plain(*given)
        logits = found.logits + np.array([0.0, 1e-9, 0.0])
        return replace(found, logits=logits, classes=logits.argmax(axis=1))

    monkeypatch.setattr(source, "run", nudged)
    found = compare(model, network, held)
    assert found.total == 0 and 20 < found.tied <= 40
    assert found.brevitas_correct != found.integer_correct
    said = ties_words(found)
    assert said.startswith(f"In {found.tied} of 40 images classes share the largest logit")
    assert "\n" not in said and ties_words(replace(found, tied=0)) == ""

"""Random Brevitas networks with branches: the integer graph against Brevitas, code for code.

    python -m tests.random_graphs [--count N] [--seed S] [--core N]

Draws N networks (2,000) with hypothesis: residual blocks of random branches, shared quantisers and
QuantEltwiseAdd, strides and projections, groups, poolings of every kind, signs and widths. Prints
what was compared; exit code 1 where a code differs or a network is refused. The first ``--core``
of them run through the Verilog of the accelerator, too, on an array with faults.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from brevitas import nn as qnn
from brevitas.quant import (
    Int8ActPerTensorFloat,
    Int8WeightPerChannelFloat,
    Int8WeightPerTensorFloat,
    Uint8ActPerTensorFloat,
)
from hypothesis import HealthCheck, Phase, given, reject, seed, settings
from hypothesis import strategies as st
from torch import nn

from hascodesign.contract import arithmetic, array
from hascodesign.contract.errors import ModelError
from hascodesign.contract.types import ArraySpec, Equivalence, IntegerNetwork, Split, frozen
from hascodesign.models.integer import accumulator_bits, compare, integerise
from hascodesign.verify.core import verify_core
from tests import core_cases, rtl_cases
from tests.model_cases import settle

Choose = Callable[[int], int]  # a number from 0 to n - 1


class Drawn(nn.Module):
    """A network whose every step was drawn."""

    def __init__(self, choose: Choose) -> None:
        super().__init__()
        self._choose = choose
        self.layers = nn.ModuleList()
        self.steps: list[tuple[int | None, tuple[int, ...]]] = []  # layer (None: +), values
        self.shapes: list[tuple[int, int, int]] = []
        self.signs: list[bool] = []
        self.kinds: Counter[str] = Counter()
        self._draw()
        del self._choose

    def forward(self, x: Any) -> Any:
        values = [x]
        for layer, takes in self.steps:
            given = [values[taken] for taken in takes]
            values.append(given[0] + given[1] if layer is None else self.layers[layer](*given))
        return values[-1]

    # drawing

    def _one(self, *options: Any) -> Any:
        return options[self._choose(len(options))]

    def _add(self, layer: nn.Module | None, *takes: int, shape: Any, signed: bool = True) -> int:
        place = None
        if layer is not None:
            known = [i for i, one in enumerate(self.layers) if one is layer]
            if not known:
                self.layers.append(layer)
            place = known[0] if known else len(self.layers) - 1
        self.steps.append((place, takes))
        self.shapes.append(shape)
        self.signs.append(signed)
        return len(self.steps)

    def _act(self, value: int, layer: nn.Module | None = None) -> int:
        bits, signed = self._one(2, 3, 4, 6), bool(self._choose(2))
        if layer is None and signed:
            layer = qnn.QuantIdentity(
                act_quant=Int8ActPerTensorFloat, bit_width=bits, return_quant_tensor=True
            )
        elif layer is None:
            layer = qnn.QuantReLU(
                act_quant=Uint8ActPerTensorFloat, bit_width=bits, return_quant_tensor=True
            )
        signed = not isinstance(layer, qnn.QuantReLU)
        return self._add(layer, value, shape=self._shape(value), signed=signed)

    def _shape(self, value: int) -> tuple[int, int, int]:
        return self.shapes[value - 1] if value else self.image

    def _conv(self, value: int, rows: int, *, stride: int = 1, act: nn.Module | None = None) -> int:
        channels, height, width = self._shape(value)
        kernel = self._one(1, 3)
        groups = self._one(1, 1, channels) if rows % channels == 0 else 1
        quant = self._one(Int8WeightPerChannelFloat, Int8WeightPerTensorFloat)
        layer = qnn.QuantConv2d(
            channels, rows, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False,
            weight_quant=quant, weight_bit_width=self._one(2, 4),
        )  # fmt: skip
        self.kinds["grouped"] += groups > 1
        size = [(side - 1) // stride + 1 for side in (height, width)]
        out = self._add(layer, value, shape=(rows, *size))
        if self._choose(2):
            out = self._add(nn.BatchNorm2d(rows), out, shape=self._shape(out))
        return self._act(out, act)

    def _sum(self, one: int, other: int) -> int:
        """Of two maps of one shape, by one of the ways that Brevitas has."""
        shape = self._shape(one)
        if self._choose(2):
            self.kinds["QuantEltwiseAdd"] += 1
            layer = qnn.QuantEltwiseAdd(bit_width=self._one(4, 6), return_quant_tensor=True)
            total = self._add(layer, one, other, shape=shape)
        else:
            self.kinds["shared quantiser"] += 1
            shared = qnn.QuantIdentity(
                act_quant=Int8ActPerTensorFloat, bit_width=self._one(3, 5), return_quant_tensor=True
            )
            pair = [self._act(value, shared) for value in (one, other)]
            total = self._add(None, *pair, shape=shape)
        return self._act(total)

    def _residual(self, value: int) -> int:
        """Branches of one size that all meet."""
        stride, rows = 1 + (self._choose(3) == 0), self._one(2, 3, 4)
        self.kinds["strided branches"] += stride > 1
        open_ = [self._conv(value, rows, stride=stride) for _ in range(1 + self._choose(2))]
        if stride == 1 and self._shape(value)[0] == rows:
            self.kinds["identity branch"] += 1
            open_.append(value)
        for _ in range(self._choose(3)):
            source = self._one(*open_)
            made = self._conv(source, rows) if self._choose(3) else self._act(source)
            if self._choose(2):
                open_.append(made)  # a branch of its own
            else:
                open_[open_.index(source)] = made
        while len(open_) > 1:
            open_.append(self._sum(open_.pop(self._choose(len(open_))), open_.pop(0)))
        return open_[0]

    def _pool(self, value: int) -> int:
        channels, height, width = self._shape(value)
        kind = self._one("max", "max", "padded max", "average", "truncating")
        signed = self.signs[value - 1] if value else True
        if kind == "padded max" and signed:
            kind = "max"
        kernel, stride = self._one(2, 3), self._one(1, 2)
        padding = int(kind == "padded max" or (kind == "average" and self._choose(2)))
        if min(height, width) + 2 * padding < kernel:
            return value
        self.kinds[kind] += 1
        size = [(side + 2 * padding - kernel) // stride + 1 for side in (height, width)]
        shape = (channels, *size)
        if "max" in kind:
            layer: nn.Module = nn.MaxPool2d(kernel, stride, padding)
            return self._add(layer, value, shape=shape, signed=signed)
        if kind == "truncating":
            layer = qnn.TruncAvgPool2d(kernel, stride, bit_width=self._one(3, 4))
            return self._add(layer, value, shape=shape, signed=signed)
        layer = nn.AvgPool2d(kernel, stride, padding)
        return self._act(self._add(layer, value, shape=shape))

    def _draw(self) -> None:
        self.image = (self._one(1, 2), self._one(4, 5, 6), self._one(4, 5))
        value = self._act(0)
        for _ in range(1 + self._choose(3)):
            value = (self._residual, self._residual, self._pool)[self._choose(3)](value)
        channels, height, width = self._shape(value)
        features = channels * height * width
        still = (qnn.QuantIdentity, qnn.QuantReLU, nn.MaxPool2d)
        images = all(isinstance(one, still) for one in self.layers)
        if not images and self._choose(3) == 0:  # none stands on the images
            self.kinds["global average"] += 1
            value = self._add(nn.AdaptiveAvgPool2d(1), value, shape=(channels, 1, 1))
            features = channels
        value = self._add(nn.Flatten(), value, shape=(features, 1, 1))
        end = qnn.QuantLinear(
            features, 3, bias=False, weight_quant=Int8WeightPerTensorFloat, weight_bit_width=4
        )
        self._add(end, value, shape=(3, 1, 1))


def drawn(choose: Choose) -> Drawn:
    """A network with settled scales."""
    torch.manual_seed(0)
    model = Drawn(choose)
    settle(model, model.image, seed=choose(1 << 16))
    return model


def held(model: Drawn, count: int = 24) -> Split:
    """Images to compare on."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(count, *model.image))
    return Split(frozen(values, np.float32), frozen([0] * count))


def compared(model: Drawn) -> tuple[IntegerNetwork, Equivalence] | None:
    """The integer graph, and how it was held against Brevitas; None of a network of constants."""
    network = integerise(model, "drawn", model.image)
    try:
        return network, compare(model, network, held(model))
    except ModelError as error:
        if "must give different codes for different images" not in str(error):
            raise
        return None  # some map is the same for all images, as drawn


def through_core(model: Drawn, network: IntegerNetwork, number: int, work: Path) -> int:
    """Integers compared between the accelerator's Verilog and the engine, on a faulty array."""
    rng = np.random.default_rng(number)
    need = max(max(layer.in_bits, layer.weight_bits) for layer in network.layers)
    spec = ArraySpec(4, 4, need, need, max(accumulator_bits(network)) + 1)
    schedule = core_cases.random_schedule(rng, network, spec)
    profile = rtl_cases.any_profile(rng, spec, 4, array.wmem_words(network, spec, schedule))
    codes = arithmetic.quantise(held(model, 2).images, network.input)
    done = verify_core(
        network, schedule, profile, core_cases.build(network, schedule, profile), codes,
        work=work, faults=True,
    )  # fmt: skip
    assert not done.mismatches, done.first
    return done.outputs


def chooser(data: st.DataObject) -> Choose:
    """Numbers that hypothesis draws."""
    return lambda count: data.draw(st.integers(0, count - 1))


def main() -> int:
    """Draw, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--core", type=int, default=0, metavar="N")
    options = parser.parse_args()
    torch.set_num_threads(1)
    kinds: Counter[str] = Counter()

    @seed(options.seed)
    @settings(
        max_examples=options.count, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data())
    def run(data: st.DataObject) -> None:
        model = drawn(chooser(data))
        pair = compared(model)
        if pair is None:
            reject()
        network, found = pair
        assert not found.total, found
        kinds.update(model.kinds, networks=1, codes=sum(found.compared), layers=len(network.layers))
        if kinds["networks"] <= options.core:
            with tempfile.TemporaryDirectory() as work:
                outputs = through_core(model, network, kinds["networks"], Path(work))
            kinds.update({"integers in the accelerator": outputs})

    run()
    print(", ".join(f"{count:,} {kind}" for kind, count in kinds.items()), "; 0 differ", sep="")
    return int(kinds["networks"] < options.count)


if __name__ == "__main__":
    sys.exit(main())

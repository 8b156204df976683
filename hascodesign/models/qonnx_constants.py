"""The constants of a QONNX graph: read, folded, and quantised as qonnx does it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hascodesign.common import inputs
from hascodesign.contract.errors import ModelError
from hascodesign.models.modules import Weights

DOMAINS = {"onnx.brevitas", "finn.custom_op.general", "qonnx.custom_op.general"}
MOST_ELEMENTS = 1 << 26  # of a constant, and of a map of one image
Array = NDArray[Any]
Value = Array | Weights


@dataclass(frozen=True, slots=True)
class Format:
    """Codes of a Quant."""

    bits: int
    signed: bool
    low: int
    high: int
    zero_point: float


class Constants(dict[str, Value]):
    """By their name in the graph; those that went through a quantiser are :class:`Weights`."""

    def plain(self, name: str) -> Array:
        """Real numbers."""
        value = self[name]
        return value.real if isinstance(value, Weights) else value

    def weights(self, name: str, *, transpose: bool) -> Weights:
        """Constant weights, [rows, ...]."""
        found = self.get(name)
        if not isinstance(found, Weights):
            raise ModelError("must have constant weights that went through a Quant or BipolarQuant")
        return found.transposed([1, 0]) if transpose else found

    def format(self, names: list[str], attributes: Mapping[str, Any]) -> Format:
        """Codes of a Quant with these inputs and attributes."""
        zero, bits = (np.asarray(self.plain(name)).reshape(-1) for name in names[2:4])
        if zero.size != 1 or bits.size != 1 or bits[0] != int(bits[0]) or not 1 <= bits[0] <= 32:
            raise ModelError("must have one zero point and one whole number of bits, 1 to 32")
        signed, narrow = bool(attributes["signed"]), bool(attributes["narrow"])
        width = int(bits[0])
        high = (1 << (width - signed)) - 1 - (narrow and not signed)
        low = -(1 << (width - 1)) + narrow if signed else 0
        return Format(width, signed, low, high, float(zero[0]))

    def folded(self, node: Any, names: list[str], attributes: Mapping[str, Any]) -> Value:
        """What a node of constants alone gives."""
        kind = node.op_type
        if kind in {"Quant", "BipolarQuant"}:
            check_domain(node)
            return self._quantised(kind, names, attributes)
        if kind == "Constant":
            return np.asarray(attributes["value"])
        if kind == "Transpose":
            first = self[names[0]]
            perm = attributes.get("perm", list(range(_rank(first)))[::-1])
            return first.transposed(perm) if isinstance(first, Weights) else first.transpose(perm)
        values = [self.plain(name) for name in names]
        if kind not in FOLDED:
            raise ModelError(f"must not be of constants alone: {', '.join(sorted(FOLDED))} may")
        if len(values) > 1 and kind in ARITHMETIC:
            shape = np.broadcast_shapes(*(value.shape for value in values))
            if math.prod(shape) > MOST_ELEMENTS:
                raise ModelError(f"must give at most {MOST_ELEMENTS} elements, not {shape}")
        return np.asarray(FOLDED[kind](values, attributes))

    def _quantised(self, kind: str, names: list[str], attributes: Mapping[str, Any]) -> Weights:
        """Weights as qonnx computes them: in float32."""
        real = np.asarray(self.plain(names[0]), dtype=np.float32)
        scale = np.asarray(self.plain(names[1]), dtype=np.float32)
        if kind == "BipolarQuant":
            codes = np.where(real >= 0, 1.0, -1.0)
            return Weights.of(codes, scale, 1, signed=True)
        form = self.format(names, attributes)
        y = np.clip(real / scale + np.float32(form.zero_point), form.low, form.high)
        codes = rounding(attributes)(torch.from_numpy(y.astype(np.float64))).numpy()
        if form.zero_point:
            raise ModelError(f"must have zero point 0, not {form.zero_point}")
        return Weights.of(codes, scale, form.bits, signed=form.signed)


def named(place: int, node: Any) -> str:
    """A node in a message."""
    name = f" {inputs.printable(node.name)!r}" if node.name else ""
    return f"node {place}{name} ({inputs.printable(node.op_type)})"


def check_domain(node: Any) -> None:
    """Refuse a Quant of somebody else's."""
    if node.domain not in DOMAINS:
        raise ModelError(f"must be of one of the domains {', '.join(sorted(DOMAINS))}")


def rounding(attributes: Mapping[str, Any]) -> Callable[[Tensor], Tensor]:
    """How a Quant rounds."""
    mode = attributes.get("rounding_mode", b"ROUND").decode("ascii", "replace").upper()
    known = {
        "ROUND": torch.round,
        "FLOOR": torch.floor,
        "CEIL": torch.ceil,
        "ROUND_TO_ZERO": torch.trunc,
    }
    if mode not in known:
        raise ModelError(f"must round by one of {', '.join(known)}, not {mode!r}")
    return known[mode]


def _rank(value: Value) -> int:
    return value.real.ndim if isinstance(value, Weights) else value.ndim


def _axes(values: list[Array], attributes: Mapping[str, Any]) -> tuple[int, ...]:
    axes = attributes["axes"] if "axes" in attributes else values[1].reshape(-1).tolist()
    return tuple(int(axis) for axis in axes)


ARITHMETIC: dict[str, Callable[[list[Array], Mapping[str, Any]], Any]] = {
    "Add": lambda v, _: v[0] + v[1],
    "Sub": lambda v, _: v[0] - v[1],
    "Mul": lambda v, _: v[0] * v[1],
    "Div": lambda v, _: v[0] / v[1],
    "Pow": lambda v, _: v[0] ** v[1],
}
FOLDED = ARITHMETIC | {
    "Sqrt": lambda v, _: np.sqrt(v[0]),
    "Identity": lambda v, _: v[0],
    "Reshape": lambda v, _: v[0].reshape([int(n) for n in v[1]]),
    "Gather": lambda v, a: np.take(v[0], v[1].astype(np.int64), axis=a.get("axis", 0)),
    "Unsqueeze": lambda v, a: np.expand_dims(v[0], _axes(v, a)),
    "Squeeze": lambda v, a: np.squeeze(v[0], _axes(v, a)),
    "Concat": lambda v, a: np.concatenate(v, a["axis"]),
}

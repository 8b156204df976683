"""A QONNX network as a torch module of the layers that the tracer knows, held against qonnx itself.

The operators are those of ONNX at opset 9 and later that quantised networks are exported with, and
QONNX's ``Quant`` and ``BipolarQuant`` [1]_.

References
----------
.. [1] A. Pappalardo et al., "QONNX: Representing Arbitrary-Precision Quantized Neural Networks",
   arXiv:2206.07527.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hascodesign.common import inputs
from hascodesign.contract.errors import ModelError, ToolNotFound
from hascodesign.models.layers import Convolution, Dense, Elementwise, Quantiser, Weights
from hascodesign.models.user_code import running

if TYPE_CHECKING:
    from types import ModuleType

DOMAINS = {"onnx.brevitas", "finn.custom_op.general", "qonnx.custom_op.general"}
MOST_ELEMENTS = 1 << 26  # of a constant, and of a map of one image
MOST_INPUT = 1 << 22  # elements of an image
MOST_SIDE = 255  # of padding and dilation
BATCH = 250  # images at a time in qonnx's execution
Array = NDArray[Any]
Value = Array | Weights


def load(path: Path) -> Network:
    """The network in an ``.onnx`` file.

    Raises
    ------
    ModelError
        No ONNX file, or an operator that has no layer, by name, with what is supported.
    ToolNotFound
        The packages of the extra ``qonnx`` are missing.
    """
    onnx = _package("onnx")
    content = inputs.read(path, inputs.ONNX)
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own classes change with its version
        raise ModelError(
            f"{inputs.printable(path)}: model must be an ONNX file: {inputs.one_line(error)}"
        ) from None
    try:
        return Network(_Reader(onnx, model), content)
    except ModelError as error:
        raise ModelError(f"{inputs.printable(path)}: {error}") from None


def _package(name: str) -> ModuleType:
    try:
        return __import__(name)
    except ImportError:
        raise ToolNotFound(
            f"a QONNX network needs the package {name}: pip install 'hascodesign[qonnx]'"
        ) from None


class Network(nn.Module):
    """The nodes of the graph that depend on the images, in its order."""

    def __init__(self, reader: _Reader, content: bytes) -> None:
        super().__init__()
        self.steps = tuple((step.name, step.takes, step.gives) for step in reader.steps)
        self.nodes = nn.ModuleDict({step.name: step.module for step in reader.steps})
        self.given, self.gives = reader.given, reader.gives
        self.in_shape = reader.in_shape
        self._content = content

    def forward(self, x: Tensor) -> Any:
        """What the graph gives for a batch."""
        return self.values(x)[self.gives]

    def values(self, x: Tensor) -> dict[str, Any]:
        """Every value for a batch, by its name in the graph."""
        values: dict[str, Any] = {self.given: x}
        for name, takes, gives in self.steps:
            values[gives] = self.nodes[name](values[takes])
        return values

    def require_equal_to_qonnx(self, images: NDArray[np.float32]) -> int:
        """Hold every code against qonnx's own execution of the file; how many were compared.

        Raises
        ------
        ModelError
            A code that differs, with its node.
        """
        double, compared = deepcopy(self).double().eval(), 0
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            theirs = _executed(self._content, self.given, batch)
            with torch.no_grad():
                ours = double.values(torch.from_numpy(batch.astype(np.float64)))
            for step, _, name in self.steps:
                quantiser = self.nodes[step]
                if not isinstance(quantiser, Quantiser):
                    continue
                left, right = (
                    np.rint(found / quantiser.scale).astype(np.int64)
                    for found in (theirs[name], ours[name].value.numpy())
                )
                if left.shape != right.shape or not np.array_equal(left, right):
                    wrong = "all" if left.shape != right.shape else np.count_nonzero(left != right)
                    raise ModelError(
                        f"network must be read as qonnx executes it: {wrong} of {right.size} codes"
                        f" differ at {name!r}"
                    )
                compared += right.size
        return compared


def _executed(content: bytes, given: str, images: NDArray[np.float32]) -> Mapping[str, Array]:
    """Every value of a batch by qonnx."""
    onnx = _package("onnx")
    _package("qonnx")
    from qonnx.core.modelwrapper import ModelWrapper  # noqa: PLC0415
    from qonnx.core.onnx_exec import execute_onnx  # noqa: PLC0415
    from qonnx.transformation.infer_shapes import InferShapes  # noqa: PLC0415

    with running("network must run in qonnx with a batch of images"):
        model = ModelWrapper(onnx.load_model_from_string(content))
        del model.graph.value_info[:]  # shapes of a batch of one
        model.set_tensor_shape(given, list(images.shape))
        for out in model.graph.output:
            model.set_tensor_shape(out.name, [len(images), *model.get_tensor_shape(out.name)[1:]])
        model = model.transform(InferShapes())
        found: Mapping[str, Array] = execute_onnx(model, {given: images}, True)
    return found


# ---------------------------------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    module: nn.Module
    takes: str
    gives: str


@dataclass(slots=True)
class _Reader:
    """Goes through a graph once, with a batch of one zero image at hand for the shapes."""

    onnx: Any
    model: Any
    steps: list[_Step] = field(default_factory=list)
    given: str = ""
    gives: str = ""
    in_shape: tuple[int, ...] = ()
    _constants: dict[str, Value] = field(default_factory=dict)
    _samples: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graph = self.model.graph
        for tensor in graph.initializer:
            self._constants[tensor.name] = self._array(tensor)
        free = [item for item in graph.input if item.name not in self._constants]
        if len(free) != 1 or len(graph.output) != 1:
            raise ModelError(
                f"graph must have one input and one output, not {len(free)} and {len(graph.output)}"
            )
        self.given, self.gives = free[0].name, graph.output[0].name
        sizes = [dim.dim_value for dim in free[0].type.tensor_type.shape.dim]
        if len(sizes) not in {2, 4} or min(sizes[1:]) < 1 or math.prod(sizes[1:]) > MOST_INPUT:
            raise ModelError(
                f"graph must have an input [n, channels, height, width] or [n, features], not"
                f" {sizes}"
            )
        self.in_shape = tuple(sizes[1:])
        self._samples[self.given] = torch.zeros((1, *self.in_shape), dtype=torch.float64)
        for place, node in enumerate(graph.node):
            self._read(place, node)
        if self.gives not in self._samples:
            raise ModelError(f"output {self.gives!r} must come of the input")

    def _array(self, tensor: Any) -> Array:
        if tensor.data_location == self.onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ModelError(f"constant {tensor.name!r} must lie in the file, not in another")
        try:
            found: Array = self.onnx.numpy_helper.to_array(tensor)
        except Exception as error:  # of any class
            raise ModelError(
                f"constant {tensor.name!r} must be readable: {inputs.one_line(error)}"
            ) from None
        return found

    def _read(self, place: int, node: Any) -> None:
        names = [name for name in node.input if name]
        dynamic = [name for name in names if name in self._samples]
        unknown = [name for name in names if name not in {*self._samples, *self._constants}]
        if unknown:
            raise ModelError(f"{_named(place, node)} must take known values, not {unknown[0]!r}")
        attributes = {a.name: self._attribute(a) for a in node.attribute}
        if node.op_type == "Shape":
            (name,) = names
            value = self._samples.get(name)
            shape = value.shape if value is not None else np.shape(self._plain(name))
            self._constants[node.output[0]] = np.array(shape, dtype=np.int64)
            return
        try:
            if dynamic:
                self._step(place, node, dynamic, attributes)
            else:
                self._constants[node.output[0]] = self._folded(node, names, attributes)
        except ModelError as error:
            raise ModelError(f"{_named(place, node)} {error}") from None
        except Exception as error:  # of damaged attributes, of any class
            raise ModelError(
                f"{_named(place, node)} must be as its operator says: {inputs.one_line(error)}"
            ) from None

    def _attribute(self, attribute: Any) -> Any:
        value = self.onnx.helper.get_attribute_value(attribute)
        return self._array(value) if hasattr(value, "raw_data") else value

    def _plain(self, name: str) -> Array:
        value = self._constants[name]
        return value.real if isinstance(value, Weights) else value

    # constants

    def _folded(self, node: Any, names: list[str], attributes: dict[str, Any]) -> Value:
        kind = node.op_type
        if kind in {"Quant", "BipolarQuant"}:
            _check_domain(node)
            return self._quantised(kind, names, attributes)
        if kind == "Constant":
            return np.asarray(attributes["value"])
        if kind == "Transpose":
            first = self._constants[names[0]]
            perm = attributes.get("perm", list(range(_rank(first)))[::-1])
            return first.transposed(perm) if isinstance(first, Weights) else first.transpose(perm)
        values = [self._plain(name) for name in names]
        if kind not in FOLDED:
            raise ModelError(f"must not be of constants alone: {', '.join(sorted(FOLDED))} may")
        if len(values) > 1 and kind in ARITHMETIC:
            shape = np.broadcast_shapes(*(value.shape for value in values))
            if math.prod(shape) > MOST_ELEMENTS:
                raise ModelError(f"must give at most {MOST_ELEMENTS} elements, not {shape}")
        return np.asarray(FOLDED[kind](values, attributes))

    def _quantised(self, kind: str, names: list[str], attributes: dict[str, Any]) -> Weights:
        """Weights as qonnx computes them: in float32."""
        real = np.asarray(self._plain(names[0]), dtype=np.float32)
        scale = np.asarray(self._plain(names[1]), dtype=np.float32)
        if kind == "BipolarQuant":
            codes = np.where(real >= 0, 1.0, -1.0)
            return Weights.of(codes, scale, 1, signed=True)
        form = self._format(names, attributes)
        y = np.clip(real / scale + np.float32(form.zero_point), form.low, form.high)
        codes = _rounding(attributes)(torch.from_numpy(y.astype(np.float64))).numpy()
        if form.zero_point:
            raise ModelError(f"must have zero point 0, not {form.zero_point}")
        return Weights.of(codes, scale, form.bits, signed=form.signed)

    def _format(self, names: list[str], attributes: dict[str, Any]) -> _Format:
        zero, bits = (np.asarray(self._plain(name)).reshape(-1) for name in names[2:4])
        if zero.size != 1 or bits.size != 1 or bits[0] != int(bits[0]) or not 1 <= bits[0] <= 32:
            raise ModelError("must have one zero point and one whole number of bits, 1 to 32")
        signed, narrow = bool(attributes["signed"]), bool(attributes["narrow"])
        width = int(bits[0])
        high = (1 << (width - signed)) - 1 - (narrow and not signed)
        low = -(1 << (width - 1)) + narrow if signed else 0
        return _Format(width, signed, low, high, float(zero[0]))

    # what depends on the images

    def _step(self, place: int, node: Any, dynamic: list[str], attributes: dict[str, Any]) -> None:
        kind = node.op_type
        if len(dynamic) > 1:
            raise ModelError(
                "must take one value of the images, not several: branches do not meet here"
            )
        given, known = dynamic[0], [name for name in node.input if name and name != dynamic[0]]
        if self._takes_bias(node, given, known):
            last = self.steps.pop()  # once more, as the layer that has the bias
            module: nn.Module | None = last.module
            given = last.takes
        elif kind in MAKERS:
            module = MAKERS[kind](self, node, self._samples[given], known, attributes)
        else:
            module = None
        if module is None:
            raise ModelError(f"must be one of {', '.join(sorted(MAKERS))}, in a form with a layer")
        with torch.no_grad():
            out = module.double().eval()(self._samples[given])
        self.steps.append(_Step(f"{place}_{kind}", module, given, node.output[0]))
        self._samples[node.output[0]] = getattr(out, "value", out)

    def _takes_bias(self, node: Any, taken: str, known: list[str]) -> bool:
        """Give an Add of a constant for each row to the layer before it, as its bias."""
        layer = self.steps[-1].module if self.steps and self.steps[-1].gives == taken else None
        if node.op_type != "Add" or not known or not isinstance(layer, Dense | Convolution):
            return False
        uses = sum(name == taken for other in self.model.graph.node for name in other.input)
        constant = self._plain(known[0])
        rows = len(layer.weight)
        shapes = (
            {(rows,), (1, rows)} if isinstance(layer, Dense) else {(rows, 1, 1), (1, rows, 1, 1)}
        )
        if layer.bias is not None or uses > 1 or constant.shape not in shapes:
            return False
        layer.bias = nn.Parameter(torch.from_numpy(constant.reshape(-1).astype(np.float64)))
        return True

    def weights(self, name: str, transpose: bool) -> Weights:
        """Constant weights, [rows, ...]."""
        found = self._constants.get(name)
        if not isinstance(found, Weights):
            raise ModelError("must have constant weights that went through a Quant or BipolarQuant")
        return found.transposed([1, 0]) if transpose else found


@dataclass(frozen=True, slots=True)
class _Format:
    bits: int
    signed: bool
    low: int
    high: int
    zero_point: float


def _named(place: int, node: Any) -> str:
    name = f" {inputs.printable(node.name)!r}" if node.name else ""
    return f"node {place}{name} ({inputs.printable(node.op_type)})"


def _check_domain(node: Any) -> None:
    if node.domain not in DOMAINS:
        raise ModelError(f"must be of one of the domains {', '.join(sorted(DOMAINS))}")


def _rank(value: Value) -> int:
    return value.real.ndim if isinstance(value, Weights) else value.ndim


def _rounding(attributes: dict[str, Any]) -> Callable[[Tensor], Tensor]:
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


def _axes(values: list[Array], attributes: dict[str, Any]) -> tuple[int, ...]:
    axes = attributes["axes"] if "axes" in attributes else values[1].reshape(-1).tolist()
    return tuple(int(axis) for axis in axes)


ARITHMETIC: dict[str, Callable[[list[Array], dict[str, Any]], Any]] = {
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


# ---------------------------------------------------------------------------------------- modules

Maker = Callable[[_Reader, Any, Tensor, list[str], dict[str, Any]], nn.Module | None]


def _quant(
    reader: _Reader, node: Any, _taken: Tensor, known: list[str], attributes: dict[str, Any]
) -> nn.Module:
    _check_domain(node)
    scale = reader._plain(known[0]).reshape(-1)
    if scale.size != 1:
        raise ModelError(f"must have one scale for all channels, not {scale.size}")
    if node.op_type == "BipolarQuant":
        return Quantiser(float(scale[0]), 1, -1, 1, signed=True, binary=True)
    form = reader._format(["", *known], attributes)
    return Quantiser(
        float(scale[0]), form.bits, form.low, form.high, signed=form.signed,
        zero_point=form.zero_point, rounding=_rounding(attributes),
    )  # fmt: skip


def _matmul(
    reader: _Reader, node: Any, _taken: Tensor, known: list[str], _attributes: dict[str, Any]
) -> nn.Module:
    if node.input[1] not in known:
        raise ModelError("must have its weights second")
    return Dense(reader.weights(known[0], transpose=True))


def _gemm(
    reader: _Reader, node: Any, _taken: Tensor, known: list[str], attributes: dict[str, Any]
) -> nn.Module:
    if attributes.get("transA", 0) or {attributes.get(n, 1.0) for n in ("alpha", "beta")} != {1.0}:
        raise ModelError("must have transA 0, alpha 1 and beta 1")
    layer = Dense(reader.weights(node.input[1], transpose=not attributes.get("transB", 0)))
    return _with_bias(reader, layer, known[1:])


def _conv(
    reader: _Reader, node: Any, taken: Tensor, known: list[str], attributes: dict[str, Any]
) -> nn.Module:
    height, width = taken.shape[2:]
    py, px = _padding(attributes)
    rows = len(reader.weights(node.input[1], transpose=False).real)
    if rows * (height + 2 * py) * (width + 2 * px) > MOST_ELEMENTS:
        raise ModelError(f"must give a map of at most {MOST_ELEMENTS} elements")
    layer = Convolution(
        reader.weights(node.input[1], transpose=False),
        stride=_pair(attributes.get("strides", (1, 1))),
        padding=(py, px),
        dilation=_pair(attributes.get("dilations", (1, 1))),
        groups=int(attributes.get("group", 1)),
    )
    return _with_bias(reader, layer, known[1:])


def _with_bias(reader: _Reader, layer: Dense | Convolution, names: list[str]) -> nn.Module:
    if names:
        constant = reader._plain(names[0]).reshape(-1)
        if constant.size != len(layer.weight):
            raise ModelError(f"must have one bias for each of {len(layer.weight)} rows")
        layer.bias = nn.Parameter(torch.from_numpy(constant.astype(np.float64)))
    return layer


def _pair(values: Any) -> tuple[int, int]:
    if len(values) != 2 or not all(0 < value <= MOST_SIDE for value in values):
        raise ModelError(f"must have two axes, of 1 to {MOST_SIDE} each, not {list(values)[:9]}")
    return int(values[0]), int(values[1])


def _padding(attributes: dict[str, Any]) -> tuple[int, int]:
    if attributes.get("auto_pad", b"NOTSET") not in {b"NOTSET", b"VALID"}:
        raise ModelError("must say its padding, not auto_pad")
    pads = tuple(int(pad) for pad in attributes.get("pads", (0, 0, 0, 0)))
    if len(pads) != 4 or pads[:2] != pads[2:] or not all(0 <= pad <= MOST_SIDE for pad in pads):
        raise ModelError(f"must pad alike on both sides, by at most {MOST_SIDE}, not {pads[:9]}")
    return pads[0], pads[1]


def _norm(
    reader: _Reader, _node: Any, taken: Tensor, known: list[str], attributes: dict[str, Any]
) -> nn.Module:
    weight, bias, mean, var = (reader._plain(name).reshape(-1) for name in known)
    eps = float(attributes.get("epsilon", 1e-5))
    return _norm_of(taken, weight, bias, mean, var, eps)


def _norm_of(
    taken: Tensor, weight: Array, bias: Array, mean: Array, var: Array, eps: float
) -> nn.Module:
    kind = nn.BatchNorm2d if taken.dim() == 4 else nn.BatchNorm1d
    norm = kind(taken.shape[1], eps=eps)
    named = {"weight": weight, "bias": bias, "running_mean": mean, "running_var": var}
    state = {name: torch.from_numpy(np.array(v, dtype=np.float32)) for name, v in named.items()}
    norm.load_state_dict(state, strict=False)
    return norm


def _arithmetic(
    reader: _Reader, node: Any, taken: Tensor, known: list[str], _attributes: dict[str, Any]
) -> nn.Module | None:
    """With one constant, or with one for each channel: then a norm that does nothing else."""
    func = getattr(operator, {"Div": "truediv"}.get(node.op_type, node.op_type.lower()))
    constant, first = reader._plain(known[0]), node.input[0] == known[0]
    if constant.size == 1:
        if first and node.op_type == "Div":
            return None
        return Elementwise(func, float(constant.reshape(-1)[0]), first=first)
    channels = constant.size == taken.shape[1] and not first
    if not channels or np.broadcast_shapes(constant.shape, (1, *taken.shape[1:]))[0] != 1:
        return None
    if taken.dim() == 4 and constant.shape[-2:] != (1, 1):
        return None
    one, zero, c = np.ones(constant.size), np.zeros(constant.size), constant.reshape(-1)
    weight = {"Mul": c, "Div": 1 / c if node.op_type == "Div" else c}.get(node.op_type, one)
    bias = {"Add": c, "Sub": -c}.get(node.op_type, zero)
    return _norm_of(taken, weight, bias, zero, one, eps=0.0)


def _pool(
    _reader: _Reader, node: Any, _taken: Tensor, _known: list[str], attributes: dict[str, Any]
) -> nn.Module:
    kernel, stride = (_pair(attributes.get(n, (1, 1))) for n in ("kernel_shape", "strides"))
    options = {"padding": _padding(attributes), "ceil_mode": bool(attributes.get("ceil_mode", 0))}
    if node.op_type == "MaxPool":
        return nn.MaxPool2d(kernel, stride, **options)  # type: ignore[arg-type]
    counts = bool(attributes.get("count_include_pad", 0))
    return nn.AvgPool2d(kernel, stride, count_include_pad=counts, **options)  # type: ignore[arg-type]


def _mean(
    _reader: _Reader, _node: Any, taken: Tensor, _known: list[str], _attributes: dict[str, Any]
) -> nn.Module:
    return nn.AvgPool2d((taken.shape[2], taken.shape[3]))


def _reshape(
    reader: _Reader, node: Any, taken: Tensor, known: list[str], attributes: dict[str, Any]
) -> nn.Module | None:
    if node.op_type == "Flatten":
        return nn.Flatten() if attributes.get("axis", 1) == 1 else None
    target = [int(n) for n in reader._plain(known[0])]
    target = [taken.shape[place] if n == 0 else n for place, n in enumerate(target)]
    made = taken.reshape(target).shape
    if made == taken.shape:
        return nn.Identity()
    return nn.Flatten() if made == (1, taken.numel()) else None


def _same(
    _reader: _Reader, node: Any, taken: Tensor, _known: list[str], attributes: dict[str, Any]
) -> nn.Module | None:
    if node.op_type == "Transpose":
        perm = list(attributes.get("perm", range(taken.dim() - 1, -1, -1)))
        return nn.Identity() if perm == sorted(perm) else None
    return nn.Identity()


def _soft(
    _reader: _Reader, _node: Any, taken: Tensor, _known: list[str], attributes: dict[str, Any]
) -> nn.Module | None:
    return nn.Softmax(1) if attributes.get("axis", 1) in {1, -1} and taken.dim() == 2 else None


def _relu(*_: Any) -> nn.Module:
    return nn.ReLU()


MAKERS: dict[str, Maker] = {
    "Quant": _quant, "BipolarQuant": _quant, "MatMul": _matmul, "Gemm": _gemm, "Conv": _conv,
    "BatchNormalization": _norm, "Add": _arithmetic, "Sub": _arithmetic, "Mul": _arithmetic,
    "Div": _arithmetic, "Relu": _relu, "MaxPool": _pool, "AveragePool": _pool,
    "GlobalAveragePool": _mean, "Reshape": _reshape, "Flatten": _reshape, "Identity": _same,
    "Dropout": _same, "Transpose": _same, "Softmax": _soft, "LogSoftmax": _soft,
}  # fmt: skip

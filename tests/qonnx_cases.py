"""Small QONNX networks, for the tests of their reader."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

DOMAIN = "qonnx.custom_op.general"


class Builder:
    """A graph, node by node; each method gives the name of what it makes."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.shape, self.value, self.version = shape, "image", 1

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(values, dtype=dtype)
        return name

    def node(self, kind: str, *takes: str, domain: str = "", **attributes: Any) -> str:
        out = f"v{len(self.nodes)}"
        made = helper.make_node(kind, list(takes), [out], name=f"n{len(self.nodes)}", **attributes)
        made.domain = domain
        self.nodes.append(made)
        return out

    def quant(
        self, value: str, scale: Any, bits: int, *, signed: int = 1, narrow: int = 0,
        zero_point: float = 0.0, mode: str = "ROUND", domain: str = DOMAIN,
    ) -> str:  # fmt: skip
        takes = (value, self.constant(scale), self.constant(zero_point), self.constant(bits))
        return self.node(
            "Quant", *takes, domain=domain, signed=signed, narrow=narrow, rounding_mode=mode
        )

    def weights(self, shape: tuple[int, ...], scale: Any = 0.125, bits: int = 4) -> str:
        return self.quant(self.constant(self.rng.normal(size=shape) * 0.4), scale, bits, narrow=1)

    def then(self, kind: str, *others: Any, **attributes: Any) -> None:
        """A node that takes the last value first."""
        self.value = self.node(kind, self.value, *others, **attributes)

    def act(self, scale: float = 0.25, bits: int = 4, **options: Any) -> None:
        self.value = self.quant(self.value, scale, bits, **options)

    def norm(self, channels: int) -> None:
        draws = (self.rng.normal(size=channels) for _ in range(3))
        spread = self.constant(self.rng.uniform(0.5, 2, channels))
        self.then("BatchNormalization", *map(self.constant, draws), spread, epsilon=1e-5)

    def trunc(
        self, scale: float, bits: int, kept: int, *, out: float = 0.0, **options: Any
    ) -> None:
        """Version 2, of which ``out`` is the scale it gives; without one version 1."""
        values = (scale, 0.0, bits, *((out,) if out else ()), kept)
        self.value = self.node(
            "Trunc", self.value, *map(self.constant, values), domain=DOMAIN, **options
        )
        self.version = 2 if out else 1

    def bytes(self, out: tuple[int, ...] = (1, 3)) -> bytes:
        """The file."""
        float_ = TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes, "net",
            [helper.make_tensor_value_info("image", float_, [1, *self.shape])],
            [helper.make_tensor_value_info(self.value, float_, list(out))],
            [numpy_helper.from_array(v, n) for n, v in self.constants.items()],
        )  # fmt: skip
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", 11), helper.make_opsetid(DOMAIN, self.version)],
        )
        made: bytes = model.SerializeToString()
        return made


def mlp() -> Builder:
    """Dense, bias, norm, activation, dense with a bias."""
    net = Builder((6,))
    net.act(1 / 16, 8)
    net.then("MatMul", net.weights((6, 5)))
    net.then("Add", net.constant(net.rng.normal(size=5)))
    net.norm(5)
    net.act(signed=0)
    net.then("MatMul", net.weights((5, 3)))
    net.then("Add", net.constant([0.25, -0.125, 0.0]))
    return net


def cnn(signed: int = 0) -> Builder:
    """Convolutions with groups, padding and a scale for each row, pools, reshape by Shape, Gemm."""
    net = Builder((2, 6, 5))
    net.then("Mul", net.constant(2.0))
    net.then("Sub", net.constant([1.0]))
    net.act(1 / 32, 8)
    each = np.array([0.125, 0.25, 0.0625, 0.125]).reshape(4, 1, 1, 1)
    net.then("Conv", net.weights((4, 2, 3, 3), each), pads=[1, 1, 1, 1], group=1)
    net.then("Mul", net.constant(np.array([1.5, -0.5, 1, 2]).reshape(4, 1, 1)))
    net.then("Relu")
    net.act(0.25, 4, signed=signed)
    net.then("MaxPool", kernel_shape=[2, 1], strides=[2, 1])
    net.then("Conv", net.weights((4, 2, 2, 2)), group=2, dilations=[1, 2])
    net.norm(4)
    net.act(0.25, 3, mode="FLOOR")
    net.then("AveragePool", kernel_shape=[2, 1], strides=[1, 1])
    shape = net.node("Shape", net.value)
    batch = net.node("Gather", shape, net.constant(0, np.int64), axis=0)
    target = net.node("Unsqueeze", batch, axes=[0])
    target = net.node("Concat", target, net.constant([-1], np.int64), axis=0)
    net.then("Reshape", target)
    net.then("Gemm", net.weights((3, 12)), net.constant([0.5, 0, 0]), transB=1)
    net.then("Softmax", axis=1)
    return net


def residual() -> Builder:
    """A sum and a difference of branches, one of them a convolution of 1 x 1 with a stride."""
    net = Builder((2, 6, 5))
    net.act(1 / 16, 8)
    net.then("Conv", net.weights((4, 2, 3, 3)), pads=[1, 1, 1, 1])
    net.norm(4)
    net.act(signed=0)
    start = net.value
    net.then("Conv", net.weights((4, 4, 3, 3)), pads=[1, 1, 1, 1])
    net.norm(4)
    net.act()
    net.then("Add", net.quant(start, 0.25, 4))
    net.act(0.5, signed=0)
    start = net.value
    net.then("Conv", net.weights((3, 4, 3, 3)), pads=[1, 1, 1, 1], strides=[2, 2])
    net.act(0.125)
    short = net.node("Conv", start, net.weights((3, 4, 1, 1)), strides=[2, 2])
    net.then("Sub", net.quant(short, 0.25, 4))
    net.act(0.25)
    net.then("GlobalAveragePool")
    net.then("Flatten", axis=1)
    net.then("MatMul", net.weights((3, 3)))
    return net


def lines() -> Builder:
    """Of one axis: convolutions with a bias and a norm, every pool."""
    net = Builder((2, 14))
    net.act(1 / 16, 8)
    net.then("Conv", net.weights((4, 2, 3)), pads=[1, 1], strides=[1])
    net.then("Add", net.constant(net.rng.normal(size=(4, 1))))
    net.norm(4)
    net.act(signed=0)
    net.then("MaxPool", kernel_shape=[3], strides=[2], pads=[1, 1])
    net.then("Conv", net.weights((4, 2, 2)), group=2, dilations=[2])
    net.then("Mul", net.constant(np.array([1.5, 0.5, 1, 2]).reshape(4, 1)))
    net.act(signed=0)
    net.then("AveragePool", kernel_shape=[2], strides=[1])
    net.act(0.125, 3, signed=0)
    net.then("GlobalAveragePool")
    net.then("Flatten", axis=1)
    net.then("MatMul", net.weights((4, 3)))
    return net


def truncated(version: int, mode: str) -> Builder:
    """An average whose lowest bits are dropped, by either version of Trunc."""
    net = Builder((2, 6, 5))
    net.act(1 / 16, 8)
    net.then("Conv", net.weights((4, 2, 3, 3)))
    net.act(signed=0)
    net.then("AveragePool", kernel_shape=[2, 2], strides=[2, 1])
    options: dict[str, Any] = {"rounding_mode": mode}
    if version == 2:
        options |= {"out": 0.25, "signed": 0, "narrow": 0}
    net.trunc(0.0625, 6, 4, **options)  # sums of four codes of a scale of 1/4
    net.then("Flatten", axis=1)
    net.then("MatMul", net.weights((16, 3)))
    return net


def channels_last() -> Builder:
    """As Keras has them: the images' channels last, and flattened so."""
    net = Builder((6, 5, 2))
    net.then("Transpose", perm=[0, 3, 1, 2])
    net.act(1 / 16, 8)
    net.then("Conv", net.weights((4, 2, 3, 3)))
    net.act(signed=0)
    net.then("Transpose", perm=[0, 2, 3, 1])
    net.then("Reshape", net.constant([-1, 48], np.int64))
    net.then("MatMul", net.weights((48, 3)))
    return net


def binary() -> Builder:
    """BipolarQuant on images, weights and activations, and a norm of the whole at the end."""
    net = Builder((6,))

    def bipolar(value: str) -> str:
        return net.node("BipolarQuant", value, net.constant(1.0), domain=DOMAIN)

    net.value = bipolar(net.value)
    for rows, columns in ((6, 8), (8, 3)):
        weights = bipolar(net.constant(net.rng.normal(size=(columns, rows))))
        net.then("MatMul", net.node("Transpose", weights, perm=[1, 0]))
        if columns == 8:
            net.norm(8)
            net.value = bipolar(net.value)
    net.then("Sub", net.constant([0.5]))
    power = net.node("Pow", net.constant([4.0]), net.constant(0.5))
    net.then("Div", power)
    return net

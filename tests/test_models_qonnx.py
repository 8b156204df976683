"""QONNX networks: read, held against qonnx's own execution, and against the integer graph."""

from __future__ import annotations

import builtins
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, load_model_from_string

import hascodesign as has
from hascodesign.contract.errors import ModelError, ToolNotFound
from hascodesign.contract.types import ArraySpec, Dataset, Split, frozen
from hascodesign.models import load, qonnx
from hascodesign.models.data import mnist
from hascodesign.models.integer import compare, integerise
from hascodesign.models.modules import Dense
from tests.qonnx_cases import (
    Builder,
    binary,
    channels_last,
    cnn,
    lines,
    mlp,
    residual,
    truncated,
)

NETWORKS: dict[str, Callable[[], Builder]] = {
    "mlp": mlp, "cnn": cnn, "residual": residual, "signed cnn": lambda: cnn(1), "binary": binary,
    "one axis": lines, "truncated": lambda: truncated(1, "FLOOR"),
    "truncated with a scale": lambda: truncated(2, "FLOOR"),
    "truncated to the nearest": lambda: truncated(2, "ROUND"), "channels last": channels_last,
}  # fmt: skip


def saved(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    return path


def random_images(shape: tuple[int, ...], count: int = 300) -> Any:
    return np.random.default_rng(1).normal(size=(count, *shape)).astype(np.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_equal_to_qonnx_and_to_the_integer_graph(tmp_path: Path, name: str) -> None:
    built = NETWORKS[name]()
    network = qonnx.load(saved(tmp_path, built.bytes())).eval()
    images = random_images(network.in_shape)
    assert network.require_equal_to_qonnx(images) > 300 * 8
    found = compare(
        network, integerise(network, name, network.in_shape), Split(images, frozen([0] * 300))
    )
    assert found.total == 0, found
    assert all(count > 1 for count in found.values)


def test_a_network_read_otherwise_than_qonnx_executes_it(tmp_path: Path) -> None:
    network = qonnx.load(saved(tmp_path, mlp().bytes())).eval()
    quantiser = next(m for n, m in network.nodes.items() if n.endswith("_Quant"))
    quantiser.high -= 100
    with pytest.raises(ModelError, match=r"as qonnx executes it: \d+ of \d+ codes differ at 'v0'"):
        network.require_equal_to_qonnx(random_images((6,)) * 10)


def test_the_last_layers_sums_are_those_that_qonnx_gives(tmp_path: Path) -> None:
    """Columns of the weights in another order: a network without a quantiser behind them."""
    network = qonnx.load(saved(tmp_path, mlp().bytes())).eval()
    layer = [module for module in network.nodes.values() if isinstance(module, Dense)][-1]
    layer.give(layer.given.reordered([1, 0], [5, 1]))  # the same order
    network.require_equal_to_qonnx(random_images((6,)))
    layer.weight.data = layer.weight.data.roll(1, dims=1)
    with pytest.raises(ModelError, match=r"\d+ of 750 sums differ at 'v\d+' by more than float32"):
        network.require_equal_to_qonnx(random_images((6,)))


def test_the_bias_of_the_last_layer_is_its_own(tmp_path: Path) -> None:
    network = integerise(qonnx.load(saved(tmp_path, mlp().bytes())), "mlp", (6,))
    assert network.layers[-1].bias.tolist() == [8, -4, 0]  # in units of 1/4 * 1/8


def refused(change: Callable[[Builder], None]) -> Builder:
    net = Builder((2, 6, 5))
    net.act(1 / 16, 8)
    change(net)
    return net


REFUSED: dict[str, tuple[Callable[[Builder], None], str]] = {
    "operator": (lambda n: n.then("Sin"), "node 1 'n1' (Sin) must be one of Add, AveragePool"),
    "branches": (
        lambda n: n.then("Concat", n.value, axis=1),
        "node 1 'n1' (Concat) must take one value of the images, not several",
    ),
    "branches of two shapes": (
        lambda n: n.then("Add", n.node("GlobalAveragePool", n.value)),
        "node 2 'n2' (Add) must take two values of one shape, not (1, 2, 6, 5) and (1, 2, 1, 1)",
    ),
    "real weights": (
        lambda n: n.then("Conv", n.constant(np.ones((4, 2, 3, 3)))),
        "must have constant weights that went through a Quant",
    ),
    "padding": (
        lambda n: n.then("Conv", n.weights((4, 2, 3, 3)), pads=[0, 0, 1, 1]),
        "must pad alike on both sides, by at most 255, not (0, 0, 1, 1)",
    ),
    "scale of images": (
        lambda n: n.act(np.ones((1, 2, 1, 1))), "must have one scale for all channels, not 2",
    ),
    "zero point of weights": (
        lambda n: n.quant(n.constant(np.ones((4, 60))), 1.0, 4, zero_point=1.0),
        "must have zero point 0, not 1.0",
    ),
    "rounding": (lambda n: n.act(mode="HALF_UP"), "CEIL, ROUND_TO_ZERO, not 'HALF_UP'"),
    "bits": (lambda n: n.act(bits=2.5), "must have one zero point and one whole number of bits"),
    "domain": (lambda n: n.act(domain="mine"), "must be of one of the domains"),
    "unknown value": (lambda n: n.then("Relu", "nowhere"), "must take known values, not 'nowhere'"),
    "constant operator": (
        lambda n: n.node("Tan", n.constant(1.0)), "(Tan) must not be of constants alone",
    ),
    "bomb": (
        lambda n: n.node("Add", n.constant(np.ones((1 << 14, 1))), n.constant(np.ones(1 << 13))),
        "must give at most 67108864 elements",
    ),
    "transpose": (
        lambda n: n.then("Transpose", perm=[0, 2, 3, 1]),
        "node 1_Transpose (Transpose) must stand first",
    ),
    "truncation with a zero point": (
        lambda n: n.node("Trunc", n.value, *(n.constant(one) for one in (0.25, 1.0, 6, 4)),
                         domain="qonnx.custom_op.general", rounding_mode="FLOOR"),
        "(Trunc) must have zero point 0",
    ),
    "wrong shape": (
        lambda n: n.then("Conv", n.weights((4, 3, 3, 3))), "must be as its operator says",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_node_and_reason(tmp_path: Path, name: str) -> None:
    change, words = REFUSED[name]
    with pytest.raises(ModelError, match=re.escape(words)) as caught:
        qonnx.load(saved(tmp_path, refused(change).bytes()))
    assert "\n" not in str(caught.value) and "net.onnx" in str(caught.value)


def test_what_is_no_network(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="model must be an ONNX file"):
        qonnx.load(saved(tmp_path, b"\xff" * 40))
    with pytest.raises(ModelError, match="must have one input and one output, not 0 and 0"):
        qonnx.load(saved(tmp_path, b""))
    with pytest.raises(ModelError, match="must be readable"):
        qonnx.load(tmp_path / "none.onnx")


def test_constants_lie_in_the_file(tmp_path: Path) -> None:
    """Else a network would make the reader open whatever file it names."""
    model = load_model_from_string(mlp().bytes())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    with pytest.raises(ModelError, match="must lie in the file, not in another"):
        qonnx.load(saved(tmp_path, model.SerializeToString()))


def test_a_missing_package_is_told_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = builtins.__import__

    def without(name: str, *others: Any) -> Any:
        if name.startswith("onnx"):
            raise ImportError(name)
        return plain(name, *others)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ToolNotFound, match=re.escape("pip install 'hascodesign[qonnx]'")):
        qonnx.load(saved(tmp_path, mlp().bytes()))


def unquantised() -> Builder:
    net = Builder((6,))
    net.then("MatMul", net.weights((6, 3)))
    return net


def test_real_images_must_be_codes(tmp_path: Path) -> None:
    network = qonnx.load(saved(tmp_path, unquantised().bytes()))
    codes = np.random.default_rng(0).integers(-100, 100, (50, 6))
    split = Split(frozen(codes / 8, np.float32), frozen([0] * 50))
    model = load.quantised_images(network, Dataset("codes", split, split))
    made = integerise(model, "net", (6,))
    assert (made.input.scale, made.input.low, made.input.high) == (0.125, -128, 127)
    assert compare(model, made, split).total == 0
    for values in (codes / 8 + 1 / 3, codes * 3 / 8):
        split = Split(frozen(values, np.float32), frozen([0] * 50))
        with pytest.raises(ModelError, match="images that are such codes"):
            load.quantised_images(network, Dataset("real", split, split))


def test_loaded_with_data(tmp_path: Path) -> None:
    path = saved(tmp_path, mlp().bytes())
    np.savez(tmp_path / "x.npz", images=random_images((6,)), labels=np.arange(300) % 3)
    loaded = load.load_qonnx(str(path), tmp_path / "x.npz")
    assert (loaded.name, loaded.in_shape) == ("net", (6,))
    np.savez(tmp_path / "y.npz", images=random_images((5,)), labels=np.arange(300) % 3)
    with pytest.raises(ModelError, match=r"images must be 6, as .*net.onnx takes them, not 5"):
        load.load_qonnx(str(path), tmp_path / "y.npz")
    np.savez(tmp_path / "z.npz", images=random_images((6,)), labels=np.arange(300) % 4)
    with pytest.raises(ModelError, match="labels must be below the model's 3 classes"):
        load.load_qonnx(str(path), tmp_path / "z.npz")


def test_a_script_takes_a_file_from_load_to_a_faulty_array(tmp_path: Path) -> None:
    path = saved(tmp_path, mlp().bytes())
    np.savez(tmp_path / "x.npz", images=random_images((6,)), labels=np.arange(300) % 3)
    loaded = has.load(str(path), data=tmp_path / "x.npz")
    array = ArraySpec(8, 4, 4, 8, 24)
    images = torch.from_numpy(np.array(loaded.dataset.heldout.images))
    healthy = has.torch.FaultyNetwork(loaded, has.draw_faults(array, faulty_pes=0))(images)
    own = loaded.model(images.double()).detach()
    assert torch.allclose(healthy.double(), own, rtol=1e-5, atol=1e-6) and own.unique().numel() > 3
    faulty = has.torch.FaultyNetwork(loaded, has.draw_faults(array, faulty_pes=8, bits="upper"))
    assert not torch.equal(faulty(images), healthy)


ZOO = {"TFC_1W2A": 94.79, "TFC_2W2A": 96.60}  # published accuracy, % of MNIST's test images


@pytest.mark.skipif("HASCODESIGN_DATA" not in os.environ, reason="HASCODESIGN_DATA is unset")
@pytest.mark.parametrize("name", ZOO)
def test_the_zoo_reproduces_what_is_published(name: str) -> None:
    """On MNIST's 10,000 test images, code for code."""
    folder = Path(os.environ["HASCODESIGN_DATA"])
    network = qonnx.load(folder / "qonnx-zoo" / f"{name}.onnx")
    data = mnist(folder / "mnist-t10k")
    parts = (data.calibration, data.heldout)
    whole = Split(
        frozen(np.concatenate([part.images for part in parts]), np.float32),
        frozen(np.concatenate([part.labels for part in parts])),
    )
    found = compare(network, integerise(network, name, (1, 28, 28)), whole)
    assert (found.images, found.total) == (10_000, 0)
    assert abs(found.integer_correct / 100 - ZOO[name]) <= 0.1
    assert network.require_equal_to_qonnx(whole.images) == 9_760_000


@pytest.mark.skipif("HASCODESIGN_DATA" not in os.environ, reason="HASCODESIGN_DATA is unset")
def test_jet_tagging() -> None:
    path = Path(os.environ["HASCODESIGN_DATA"]) / "qonnx-zoo/qkeras_jettagging.onnx"
    network = qonnx.load(path)
    codes = np.random.default_rng(0).integers(-128, 128, (2000, 16))
    split = Split(frozen(codes / 16, np.float32), frozen([0] * 2000))
    model = load.quantised_images(network, Dataset("jets", split, split))
    assert compare(model, integerise(model, "jets", (16,)), split).total == 0
    assert network.require_equal_to_qonnx(split.images) == 2000 * 128

"""A QONNX network as a torch module of the layers that the tracer knows, held against qonnx itself.

The operators are those of ONNX at opset 9 and later that quantised networks are exported with, and
QONNX's ``Quant`` and ``BipolarQuant`` [1]_.

References
----------
.. [1] A. Pappalardo et al., "QONNX: Representing Arbitrary-Precision Quantized Neural Networks",
   arXiv:2206.07527.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hascodesign.common import inputs
from hascodesign.contract.errors import ModelError, ToolNotFound
from hascodesign.models.modules import Convolution, Dense, Quantiser
from hascodesign.models.qonnx_constants import Array
from hascodesign.models.qonnx_read import Reader
from hascodesign.models.user_code import running

if TYPE_CHECKING:
    from types import ModuleType

BATCH = 250  # images at a time in qonnx's execution


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
    from google.protobuf.message import DecodeError  # noqa: PLC0415  (of onnx's, an extra)

    content = inputs.read(path, inputs.ONNX)
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise ModelError(
            f"{inputs.printable(path)}: model must be an ONNX file: {inputs.one_line(error)}"
        ) from None
    try:
        return Network(Reader(onnx, model), content)
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

    def __init__(self, reader: Reader, content: bytes) -> None:
        super().__init__()
        self.steps = tuple((step.name, step.takes, step.gives) for step in reader.steps)
        self.nodes = nn.ModuleDict({step.name: step.module for step in reader.steps})
        self.given, self.gives = reader.given, reader.gives
        self._own_shape, self._hwc = reader.in_shape, reader.hwc
        #: Of one image: of a graph with one axis (channels, 1, length).
        self.in_shape, self.one_axis = reader.in_shape, len(reader.in_shape) == 2
        if self.one_axis:
            self.in_shape = (reader.in_shape[0], 1, reader.in_shape[1])
        self._content = content

    def forward(self, x: Tensor) -> Any:
        """What the graph gives for a batch."""
        return self.values(x)[self.gives]

    def values(self, x: Tensor) -> dict[str, Any]:
        """Every value for a batch, by its name in the graph."""
        if self.one_axis:
            real = getattr(x, "value", x)
            x = real.reshape(len(real), *self._own_shape)
        values: dict[str, Any] = {self.given: x}
        for name, takes, gives in self.steps:
            values[gives] = self.nodes[name](*(values[one] for one in takes))
        return values

    def require_equal_to_qonnx(self, images: NDArray[np.float32]) -> int:
        """Hold every code against qonnx's own execution of the file; how many were compared.

        Of the last layer's sums, whose codes there need not be any, no more may differ than what
        float32 rounds.

        Raises
        ------
        ModelError
            A code or a sum that differs, with its node.
        """
        double, compared = deepcopy(self).double().eval(), 0
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            own = batch.reshape(len(batch), *self._own_shape)
            own = np.ascontiguousarray(own.transpose(0, 2, 3, 1)) if self._hwc else own
            theirs = _executed(self._content, self.given, own)
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
            self._check_sums(theirs, ours)
        return compared

    def _check_sums(self, theirs: Mapping[str, Array], ours: Mapping[str, Any]) -> None:
        """Hold the last layer's sums, which no quantiser need follow, against qonnx's."""
        for step, takes, name in reversed(self.steps):
            layer = self.nodes[step]
            if isinstance(layer, Dense | Convolution):
                with torch.no_grad():
                    most = layer.float32_error(ours[takes[0]]).numpy()
                wrong = ~(np.abs(theirs[name] - ours[name].numpy()) <= most)
                if wrong.any():
                    raise ModelError(
                        "network must be read as qonnx executes it:"
                        f" {np.count_nonzero(wrong)} of {wrong.size} sums differ at {name!r} by"
                        " more than float32 rounds"
                    )
                return


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

"""A QONNX graph read once, node by node: constants folded, all else as layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hascodesign.common import inputs
from hascodesign.contract.errors import ModelError
from hascodesign.models.modules import Convolution, Dense, Sum, Transpose
from hascodesign.models.qonnx_constants import Array, Constants, named
from hascodesign.models.qonnx_layers import MAKERS

MOST_INPUT = 1 << 22  # elements of an image
#: What onnx, numpy and torch let out for tensors and attributes that are not as they should be.
DAMAGE = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError),
    *(TypeError, ValueError),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One node that depends on the images."""

    name: str
    module: nn.Module
    takes: tuple[str, ...]
    gives: str


@dataclass(slots=True)
class Reader:
    """Goes through a graph once, with a batch of one zero image at hand for the shapes."""

    onnx: Any
    model: Any
    steps: list[Step] = field(default_factory=list)
    given: str = ""
    gives: str = ""
    in_shape: tuple[int, ...] = ()
    hwc: bool = False  # whether the graph itself takes [n, height, width, channels]
    _constants: Constants = field(default_factory=Constants)
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
        if len(sizes) not in {2, 3, 4} or min(sizes[1:]) < 1 or math.prod(sizes[1:]) > MOST_INPUT:
            raise ModelError(
                "graph must have an input [n, channels, height, width], [n, channels, length] or"
                f" [n, features], not {sizes}"
            )
        self.in_shape = tuple(sizes[1:])
        self._samples[self.given] = torch.zeros((1, *self.in_shape), dtype=torch.float64)
        for place, node in enumerate(graph.node):
            self._read(place, node)
        self._check_transposes()
        if self.gives not in self._samples:
            raise ModelError(f"output {self.gives!r} must come of the input")

    def _array(self, tensor: Any) -> Array:
        if tensor.data_location == self.onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ModelError(f"constant {tensor.name!r} must lie in the file, not in another")
        try:
            found: Array = self.onnx.numpy_helper.to_array(tensor)
        except DAMAGE as error:
            raise ModelError(
                f"constant {tensor.name!r} must be readable: {inputs.one_line(error)}"
            ) from None
        return found

    def _read(self, place: int, node: Any) -> None:
        names = [name for name in node.input if name]
        dynamic = [name for name in names if name in self._samples]
        unknown = [name for name in names if name not in {*self._samples, *self._constants}]
        if unknown:
            raise ModelError(f"{named(place, node)} must take known values, not {unknown[0]!r}")
        attributes = {a.name: self._attribute(a) for a in node.attribute}
        try:
            if node.op_type == "Shape":
                self._constants[node.output[0]] = self._shape(*names)
            elif dynamic:
                self._step(place, node, dynamic, attributes)
            else:
                self._constants[node.output[0]] = self._constants.folded(node, names, attributes)
        except ModelError as error:
            raise ModelError(f"{named(place, node)} {error}") from None
        except DAMAGE as error:
            raise ModelError(
                f"{named(place, node)} must be as its operator says: {inputs.one_line(error)}"
            ) from None

    def _shape(self, name: str) -> Array:
        value = self._samples.get(name)
        shape = value.shape if value is not None else np.shape(self._constants.plain(name))
        return np.array(shape, dtype=np.int64)

    def _attribute(self, attribute: Any) -> Any:
        value = self.onnx.helper.get_attribute_value(attribute)
        return self._array(value) if hasattr(value, "raw_data") else value

    # what depends on the images

    def _step(
        self, place: int, node: Any, dynamic: list[str], attributes: Mapping[str, Any]
    ) -> None:
        kind = node.op_type
        if len(dynamic) > 1:
            self._sum(place, node, dynamic)
            return
        given, known = dynamic[0], [name for name in node.input if name and name != dynamic[0]]
        if self._takes_bias(node, given, known):
            last = self.steps.pop()  # once more, as the layer that has the bias
            module: nn.Module | None = last.module
            (given,) = last.takes
        elif kind in MAKERS:
            module = MAKERS[kind](self._constants, node, self._samples[given], known, attributes)
        else:
            module = None
        if module is None:
            raise ModelError(f"must be one of {', '.join(sorted(MAKERS))}, in a form with a layer")
        if isinstance(module, Dense) and kind != "Add":
            self._reorder(module, given)
        first = given == self.given and self._uses(given) == 1
        if first and isinstance(module, Transpose) and module.perm == (0, 3, 1, 2):
            self.hwc, module = True, nn.Identity()  # the images come as all others do
            channels, height, width = (self.in_shape[axis - 1] for axis in (3, 1, 2))
            self.in_shape = (channels, height, width)
            self._samples[given] = torch.zeros((1, *self.in_shape), dtype=torch.float64)
        self._add(Step(f"{place}_{kind}", module, (given,), node.output[0]))

    def _add(self, step: Step) -> None:
        with torch.no_grad():
            out = step.module.double().eval()(*(self._samples[name] for name in step.takes))
        self.steps.append(step)
        self._samples[step.gives] = getattr(out, "value", out)

    def _reorder(self, layer: Dense, taken: str) -> None:
        """Turn a Transpose and a flattening before a dense layer into another order of weights."""
        if len(self.steps) < 2 or self.steps[-1].gives != taken:
            return
        before, flat = self.steps[-2:]
        if not (isinstance(before.module, Transpose) and isinstance(flat.module, nn.Flatten)):
            return
        alone = all(self._uses(step.gives) == 1 for step in (before, flat))
        if not alone or flat.takes != (before.gives,) or before.module.perm[0] != 0:
            return
        shape = self._samples[before.takes[0]].shape[1:]
        layer.give(layer.given.reordered([axis - 1 for axis in before.module.perm[1:]], shape))
        self.steps[-2] = Step(before.name, nn.Identity(), before.takes, before.gives)
        self._samples[before.gives] = self._samples[before.takes[0]]

    def _uses(self, value: str) -> int:
        return sum(name == value for node in self.model.graph.node for name in node.input)

    def _check_transposes(self) -> None:
        for step in self.steps:
            if isinstance(step.module, Transpose):
                raise ModelError(
                    f"node {step.name} (Transpose) must stand first, [n, height, width, channels]"
                    " to [n, channels, height, width], or before a flattening and a dense layer,"
                    f" not give the axes {list(step.module.perm)} here: let the exporter keep"
                    " channels second"
                )

    def _sum(self, place: int, node: Any, names: list[str]) -> None:
        """Of two values of the images."""
        kind = node.op_type
        if kind not in {"Add", "Sub"} or len(names) != 2:
            raise ModelError(
                "must take one value of the images, not several: of branches that meet, an Add or"
                " Sub of two is built"
            )
        shapes = [tuple(self._samples[name].shape) for name in names]
        if shapes[0] != shapes[1]:
            raise ModelError(f"must take two values of one shape, not {shapes[0]} and {shapes[1]}")
        module = Sum(minus=kind == "Sub")
        self._add(Step(f"{place}_{kind}", module, (names[0], names[1]), node.output[0]))

    def _takes_bias(self, node: Any, taken: str, known: list[str]) -> bool:
        """Give an Add of a constant for each row to the layer before it, as its bias."""
        layer = self.steps[-1].module if self.steps and self.steps[-1].gives == taken else None
        if node.op_type != "Add" or not known or not isinstance(layer, Dense | Convolution):
            return False
        uses = self._uses(taken)
        constant = self._constants.plain(known[0])
        rows, ones = len(layer.weight), (1,) * (layer.weight.dim() - 2)
        shapes = (
            {(rows,), (1, rows)} if isinstance(layer, Dense) else {(rows, *ones), (1, rows, *ones)}
        )
        if layer.bias is not None or uses > 1 or constant.shape not in shapes:
            return False
        layer.bias = nn.Parameter(torch.from_numpy(constant.reshape(-1).astype(np.float64)))
        return True

"""A run of the model itself, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hascodesign.contract.errors import ModelError
from hascodesign.contract.types import FloatArray, IntArray
from hascodesign.models import quantisers, user_code
from hascodesign.models.graph import Graph, Node, build, value_of
from hascodesign.models.layers import QuantTensor
from hascodesign.models.logits import Logits, of_last

_T = TypeVar("_T", bound=np.generic)
#: Codes of an activation, by its place among :func:`quantised`, -> those to go on with.
Settle = Callable[[int, IntArray], IntArray]


@dataclass(frozen=True, slots=True)
class Given:
    """What the model gives for a batch.

    ``codes`` of every activation, channel last, then integer logits; ``logits`` of the last layer
    that multiplies, in units of its accumulator and less what was rounded off its bias;
    ``classes`` of what the model returns.
    """

    codes: list[IntArray]
    logits: FloatArray
    classes: IntArray


def answers(model: nn.Module, images: NDArray[np.float32]) -> tuple[NDArray[Any], ...]:
    """Codes of every activation and logits that a model gives, in float64: what it does."""
    graph = build(model, images.shape[1:])
    given = run(graph, images, of_last(graph))
    return (*given.codes[:-1], given.logits)


def quantised(graph: Graph) -> list[Node]:
    """The quantiser of the images and that of every block, in their order."""
    return [graph.input, *(block.activation for block in graph.blocks if block.chain)]


def run(graph: Graph, images: Any, rounded: Logits, settle: Settle | None = None) -> Given:
    """Run the model in float64.

    Parameters
    ----------
    graph : of the model.
    images : [n, ...] as the model takes them.
    rounded : what becomes of the last layer's sums.
    settle : says with which codes of an activation the model goes on; None: with its own.
    """
    nodes = quantised(graph)
    scales = [quantisers.activation(node).scale for node in nodes]
    last = graph.blocks[-1].start
    running = user_code.running("forward() must take the held-out images")
    with _Caught([*nodes, last], scales, settle) as caught, running, torch.no_grad():
        out = value_of(graph.model(torch.from_numpy(images.astype(np.float64))))
        returned = out.numpy().astype(np.float64).reshape(len(images), -1)
    codes = [  # before the logits: a value that is no code is told where it arises
        quantisers.codes_of(node, caught[node], scale)
        for node, scale in zip(nodes, scales, strict=True)
    ]
    logits = caught[last].reshape(len(images), -1) / rounded.unit - rounded.rest
    if not (np.isfinite(returned).all() and np.isfinite(logits).all()):
        raise ModelError("logits must be finite on held-out images, not NaN or infinite")
    return Given(
        [*(_channel_last(c) for c in codes), np.rint(logits).astype(np.int64)],
        logits,
        returned.argmax(axis=1),
    )


class _Caught:
    """What nodes give in one run of the model; of a module that runs twice each call is one."""

    def __init__(self, nodes: list[Node], scales: list[float], settle: Settle | None) -> None:
        self._nodes, self._scales, self._settle = nodes, scales, settle
        self._calls: dict[nn.Module, int] = {}
        self._found: dict[int, FloatArray] = {}
        self._handles: list[Any] = []

    def __getitem__(self, node: Node) -> FloatArray:
        return self._found[node.position]

    def __enter__(self) -> _Caught:
        modules = dict.fromkeys(node.module for node in self._nodes)
        self._handles = [module.register_forward_hook(self._hook) for module in modules]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _hook(self, module: nn.Module, _args: Any, out: Any) -> Any:
        call = self._calls[module] = self._calls.get(module, -1) + 1
        for place, node in enumerate(self._nodes):
            if node.module is module and node.call == call:
                self._found[node.position] = value_of(out).numpy().copy()
                if self._settle is not None and place < len(self._scales):
                    return self._settled(place, value_of(out).numpy(), out)
        return None

    def _settled(self, place: int, real: FloatArray, out: Any) -> Any:
        """What the model goes on with instead of ``out``; None: with that."""
        assert self._settle is not None
        codes = np.rint(real / self._scales[place])
        given = _channel_last(codes)
        with np.errstate(invalid="ignore"):  # NaN is told when the run has ended
            wanted = self._settle(place, given.astype(np.int64))
        changed = wanted != given
        if not changed.any():
            return None
        back = wanted if codes.ndim == 2 else np.moveaxis(wanted, -1, 1).reshape(codes.shape)
        value = torch.from_numpy(np.where(back != codes, back * self._scales[place], real))
        return out.set(value=value) if isinstance(out, QuantTensor) else value


def _channel_last(codes: NDArray[_T]) -> NDArray[_T]:
    """Of maps, height 1 where they have one axis."""
    maps = codes[:, :, None] if codes.ndim == 3 else codes
    return np.moveaxis(maps, 1, -1) if maps.ndim == 4 else maps

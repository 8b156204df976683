"""A Brevitas model as a sequence of layers, proven to be one by a traced run."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # brevitas warns of torch features that are not used here
    import brevitas.nn as qnn
    from brevitas.quant_tensor import QuantTensor

from hascodesign.contract.errors import ModelError
from hascodesign.contract.types import MaxPool
from hascodesign.models.user_code import running

MULTIPLY = (qnn.QuantConv2d, qnn.QuantLinear)
ACTIVATIONS = (qnn.QuantIdentity, qnn.QuantReLU)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
POOLS = (nn.MaxPool2d,)
FLAT = (nn.Flatten,)
# identity at evaluation
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity)
SUPPORTED = MULTIPLY + ACTIVATIONS + NORMS + POOLS + FLAT + DROPOUTS


@dataclass(frozen=True, slots=True)
class Node:
    """One layer of the sequence."""

    module: nn.Module
    path: str  # as in named_modules(), e.g. "features.3"
    position: int  # from 0
    in_shape: tuple[int, ...] = ()  # of one image: (channels, height, width) or (features,)
    out_shape: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"layer {self.position} '{self.path}' ({type(self.module).__name__})"

    def error(self, what: str) -> ModelError:
        """The error that refuses this layer."""
        return ModelError(f"{self} {what}")


@dataclass(frozen=True, slots=True)
class Block:
    """One multiply layer and what follows it up to the next one."""

    multiply: Node
    chain: tuple[Node, ...]  # up to and with the last activation; empty for the last layer
    after: tuple[Node, ...]  # pooling, flattening and dropout behind it

    @property
    def activation(self) -> Node:
        """The quantiser whose codes the next layer takes."""
        return self.chain[-1]


@dataclass(frozen=True, slots=True)
class Graph:
    """The whole sequence."""

    model: nn.Module  # copy in float64, evaluation mode
    nodes: tuple[Node, ...]
    input: Node  # the quantiser of the images
    before: tuple[Node, ...]  # pooling and flattening of the input codes
    blocks: tuple[Block, ...]
    classes: int


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings of torch and brevitas that a user can do nothing about."""
    with warnings.catch_warnings():
        for category in (UserWarning, DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", category=category)
        yield


def value_of(out: Any) -> Tensor:
    """Plain tensor of a tensor or a QuantTensor."""
    value: Tensor = out.value if isinstance(out, QuantTensor) else out
    return value


def build(model: nn.Module, in_shape: tuple[int, int, int]) -> Graph:
    """Sequence of a model's layers.

    Parameters
    ----------
    model : the Brevitas model; it is copied.
    in_shape : (channels, height, width) of one image.

    Raises
    ------
    ModelError
        A layer that is not supported, or a forward pass that is not that sequence.
    """
    with running("model must be one that can be copied and evaluated in float64"):
        double = copy.deepcopy(model).double().eval().requires_grad_(False)
        _check_finite(double)
    nodes = tuple(
        Node(module, path, position) for position, (path, module) in enumerate(_leaves(double, ""))
    )
    for node in nodes:
        if type(node.module) not in SUPPORTED:
            names = ", ".join(kind.__name__ for kind in SUPPORTED)
            raise node.error(
                f"must be one of {names}; what forward() does not call, or what stands behind the"
                " logits (softmax changes no class), can be taken out of the model"
            )
    traced = _trace(double, nodes, in_shape)
    return _grouped(double, traced)


def _check_finite(model: nn.Module) -> None:
    for name, value in model.state_dict().items():
        if isinstance(value, Tensor) and not bool(torch.isfinite(value).all()):
            raise ModelError(f"parameter {name!r} must be finite, not NaN or infinite")


def _leaves(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """Layers in the order of registration; what is inside a library's layer is its own matter."""
    container = isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
    library = type(module).__module__.startswith(("torch.", "brevitas."))
    children = list(module.named_children())
    if isinstance(module, SUPPORTED) or (not container and (library or not children)):
        yield path or "model", module
        return
    for name, child in children:
        yield from _leaves(child, f"{path}.{name}" if path else name)


# ------------------------------------------------------------------------------------- the trace


@dataclass(slots=True)
class _Passing:
    """A tensor on its way from one layer to the next."""

    tensor: Any
    version: int
    by: str

    def same(self, other: Any) -> bool:
        """It is the same object, and nobody has written into it."""
        return other is self.tensor and value_of(other)._version == self.version


class _Tracer:
    """Checks that each layer runs once, in order, on what the one before it gave."""

    def __init__(self, nodes: tuple[Node, ...], image: Tensor) -> None:
        self.nodes = nodes
        self.seen: list[Node] = []
        self.passing = _Passing(image, image._version, "the image")

    def enter(self, node: Node, args: tuple[Any, ...]) -> None:
        expected = self.nodes[len(self.seen)] if len(self.seen) < len(self.nodes) else None
        if node is not expected:
            due = expected or "the end of the model"
            raise ModelError(
                f"layers must run once each, as registered: {node} runs at {due}; give each use a"
                " module of its own, created in the order of the calls"
            )
        if len(args) != 1 or not self.passing.same(args[0]):
            raise node.error(
                f"must take what {self.passing.by} gives, unchanged; forward() does something"
                " between them that is no layer: use modules (nn.Flatten for view, reshape and"
                " flatten, nn.MaxPool2d for max_pool2d), and scale the images in the data"
            )

    def leave(self, node: Node, args: tuple[Any, ...], out: Any) -> None:
        self.seen.append(
            Node(
                node.module,
                node.path,
                node.position,
                tuple(value_of(args[0]).shape[1:]),
                tuple(value_of(out).shape[1:]),
            )
        )
        self.passing = _Passing(out, value_of(out)._version, str(node))


def _trace(model: nn.Module, nodes: tuple[Node, ...], in_shape: tuple[int, int, int]) -> list[Node]:
    image = torch.zeros((1, *in_shape), dtype=torch.float64)
    tracer = _Tracer(nodes, image)
    handles = []
    for node in nodes:
        # default arguments bind this turn's node
        handles += [
            node.module.register_forward_pre_hook(lambda _, a, n=node: tracer.enter(n, a)),
            node.module.register_forward_hook(lambda _, a, o, n=node: tracer.leave(n, a, o)),
        ]
    try:
        with running("forward()"), torch.no_grad():
            out = model(image)
    except ModelError as error:
        if error.__cause__ is None:  # the tracer's own
            raise
        shape = "x".join(map(str, in_shape))
        where = f" at {nodes[len(tracer.seen)]}" if len(tracer.seen) < len(nodes) else ""
        reason = str(error).removeprefix("forward(): ")
        raise ModelError(f"model must take images of {shape}{where}: {reason}") from error
    finally:
        for handle in handles:
            handle.remove()
    if len(tracer.seen) < len(nodes):
        raise nodes[len(tracer.seen)].error(
            "must run once in forward(), not never; take it out of the model"
        )
    if not tracer.passing.same(out):
        raise ModelError(f"forward() must return what {tracer.passing.by} gives, unchanged")
    return tracer.seen


# ------------------------------------------------------------------------------------- the blocks


def _grouped(model: nn.Module, nodes: list[Node]) -> Graph:
    starts = [i for i, node in enumerate(nodes) if isinstance(node.module, MULTIPLY)]
    if not starts:
        raise ModelError("model must hold a QuantConv2d or a QuantLinear, not none")
    head = nodes[: starts[0]]
    source = _input(head, nodes[starts[0]])
    blocks = []
    for start, end in zip(starts, [*starts[1:], len(nodes)], strict=True):
        rest = nodes[start + 1 : end]
        acts = [i for i, node in enumerate(rest) if isinstance(node.module, ACTIVATIONS)]
        cut = acts[-1] + 1 if acts else 0
        block = Block(nodes[start], tuple(rest[:cut]), tuple(rest[cut:]))
        _check_block(block, nodes[end] if end < len(nodes) else None)
        blocks.append(block)
    last = blocks[-1].multiply
    if not isinstance(last.module, qnn.QuantLinear):
        raise last.error("must be a QuantLinear, as the last layer that multiplies")
    before = tuple(node for node in head if node is not source)
    return Graph(model, tuple(nodes), source, before, tuple(blocks), last.out_shape[-1])


def _input(head: list[Node], first: Node) -> Node:
    """The quantiser of the images; flattening and dropout may stand around it."""
    sources = [node for node in head if isinstance(node.module, ACTIVATIONS)]
    if not sources or not isinstance(sources[0].module, qnn.QuantIdentity):
        raise first.error("must have a QuantIdentity before it that quantises the images")
    for node in head:
        if isinstance(node.module, NORMS) or (
            isinstance(node.module, ACTIVATIONS) and node is not sources[0]
        ):
            raise node.error("must stand behind a layer that multiplies, not on the input")
        _check_layout(node)
    return sources[0]


def _check_block(block: Block, following: Node | None) -> None:
    """Refuse what cannot stand between one multiply layer and the next."""
    for node in (*block.chain, *block.after):
        _check_layout(node)
    norms = [node for node in block.after if isinstance(node.module, NORMS)]
    if following is None:
        extra = [*block.chain, *norms, *(n for n in block.after if isinstance(n.module, POOLS))]
        if extra:
            raise extra[0].error(
                f"must not follow the last layer, {block.multiply}, whose sums are the logits: take"
                " it out of the model"
            )
        return
    if not block.chain:
        raise following.error(
            f"must take quantised codes: no QuantReLU or QuantIdentity after {block.multiply}"
        )
    if norms:
        raise norms[0].error(f"must have a QuantReLU or QuantIdentity before {following}")
    rows = block.multiply.out_shape[0]
    for node in block.chain:
        if isinstance(node.module, NORMS) and node.in_shape[0] != rows:
            raise node.error("must stand before nn.Flatten, one channel for each row")


def _check_layout(node: Node) -> None:
    module = node.module
    if isinstance(module, NORMS) and module.running_mean is None:
        raise node.error(
            "must have running statistics (track_running_stats=True): without them its constants"
            " are those of the batch, and hardware sees one image at a time"
        )
    if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) != (1, -1):
        raise node.error(
            f"must flatten from 1 to -1, not from {module.start_dim} to {module.end_dim}"
        )
    if isinstance(module, nn.MaxPool2d):
        given = (pair(module.padding), pair(module.dilation), module.ceil_mode)
        if given != ((0, 0), (1, 1), False) or module.return_indices:
            raise node.error(
                "must have padding 0, dilation 1 and no ceil_mode or return_indices, not"
                f" padding {module.padding}, dilation {module.dilation},"
                f" ceil_mode {module.ceil_mode}, return_indices {module.return_indices}"
            )


def pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    """(vertical, horizontal) of what torch lets one give as a single number."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def pool_stage(node: Node) -> MaxPool:
    """The pooling stage that an nn.MaxPool2d stands for."""
    module: Any = node.module
    channels, height, width = node.in_shape
    return MaxPool(pair(module.kernel_size), pair(module.stride), (height, width, channels))

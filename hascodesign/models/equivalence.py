"""Brevitas in float64 held against the integer graph, code for code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hascodesign.contract import arithmetic
from hascodesign.contract.array import wrap
from hascodesign.contract.errors import HascodesignError, ModelError
from hascodesign.contract.types import (
    BoolArray,
    Equivalence,
    FloatArray,
    IntArray,
    IntegerNetwork,
    MaxPool,
    MultiplyLayer,
    Split,
)
from hascodesign.models import quantisers, user_code
from hascodesign.models.graph import Block, Graph, Node, build, value_of
from hascodesign.models.layers import POOLS, quantises, truncates
from hascodesign.models.logits import Logits, of_last
from hascodesign.models.lower import cost, plan, reach, window_of

_T = TypeVar("_T", bound=np.generic)
BATCH = 250  # images at a time: bounds the memory
#: Largest distance of a float64 logit from its integer, in steps of one.
LOGIT_RESIDUAL = 1e-6
#: Distance from half a step, in steps, within which float64 sums round either way.
TIE = 1e-9


def require_equal(equivalence: Equivalence) -> None:
    """Refuse an integer graph that is not its model, code for code.

    Raises
    ------
    HascodesignError
        A code that differs, or a logit that is no integer step.
    """
    if equivalence.total or not equivalence.logit_residual < LOGIT_RESIDUAL:
        raise HascodesignError(
            f"integer graph must equal Brevitas code for code: {equivalence.total} differ,"
            f" first in {equivalence.first}, logits by {equivalence.logit_residual:.1e} of a step"
        )


def compare(
    model: nn.Module, network: IntegerNetwork, heldout: Split, acc_bits: int | None = None
) -> Equivalence:
    """Count where a Brevitas model, in float64, and its integer graph differ.

    Parameters
    ----------
    model : the model that ``network`` was made of.
    network : its integer graph.
    heldout : images; all of them are compared.
    acc_bits : width at which accumulators wrap; None = they never do.

    Returns
    -------
    Differences per layer, the input codes first and the logits (as rounded integers) last. Of
    equal logits the lowest class counts, on both sides.

    Raises
    ------
    ModelError
        Nothing to compare, codes that are the same for all images, an activation that is not
        code * scale, sums half-way between two codes that float64 rounds otherwise, or logits
        that are not finite.
    """
    if not len(heldout.labels):
        raise ModelError("held-out images must be there to compare on, not none")
    graph = build(model, heldout.images.shape[1:])
    last = of_last(graph)
    # 1 for the graph's own scale: another one shows as a residual
    last = replace(last, unit=last.unit * (network.logit_scale / last.scale))
    shown = _shown(graph)
    names = ("input", *_names(network, shown))
    differences, compared = (np.zeros(len(names), dtype=np.int64) for _ in range(2))
    seen: list[set[int]] = [set() for _ in names]
    first: list[IntArray] = []
    moved = np.zeros(len(names), dtype=np.bool_)
    halves = np.zeros(len(names), dtype=np.int64)
    residual, correct, tied, rounded = 0.0, [0, 0], 0, 0
    for start in range(0, len(heldout.labels), BATCH):
        images = heldout.images[start : start + BATCH]
        given = _brevitas(graph, images, last)
        golden, logits = given.codes, given.logits
        ours = _integers(graph, network, shown, images, acc_bits)
        first = first or [codes[:1] for codes in ours]
        for i, (left, right) in enumerate(zip(golden, ours, strict=True)):
            if left.shape != right.shape:  # numpy would stretch one to the other
                raise ModelError(f"{names[i]}: codes must be {left.shape}, not {right.shape}")
            differences[i] += np.count_nonzero(left != right)
            compared[i] += right.size
            seen[i] |= set(np.unique(right).tolist())
            moved[i] |= bool((right != first[i]).any())
            if i < len(given.halves):
                halves[i] += np.count_nonzero((left != right) & given.halves[i])
        residual = max(residual, float(np.abs(logits - golden[-1]).max()))
        labels = heldout.labels[start : start + BATCH]
        # each by its own logits: rounded ones would hide what rounding takes away
        found = arithmetic.classify(ours[-1], network.logit_scale)
        correct[0] += int((given.classes == labels).sum())
        correct[1] += int((found == labels).sum())
        tied += _tied((logits + last.cut) * last.steps, given.classes, found)
        rounded += int((found != given.classes).sum())
    if not compared.all():
        raise ModelError(f"{names[int(compared.argmin())]}: codes must be there to compare")
    _check_ties(graph, differences, halves)
    if not differences.any():
        _check_moved(graph, moved, [len(found) for found in seen], len(heldout.labels))
    lowered = cost(graph)
    return Equivalence(
        layers=names,
        differences=tuple(int(n) for n in differences),
        compared=tuple(int(n) for n in compared),
        values=tuple(len(found) for found in seen),
        logit_residual=residual,
        images=len(heldout.labels),
        brevitas_correct=correct[0],
        integer_correct=correct[1],
        clipped=_clipped(network, heldout),
        tied=tied,
        rounded=rounded - tied if _rounds(graph, last) else None,
        own_macs=lowered.own_macs,
        branch_rows=lowered.branch_rows,
    )


def _tied(logits: FloatArray, theirs: IntArray, ours: IntArray) -> int:
    """Images to which the two give different classes, of logits that float64 cannot tell apart."""
    rows = np.arange(len(logits))
    apart = np.abs(logits[rows, theirs] - logits[rows, ours])
    return int(((theirs != ours) & (apart < LOGIT_RESIDUAL)).sum())


def _check_ties(graph: Graph, differences: IntArray, halves: IntArray) -> None:
    """Refuse a network whose first differing codes all come of sums half-way between two codes."""
    place = int((differences > 0).argmax())
    quantised = _quantised(graph)
    if not 0 < place < len(quantised) or differences[place] != halves[place]:
        return
    raise quantised[place].error(
        f"must not meet sums half-way between two codes, as {halves[place]} on held-out images do:"
        " there Brevitas's own result hangs on the last bit of a float sum. Make the scales powers"
        " of two, whose sums are exact (act_quant=Int8ActPerTensorFixedPoint or"
        " Uint8ActPerTensorFixedPoint, weight_quant=Int8WeightPerTensorFixedPoint), or learned ones"
        " (leave scaling_impl_type=CONST out)"
    )


def _check_moved(graph: Graph, moved: BoolArray, values: Sequence[int], images: int) -> None:
    """Refuse a comparison that shows nothing: codes that do not change from image to image."""
    nodes = [*_quantised(graph), graph.blocks[-1].start]
    for node, moves, few in zip(nodes, moved, values, strict=True):
        if few == 1 or (images > 1 and not moves):
            raise node.error(
                f"must give different codes for different images, not the same for all {images}"
                " held-out ones: that no code differs from Brevitas's would show nothing. See"
                " whether the network is trained, and whether its scales fit the images"
            )


def _rounds(graph: Graph, last: Logits) -> bool:
    """Whether anything at the logits is rounded."""
    quantised = any(quantises(node.module) for node in graph.blocks[-1].after)
    return quantised or bool(last.cut.any()) or np.ndim(last.scale) > 0


def answers(model: nn.Module, images: NDArray[np.float32]) -> tuple[NDArray[Any], ...]:
    """Codes of every activation and logits that a model gives, in float64: what it does."""
    graph = build(model, images.shape[1:])
    given = _brevitas(graph, images, of_last(graph))
    return (*given.codes[:-1], given.logits)


def _clipped(network: IntegerNetwork, heldout: Split) -> float:
    """Share of the images' values that lie far beyond their quantiser's range.

    A sixteenth of the range is let pass: 1.0 is a step above the codes of a signed quantiser.
    """
    source = network.input
    if source.binary:
        return 0.0
    margin = (source.high - source.low) / 16
    ends = ((source.low - margin) * source.scale, (source.high + margin) * source.scale)
    low, high = ((end - source.offset) / source.gain for end in ends)
    beyond = (heldout.images < low) | (heldout.images > high)
    return float(np.count_nonzero(beyond) / heldout.images.size)


@dataclass(frozen=True, slots=True)
class _Given:
    """What the model gives for a batch.

    ``codes`` of every activation, channel last, then integer logits; ``logits`` of the last layer
    that multiplies, in units of its accumulator and less what was rounded off its bias;
    ``classes`` of what the model returns; of every activation, whether what it quantised lay
    half-way between two codes.
    """

    codes: list[IntArray]
    logits: FloatArray
    classes: IntArray
    halves: list[BoolArray]


def _brevitas(graph: Graph, images: Any, rounded: Logits) -> _Given:
    """Run the model in float64."""
    quantised = _quantised(graph)
    scales = [quantisers.activation(node).scale for node in quantised]
    last = graph.blocks[-1].start
    running = user_code.running("forward() must take the held-out images")
    with _Caught([*quantised, last]) as caught, running, torch.no_grad():
        out = value_of(graph.model(torch.from_numpy(images.astype(np.float64))))
        returned = out.numpy().astype(np.float64).reshape(len(images), -1)
    codes = [  # before the logits: a value that is no code is told where it arises
        quantisers.codes_of(node, caught[node].out, scale)
        for node, scale in zip(quantised, scales, strict=True)
    ]
    logits = caught[last].out.reshape(len(images), -1) / rounded.unit - rounded.rest
    if not (np.isfinite(returned).all() and np.isfinite(logits).all()):
        raise ModelError("logits must be finite on held-out images, not NaN or infinite")
    halves = [
        np.zeros(found.shape, dtype=np.bool_)  # such a pool makes whole sums of what it is given
        if truncates(node.module)
        else _half_way(caught[node].taken / scale)
        for node, scale, found in zip(quantised, scales, codes, strict=True)
    ]
    return _Given(
        [*(_channel_last(c) for c in codes), np.rint(logits).astype(np.int64)],
        logits,
        returned.argmax(axis=1),
        [_channel_last(half) for half in halves],
    )


def _half_way(steps: FloatArray) -> BoolArray:
    return np.abs(np.abs(steps - np.rint(steps)) - 0.5) < TIE


@dataclass(frozen=True, slots=True)
class _Call:
    taken: FloatArray
    out: FloatArray


class _Caught:
    """What nodes give in one run of the model; of a module that runs twice each call is one."""

    def __init__(self, nodes: list[Node]) -> None:
        self._nodes = nodes
        self._calls: dict[nn.Module, int] = {}
        self._found: dict[int, _Call] = {}
        self._handles: list[Any] = []

    def __getitem__(self, node: Node) -> _Call:
        return self._found[node.position]

    def __enter__(self) -> _Caught:
        modules = dict.fromkeys(node.module for node in self._nodes)
        self._handles = [module.register_forward_hook(self._hook) for module in modules]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _hook(self, module: nn.Module, args: Any, out: Any) -> None:
        call = self._calls[module] = self._calls.get(module, -1) + 1
        for node in self._nodes:
            if node.module is module and node.call == call:
                taken, gave = (value_of(one).numpy().copy() for one in (args[0], out))
                self._found[node.position] = _Call(taken, gave)


def _channel_last(codes: NDArray[_T]) -> NDArray[_T]:
    return np.moveaxis(codes, 1, -1) if codes.ndim == 4 else codes


@dataclass(frozen=True, slots=True)
class _Shown:
    """Where the codes of a block, or the logits, stand in the integer graph."""

    block: Block
    layer: int
    span: slice  # rows of that layer
    alone: bool  # whether no other block's stand there


def _shown(graph: Graph) -> list[_Shown]:
    """Of every block that quantises, and the last one, in their order."""
    found = {}
    for stage in plan(graph):
        if stage.layer is None:
            continue
        for place in stage.blocks:
            span = stage.after.of(place).span
            alone = len(stage.blocks) == 1
            found[place] = _Shown(graph.blocks[place], stage.layer, span, alone)
    return [found[place] for place in sorted(found)]


def _quantised(graph: Graph) -> list[Node]:
    """The quantiser of the images and that of every block, in their order."""
    return [graph.input, *(block.activation for block in graph.blocks if block.chain)]


def _names(network: IntegerNetwork, shown: Sequence[_Shown]) -> list[str]:
    """Of the layers; where several blocks share one, with the path of each one's quantiser."""
    return [
        network.layers[one.layer].name + ("" if one.alone else f":{one.block.activation.path}")
        for one in shown
    ]


def _integers(
    graph: Graph,
    network: IntegerNetwork,
    shown: Sequence[_Shown],
    images: Any,
    acc_bits: int | None,
) -> list[IntArray]:
    """The same codes from the integer graph."""

    def accumulate(layer: MultiplyLayer, activations: IntArray) -> IntArray:
        # integers below 2^53 are exact in float64, where the product is fast
        product = layer.weights.astype(np.float64) @ activations.astype(np.float64)
        acc = product.astype(np.int64)
        return acc if acc_bits is None else wrap(acc, acc_bits)

    codes = arithmetic.quantise(images, network.input)
    maps = [
        arithmetic.maps_of(trace.layer, trace.codes)
        for trace in arithmetic.walk(network, codes, accumulate)
    ]
    found = [codes, *(_as_caught(one.block, maps[one.layer][..., one.span]) for one in shown)]
    if len(graph.input.in_shape) == 1:
        found[0] = np.moveaxis(codes, -1, 1).reshape(len(codes), -1)
    return found


def _as_caught(block: Block, maps: IntArray) -> IntArray:
    """Codes as Brevitas holds them at the activation: behind the pools that stand before it."""
    for node in block.chain:
        if isinstance(node.module, POOLS):
            maps = _pooled(node, maps)
    flat = len((block.chain[-1] if block.chain else block.start).out_shape) == 1
    return np.moveaxis(maps, -1, 1).reshape(len(maps), -1) if flat and maps.ndim == 4 else maps


def _pooled(node: Node, maps: IntArray) -> IntArray:
    """A maximum over windows of codes, zeros around them: none is negative where it matters."""
    window = window_of(node)
    py, px = window.padding
    height, width = reach(node)
    around = np.zeros((len(maps), height, width, maps.shape[3]), dtype=maps.dtype)
    seen = maps[:, : height - py, : width - px]
    around[:, py : py + seen.shape[1], px : px + seen.shape[2]] = seen
    return arithmetic.max_pool(MaxPool(window.kernel, window.stride, around.shape[1:]), around)

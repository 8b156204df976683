"""Brevitas in float64 held against the integer graph, code for code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import nn

from hascodesign.contract import arithmetic
from hascodesign.contract.errors import HascodesignError, ModelError
from hascodesign.contract.types import (
    BoolArray,
    Equivalence,
    FloatArray,
    IntArray,
    IntegerNetwork,
    Split,
)
from hascodesign.models import places, source
from hascodesign.models.graph import Graph, build
from hascodesign.models.layers import quantises
from hascodesign.models.logits import Logits, of_last
from hascodesign.models.lower import cost
from hascodesign.models.settle import Batch, Exactly

BATCH = 250  # images at a time: bounds the memory
#: Largest distance of a float64 logit from its integer, in steps of one.
LOGIT_RESIDUAL = 1e-6


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
    Differences per layer, the input codes first and the logits (as rounded integers) last. A sum
    that lies exactly on a step of its quantiser, in rational numbers, is counted apart, and the
    model goes on with the code by the quantiser's own rule. Of equal logits the lowest class
    counts, on both sides.

    Raises
    ------
    ModelError
        Nothing to compare, codes that are the same for all images, an activation that is not
        code * scale, or logits that are not finite.
    """
    if not len(heldout.labels):
        raise ModelError("held-out images must be there to compare on, not none")
    graph = build(model, heldout.images.shape[1:])
    last = of_last(graph)
    # 1 for the graph's own scale: another one shows as a residual
    last = replace(last, unit=last.unit * (network.logit_scale / last.scale))
    shown = places.shown_in(graph)
    names = ("input", *places.names_of(network, shown))
    differences, compared = (np.zeros(len(names), dtype=np.int64) for _ in range(2))
    seen: list[set[int]] = [set() for _ in names]
    first: list[IntArray] = []
    moved = np.zeros(len(names), dtype=np.bool_)
    settled = np.zeros(len(names), dtype=np.int64)
    exact = Exactly(graph, network, shown, acc_bits)
    residual, correct, tied, rounded = 0.0, [0, 0], 0, 0
    for start in range(0, len(heldout.labels), BATCH):
        images = heldout.images[start : start + BATCH]
        ours = places.integers(graph, network, shown, images, acc_bits)
        batch = Batch(exact, images, ours)
        given = source.run(graph, images, last, batch.settle)
        golden, logits = given.codes, given.logits
        settled += batch.ties
        first = first or [codes[:1] for codes in ours]
        for i, (left, right) in enumerate(zip(golden, ours, strict=True)):
            if left.shape != right.shape:  # numpy would stretch one to the other
                raise ModelError(f"{names[i]}: codes must be {left.shape}, not {right.shape}")
            differences[i] += np.count_nonzero(left != right)
            compared[i] += right.size
            seen[i] |= set(np.unique(right).tolist())
            moved[i] |= bool((right != first[i]).any())
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
    differences -= settled
    if not differences.any():
        _check_moved(graph, moved, [len(found) for found in seen], len(heldout.labels))
    lowered = cost(graph)
    return Equivalence(
        layers=names,
        differences=tuple(int(n) for n in differences),
        ties=tuple(int(n) for n in settled),
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


def _check_moved(graph: Graph, moved: BoolArray, values: Sequence[int], images: int) -> None:
    """Refuse a comparison that shows nothing: codes that do not change from image to image."""
    nodes = [*source.quantised(graph), graph.blocks[-1].start]
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

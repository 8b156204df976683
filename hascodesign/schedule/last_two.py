"""The last two layers mapped together, by the loss itself.

With few healthy PEs some classes have their logits computed on faulty ones. Then it matters which
rows of the layer before feed the faulty multipliers: a fault is harmless where the products that
it sees are. For faults of operands and products, a logit is a sum of what each row of the layer
before adds on its kind of slot to the logit's row on its own kind. One table holds all these terms,
and an exchange in either layer costs microseconds. Faults of the partial sums do not add up; the
search judges whatever comes out by the true network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hascodesign.contract import arithmetic
from hascodesign.contract.types import FloatArray, IntArray
from hascodesign.schedule.derivatives import Real, Step
from hascodesign.schedule.layer_maps import around, assigned, losses_of

BYTES = 192 << 20  # of the table; more rows and kinds leave room for fewer images
FEWEST_IMAGES, MOST_IMAGES = 64, 256
STARTS = 9  # choices of the last layer's kinds that are tried in full
STEPS = 60  # of one descent, at most
BATCH_BYTES = 1 << 20  # of logits judged together


@dataclass(frozen=True, slots=True)
class Pair:
    """What the rows of two layers in a row add to the logits."""

    terms: Real  # [R, kinds, classes, kinds of the last layer, n] units of the loss
    base: Real  # [classes, kinds of the last layer] with nothing added
    labels: IntArray  # [n]

    def of_last(self, kinds: IntArray) -> Real:
        """Logits [classes, kinds of the last layer, n] with the rows before on ``kinds``."""
        rows = np.arange(kinds.size)
        return self.base[:, :, None] + self.terms[rows, kinds].sum(axis=0)

    def loss(self, kinds: IntArray, last: IntArray) -> float:
        """Loss of a map of both layers, nats."""
        logits = self.of_last(kinds)[np.arange(last.size), last]
        return float(losses_of(logits, self.labels))


def pair_of(
    last: Step, last_kinds: IntArray, labels: IntArray, codes: Sequence[IntArray], scale: float
) -> Pair | None:
    """Table of the terms; None where it is too large.

    Parameters
    ----------
    last : the last layer.
    last_kinds : class that the engine gives each kind of its slots.
    labels : [n] classes.
    codes : pooled codes [n, height, width, R] of the layer before, all rows on one kind, by kind.
    scale : of a logit in the loss.
    """
    rows, classes = codes[0].shape[-1], last.layer.rows
    kinds = last_kinds.size
    per_image = 4 * rows * len(codes) * classes * kinds
    kept = min(len(labels), MOST_IMAGES, BYTES // per_image)
    if last.layer.conv is not None or kept < FEWEST_IMAGES:
        return None
    inputs = last.layer.depth
    all_rows = np.repeat(np.arange(classes), kinds)
    all_kinds = np.tile(last_kinds, classes)

    def sums(x: IntArray) -> IntArray:
        fed = np.ascontiguousarray(x & 0xFF, dtype=np.uint8)
        counters = np.arange(fed.shape[1])
        acc = last.on_array.accumulate(all_rows, all_kinds, fed, counters).astype(np.int64)
        return acc.reshape(classes, kinds, -1)

    nothing = sums(np.zeros((inputs, 1), dtype=np.int64))[:, :, 0]
    terms = np.empty((rows, len(codes), classes, kinds, kept), dtype=np.float32)
    for kind, maps in enumerate(codes):
        columns = arithmetic.columns(last.layer, maps[:kept]).astype(np.int64)
        for row in range(rows):
            alone = np.zeros_like(columns)
            alone[row::rows] = columns[row::rows]
            terms[row, kind] = scale * (sums(alone) - nothing[:, :, None])
    base = scale * (nothing + last.layer.bias[:, None])
    return Pair(terms, base.astype(np.float32), labels[:kept])


def descend_pair(
    pair: Pair, kinds: IntArray, free: tuple[IntArray, IntArray]
) -> tuple[IntArray, IntArray, float]:
    """Kinds of both layers' rows from which no exchange lowers the loss, best of several starts.

    Parameters
    ----------
    pair : the terms.
    kinds : [R] of the layer before the last, where to begin.
    free : slots of each kind, of the layer before the last and of the last.
    """
    best: tuple[IntArray, IntArray, float] | None = None
    for last in _choices(pair, kinds, free[1]):
        found = _descend(pair, kinds.copy(), last, free)
        if best is None or found[2] < best[2]:
            best = found
    if best is None:
        raise ValueError("there must be one choice or more")
    return best


def _choices(pair: Pair, kinds: IntArray, free: IntArray) -> Iterator[IntArray]:
    """Kinds of the last layer's rows: the cheapest, then the cheapest without one kind each."""
    logits = pair.of_last(kinds)
    classes, count, _ = logits.shape
    each = np.empty((classes, count))
    for row in range(classes):
        tried = np.broadcast_to(logits[:, 0], (count, classes, logits.shape[2])).copy()
        tried[:, row] = logits[row]
        each[row] = losses_of(tried, pair.labels)
    order = np.argsort(each.min(axis=0), kind="stable")
    yield assigned(each, free)
    faulty = [int(kind) for kind in order if kind != 0][: STARTS - 1]
    for wanted in faulty:
        cost = each.copy()
        cost[:, wanted] -= each.max()  # whatever it costs now, one row stands there
        yield assigned(cost, free)


def _descend(
    pair: Pair, kinds: IntArray, last: IntArray, free: tuple[IntArray, IntArray]
) -> tuple[IntArray, IntArray, float]:
    loss = pair.loss(kinds, last)
    classes = np.arange(last.size)
    for _ in range(STEPS):
        of_last = pair.of_last(kinds)
        tried_last = list(around(last, free[1]))
        by_last = losses_of(np.stack([of_last[classes, one] for one in tried_last]), pair.labels)
        logits = of_last[classes, last]
        terms = pair.terms[:, :, classes, last]  # [R, kinds, classes, n]
        tried = list(around(kinds, free[0]))
        by_kinds = _moved(terms, logits, kinds, np.array(tried), pair.labels)
        least = min(by_last.min(initial=np.inf), by_kinds.min(initial=np.inf))
        if least >= loss - 1e-6:
            break
        if by_last.min(initial=np.inf) <= by_kinds.min(initial=np.inf):
            last = tried_last[int(np.argmin(by_last))]
        else:
            kinds = tried[int(np.argmin(by_kinds))]
        loss = pair.loss(kinds, last)
    return kinds, last, loss


def _moved(
    terms: Real, logits: Real, before: IntArray, after: IntArray, labels: IntArray
) -> FloatArray:
    """Loss [m] with the rows on the kinds ``after`` [m, R], of which one or two rows differ."""
    if not len(after):
        return np.zeros(0)
    rows = np.arange(before.size)
    change = terms - terms[rows, before][:, None]  # [R, kinds, classes, n], 0 where a row stands
    differs = after != before
    first = differs.argmax(axis=1)
    second = before.size - 1 - differs[:, ::-1].argmax(axis=1)
    found = np.empty(len(after))
    batch = max(1, BATCH_BYTES // logits.nbytes)
    for start in range(0, len(after), batch):
        part = np.arange(start, min(start + batch, len(after)))
        one, two = first[part], second[part]
        moved = logits + change[one, after[part, one]]
        both = np.flatnonzero(one != two)
        moved[both] += change[two[both], after[part[both], two[both]]]
        found[part] = losses_of(moved, labels)
    return found

"""The best map of one layer by a cost known in full: a sum of squares, or the loss itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from hascodesign.contract.types import FloatArray, IntArray
from hascodesign.engine.loss import MOST
from hascodesign.schedule.derivatives import Real
from hascodesign.schedule.space import LayerSpace

SWEEPS = 200  # at most
AT_ONCE = 64  # moves of one sweep
STARTS = 12  # of the search by loss


@dataclass(frozen=True, slots=True)
class Quadratic:
    """Squared length of a sum of vectors, one of each row: that of its kind of slot."""

    gram: NDArray[np.float32]  # [kinds*R, kinds*R] products of the vectors, kind by kind
    kinds: int

    @property
    def rows(self) -> int:
        """R."""
        return len(self.gram) // self.kinds

    def pull(self, kinds: IntArray) -> FloatArray:
        """[R, kinds] product of each vector with the sum that ``kinds`` [R] gives."""
        places = kinds * self.rows + np.arange(self.rows)
        return self.by_row(self.gram[places].sum(axis=0, dtype=np.float64))

    def products(self, row: int, kind: int) -> FloatArray:
        """[R, kinds] product of each vector with one."""
        return self.by_row(self.gram[kind * self.rows + row].astype(np.float64))

    @property
    def squares(self) -> FloatArray:
        """[R, kinds] squared length of each vector."""
        return self.by_row(np.diag(self.gram).astype(np.float64))

    def by_row(self, flat: FloatArray) -> FloatArray:
        """What is there of every vector, [kinds*R], as [R, kinds]."""
        return flat.reshape(self.kinds, self.rows).T


def room(layer: LayerSpace, slots: int | None = None) -> IntArray:
    """Slots of each kind, [kinds], among all or the first so many."""
    kinds = layer.kinds[layer.classes[:slots]]
    return np.bincount(kinds, minlength=int(layer.kinds.max()) + 1)


def spread(layer: LayerSpace, kinds: IntArray) -> IntArray:
    """Genes of a layer whose rows [R] stand on slots of these kinds; not canonical."""
    genes = np.full(layer.slots, layer.rows, dtype=np.int64)
    of_slot = layer.kinds[layer.classes]
    for kind in np.unique(kinds):
        mine = np.flatnonzero(kinds == kind)
        genes[np.flatnonzero(of_slot == kind)[: mine.size]] = mine
    idle = np.flatnonzero(genes == layer.rows)
    genes[idle] += np.arange(idle.size)
    return genes


def least_square(errors: Quadratic, free: IntArray) -> IntArray:
    """Kind of slot [R] of each row, from which no move and no exchange shortens the sum.

    Parameters
    ----------
    errors : of every row on every kind.
    free : [kinds] slots of each.
    """
    none = np.zeros(errors.rows, dtype=np.int64)
    kinds = assigned(2.0 * errors.pull(none) + errors.squares, free)
    pull = errors.pull(kinds)
    for _ in range(SWEEPS):
        if not _sweep(errors, kinds, free, pull):
            break
    return kinds


def assigned(cost: FloatArray, free: IntArray) -> IntArray:
    """Kinds [R] of the least total cost [R, kinds] where each kind has so many slots."""
    of_slot = np.repeat(np.arange(free.size), np.minimum(free, len(cost)))
    return np.asarray(of_slot[linear_sum_assignment(cost[:, of_slot])[1]])


def _sweep(errors: Quadratic, kinds: IntArray, free: IntArray, pull: FloatArray) -> bool:
    """Take the best moves and exchanges in turn, in place; False where there is none."""
    found = _moves(errors, kinds, free, pull)
    changed = False
    for _, first, second, kind in found:
        to, back = (kind, -1) if second < 0 else (int(kinds[second]), int(kinds[first]))
        if to == kinds[first] or (second < 0 and (kinds == to).sum() >= free[to]):
            continue
        after = errors.products(first, to) - errors.products(first, int(kinds[first]))
        if second >= 0:
            after += errors.products(second, back) - errors.products(second, to)
        # the square of the sum after less before: the moves taken before this one are in `pull`
        gain = 2.0 * (pull[first, to] - pull[first, kinds[first]])
        gain += after[first, to] - after[first, kinds[first]]
        if second >= 0:
            gain += 2.0 * (pull[second, back] - pull[second, to])
            gain += after[second, back] - after[second, to]
        if gain >= -1e-7 * abs(float(pull[np.arange(kinds.size), kinds].sum())):
            continue
        kinds[first] = to
        if second >= 0:
            kinds[second] = back
        pull += after
        changed = True
    return changed


def _moves(
    errors: Quadratic, kinds: IntArray, free: IntArray, pull: FloatArray
) -> list[tuple[float, int, int, int]]:
    """Gain, row, row or -1, kind of the best exchanges of each row with each kind, best first."""
    count = errors.kinds
    rows = np.arange(kinds.size)
    used = np.bincount(kinds, minlength=count)
    gram = errors.gram.reshape(count, kinds.size, count, kinds.size)
    at = pull[rows, kinds]
    inner = gram[:, rows, kinds, rows].T  # [R, kinds] of each vector with the row's own
    alone = 2.0 * (pull - at[:, None]) + errors.squares - 2.0 * inner
    alone += errors.squares[rows, kinds][:, None]
    found: list[tuple[float, int, int, int]] = []
    for one in range(count):
        mine = np.flatnonzero(kinds == one)
        for two in range(count):
            if not mine.size or one == two:
                continue
            if used[two] < free[two]:
                best = int(np.argmin(alone[mine, two]))
                if alone[mine[best], two] < 0:
                    found.append((float(alone[mine[best], two]), int(mine[best]), -1, two))
            theirs = np.flatnonzero(kinds == two)
            if one > two or not theirs.size:
                continue
            pair = np.ix_(mine, theirs)
            both = gram[two, :, one][pair] - gram[two, :, two][pair]
            both += gram[one, :, two][pair] - gram[one, :, one][pair]
            gain = alone[mine, two][:, None] + alone[theirs, one][None, :] + 2.0 * both
            other = np.argmin(gain, axis=1)
            gains = gain[np.arange(mine.size), other]
            # no more of one pair of kinds can be among the best of all; in the order of rows
            for row in np.argsort(gains, kind="stable")[:AT_ONCE].tolist():
                if gains[row] < 0:
                    found.append((float(gains[row]), int(mine[row]), int(theirs[other[row]]), two))
    return sorted(found)[:AT_ONCE]


# ------------------------------------------------------------------------------------- by the loss


def least_loss(logits: FloatArray, labels: IntArray, free: IntArray) -> IntArray:
    """Kind of slot [R] of each row of the last layer by exchanges on the loss, from many starts.

    Parameters
    ----------
    logits : [kinds, R, n] of every row on every kind, real units.
    labels : [n] classes.
    free : [kinds] slots of each.
    """
    cost = np.array(
        [
            [float(losses_of(_with(logits, r, k), labels)) for k in range(free.size)]
            for r in range(logits.shape[1])
        ]
    )
    rng = np.random.Generator(np.random.PCG64(0))  # starts only; the same in every search
    best, least = None, np.inf
    for start in range(STARTS):
        noise = 0.0 if start == 0 else rng.random(cost.shape) * cost.std()
        kinds = assigned(cost + noise, free)
        loss = _descend(logits, labels, kinds, free)
        if loss < least:
            best, least = kinds, loss
    if best is None:
        raise ValueError("there must be one start or more")
    return best


def _descend(logits: FloatArray, labels: IntArray, kinds: IntArray, free: IntArray) -> float:
    """Best move or exchange after another, in place; the loss at the end."""
    rows = np.arange(kinds.size)
    loss = float(losses_of(logits[kinds, rows], labels))
    while True:
        tried = list(around(kinds, free))
        losses = [float(losses_of(logits[one, rows], labels)) for one in tried]
        best = int(np.argmin(losses)) if losses else -1
        if best < 0 or losses[best] >= loss:
            return loss
        kinds[:], loss = tried[best], losses[best]


def around(kinds: IntArray, free: IntArray) -> Iterator[IntArray]:
    """Kinds after every move of a row to a kind with room, and every exchange."""
    used = np.bincount(kinds, minlength=free.size)
    for row in range(kinds.size):
        for kind in np.flatnonzero(used < free):
            if kind != kinds[row]:
                moved = kinds.copy()
                moved[row] = kind
                yield moved
        for other in range(row + 1, kinds.size):
            if kinds[other] != kinds[row]:
                moved = kinds.copy()
                moved[[row, other]] = kinds[[other, row]]
                yield moved


def _with(logits: FloatArray, row: int, kind: int) -> FloatArray:
    one = logits[0].copy()
    one[row] = logits[kind, row]
    return one


def losses_of(logits: FloatArray | Real, labels: IntArray) -> FloatArray:
    """Mean bounded cross-entropy of logits [..., classes, n], nats."""
    shifted = logits - logits.max(axis=-2, keepdims=True)
    right = shifted[..., labels, np.arange(labels.size)]
    each = np.log(np.exp(shifted).sum(axis=-2)) - right
    return np.asarray(np.minimum(each, MOST).mean(axis=-1, dtype=np.float64))

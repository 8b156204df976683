"""Maps found layer by layer: the errors of all rows together are to vanish in the next layer.

Where a quarter or a half of a layer's rows meet faults, no row's error is small and no derivative
at the healthy network holds. But errors are exact in the layer's own codes and linear in the next
layer's sums, where those of several rows cancel. So each layer in turn, the first first, takes the
map whose sums in the next layer lie nearest to those of the healthy network, in a metric that
weighs a sum by what it does to the logits. Errors of the layers before are part of what is to be
cancelled. The logits themselves are searched by their loss.

References
----------
Sequential layer-wise reconstruction as in quantisation: E. Frantar, D. Alistarh, "Optimal brain
compression", NeurIPS 2022, arXiv:2208.11580.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from hascodesign.contract import arithmetic
from hascodesign.contract.types import (
    FaultProfile,
    FloatArray,
    IntArray,
    IntegerNetwork,
    MultiplyLayer,
)
from hascodesign.engine.classes import HEALTHY
from hascodesign.engine.loss import SHARPNESS
from hascodesign.schedule.derivatives import Backward, Real, Step, run
from hascodesign.schedule.last_two import Pair, descend_pair, pair_of
from hascodesign.schedule.layer_maps import Quadratic, least_loss, least_square, room, spread
from hascodesign.schedule.space import LayerSpace, Space
from hascodesign.schedule.threads import in_order

IMAGES = 768  # looked at, at most
BYTES = 256 << 20  # of one layer's errors; more rows and kinds leave room for fewer images
GRAM_BYTES = 400 << 20  # beyond it a layer is too large for this
LARGE_BYTES = 16 << 20
DAMPINGS = (0.1, 0.5)  # share of the metric that is even over all sums
LARGE_DAMPINGS = (0.1,)  # where one map takes seconds


def rebuilt(
    network: IntegerNetwork,
    profile: FaultProfile,
    space: Space,
    codes: IntArray,
    labels: IntArray,
) -> Iterator[IntArray]:
    """One chromosome for each damping; none where a layer is too large.

    Parameters
    ----------
    network : the network.
    profile : a profile that has been checked.
    space : slots and classes of every layer.
    codes : [n, height, width, channels] input codes.
    labels : [n] classes.
    """
    sizes = [gram_bytes(layer) for layer in space.layers[:-1]]
    if max(sizes, default=0) > GRAM_BYTES:
        return
    # one thread: sums of floats must not depend on how many share them
    with threadpool_limits(1, user_api="blas"):
        clean = Clean(network, profile, space, codes[:IMAGES], labels[:IMAGES])
        for damping in LARGE_DAMPINGS if max(sizes, default=0) > LARGE_BYTES else DAMPINGS:
            yield _rebuild(clean, damping)


def gram_bytes(layer: LayerSpace) -> int:
    """Bytes of the products of all rows' errors on all kinds."""
    return 4 * (layer.rows * (int(layer.kinds.max()) + 1)) ** 2


def _rebuild(clean: Clean, damping: float) -> IntArray:
    space = clean.space
    chromosome = space.identity()
    last = space.layers[-1]
    for index, layer in enumerate(space.layers):
        if not layer.free:
            continue
        step = clean.walked(chromosome, index)
        kinds = clean.problem(step, damping).solve(room(layer))
        if index == len(space.layers) - 2 and room(last)[HEALTHY] < last.rows:
            pair = clean.pair(step)
            if pair is not None:
                kinds, _, _ = descend_pair(pair, kinds, (room(layer), room(last)))
        layer.genes(chromosome)[:] = spread(layer, kinds)
    return space.canonical(chromosome)


@dataclass(frozen=True, slots=True)
class Problem:
    """Which row of one layer meets which kind of slot: by errors in the next layer, or by loss."""

    errors: Quadratic | None
    logits: FloatArray  # [kinds, R, n] of the last layer, real units
    labels: IntArray

    def solve(self, free: IntArray) -> IntArray:
        """Kind [R] of each row where each kind has so many slots."""
        if self.errors is None:
            return least_loss(self.logits, self.labels, free)
        return least_square(self.errors, free)


class Clean:
    """The healthy network on some images, and what its sums mean to its logits."""

    def __init__(
        self,
        network: IntegerNetwork,
        profile: FaultProfile,
        space: Space,
        codes: IntArray,
        labels: IntArray,
    ) -> None:
        self.space = space
        self.codes, self.labels = codes, labels
        self._subject = (network, profile, space, codes)
        self.steps = run(*self._subject, None)
        self._scale = SHARPNESS * network.logit_scale
        self._metrics = _metrics(self.steps, len(labels))

    def walked(self, chromosome: IntArray, index: int) -> Step:
        """One layer under a chromosome's schedule."""
        return run(*self._subject, chromosome, last=index)[index]

    def pair(self, before: Step) -> Pair | None:
        """The last layer and the one before it, ``before``; None where too large."""
        layer = self.space.layers[before.layer.index]
        codes = [before.pooled(one) for one in _on_kinds(layer, self.space, before)]
        last_kinds = _engine_classes(self.space.layers[-1], self.space, self.steps[-1])
        return pair_of(self.steps[-1], last_kinds, self.labels, codes, self._scale)

    def problem(self, step: Step, damping: float) -> Problem:
        """What is to be solved for the layer of ``step``, the layers before it as in ``step``."""
        index = step.layer.index
        layer = self.space.layers[index]
        if index == len(self.steps) - 1:
            on_kinds = [one.astype(np.float64) for one in _on_kinds(layer, self.space, step)]
            return Problem(None, np.stack(on_kinds) * self._scale, self.labels)
        root = _root(self._metrics[index + 1], damping)
        above = self.steps[index + 1].layer
        errors = _errors(self.space, step, self.steps[index], above, root)
        return Problem(errors, np.zeros((0, 0, 0)), self.labels)


# ---------------------------------------------------------------------------------- the next layer


def _metrics(clean: Sequence[Step], images: int) -> list[Real]:
    """What the sums of each layer but the first do to the logits: mean of J^T J, [R, R]."""
    outputs = clean[-1].layer.rows
    found = [np.zeros((s.layer.rows, s.layer.rows), dtype=np.float32) for s in clean]
    back = Backward(clean, images, lowest=1)  # nothing comes before the first

    def squares(logit: int) -> list[tuple[int, Real]]:
        out = []
        for step, slopes in back.by_codes(logit):
            moved = back.by_sums(step, slopes)
            out.append((step.layer.index, moved @ moved.T / moved.shape[1]))
        return out

    for every in in_order(squares, range(outputs)):
        for index, square in every:
            found[index] += square
    return found


def _root(metric: Real, damping: float) -> Real:
    """Symmetric root of the damped metric, [R, R]."""
    size = len(metric)
    even = np.trace(metric) / size
    damped = (1.0 - damping) * metric.astype(np.float64) + damping * even * np.eye(size)
    values, vectors = np.linalg.eigh(damped)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return np.asarray(root, dtype=np.float32)


def _errors(space: Space, step: Step, clean: Step, above: MultiplyLayer, root: Real) -> Quadratic:
    """Errors of every row on every kind of slot in the next layer's sums."""
    layer = space.layers[step.layer.index]
    weights = root @ above.weights.astype(np.float32)
    wanted = clean.pooled(clean.codes)
    kinds = int(layer.kinds.max()) + 1
    if above.depth == layer.rows:  # one code a row and image: a product of two small Grams
        errors = np.empty((kinds, layer.rows, len(wanted)), dtype=np.float32)
        for kind, codes in enumerate(_on_kinds(layer, space, step)):
            errors[kind] = (step.pooled(codes) - wanted).reshape(len(wanted), -1).T
        return Quadratic(_products(errors, weights.T @ weights), kinds)
    length = above.rows * (1 if above.conv is None else int(np.prod(above.conv.out_size)))
    kept = max(1, min(len(wanted), BYTES // (4 * layer.rows * kinds * length)))
    vectors = np.empty((kinds, layer.rows, kept * length), dtype=np.float32)
    for kind, codes in enumerate(_on_kinds(layer, space, step)):
        error = arithmetic.columns(above, step.pooled(codes)[:kept] - wanted[:kept]).astype(
            np.float32
        )
        for row in range(layer.rows):
            mine = slice(row, None, layer.rows)  # its channel, at every place of the kernel
            vectors[kind, row] = (weights[:, mine] @ error[mine]).reshape(-1)
    return Quadratic(_products(vectors, None), kinds)


def _products(vectors: Real, weights: Real | None) -> Real:
    """Products [kinds*R, kinds*R] of vectors [kinds, R, n], those of two rows times [R, R].

    Kind by kind, since numpy takes longer to mirror one large product than to compute it.
    """
    kinds, rows, _ = vectors.shape
    out = np.empty((kinds, rows, kinds, rows), dtype=np.float32)

    def fill(pair: tuple[int, int]) -> None:
        one, two = pair
        block = vectors[one] @ vectors[two].T
        if weights is not None:
            block *= weights
        out[one, :, two] = block
        out[two, :, one] = block.T

    for _ in in_order(fill, combinations_with_replacement(range(kinds), 2)):
        pass
    return out.reshape(kinds * rows, -1)


def _on_kinds(layer: LayerSpace, space: Space, step: Step) -> Iterator[NDArray[np.int64]]:
    """Codes [R, N] of every row on each kind of slot, the healthy one first."""
    for one in _engine_classes(layer, space, step).tolist():
        yield step.codes_of_class(one)


def _engine_classes(layer: LayerSpace, space: Space, step: Step) -> IntArray:
    """The engine's class of each kind of slot; the healthy one where no slot is of that kind."""
    found = np.full(int(layer.kinds.max()) + 1, HEALTHY)
    for members, kind in zip(layer.members, layer.kinds.tolist(), strict=True):
        if members.size and kind != HEALTHY and found[kind] == HEALTHY:
            found[kind] = step.on_array.slot_classes[divmod(int(members[0]), space.array.pe)]
    return found

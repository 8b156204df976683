"""A model of the loss that costs microseconds: the logits as a sum over rows and slots.

What a row does to its own codes on a faulty slot is computed exactly; what these codes do to the
logits is linear, from the derivatives of one run; what the logits do to the loss is exact again.
Errors of several rows meet in the logits, so the model knows that two harmless rows can harm
together, which a separable cost does not. It orders candidates; the search judges them by the
true network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from hascodesign.contract.types import FaultProfile, FloatArray, IntArray, IntegerNetwork
from hascodesign.engine.classes import HEALTHY
from hascodesign.engine.loss import MOST, SHARPNESS
from hascodesign.schedule.derivatives import Backward, Real, Step, run
from hascodesign.schedule.protocols import Progress
from hascodesign.schedule.singles import Singles, cheap
from hascodesign.schedule.space import LayerSpace, Space
from hascodesign.schedule.threads import in_order

BYTES = 256 << 20  # of one model; more rows and classes leave room for fewer images
FEWEST_IMAGES = 64
MOST_IMAGES = 400  # the time of a model grows with them
BATCH_BYTES = 4 << 20  # of logits judged together


@dataclass(frozen=True, slots=True)
class LogitModel:
    """Logits of the loss = base + sum over rows of the change that the row's class brings."""

    space: Space
    base: Real  # [classes of images, n], SHARPNESS times real units, every row healthy
    changes: tuple[Real, ...]  # per layer [R + 1, kinds of slots, classes of images, n]
    labels: IntArray  # [n]

    def logits(self, chromosome: IntArray) -> Real:
        """Logits [classes of images, n] of a chromosome."""
        total = self.base.copy()
        for layer, change in zip(self.space.layers, self.changes, strict=True):
            rows = np.minimum(layer.genes(chromosome), layer.rows)
            met = np.flatnonzero((layer.classes != HEALTHY) & (rows < layer.rows))
            for slot in met:
                total += change[rows[slot], layer.kinds[layer.classes[slot]]]
        return total

    def losses(self, logits: Real) -> FloatArray:
        """Mean bounded cross-entropy of logits [..., classes of images, n], nats."""
        shifted = logits - logits.max(axis=-2, keepdims=True)
        right = shifted[..., self.labels, np.arange(self.labels.size)]
        each = np.log(np.exp(shifted).sum(axis=-2)) - right
        return np.asarray(np.minimum(each, MOST).mean(axis=-1, dtype=np.float64))

    def loss(self, chromosome: IntArray) -> float:
        """Loss of a chromosome, nats."""
        return float(self.losses(self.logits(chromosome)))

    def costs(
        self, chromosome: IntArray | None = None, sharpness: float = SHARPNESS
    ) -> list[FloatArray]:
        """Loss increase where one row alone changes its class, per layer [R, classes], nats.

        Parameters
        ----------
        chromosome : where all other rows stand; None = on healthy slots.
        sharpness : what the logits are multiplied by in the loss.
        """
        at = self.base if chromosome is None else self.logits(chromosome)
        factor = np.float32(sharpness / SHARPNESS)
        at = factor * at
        before = float(self.losses(at))
        out = []
        for layer, change in zip(self.space.layers, self.changes, strict=True):
            here = np.zeros(layer.rows, dtype=np.int64)
            if chromosome is not None:
                genes = layer.genes(chromosome)
                used = genes < layer.rows
                here[genes[used]] = layer.kinds[layer.classes[used]]
            cost = np.empty((layer.rows, change.shape[1]))
            batch = max(1, BATCH_BYTES // change[0].nbytes)
            for start in range(0, layer.rows, batch):
                rows = np.arange(start, min(start + batch, layer.rows))
                left = at - factor * change[rows, here[rows]]
                cost[rows] = self.losses(left[:, None] + factor * change[rows]) - before
            out.append(cost[:, layer.kinds])
        return out

    def swapped(self, chromosome: IntArray, first: IntArray, second: IntArray) -> FloatArray:
        """Loss after each single swap of the slots ``first[i]`` and ``second[i]``, nats."""
        at = self.logits(chromosome)
        layer_of = np.repeat(
            np.arange(len(self.space.layers)), [layer.slots for layer in self.space.layers]
        )
        out = np.empty(first.size)
        batch = max(1, BATCH_BYTES // at.nbytes)
        for index, layer in enumerate(self.space.layers):
            mine = np.flatnonzero(layer_of[first] == index)
            for start in range(0, mine.size, batch):
                part = mine[start : start + batch]
                moved = self._moved(index, layer, chromosome, first[part], second[part])
                out[part] = self.losses(at + moved)
        return out

    def _moved(
        self,
        index: int,
        layer: LayerSpace,
        chromosome: IntArray,
        first: IntArray,
        second: IntArray,
    ) -> Real:
        """Change of the logits by each swap, [m, classes of images, n]."""
        change = self.changes[index]
        rows = np.minimum(chromosome[[first, second]], layer.rows)
        kinds = layer.kinds[layer.classes[np.stack([first, second]) - layer.start]]
        after = change[rows[0], kinds[1]] + change[rows[1], kinds[0]]
        return after - change[rows[0], kinds[0]] - change[rows[1], kinds[1]]


def make_model(
    network: IntegerNetwork,
    profile: FaultProfile,
    space: Space,
    codes: IntArray,
    labels: IntArray,
    chromosome: IntArray | None,
    progress: Progress,
) -> LogitModel:
    """Model around one schedule, or around the healthy network.

    Parameters
    ----------
    network : the network.
    profile : a profile that has been checked.
    space : slots and classes of every layer.
    codes : [n, height, width, channels] input codes.
    labels : [n] classes.
    chromosome : the schedule around which it is built; None = the healthy network.
    progress : told after each logit.
    """
    kept = _images(space, network.layers[-1].rows, len(labels))
    exact = [cheap(network, layer, kept) for layer in space.layers]
    codes, labels = codes[:kept], labels[:kept]
    # one thread: sums of floats must not depend on how many share them
    with threadpool_limits(1, user_api="blas"):
        steps = run(network, profile, space, codes, chromosome)
        changes = _changes(space, steps, kept, progress, exact)
        singles = Singles(network, profile, space, codes, chromosome)
        for index in np.flatnonzero(exact):
            changes[index] = singles.changes(int(index))
    scale = SHARPNESS * network.logit_scale
    for change in changes:
        np.multiply(change, np.float32(scale), out=change)
    base = np.asarray(steps[-1].sums, dtype=np.float64) * scale
    model = LogitModel(space, base.astype(np.float32), tuple(changes), labels)
    if chromosome is None:
        return model
    around = model.logits(chromosome) - model.base
    return LogitModel(space, model.base - around, model.changes, labels)


def _images(space: Space, outputs: int, images: int) -> int:
    """Images that a model of this size has room for."""
    return min(images, MOST_IMAGES, max(FEWEST_IMAGES, BYTES // (4 * outputs * pairs_of(space))))


def pairs_of(space: Space) -> int:
    """Pairs of a row, or none, and a kind of slot, over all layers."""
    return sum((layer.rows + 1) * (int(layer.kinds.max()) + 1) for layer in space.layers)


def _changes(
    space: Space, steps: Sequence[Step], images: int, progress: Progress, left_out: Sequence[bool]
) -> list[Real]:
    """Change of each logit by each row on each class, per layer [R + 1, kinds, logits, n]."""
    outputs = steps[-1].layer.rows
    errors = [{} if left_out[step.layer.index] else _errors(space, step) for step in steps]
    changes = [
        np.zeros((layer.rows + 1, layer.kinds.max() + 1, outputs, images), dtype=np.float32)
        for layer in space.layers
    ]
    wanted = [number for number, out in enumerate(left_out) if not out]
    back = Backward(steps, images, lowest=min(wanted, default=len(steps)))

    def fill(logit: int) -> None:
        for step, slopes in back.by_codes(logit):
            index = step.layer.index
            for number, error in errors[index].items():
                moved = (slopes * error).reshape(len(error), images, -1).sum(axis=2)
                changes[index][:-1, number, logit] = moved

    progress("loss model", 0, outputs)
    for done, _ in enumerate(in_order(fill, range(outputs) if wanted else ()), start=1):
        progress("loss model", done, outputs)
    return changes


def _errors(space: Space, step: Step) -> dict[int, Real]:
    """Codes of every row on each kind of slot less those on a healthy slot, [R, N]."""
    slots = space.layers[step.layer.index]
    healthy = step.healthy_codes()
    out: dict[int, Real] = {}
    for members, kind in zip(slots.members, slots.kinds.tolist(), strict=True):
        if kind != HEALTHY and kind not in out and members.size:
            place = divmod(int(members[0]), space.array.pe)
            out[kind] = (step.codes_on(place) - healthy).astype(np.float32)
    return out

"""What a network's logits are worth: cross-entropy and correct answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hascodesign.contract.arithmetic import classify
from hascodesign.contract.types import FloatArray, IntArray

#: What one image can cost, nats: beyond, it is as wrong as can be. A faulty logit can be off by
#: thousands, and an unbounded loss would trade many images for the size of that error.
MOST = 5.0

#: What the logits are multiplied by in the loss. Faults often make all logits smaller; that costs
#: no answer, but cross-entropy of the plain logits gives right answers up to make them large again.
SHARPNESS = 2.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a schedule gives on one set of images."""

    loss: float  # mean cross-entropy of SHARPNESS times the logits, each image's at most MOST, nats
    correct: int  # images classified correctly
    n: int  # images

    @property
    def accuracy(self) -> float:
        """Share of correctly classified images, 0..1."""
        return self.correct / self.n


def cross_entropy(logits: IntArray, labels: IntArray, scale: float | FloatArray) -> FloatArray:
    """Cross-entropy of each image, nats; what every loss of the search is the mean of.

    Parameters
    ----------
    logits : [n, classes] integers.
    labels : [n] classes.
    scale : of a logit, real units; [classes] where each has its own.

    Returns
    -------
    [n], each at most MOST.
    """
    real = logits * (SHARPNESS * scale)
    real -= real.max(axis=1, keepdims=True)
    total = np.log(np.exp(real).sum(axis=1))
    return np.minimum(total - real[np.arange(len(labels)), labels], MOST)


def judge(logits: IntArray, labels: IntArray, scale: float | FloatArray) -> Judgement:
    """Judgement of integer logits [n, classes]."""
    loss = float(cross_entropy(logits, labels, scale).mean())
    return Judgement(loss, int((classify(logits, scale) == labels).sum()), len(labels))

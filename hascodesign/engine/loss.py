"""What a network's logits are worth: cross-entropy and correct answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hascodesign.ops import classify
from hascodesign.types import FloatArray, IntArray

#: What one image can cost, nats: beyond, it is as wrong as can be. A faulty logit can be off by
#: thousands, and an unbounded loss would trade many images for the size of that error.
MOST = 5.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a schedule gives on one set of images."""

    loss: float  # mean cross-entropy, each image's at most MOST, nats
    correct: int  # images classified correctly
    n: int  # images

    @property
    def accuracy(self) -> float:
        """Share of correctly classified images, 0..1."""
        return self.correct / self.n


def cross_entropy(logits: IntArray, labels: IntArray, scale: float) -> FloatArray:
    """Cross-entropy of each image, at most MOST nats, of logits [n, classes] times ``scale``."""
    real = logits * scale
    real -= real.max(axis=1, keepdims=True)
    total = np.log(np.exp(real).sum(axis=1))
    return np.minimum(total - real[np.arange(len(labels)), labels], MOST)


def judge(logits: IntArray, labels: IntArray, scale: float) -> Judgement:
    """Judgement of integer logits [n, classes]."""
    loss = float(cross_entropy(logits, labels, scale).mean())
    return Judgement(loss, int((classify(logits) == labels).sum()), len(labels))

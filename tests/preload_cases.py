"""Layers and networks whose accumulators start from words of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hascodesign.contract.types import IntegerNetwork, MultiplyLayer, frozen


def preloaded_layer(rng: np.random.Generator, layer: MultiplyLayer, bits: int) -> MultiplyLayer:
    """Any word, both ends of the range often, 0 now and then."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    words = rng.integers(low, high + 1, layer.rows)
    ends = np.array([low, high, low + 1, -1, 0])[rng.integers(5, size=layer.rows)]
    return replace(layer, preload=frozen(np.where(rng.random(layer.rows) < 0.5, ends, words)))


def preloaded(rng: np.random.Generator, network: IntegerNetwork, bits: int) -> IntegerNetwork:
    """Every layer so."""
    stages = tuple(
        preloaded_layer(rng, stage, bits) if isinstance(stage, MultiplyLayer) else stage
        for stage in network.stages
    )
    return replace(network, stages=stages)

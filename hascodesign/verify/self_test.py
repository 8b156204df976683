"""The self-test of the words in use: what a core is held to while it runs.

It writes no memory: dense stages of the core's test mode run on the words that lie in the weight
banks, with activations that do not depend on any image, and every accumulator of every PE is held
to what the fault model gives for the profile that the schedule was made for. Where one differs the
array, or a word, is not as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.array import k_order, row_preloads, stored_preloads, stored_weights
from hascodesign.contract.types import (
    ArraySpec,
    FaultProfile,
    IntArray,
    IntegerNetwork,
    MultiplyLayer,
    RowMap,
    Schedule,
    frozen,
)
from hascodesign.contract.watching import COLUMNS, POLYNOMIAL, SEED
from hascodesign.engine import gemm
from hascodesign.verify.vectors import npz

PATH = "deploy/driver/schedule/selftest.npz"
WORD = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Stages of one shape that take every word of the weight banks, some of them twice."""

    array: ArraySpec
    passes: int
    bases: tuple[int, ...]  # first word of each stage; pass v takes words base + v*T on
    codes: IntArray  # [C, T, S] signed, the same in every pass of every stage
    words: IntArray  # [P, depth, S] that lie in the banks
    preloads: IntArray  # [P, passes] that every stage's sums start from

    @property
    def steps(self) -> int:
        """T of every pass."""
        return int(self.codes.shape[1])

    def rows(self, pes: Sequence[int]) -> list[tuple[MultiplyLayer, RowMap]]:
        """Each stage as a dense layer whose rows stand on some PEs: row v * len(pes) + i on PE i.

        Parameters
        ----------
        pes : those PEs.
        """
        chosen, number = list(pes), np.arange(self.passes * len(pes))
        slots = np.full((self.passes, self.array.pe), -1)
        slots[:, chosen] = number.reshape(self.passes, -1)
        found = []
        for base in self.bases:
            held = self.words[chosen, base : base + self.passes * self.steps]
            by_pass = held.reshape(len(chosen), self.passes, -1).swapaxes(0, 1)
            weights = by_pass.reshape(len(number), -1)
            layer = MultiplyLayer(
                name="selftest",
                index=0,
                weights=frozen(weights),
                bias=frozen(np.zeros(len(number))),
                weight_bits=self.array.weight_bits,
                in_bits=self.array.act_bits,
                in_signed=True,
                conv=None,
                output=None,
                out_bits=0,
                out_signed=True,
                preload=frozen(self.preloads[chosen].T.ravel()),
            )
            found.append((layer, RowMap(layer.name, len(number), frozen(slots))))
        return found

    def answers(self, profile: FaultProfile, pes: Sequence[int] | None = None) -> IntArray:
        """Accumulators [stages, PEs, passes, C] of an array with a profile; of all PEs where None.

        Transient faults do not fire.
        """
        chosen = range(self.array.pe) if pes is None else pes
        steady = steady_profile(profile)
        x = self.codes.reshape(len(self.codes), -1).T
        found = []
        for base, (layer, row_map) in zip(self.bases, self.rows(chosen), strict=True):
            acc = gemm.accumulate(steady, layer, row_map, x, wmem_base=base)
            found.append(acc.reshape(self.passes, len(chosen), -1).swapaxes(0, 1))
        return np.stack(found)


def steady_profile(profile: FaultProfile) -> FaultProfile:
    """A profile without its transient faults: when those fire, nothing predicts."""
    kept = tuple(fault for fault in profile.faults if fault.kind != "transient")
    return FaultProfile(profile.array, kept)


def self_test(
    network: IntegerNetwork,
    schedule: Schedule,
    on_chip: Sequence[bool],
    limits: tuple[int, int] | None,
    columns: int = COLUMNS,
) -> SelfTest | None:
    """The self-test of one build; None where no weight lies in the banks, or without test mode.

    Parameters
    ----------
    network, schedule : what runs, rows as written.
    on_chip : [layers] whether a layer's weights are in the banks.
    limits : most steps and passes of the core's test stage; None where it has no test mode.
    columns : of every pass.
    """
    array = schedule.array
    words = banks(network, schedule, on_chip)
    depth = words.shape[1]
    if not depth or limits is None:
        return None
    steps, passes = _shape(depth, array.pe, limits)
    taken = steps * passes
    bases = tuple(min(start, depth - taken) for start in range(0, depth, taken))
    return SelfTest(
        array=array,
        passes=passes,
        bases=bases,
        codes=frozen(activations(array, columns, steps)),
        words=frozen(words),
        preloads=frozen(_preloads(network, schedule, passes)),
    )


def banks(network: IntegerNetwork, schedule: Schedule, on_chip: Sequence[bool]) -> IntArray:
    """Words [P, depth, S] of the weight banks."""
    array = schedule.array
    held = [np.zeros((array.pe, 0, array.simd), dtype=np.int64)]
    for layer, row_map in zip(network.layers, schedule.layers, strict=True):
        if on_chip[layer.index]:
            own = stored_weights(layer.weights, k_order(layer.depth, array.simd), row_map.slots)
            held.append(own.reshape(array.pe, -1, array.simd))
    return np.concatenate(held, axis=1)


def _preloads(network: IntegerNetwork, schedule: Schedule, passes: int) -> IntArray:
    """Words [P, passes]: the first of the preload memories, 0 where there are none."""
    held = [
        stored_preloads(row_preloads(layer), row_map.slots)
        for layer, row_map in zip(network.layers, schedule.layers, strict=True)
    ]
    found = np.concatenate([*held, np.zeros((schedule.array.pe, passes), np.int64)], axis=1)
    return found[:, :passes]


def _shape(depth: int, pe: int, limits: tuple[int, int]) -> tuple[int, int]:
    """Steps and passes of a stage: the fewest stages, of those the fewest cycles, the most passes.

    The sums of a pass leave one a cycle while the next pass is computed.
    """
    most_steps, most_passes = limits
    shapes = [
        (steps, min(most_passes, depth // steps)) for steps in range(1, min(most_steps, depth) + 1)
    ]

    def cost(shape: tuple[int, int]) -> tuple[int, int, int]:
        steps, passes = shape
        stages = -(-depth // (steps * passes))
        return stages, stages * passes * max(steps, pe), -passes

    return min(shapes, key=cost)


def activations(array: ArraySpec, columns: int, steps: int) -> IntArray:
    """Codes [columns, T, S]: 32 bits of xorshift32 a step, over and over as wide as they must be.

    Signed, so that sums are of either sign whatever the weights: a stuck sign shows.
    """
    state, bits, width = SEED, array.act_bits, array.act_bits * array.simd
    codes = np.empty((columns * steps, array.simd), dtype=np.int64)
    for step in range(len(codes)):
        word = sum(state << start for start in range(0, width, 32))
        codes[step] = [word >> (bits * s) & ((1 << bits) - 1) for s in range(array.simd)]
        state ^= state << 13 & WORD
        state ^= state >> 17
        state ^= state << 5 & WORD
    half = 1 << (bits - 1)
    return ((codes ^ half) - half).reshape(columns, steps, array.simd)


def signature(acc: NDArray[np.int64]) -> IntArray:
    """Signatures [...] of accumulators [..., n], in the order in which they leave the array."""
    found = np.zeros(acc.shape[:-1], dtype=np.int64)
    for place in range(acc.shape[-1]):
        top = -(found >> 31)  # all ones where the bit that leaves is 1
        found = (found << 1 & WORD) ^ (top & POLYNOMIAL) ^ (acc[..., place] & WORD)
    return found


def self_test_file(
    network: IntegerNetwork,
    schedule: Schedule,
    profile: FaultProfile,
    on_chip: Sequence[bool],
    limits: tuple[int, int] | None,
    unknown: Sequence[int] = (),
) -> dict[str, bytes]:
    """What the driver's `check` plays and holds the array to; no file where there is none.

    Parameters
    ----------
    network, schedule, on_chip, limits : as for `self_test`.
    profile : faults of the array.
    unknown : PEs of which the profile says nothing.

    Returns
    -------
    ``PATH``: ``passes``, ``bases`` [stages], ``codes`` [C, T, S] signed, ``acc`` [stages, P,
    passes, C], ``varies`` [P], true of PEs with a transient fault, and ``known`` [P], false of
    those and of ``unknown``.
    """
    test = self_test(network, schedule, on_chip, limits)
    if test is None:
        return {}
    known = np.ones(schedule.array.pe, dtype=np.bool_)
    known[list(unknown)] = False
    varies = np.zeros_like(known)
    varies[[fault.pe for fault in profile.faults if fault.kind == "transient"]] = True
    arrays: dict[str, NDArray[np.generic]] = {
        "passes": np.array(test.passes),
        "bases": np.array(test.bases),
        "codes": test.codes.astype(np.int16),
        "acc": test.answers(profile).astype(np.int32),
        "known": known & ~varies,
        "varies": varies,
    }
    return {PATH: npz(arrays)}

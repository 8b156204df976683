"""What every side derives from the array and the profile: orders, addresses, masks, bank words.

The Python engine, the Verilog, the HLS C++ and the exported files all take these from here, so
that one definition stands for each.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import (
    ArraySpec,
    BoolArray,
    Fault,
    FaultProfile,
    IntArray,
    IntegerNetwork,
    MultiplyLayer,
    RowMap,
    Schedule,
    Site,
    frozen,
)


def generator(seed: int, purpose: str) -> np.random.Generator:
    """Random generator for one purpose of one run; purposes do not disturb one another."""
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(purpose.encode())]))


# ------------------------------------------------------------------------------ orders, addresses


def k_order(depth: int, simd: int) -> IntArray:
    """Default order of the K indices, [T, S]: k = t*S + s, -1 for padding."""
    order = np.arange(depth + -depth % simd)
    return frozen(np.where(order < depth, order, -1).reshape(-1, simd))


def least_passes(rows: int, pe: int) -> int:
    """Least number of passes that gives every row a slot."""
    return -(-rows // pe)


def layer_passes(network: IntegerNetwork, pe: int) -> tuple[int, ...]:
    """Least number of passes of each layer."""
    return tuple(least_passes(layer.rows, pe) for layer in network.layers)


def identity_map(layer: MultiplyLayer, pe: int, passes: int | None = None) -> RowMap:
    """The order without scheduling: row r on PE r mod P in pass r div P."""
    passes = least_passes(layer.rows, pe) if passes is None else passes
    order = np.arange(passes * pe)
    slots = np.where(order < layer.rows, order, -1).reshape(passes, pe)
    return RowMap(layer.name, layer.rows, frozen(slots))


def identity_schedule(network: IntegerNetwork, array: ArraySpec) -> Schedule:
    """Every layer in the order without scheduling, least passes."""
    return Schedule(array, tuple(identity_map(layer, array.pe) for layer in network.layers))


def wmem_bases(network: IntegerNetwork, schedule: Schedule) -> tuple[int, ...]:
    """First word of each layer in every weight bank: the sum of passes*T over earlier layers."""
    return tuple(accumulate((0, *layer_words(network, schedule)[:-1])))


def wmem_words(network: IntegerNetwork, array: ArraySpec, schedule: Schedule | None = None) -> int:
    """Words that the network takes in each weight bank."""
    schedule = identity_schedule(network, array) if schedule is None else schedule
    return sum(layer_words(network, schedule))


def layer_words(network: IntegerNetwork, schedule: Schedule) -> tuple[int, ...]:
    """Words that each layer takes in every weight bank: passes * T."""
    return tuple(
        row_map.passes * schedule.array.steps(layer.depth)
        for layer, row_map in zip(network.layers, schedule.layers, strict=True)
    )


def stored_weights(weights: IntArray, order: IntArray, slots: IntArray) -> IntArray:
    """Words of the weight banks in map order.

    Parameters
    ----------
    weights : [R, K] codes.
    order : [T, S] K index per step and multiplier, -1 for padding.
    slots : [passes, P] row, or -1 for idle.

    Returns
    -------
    [P, passes, T, S] codes; 0 where the slot is idle or the K index is padding.
    """
    padded = np.zeros((weights.shape[0] + 1, weights.shape[1] + 1), dtype=np.int64)
    padded[:-1, :-1] = weights
    return padded[slots.T[:, :, None, None], order[None, None, :, :]]


def with_preloads(network: IntegerNetwork) -> IntegerNetwork:
    """The same network for an array with preloads, all 0."""
    stages = tuple(
        replace(stage, preload=frozen(row_preloads(stage)))
        if isinstance(stage, MultiplyLayer)
        else stage
        for stage in network.stages
    )
    return replace(network, stages=stages)


def row_preloads(layer: MultiplyLayer) -> IntArray:
    """Word [R] that the accumulator starts from in each row; 0 where none is built."""
    return np.zeros(layer.rows, dtype=np.int64) if layer.preload is None else layer.preload


def stored_preloads(preload: IntArray, slots: IntArray) -> IntArray:
    """Words of the preload memories in map order.

    Parameters
    ----------
    preload : [R] words.
    slots : [passes, P] row, or -1 for idle.

    Returns
    -------
    [P, passes] words; 0 where the slot is idle.
    """
    return np.append(preload, 0)[slots.T]


def step_activations(activations: IntArray, order: IntArray) -> IntArray:
    """Activations as the array takes them: X [K, N] -> [T, S, N], code 0 at padding."""
    padded = np.zeros((activations.shape[0] + 1, activations.shape[1]), dtype=np.int64)
    padded[:-1] = activations
    return padded[order]


# ------------------------------------------------------------------------------------------ masks


@dataclass(frozen=True, slots=True)
class SiteMasks:
    """F(v) = ((v AND and_) OR or_) XOR xor on the site's own bits; neutral = all ones, 0, 0."""

    bits: int  # width of the site
    and_: IntArray  # [P, S]; for psum of `os` and for acc [P]; for wmem [P, S, words]
    or_: IntArray
    xor: IntArray

    @property
    def active(self) -> BoolArray:
        """Where the masks change anything, same shape as the masks."""
        full = (1 << self.bits) - 1
        return (self.and_ != full) | (self.or_ != 0) | (self.xor != 0)

    def apply(self, values: IntArray, signed: bool = True) -> IntArray:
        """F of ``values`` (broadcast against the masks), read again with the site's signedness."""
        return wrap(((values & self.and_) | self.or_) ^ self.xor, self.bits, signed)


def wrap(values: IntArray, bits: int, signed: bool = True) -> IntArray:
    """Low ``bits`` of each value, read as two's complement or as unsigned."""
    low = values & ((1 << bits) - 1)
    if not signed:
        return low
    sign = 1 << (bits - 1)
    return (low ^ sign) - sign


def site_masks(profile: FaultProfile, site: Site, words: int = 0) -> SiteMasks:
    """Permanent masks of one site; `dead` clears every product of its PE.

    Parameters
    ----------
    profile : a profile that has been checked.
    site : where; `acc` only in `ws`.
    words : words of each weight bank, used for site ``wmem`` only.
    """
    spec = profile.array
    bits = spec.site_bits(site)
    shape: tuple[int, ...] = (spec.pe, spec.simd) if spec.has_lane(site) else (spec.pe,)
    if site == "wmem":
        shape = (spec.pe, spec.simd, words)
    and_ = np.full(shape, (1 << bits) - 1, dtype=np.int64)
    or_ = np.zeros(shape, dtype=np.int64)
    xor = np.zeros(shape, dtype=np.int64)
    for fault in _permanent(profile.faults):
        if fault.kind == "dead":
            if site == "product":
                and_[fault.pe] = 0
            continue
        if fault.site != site or fault.bit is None:
            continue
        place: tuple[int, ...] = (fault.pe,)
        if spec.has_lane(site):
            place += (_given(fault.simd),)
        if site == "wmem":
            place += (_given(fault.address),)
        if fault.kind == "sa0":
            and_[place] &= ~(1 << fault.bit)
        elif fault.kind == "sa1":
            or_[place] |= 1 << fault.bit
        else:
            xor[place] ^= 1 << fault.bit
    return SiteMasks(bits, frozen(and_), frozen(or_), frozen(xor))


def _permanent(faults: Iterable[Fault]) -> Iterable[Fault]:
    return (fault for fault in faults if fault.kind != "transient")


def _given(value: int | None) -> int:
    if value is None:
        raise ValueError("a checked profile gives every position its site takes")
    return value


# -------------------------------------------------------------------------------------- transients


def mix(
    x: np.ndarray[tuple[int, ...], np.dtype[np.uint64]] | int,
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    """32-bit mixing function of the transient draw (Wellons' lowbias32), on uint64 lanes."""
    mask = np.uint64(0xFFFFFFFF)
    v = np.asarray(x, dtype=np.uint64) & mask
    v = v ^ (v >> np.uint64(16))
    v = (v * np.uint64(0x7FEB352D)) & mask
    v = v ^ (v >> np.uint64(15))
    v = (v * np.uint64(0x846CA68B)) & mask
    return v ^ (v >> np.uint64(16))


# ------------------------------------------------------------------------------------------ checks


def check_widths(network: IntegerNetwork, array: ArraySpec) -> None:
    """Refuse a network whose words are wider than the array's, or whose sums do not fit.

    Raises
    ------
    ConfigError
        A layer with wider weights or activations, or one whose healthy accumulator can wrap; an
        accumulator wider than those that the thresholds hold for.
    """
    if network.acc_bits is not None and array.acc_bits > network.acc_bits:
        raise ConfigError(
            f"the thresholds of {network.name} hold for accumulators of {network.acc_bits} bits,"
            f" the array has {array.acc_bits}; integerise it with acc_bits={array.acc_bits}"
        )
    for layer in network.layers:
        _fits(layer.name, "weights", layer.weight_bits, array.weight_bits, "--weight-bits")
        # an unsigned code of b bits needs b bits: signedness is the layer's, not the array's
        _fits(layer.name, "activations", layer.in_bits, array.act_bits, "--act-bits")
        largest = 1 << (layer.in_bits - 1 if layer.in_signed else layer.in_bits)
        worst = int(np.abs(layer.weights).sum(axis=1).max(initial=0)) * largest
        _fits(layer.name, "sums", worst.bit_length() + 1, array.acc_bits, "--acc-bits")


def _fits(name: str, what: str, needed: int, held: int, option: str) -> None:
    if needed > held:
        raise ConfigError(
            f"layer {name}: {what} need {needed} bits, the array has {held}; see {option}"
        )

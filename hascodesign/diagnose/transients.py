"""A transient fault of one PE: which wire, and how often, by maximum likelihood.

The permanent faults are known by then. Each use of the wire, a step of one pass and column, inverts
it with probability p; what a set of inverted uses makes of an answer follows from operands and
permanent faults. An answer that n of its T uses give in c(n) ways has the likelihood
sum over n of c(n) p^n (1 - p)^(T - n): of all wires the one stands that makes all answers possible
and likeliest. Statistics are float; what an answer is stays integer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr

from hascodesign.contract.array import wrap
from hascodesign.contract.types import ArraySpec, Fault, FloatArray, IntArray, Site
from hascodesign.diagnose.model import PeModel

SITES: tuple[Site, ...] = ("weight", "act", "product", "psum")
LOOKED_AT = 8  # wires of which the likelihood is computed
SURE = 12.0  # logarithm of how much likelier the wire must be than any other
UNLIKELY = 18.0  # logarithm of one in how many; what strays farther is not explained
UNSEEN = 0.01  # chance that a faulty word on the wire strays no oftener than the wire may
SPREAD = 5.0  # standard deviations that the inversions of all vectors together may stray
_SUBSETS = 4  # steps of which every set is enumerated
_LEAST, _MOST = 1e-7, 0.5


@dataclass(frozen=True, slots=True)
class Transient:
    """A transient fault, and how well it is known."""

    fault: Fault  # with its p
    sigma: float  # standard error of p
    uses: int  # of the wire, in vectors where an inversion shows
    gap: float  # logarithm of how much likelier it is than the next wire

    def __str__(self) -> str:
        fault = self.fault
        lane = "" if fault.simd is None else f" of multiplier {fault.simd}"
        return (
            f"transient on {fault.site} bit {fault.bit}{lane}, p = {fault.p:.3g} +- "
            f"{self.sigma:.2g} (one standard error, {self.uses:,} uses)"
        )


@dataclass(frozen=True, slots=True)
class Played:
    """Vectors of one number of steps and signedness, and what one PE answered each time."""

    signed: bool
    words: IntArray  # [n, T, S]
    codes: IntArray  # [n, T, S]
    which: IntArray  # [k] vector of each different answer
    value: IntArray  # [k]
    count: IntArray  # [k] times that it came

    @property
    def steps(self) -> int:
        """T."""
        return int(self.words.shape[1])

    @property
    def plays(self) -> IntArray:
        """[n] times that each vector was played."""
        plays = np.zeros(len(self.words), dtype=np.int64)
        np.add.at(plays, self.which, self.count)
        return plays


def tally(which: IntArray, answers: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Vector, value and number of each different answer; ``which`` [m] vector of ``answers``."""
    keys, count = np.unique((which << 32) + (answers + (1 << 31)), return_counts=True)
    return keys >> 32, (keys & 0xFFFFFFFF) - (1 << 31), count


@dataclass(frozen=True, slots=True)
class Wire:
    """A wire on which a transient fault may sit."""

    site: Site
    lane: int | None
    bit: int

    @classmethod
    def of(cls, fault: Fault) -> Wire:
        """The wire of a transient entry of one bit."""
        if fault.site is None or fault.bit is None:
            raise ValueError("the entry must name its site and bit")
        return cls(fault.site, fault.simd, fault.bit)

    def entry(self, p: float) -> Fault:
        """The profile's entry."""
        return Fault(0, "transient", self.site, self.lane, self.bit, p=p)


class Group:
    """Vectors with their operands as the PE's permanent faults leave them."""

    def __init__(self, array: ArraySpec, model: PeModel, played: Played) -> None:
        self.array, self.model, self.played = array, model, played
        self.words = model.weight.apply(played.words)
        self.codes = model.act.apply(played.codes, played.signed)
        self.products = model.product.apply(self.words * self.codes)
        self.sums = self.products.sum(axis=-1)  # [n, T]
        self.steady = self._run(np.zeros(self.sums.shape[1], dtype=np.bool_), 0, 0)[:, 0]
        self.strays = self.steady[played.which] != played.value

    def changes(self, wire: Wire) -> tuple[IntArray | int, int]:
        """What an inversion adds to the sum of its step [n, T], and inverts in the register."""
        array, model, lane, bit = self.array, self.model, wire.lane, 1 << wire.bit
        if wire.site == "psum" or lane is None:
            return 0, bit
        words, codes, made = (v[..., lane] for v in (self.words, self.codes, self.products))
        if wire.site == "product":
            return wrap(made ^ bit, array.product_bits) - made, 0
        if wire.site == "weight":
            words = wrap(words ^ bit, array.weight_bits)
        else:
            codes = wrap(codes ^ bit, array.act_bits, self.played.signed)
        masks = model.product
        raw = ((words * codes & masks.and_[lane]) | masks.or_[lane]) ^ masks.xor[lane]
        return wrap(raw, array.product_bits) - made, 0

    def shown(self, wire: Wire) -> IntArray:
        """[n] steps at which an inversion of the wire changes a sum or the register."""
        added, flipped = self.changes(wire)
        if flipped:
            return np.full(len(self.sums), self.sums.shape[1])
        return np.asarray(np.broadcast_to(added, self.sums.shape) != 0).sum(axis=1)

    def _run(self, fired: np.ndarray, added: IntArray | int, flipped: int) -> IntArray:
        """Answers [n, M] where the steps ``fired`` [..., T] (M sets of them) are inverted."""
        fired = np.atleast_2d(fired)
        acc = np.zeros((len(self.sums), len(fired)), dtype=np.int64)
        extra = np.broadcast_to(added, self.sums.shape)
        for step in range(self.sums.shape[1]):
            here = fired[None, :, step]
            sums = acc + self.sums[:, step, None] + here * extra[:, step, None]
            acc = wrap(self.model.psum.apply(sums) ^ (here * flipped), self.array.acc_bits)
        return acc

    def explained_once(self, wire: Wire) -> int:
        """Straying answers that one inversion makes."""
        which, value = self.played.which[self.strays], self.played.value[self.strays]
        if not len(which):
            return 0
        made = self._run(np.eye(self.sums.shape[1], dtype=np.bool_), *self.changes(wire))
        met = (made[which] == value[:, None]).any(axis=1)
        return int(self.played.count[self.strays][met].sum())

    def ways(self, wire: Wire, which: IntArray, value: IntArray) -> FloatArray:
        """[k, T + 1] sets of n inverted uses that make vector ``which`` answer ``value``."""
        added, flipped = self.changes(wire)
        steps = self.sums.shape[1]
        if steps <= _SUBSETS:
            fired = (np.arange(1 << steps)[:, None] >> np.arange(steps) & 1).astype(np.bool_)
            made = self._run(fired, added, flipped)
            sizes = np.eye(steps + 1)[fired.sum(axis=1)]
            return np.asarray((made[which] == value[:, None]) @ sizes)
        found = np.zeros((len(which), steps + 1))
        extra = np.broadcast_to(added, self.sums.shape)
        for vector in np.unique(which).tolist():
            made, ways = self._chain(vector, extra[vector], flipped)
            own = np.flatnonzero(which == vector)
            place = np.searchsorted(made, value[own]).clip(max=len(made) - 1)
            found[own] = ways[place] * (made[place] == value[own])[:, None]
        return found

    def _chain(self, vector: int, extra: IntArray, flipped: int) -> tuple[IntArray, FloatArray]:
        """Values that a vector can end in, in order, and in how many ways [values, T + 1]."""
        values, ways = np.zeros(1, dtype=np.int64), np.zeros((1, len(extra) + 1))
        ways[0, 0] = 1.0
        for step, more in enumerate(extra.tolist()):
            sums = values + self.sums[vector, step]
            healthy = self.model.psum.apply(sums)
            struck = self.model.psum.apply(sums + more) ^ flipped
            both = wrap(np.concatenate([healthy, struck]), self.array.acc_bits)
            order = np.argsort(both, kind="stable")
            counted = np.concatenate([ways, np.roll(ways, 1, axis=1)])[order]
            first = np.flatnonzero(np.diff(both[order], prepend=both[order[0]] - 1))
            values, ways = both[order][first], np.add.reduceat(counted, first, axis=0)
        return values, ways


class TransientSearch:
    """The search for one transient fault of a PE.

    Parameters
    ----------
    array : the array.
    faults : the PE's permanent faults.
    played : what it answered.
    """

    def __init__(self, array: ArraySpec, faults: Sequence[Fault], played: Sequence[Played]) -> None:
        self.array = array
        model = PeModel(array, faults)
        self.groups = [Group(array, model, one) for one in played]

    def find(self) -> Transient | None:
        """The wire and its p; None where no single wire explains every answer, and surely."""
        found = [one for wire in self._likely() if (one := self._fitted(wire)) is not None]
        if not found:
            return None
        found.sort(key=lambda one: -one[0])
        best, p, wire, ways = found[0]
        gap = best - found[1][0] if len(found) > 1 else np.inf
        if gap < SURE or not self._fits(wire, p):
            return None
        uses = sum(int(group.shown(wire) @ group.played.plays) for group in self.groups)
        return Transient(wire.entry(float(f"{p:.5g}")), _sigma(ways, p), uses, float(gap))

    def faulty_word(self, found: Transient, group: Group, strays: IntArray, plays: int) -> bool:
        """Whether at one of the places something permanent strays, or might without being told.

        A faulty word in which the wire of a weight's transient fault is wrong strays where the wire
        is not inverted.

        Parameters
        ----------
        found : the transient fault.
        group : vectors of one step.
        strays : [places, n] straying answers to them, each played ``plays`` times at each place.
        """
        wire, p = Wire.of(found.fault), found.fault.p or 0.0
        shows = group.shown(wire) > 0
        uses = plays * int(shows.sum())
        counts = np.arange(uses + 1)
        chance = _divergence(counts, np.full(uses + 1, uses), np.full(uses + 1, p))
        told = counts[(chance > UNLIKELY) & (counts > uses * p)]
        least = int(told[0]) if len(told) else uses + 1
        if wire.site == "weight" and bdtr(least - 1, uses, 1 - p) > UNSEEN:
            return True
        return bool((strays[:, shows].sum(axis=1) >= least).any())

    def _wires(self) -> Iterator[Wire]:
        for site in SITES:
            lanes = range(self.array.simd) if self.array.has_lane(site) else (None,)
            for lane in lanes:
                for bit in range(self.array.site_bits(site)):
                    yield Wire(site, lane, bit)

    def _likely(self) -> list[Wire]:
        """Wires that explain all straying answers of one step, those first that explain most."""
        ones = [group for group in self.groups if group.played.steps == 1]
        longer = [group for group in self.groups if group.played.steps > 1]
        strays = sum(int(g.played.count[g.strays].sum()) for g in ones)
        wires = [w for w in self._wires() if sum(g.explained_once(w) for g in ones) == strays]
        score = {wire: sum(group.explained_once(wire) for group in longer) for wire in wires}
        return sorted(wires, key=lambda wire: -score[wire])[:LOOKED_AT]

    def _fitted(self, wire: Wire) -> tuple[float, float, Wire, list[_Ways]] | None:
        """Logarithm of the likelihood, p and the ways; None where an answer is impossible."""
        held = []
        for group in self.groups:
            ways = group.ways(wire, group.played.which, group.played.value)
            if not ways.any(axis=1).all():
                return None
            held.append(_Ways(ways, group.played.count))
        low, high = np.log(_LEAST), np.log(_MOST)
        for _ in range(4):  # each time about the best point of the last
            points = np.linspace(low, high, 61)
            likelihood = _likelihood(held, np.exp(points))
            best = int(np.argmax(likelihood))
            low, high = points[max(best - 1, 0)], points[min(best + 1, len(points) - 1)]
        return float(np.max(likelihood)), float(np.exp(points[best])), wire, held

    def _fits(self, wire: Wire, p: float) -> bool:
        """Whether steady answers are about as frequent as p makes them, vector by vector."""
        for group in self.groups:
            every = np.arange(len(group.sums))
            steady = _chances(group.ways(wire, every, group.steady), np.array([p]))[:, 0]
            plays = group.played.plays
            strays = np.zeros(len(every), dtype=np.int64)
            np.add.at(strays, group.played.which, group.played.count * group.strays)
            chance = np.clip(1 - steady, 1e-12, 1 - 1e-12)
            if (_divergence(strays, plays, chance) > UNLIKELY).any():
                return False
            spread = np.sqrt((plays * chance * (1 - chance)).sum())
            if abs((strays - plays * chance).sum()) > SPREAD * spread + SPREAD:
                return False
        return True


@dataclass(frozen=True, slots=True)
class _Ways:
    """The ways to different answers [k, T + 1], and how often each came [k]."""

    ways: FloatArray
    count: IntArray

    def likelihood(self, p: FloatArray) -> FloatArray:
        """Logarithm of the likelihood at each p."""
        return np.asarray(self.count @ np.log(_chances(self.ways, p)))


def _chances(ways: FloatArray, p: FloatArray) -> FloatArray:
    """[k, probabilities] chance of each answer."""
    steps = ways.shape[1] - 1
    fired = np.arange(steps + 1)[:, None]
    return np.asarray(ways @ (p**fired * (1 - p) ** (steps - fired)))


def _likelihood(held: Sequence[_Ways], p: FloatArray) -> FloatArray:
    """Logarithm of the likelihood of all answers at each p."""
    return np.sum([one.likelihood(p) for one in held], axis=0)


def _sigma(held: Sequence[_Ways], p: float) -> float:
    """Standard error of p: the likelihood's curvature at its top."""
    low, top, high = _likelihood(held, p * np.array([0.98, 1.0, 1.02]))
    curvature = (2 * top - low - high) / (0.02 * p) ** 2
    return float(curvature**-0.5) if curvature > 0 else float("inf")


def _divergence(hits: IntArray, plays: IntArray, chance: FloatArray) -> FloatArray:
    """A bound: so many hits of so many plays have at most the chance exp of minus this."""
    share = hits / np.maximum(plays, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        hit = np.where(hits > 0, share * np.log(share / chance), 0.0)
        missed = np.where(hits < plays, (1 - share) * np.log((1 - share) / (1 - chance)), 0.0)
    return np.asarray(plays * (hit + missed))

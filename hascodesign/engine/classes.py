"""Classes of slots: slots that meet the same faults give a row the same accumulators."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from hascodesign.contract.types import IntArray, frozen
from hascodesign.engine.slots import STAGES, PeFaults, Transient

HEALTHY = 0  # number of the class whose slots change nothing


@dataclass(frozen=True, slots=True)
class SlotClass:
    """Slots of one layer that meet the same faults; PE and pass of the first of them.

    A sum splits in two: the products of the multipliers in ``walked`` are taken step by step,
    with the faults that do not let a sum be reordered; the others by one matrix product.
    """

    pe: int
    number: int  # pass; tells slots apart only where transients draw from it
    faults: PeFaults
    words: IntArray  # [faulty words, 4] step, multiplier, keep, flip
    walked: tuple[int, ...]  # multipliers whose products are walked, in order
    key: bytes  # the same in every layer geometry where the slots act the same
    kind: bytes  # and where they differ in nothing but what is drawn anew in each pass
    cell: bytes  # what the slots of one kernel call must share

    @property
    def touches_weights(self) -> bool:
        """Whether the stored weights of some multiplier are not what is multiplied."""
        return self.faults.weight.active or bool(len(self.words))


def classify(
    faults: tuple[PeFaults, ...], *, steps: int, passes: int, base: int
) -> tuple[list[SlotClass], IntArray]:
    """Classes of the slots of one layer, the healthy one first, and each slot's class.

    Parameters
    ----------
    faults : of each PE.
    steps : T, steps of one pass.
    passes : passes of the layer.
    base : first word of the layer in every weight bank.

    Returns
    -------
    The classes, and their numbers [passes, P].
    """
    neutral = _healthy(faults[0])
    classes = [neutral]
    known = {neutral.key: HEALTHY}
    table = np.zeros((passes, len(faults)), dtype=np.int64)
    for number in range(passes):
        for pe, mine in enumerate(faults):
            if number and not len(mine.wmem) and not mine.transients:
                table[number, pe] = table[0, pe]  # alike in every pass
                continue
            found = _slot_class(mine, pe, number, steps, base)
            if found.key not in known:
                known[found.key] = len(classes)
                classes.append(found)
            table[number, pe] = known[found.key]
    return classes, table


def _healthy(any_faults: PeFaults) -> SlotClass:
    # only its empty `walked` and key are looked at
    nothing = frozen(np.zeros((0, 4)))
    return SlotClass(0, 0, any_faults, nothing, (), b"healthy", b"healthy", b"")


def _slot_class(faults: PeFaults, pe: int, number: int, steps: int, base: int) -> SlotClass:
    first = base + number * steps
    inside = (faults.wmem[:, 0] >= first) & (faults.wmem[:, 0] < first + steps)
    words = frozen(faults.wmem[inside] - [first, 0, 0, 0])
    acting = [
        t
        for t in faults.transients
        if t.limit > 0 and t.keep != 0 and (t.address is None or first <= t.address < first + steps)
    ]
    walked = _walked(faults, acting)
    if not (walked or faults.weight.active or len(words)):
        return _healthy(faults)
    wires = (faults.weight, faults.act, faults.product, faults.psum, faults.foot)
    cell = b"".join(part.tobytes() for w in wires for part in (w.keep, w.flip))
    cell += repr((walked, faults.transients if acting else ())).encode()
    kind = hashlib.blake2b(cell + words.tobytes() + repr(acting).encode(), digest_size=16)
    key = kind.copy()
    if acting:  # the pass and the word go into the draw, the PE does not
        key.update(f"{number},{base}".encode())
    return SlotClass(pe, number, faults, words, walked, key.digest(), kind.digest(), cell)


def _walked(faults: PeFaults, acting: list[Transient]) -> tuple[int, ...]:
    simd = len(faults.act.keep)
    if faults.foot.active or any(t.stage == STAGES["foot"] for t in acting):
        return tuple(range(simd))  # the register is wrong at every step: the order counts
    own = faults.act.places | faults.product.places
    own |= {t.simd for t in acting if t.stage < STAGES["psum"]}
    chain = faults.psum.places | {t.simd for t in acting if t.stage == STAGES["psum"]}
    # above a faulty link of the chain the order counts, below it the sum is plain again
    return tuple(sorted(own | set(range(max(chain, default=-1) + 1))))

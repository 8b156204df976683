"""Diagnosis of dataflow `ws`: activations that travel, sums that pass from cell to cell."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from hascodesign.contract.array import SiteMasks
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile
from hascodesign.diagnose import chain, operands
from hascodesign.diagnose.infer import infer
from hascodesign.diagnose.memory import MemorySearch
from hascodesign.diagnose.model import PeModel
from hascodesign.diagnose.simulate import simulate
from hascodesign.diagnose.vectors import TestSet, groups, vectors
from hascodesign.engine import reference
from hascodesign.faults.places import PERMANENT, Places, in_order
from hascodesign.faults.profile import check
from hascodesign.healing.plan import _predicted
from hascodesign.study.diagnose import sums_that_differ
from tests.engine_helpers import random_faults, random_spec

MANY = ArraySpec(8, 8, 4, 8, 24, "ws", wmem_depth=12)
SMALL = ArraySpec(3, 2, 3, 4, 18, "ws", wmem_depth=16)
SITES = ("wmem", "weight", "act", "product", "psum", "acc")


def drawn(array: ArraySpec, rng: np.random.Generator, sites=SITES) -> FaultProfile:
    """1 to 3 faults on nearly every PE, sites and kinds evenly; a few PEs are dead or healthy."""
    places, faults = Places(array, rng), []
    for pe in range(array.pe):
        case = int(rng.integers(20))
        if case == 0:
            faults.append(Fault(pe, "dead"))
        for _ in range(int(rng.integers(1, 4)) if case > 1 else 0):
            kind = PERMANENT[int(rng.integers(len(PERMANENT)))]
            faults.append(places.fault(pe, sites[int(rng.integers(len(sites)))], kind))
    return check(FaultProfile(array, in_order(faults)))


def test_vectors_leave_the_first_cells_undriven():
    test_set = vectors(replace(MANY, wmem_depth=512))
    assert test_set.logic_answers == 999
    firsts = []
    for group in groups(test_set):
        mixed = slice(group.zeros + 8 * group.alone, None)
        driven = ((group.words[mixed] != 0) | (group.codes[mixed] != 0)).any(axis=1)
        firsts += [(group.steps, int(row.argmax())) for row in driven]
    assert {first for _, first in firsts} == set(range(8))
    assert {first for steps, first in firsts if steps > 1} == set(range(8))
    assert sum(first == 0 for _, first in firsts) >= 80
    with pytest.raises(ConfigError, match="only in os are transient faults diagnosed"):
        vectors(MANY, transients=0.01)


def test_sums_change_sign_between_any_two_cells():
    array = replace(MANY, wmem_depth=512)
    driven, turns = np.zeros(8, dtype=np.int64), np.zeros((2, 7), dtype=np.int64)
    for signed, count in enumerate(operands.LARGE):
        words, codes = operands._large(array, np.random.default_rng(0), count, bool(signed))
        sums = np.cumsum(words * codes, axis=-1)[:, 0]
        driven += np.bincount((codes[:, 0] != 0).argmax(axis=1), minlength=8)
        for to, (before, after) in enumerate(((sums[:, :-1], -sums[:, 1:]), (-sums, sums[:, 1:]))):
            turns[to] += ((before[:, :7] > 0) & (after > 0)).sum(axis=0)
    assert driven.min() >= 40 and (driven[0] - driven).max() <= 8
    assert turns.min() >= 4 and turns[:, 3:].min() >= 35


def test_products_are_near_what_is_wanted():
    array, rng = replace(MANY, wmem_depth=512), np.random.default_rng(1)
    for signed, most in ((False, 7 * 255), (True, 7 * 127)):
        wanted = rng.integers(-most, most + 1, 500)
        words, codes = operands._product(array, rng, wanted, signed)
        assert (codes.min() < 0) == signed
        assert (np.abs(wanted - words * codes) < np.maximum(np.abs(words), 1)).all()


@pytest.mark.parametrize("bits", [(1, 1), (1, 2), (2, 1), (8, 8)])
def test_words_and_codes_fit_any_widths(bits):
    word, code = bits
    for block in vectors(ArraySpec(4, 3, word, code, 24, "ws", wmem_depth=8)).logic:
        assert -(1 << (word - 1)) <= block.words.min() and block.words.max() < 1 << (word - 1)
        low = -(1 << (code - 1)) if block.signed else 0
        assert low <= block.codes.min() and block.codes.max() < low + (1 << code)


def test_the_queue_of_the_search_expects_what_it_has_learnt():
    queue = chain._Queue(2)
    queue.put(1)
    queue.learn(0, 3)
    queue.learn(0, 4)  # dearer elsewhere
    queue.put(0)
    assert queue.pop() == (3, 0)
    assert queue.pop() == (4, 1)  # put at 1, before anything was known
    queue.put(2)
    queue.forget()
    assert queue.pop() == (2, 2)


def test_nothing_is_expected_once_an_explanation_is_there(monkeypatch):
    """Others of as many faults are to be found as if none had been."""
    calls = []
    monkeypatch.setattr(chain._Queue, "forget", lambda _: calls.append(1))
    array = replace(MANY, pe=1, wmem_depth=0)
    true = check(FaultProfile(array, (Fault(0, "flip", "psum", 3, 5),)))
    test_set = vectors(array)
    assert infer(test_set, simulate(test_set, true)).unexplained == ()
    assert calls == [1]


def test_two_words_of_which_several_pairs_answer_alike_are_unclear(monkeypatch):
    array = replace(MANY, pe=1)
    search = MemorySearch(array, (), vectors(array).memory)
    healthy = np.zeros(8, dtype=np.int64)
    for others, known in ((0, True), (1, False)):
        # one answer: how many of the multipliers 2 and 5, or of others too, read -3
        lanes = [2, 5, 6][: 2 + others]
        monkeypatch.setattr(
            search,
            "_answers",
            lambda words, lanes=lanes: (words[:, lanes] == -3).sum(axis=1)[:, None],
        )
        found = search._pair(healthy, np.array([2]))
        assert (found is not None) == known
    monkeypatch.setattr(search, "_answers", lambda words: (words == -3).sum(axis=1)[:, None] + 5)
    assert search._pair(healthy, np.array([2])) is not None  # the best of what does not fit
    monkeypatch.setattr("hascodesign.diagnose.memory.MOST_PAIRS", 28 * 16 * 16 - 1)
    assert search._pair(healthy, np.array([2])) is None


def test_the_model_equals_the_engine():
    """PE by PE, activations handed on; dead PEs and faulty words among them."""
    rng, compared = np.random.default_rng(4), 0
    for _ in range(2):
        array = replace(random_spec(rng), dataflow="ws", wmem_depth=int(rng.integers(4, 9)))
        faults = random_faults(rng, array, 12, kinds=("sa0", "sa1", "flip", "dead"))
        test_set = vectors(array)
        (acc,) = simulate(test_set, check(FaultProfile(array, faults)))
        before: SiteMasks | None = None
        for pe in range(array.pe):
            model = PeModel(array, [fault for fault in faults if fault.pe == pe], before)
            assert np.array_equal(model.answers(test_set.blocks), acc[pe])
            before, compared = model.handed_on, compared + acc[pe].size
    assert compared > 1000


def test_pes_of_one_to_three_faults_are_found():
    met, numbers = set(), set()
    test_set = vectors(MANY)
    for seed in (0, 1):
        true = drawn(MANY, np.random.default_rng(seed))
        found = infer(test_set, simulate(test_set, true))
        assert found.unexplained == () and not found.residual.any()
        differ, total = sums_that_differ(true, found.profile, seed)
        assert (differ, total) == (0, 8 * 24 * 2 * (12 + 1 + 1))
        for pe in range(MANY.pe):
            own = [f for f in true.faults if f.pe == pe]
            numbers.add(len(own))
            met |= {(f.site, f.kind) for f in own}
        for pe, others in found.equivalents.items():
            rest = tuple(f for f in found.profile.faults if f.pe != pe)
            words = tuple(f for f in found.profile.faults if f.pe == pe and f.site == "wmem")
            for other in others:
                same = check(replace(true, faults=in_order({*rest, *other, *words})))
                assert sums_that_differ(true, same, 1)[0] == 0
    assert {site for site, _ in met} >= set(SITES) and len(met) > 10
    assert numbers >= {0, 1, 2, 3}


HARD = {
    "an upper bit behind a constant that keeps the sums negative": [
        *(("product", 0, 12, "sa0"), ("product", 1, 12, "sa1"), ("product", 2, 8, "sa0")),
        *(("product", 7, 8, "sa0"), ("psum", 3, 19, "flip")),
    ],
    "upper bits behind a constant that keeps the sums positive": [
        *(("act", 7, 2, "flip"), ("psum", 3, 13, "sa1"), ("psum", 4, 20, "sa0")),
        *(("psum", 5, 15, "sa0"), ("psum", 6, 11, "flip")),
    ],
    "the accumulator beside the last sum": [
        *(("act", 5, 6, "flip"), ("product", 2, 7, "sa0"), ("psum", 0, 19, "sa1")),
        *(("psum", 7, 20, "sa1"), ("acc", None, 19, "sa1")),
    ],
    "a stuck bit that hides another constant where codes are signed": [
        *(("act", 1, 7, "sa1"), ("weight", 1, 0, "sa1"), ("psum", 5, 15, "sa1")),
    ],
    "upper bits that change place where sums change sign": [
        *(("product", 1, 8, "flip"), ("product", 2, 5, "sa0"), ("product", 3, 10, "sa0")),
        *(("psum", 1, 12, "flip"), ("psum", 5, 15, "sa1")),
    ],
    "a cell with three": [
        *(("product", 7, 12, "sa0"), ("product", 7, 4, "sa0"), ("weight", 7, 0, "flip")),
        *(("psum", 3, 5, "sa0"), ("product", 4, 3, "sa1")),
    ],
}


@pytest.mark.parametrize("name", HARD)
def test_faults_that_hide_one_another(name):
    array = replace(MANY, pe=1, wmem_depth=0)
    faults = tuple(Fault(0, kind, site, lane, bit) for site, lane, bit, kind in HARD[name])
    true, test_set = check(FaultProfile(array, faults)), vectors(array)
    found = infer(test_set, simulate(test_set, true))
    assert found.unexplained == () and sums_that_differ(true, found.profile, 2)[0] == 0


def test_two_faulty_words_at_one_address_that_every_column_shows():
    """Neither of them is for the better alone."""
    logic = [
        *(
            Fault(0, "sa1", "act", 0, 2),
            Fault(0, "flip", "act", 7, 7),
            Fault(0, "flip", "act", 6, 3),
        ),
        *(Fault(0, "flip", "product", 1, 7), Fault(0, "sa1", "product", 4, 8)),
        Fault(0, "sa1", "psum", 3, 13),
    ]
    words = [Fault(0, "flip", "wmem", 0, 3, 5), Fault(0, "sa0", "wmem", 6, 1, 5)]
    array = replace(MANY, pe=1)
    true, test_set = check(FaultProfile(array, in_order([*logic, *words]))), vectors(array)
    found = infer(test_set, simulate(test_set, true))
    assert found.unexplained == () and set(words) <= set(found.profile.faults)


def test_an_activation_fault_is_found_where_it_sits():
    """PEs behind it show it, and have none; two that undo one another stay two."""
    array = replace(MANY, pe=6, wmem_depth=0)
    faults = (
        *(Fault(0, "sa1", "act", 1, 7), Fault(1, "flip", "act", 3, 3)),
        *(Fault(3, "flip", "act", 3, 3), Fault(4, "sa0", "act", 1, 7)),
    )
    true, test_set = check(FaultProfile(array, faults)), vectors(array)
    acc = simulate(test_set, true)
    healthy = simulate(test_set, replace(true, faults=()))
    assert [bool((acc[0, pe] != healthy[0, pe]).any()) for pe in range(6)] == [True] * 6
    found = infer(test_set, acc)
    assert set(found.profile.faults) == set(faults) and found.unexplained == ()


def without_answers(test_set: TestSet, true: FaultProfile, pe: int) -> np.ndarray:
    acc = simulate(test_set, true)
    acc[0, pe] = np.random.default_rng(1).integers(-100, 100, acc.shape[2])
    return acc


def test_behind_a_pe_that_is_not_explained_the_next_has_its_activation_faults():
    array = replace(MANY, pe=4, wmem_depth=0)
    faults = (Fault(1, "sa1", "act", 1, 7), Fault(3, "flip", "psum", 2, 5))
    true, test_set = check(FaultProfile(array, faults)), vectors(array)
    found = infer(test_set, without_answers(test_set, true, 1))
    assert found.unexplained == (1,) and found.residual[1] > 0
    assert set(found.profile.faults) == {
        Fault(1, "dead"),
        Fault(2, "sa1", "act", 1, 7),
        Fault(3, "flip", "psum", 2, 5),
    }
    assert sums_that_differ(true, found.profile, 2, {1})[0] == 0


@pytest.mark.parametrize("place", [300, 1100])
def test_a_corrupted_answer_leaves_its_pe_idle(place, monkeypatch):
    monkeypatch.setattr(chain, "MOST_STEPS", 200)
    test_set = vectors(MANY)
    acc = simulate(test_set, check(FaultProfile(MANY, (Fault(4, "sa1", "act", 2, 3),))))
    acc[0, 7, place] ^= 1 << 6
    found = infer(test_set, acc)
    assert found.unexplained == (7,) and found.residual[7] > 0
    assert set(found.profile.faults) == {Fault(4, "sa1", "act", 2, 3), Fault(7, "dead")}


def test_the_reference_as_the_chip():
    test_set = vectors(SMALL)
    true = drawn(SMALL, np.random.default_rng(2))
    acc = simulate(test_set, true, accumulate=reference.accumulate)
    assert np.array_equal(acc, simulate(test_set, true))
    found = infer(test_set, acc)
    assert found.unexplained == () and sums_that_differ(true, found.profile, 0)[0] == 0


def test_other_widths_are_right_or_named():
    rng, pes, left = np.random.default_rng(9), 0, 0
    for _ in range(3):
        array = replace(random_spec(rng), dataflow="ws", pe=4, wmem_depth=int(rng.integers(16, 24)))
        true, test_set = drawn(array, rng), vectors(array)
        found = infer(test_set, simulate(test_set, true))
        idle = set(found.unexplained)
        left, pes = left + len(idle), pes + array.pe
        differ, total = sums_that_differ(true, found.profile, 1, idle)
        assert differ == 0 and total > 0
    assert pes == 12 and left <= 1


def test_what_a_healed_chip_answers_is_predicted_with_what_travels():
    faults = (
        Fault(0, "sa1", "act", 2, 1),
        Fault(1, "flip", "product", 5, 3),
        Fault(4, "sa0", "act", 0, 0),
    )
    chip = check(FaultProfile(MANY, faults))
    test_set = vectors(MANY)
    acc = simulate(test_set, chip)
    found = infer(test_set, acc)
    assert not found.unexplained
    with np.load(io.BytesIO(_predicted(test_set, found))) as predicted:
        assert predicted["explained"].all()
        np.testing.assert_array_equal(predicted["acc"], acc.reshape(predicted["acc"].shape))

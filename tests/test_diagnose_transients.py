"""Transient faults: which wire, and how often, from answers that are not the same each time."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from hascodesign.contract.array import wrap
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile, IntArray
from hascodesign.diagnose import files
from hascodesign.diagnose.infer import infer
from hascodesign.diagnose.model import PeModel
from hascodesign.diagnose.simulate import simulate
from hascodesign.diagnose.transients import Group, Played, Wire
from hascodesign.diagnose.vectors import OPEN_WORDS, TestSet, vectors
from hascodesign.faults.profile import check

SMALL = ArraySpec(8, 2, 3, 4, 18)
#: By PE: a wire of every site, and permanent faults beside it.
TRUE = (
    (Fault(0, "transient", "weight", 1, 2, p=0.05),),
    (Fault(1, "transient", "act", 0, 3, p=0.1),),
    (Fault(2, "transient", "product", 1, 6, p=0.02),),
    (Fault(3, "transient", "psum", None, 5, p=0.05),),
    (Fault(4, "flip", "psum", None, 4), Fault(4, "transient", "weight", 0, 1, p=0.1)),
    (Fault(5, "transient", "product", 0, 3, p=0.02), Fault(5, "sa1", "psum", None, 3)),
    (Fault(6, "transient", "psum", None, 9, p=0.1), Fault(6, "sa0", "product", 1, 1)),
    (Fault(7, "sa0", "weight", 1, 0),),
)


def chip(*faults: Fault, **array: int) -> FaultProfile:
    return check(FaultProfile(replace(SMALL, **array), faults, 7))


def test_vectors_for_transients_are_those_for_permanent_faults_and_more():
    plain, more = vectors(SMALL), vectors(SMALL, transients=0.01)
    assert replace(more, transients=None, exposures=()).digest == plain.digest != more.digest
    assert more.uses >= 100 * 0.99 / 0.01
    for depth in (4, 20, 40, 512):
        for block in vectors(replace(SMALL, wmem_depth=depth), transients=0.3).exposures:
            assert block.base == 0 and len(block.words) * block.steps <= (depth or OPEN_WORDS)
            assert (block.words != 0).all() and (block.codes != 0).all()
    for p in (0.6, 0.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match=r"transients must be a probability 0.0001..0.5"):
            vectors(SMALL, transients=p)


def test_ways_are_counted_as_sets_of_inverted_steps():
    """The chain of the register and the formula for few steps, against every set by hand."""
    rng, compared = np.random.default_rng(3), 0
    for faults in ((), (Fault(0, "sa0", "psum", None, 4), Fault(0, "flip", "product", 0, 2))):
        model = PeModel(replace(SMALL, acc_bits=16), faults)
        for steps in (3, 6):
            words = rng.integers(-4, 4, (2, steps, 2))
            codes = rng.integers(-8, 8, (2, steps, 2))
            none = np.zeros(0, dtype=np.int64)
            group = Group(
                replace(SMALL, acc_bits=16), model, Played(True, words, codes, none, none, none)
            )
            for wire in (
                Wire("weight", 1, 2),
                Wire("act", 0, 3),
                Wire("product", 0, 2),
                Wire("psum", None, 4),
            ):
                for vector in range(2):
                    wanted: dict[int, list[int]] = {}
                    for size in range(steps + 1):
                        for fired in combinations(range(steps), size):
                            acc = by_hand(model, words[vector], codes[vector], wire, fired)
                            wanted.setdefault(acc, [0] * (steps + 1))[size] += 1
                    values = np.array(sorted(wanted))
                    ways = group.ways(wire, np.full(len(values), vector), values)
                    assert ways.tolist() == [wanted[v] for v in values.tolist()]
                    assert not group.ways(wire, np.array([vector]), values[-1:] + 1).any()
                    compared += ways.size
    assert compared > 500


def by_hand(model: PeModel, words, codes, wire: Wire, fired: tuple[int, ...]) -> int:
    """One PE step by step, the wire inverted at some steps."""
    acc = np.int64(0)
    for step in range(len(words)):
        w, a = model.weight.apply(words[step]), model.act.apply(codes[step], True)
        struck = (1 << wire.bit) * (step in fired)
        if wire.site == "weight":
            w[wire.lane] = wrap(w[wire.lane] ^ struck, 3)
        if wire.site == "act":
            a[wire.lane] = wrap(a[wire.lane] ^ struck, 4)
        made = model.product.apply(w * a)
        if wire.site == "product":
            made[wire.lane] = wrap(made[wire.lane] ^ struck, 8)
        acc = model.psum.apply(acc + made.sum())
        if wire.site == "psum":
            acc = wrap(acc ^ struck, 16)
    return int(acc)


def test_the_wire_and_its_probability_at_every_site():
    true = chip(*(fault for faults in TRUE for fault in faults))
    test_set = vectors(SMALL, transients=0.01)
    found = infer(test_set, simulate(test_set, true))
    assert found.unexplained == () and set(found.transients) == set(range(7))
    assert found.unstable[:7].all() and not found.unstable[7]
    for pe, faults in enumerate(TRUE):
        told = {fault for fault in found.profile.faults if fault.pe == pe}
        if pe == 7:
            assert told == set(faults)
            continue
        (struck,) = (fault for fault in faults if fault.kind == "transient")
        known = found.transients[pe]
        assert told == {*faults} - {struck} | {known.fault}
        assert replace(known.fault, p=struck.p) == struck
        assert 0 < known.sigma < 0.11 * struck.p
        assert abs(known.fault.p - struck.p) < 4 * known.sigma


@pytest.mark.parametrize(
    "faults",
    [
        (Fault(1, "transient", "product", 0, 3, p=0.1), Fault(1, "transient", "act", 1, 2, p=0.1)),
        (Fault(1, "transient", "psum", None, bits=(2, 6), p=0.05),),
        (Fault(1, "transient", "weight", 0, 1, p=1e-5),),
        (Fault(1, "transient", "wmem", 0, 1, 3, p=0.2),),
    ],
    ids=["two", "of several bits", "hardly ever", "of a word"],
)
def test_what_no_single_wire_explains_is_named_or_was_never_seen(faults):
    true = chip(*faults, pe=2, wmem_depth=32)
    test_set = vectors(true.array, transients=0.05)
    found = infer(test_set, simulate(test_set, true))
    seen = found.unstable[1] > 0
    assert found.unexplained == ((1,) if seen else ()) and not found.transients
    assert set(found.profile.faults) == ({Fault(1, "dead")} if seen else set())
    assert seen == (faults[0].p > 1e-3)


def test_a_transient_fault_of_a_word_is_not_taken_for_one_of_the_weight():
    """Its inversions look alike, but all meet one address."""
    chances = (0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.01)
    words = [
        Fault(pe, "transient", "wmem", pe % 2, pe % 3, 5 * pe, p=p) for pe, p in enumerate(chances)
    ]
    true = chip(*words, wmem_depth=32)
    test_set = vectors(true.array, transients=0.02)
    found = infer(test_set, simulate(test_set, true))
    seen = np.flatnonzero(found.unstable).tolist()
    assert list(found.unexplained) == seen and set(seen) >= set(range(5))


def test_a_corrupted_answer_beside_a_transient_fault():
    """One answer that the wire cannot make, and many that it makes too often."""
    true = chip(Fault(1, "transient", "product", 0, 3, p=0.02), pe=2)
    test_set = vectors(true.array, transients=0.05)
    acc = simulate(test_set, true)
    assert set(infer(test_set, acc).transients) == {1}
    wrong = acc.copy()
    wrong[0, 1, 5] ^= 1 << 5
    assert infer(test_set, wrong).unexplained == (1,)
    often = acc.copy()
    size = test_set.logic_answers
    often[0, 1, [0, *range(size, 8 * size, size)]] = 8  # half of the times that all was 0
    assert infer(test_set, often).unexplained == (1,)


def test_faulty_words_beside_a_transient_fault_are_not_taken_for_it():
    """Clean words are seen to be so; a stuck bit of a word on the transient's very wire shows."""
    struck = Fault(1, "transient", "weight", 0, 1, p=0.05)
    test_set = vectors(replace(SMALL, pe=2, wmem_depth=32), transients=0.05)
    for words in ((), (Fault(1, "flip", "wmem", 0, 1, 30),)):
        true = chip(struck, *words, pe=2, wmem_depth=32)
        found = infer(test_set, simulate(test_set, true))
        assert set(found.transients) == (set() if words else {1})
        assert found.unexplained == ((1,) if words else ())


def test_an_address_that_strays_too_often_is_named():
    """Every answer is one that the wire makes, but one address gives no other."""
    struck = Fault(1, "transient", "weight", 0, 1, p=0.05)
    test_set = vectors(replace(SMALL, pe=2, wmem_depth=32), transients=0.05)
    acc = simulate(test_set, chip(struck, pe=2, wmem_depth=32))
    assert set(infer(test_set, acc).transients) == {1}
    logic, memory = test_set.logic_answers, test_set.memory_answers
    again = logic + memory + (test_set.logic_plays - 1) * logic
    starts = [logic, *(again + memory * play for play in range(test_set.memory_plays - 1))]
    address, (_, _, columns) = 30, test_set.march_shape
    codes = test_set.memory[0].codes[:, 0, 0]
    for start in starts:  # word 0 reads as 2
        acc[0, 1, start + columns * address :][:columns] = 2 * codes
    assert infer(test_set, acc).unexplained == (1,)


def weight_answers(test_set: TestSet, p: float, seed: int) -> IntArray:
    """Answers of a PE whose weight bit 1 of multiplier 0 is inverted with probability p."""
    rng, healthy, found = np.random.default_rng(seed), PeModel(test_set.array, ()), []
    for block in test_set.blocks:
        words, codes = block.words, block.codes
        if not block.paired:
            words, codes = words[:, None], codes[None]
        words, codes = np.broadcast_arrays(words, codes)
        words = words.copy()
        fired = rng.random(words.shape[:-1]) < p
        words[..., 0] = np.where(fired, wrap(words[..., 0] ^ 2, 3), words[..., 0])
        found.append(healthy.accumulate(words, codes, block.signed).ravel())
    return np.concatenate(found)


def test_a_word_that_is_wrong_wherever_the_wire_is_not_inverted():
    """The march of one run cannot tell such a word where p = 0.15; that of three runs can."""
    test_set = vectors(replace(SMALL, pe=2, wmem_depth=32), transients=0.05)
    healthy = PeModel(test_set.array, ()).answers(test_set.blocks)
    acc = np.array([[healthy, weight_answers(test_set, 0.15, seed)] for seed in range(3)])
    assert infer(test_set, acc[:1]).unexplained == (1,)
    assert set(infer(test_set, acc).transients) == {1}
    logic, memory = test_set.logic_answers, test_set.memory_answers
    again = logic + memory + (test_set.logic_plays - 1) * logic
    starts = [logic, *(again + memory * play for play in range(test_set.memory_plays - 1))]
    columns = test_set.march_shape[2]
    given = 2 * test_set.memory[0].codes[:, 0, 0]  # word 0 reads as 2, or as 0 where it is inverted
    for start in starts:
        place = slice(start + columns * 30, start + columns * 31)
        acc[:, 1, place] = given - acc[:, 1, place]
    for runs in (1, 3):
        assert infer(test_set, acc[:runs]).unexplained == (1,)


def test_a_test_set_for_transients_as_files(tmp_path):
    test_set = vectors(SMALL, 3, 0.05)
    for name, content in files.write_tests(test_set).items():
        (tmp_path / name).write_bytes(content)
    assert files.read_tests(tmp_path).digest == test_set.digest
    text = (tmp_path / "tests.json").read_text()
    for value, words in (('"x"', "a probability, not"), ("0.9", "0.0001..0.5"), ("0.1", "digest")):
        (tmp_path / "tests.json").write_text(
            text.replace('"transients": 0.05', f'"transients": {value}')
        )
        with pytest.raises(ConfigError, match=words):
            files.read_tests(tmp_path)

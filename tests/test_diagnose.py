"""Diagnosis: the profile that an array's answers tell of, held against the one it has."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from hascodesign.contract.types import ArraySpec, Fault, FaultProfile
from hascodesign.diagnose import files
from hascodesign.diagnose.chain import ChainShared
from hascodesign.diagnose.evidence import Shared
from hascodesign.diagnose.infer import infer
from hascodesign.diagnose.model import PeModel
from hascodesign.diagnose.simulate import simulate
from hascodesign.diagnose.vectors import OPEN_WORDS, groups, vectors
from hascodesign.engine import reference
from hascodesign.faults.places import PERMANENT, Places, in_order
from hascodesign.faults.profile import check
from hascodesign.study.diagnose import sums_that_differ
from tests.engine_helpers import random_faults, random_spec

DEFAULT = ArraySpec(16, 8, 4, 8, 24, wmem_depth=512)
MANY = ArraySpec(50, 8, 4, 8, 24, wmem_depth=40)
SMALL = ArraySpec(3, 2, 3, 4, 18, wmem_depth=16)
SITES = ("wmem", "weight", "act", "product", "psum")


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


# ------------------------------------------------------------------------------------- vectors


def test_vectors_by_their_seed_and_within_the_banks():
    test_set = vectors(DEFAULT)
    assert files.write_tests(test_set) == files.write_tests(vectors(DEFAULT))
    assert test_set.digest != vectors(DEFAULT, seed=1).digest
    assert test_set.logic_answers <= 1000
    assert test_set.answers == test_set.logic_answers + 2 * 512 * (1 + 8 * 3)
    for array in (DEFAULT, SMALL, replace(DEFAULT, wmem_depth=4), replace(DEFAULT, wmem_depth=0)):
        for block in vectors(array).blocks:
            end = block.base + len(block.words) * block.steps
            assert 0 <= block.base < end <= (array.wmem_depth or OPEN_WORDS)


@pytest.mark.parametrize("dataflow", ["os", "ws"])
def test_multipliers_with_two_faults_are_told_apart_wherever_they_differ(dataflow):
    """What drives a multiplier alone separates all pairs of faults that any operands separate."""
    held = groups(vectors(array := replace(DEFAULT, dataflow=dataflow)))
    if dataflow == "os":
        catalogue = Shared(array, held).catalogue
    else:
        catalogue = ChainShared(array, held, 0).catalogue(None, 0)
    words, codes = (v.ravel() for v in np.meshgrid(np.arange(-8, 8), np.arange(256)))
    seen, everywhere, count = [], [], 0
    for level in map(catalogue.level, range(3)):
        count += len(level.seen)
        seen += [row.tobytes() for row in level.seen]
        for start in range(0, len(level.masks), 100):
            masks = level.masks[start : start + 100]
            plain = catalogue.differences(masks, words, codes, False)
            signed = catalogue.differences(masks, words, (codes ^ 128) - 128, True)
            everywhere += [row.tobytes() for row in np.hstack([plain, signed]).astype(np.int16)]
    assert count == len(everywhere) == 1905
    assert len(set(seen)) == len(set(everywhere)) == len(set(zip(seen, everywhere, strict=True)))


def test_the_model_of_a_pe_equals_the_engine():
    rng, compared = np.random.default_rng(4), 0
    for _ in range(6):
        array = replace(random_spec(rng), wmem_depth=int(rng.integers(4, 9)))
        faults = random_faults(rng, array, 12, kinds=("sa0", "sa1", "flip", "dead"))
        profile = check(FaultProfile(array, faults))
        test_set = vectors(array)
        (acc,) = simulate(test_set, profile)
        for pe in range(array.pe):
            own = [fault for fault in faults if fault.pe == pe]
            assert np.array_equal(PeModel(array, own).answers(test_set.blocks), acc[pe])
            compared += acc[pe].size
    assert compared > 3000


# ------------------------------------------------------------------------------------- inference


def test_a_hundred_pes_of_one_to_three_faults_are_found():
    exact = pes = 0
    met, numbers = set(), set()
    test_set = vectors(MANY)
    for seed in range(2):
        true = drawn(MANY, np.random.default_rng(seed))
        found = infer(test_set, simulate(test_set, true))
        assert found.unexplained == () and not found.residual.any()
        differ, total = sums_that_differ(true, found.profile, seed)
        assert (differ, total) == (0, 50 * 24 * 2 * (40 + 4 + 1))
        for pe in range(MANY.pe):
            own = {f for f in true.faults if f.pe == pe}
            told = [f for f in found.profile.faults if f.pe == pe]
            assert len(told) <= len(own)  # fewer where one hides another
            one_of = [set(told), *map(set, found.equivalents.get(pe, ()))]
            exact += own in one_of
            pes += 1
            numbers.add(len(own))
            met |= {(f.site, f.kind) for f in own}
    assert met == {*product(SITES, PERMANENT), (None, "dead")} and numbers == {0, 1, 2, 3}
    assert pes == 100 and exact >= 97


HARD = {
    "two multipliers behind a stuck accumulator bit": [
        *(("act", 3, 0, "flip"), ("product", 1, 10, "sa0"), ("psum", None, 10, "sa0")),
    ],
    "Z of another sign in signed layers": [
        *(("weight", 6, 2, "sa1"), ("act", 1, 7, "sa1"), ("act", 6, 7, "sa1")),
        *(("psum", None, 9, "flip"), ("psum", None, 19, "sa1")),
    ],
    "a constant from a bit that another fault holds": [
        *(("product", 3, 0, "flip"), ("weight", 3, 0, "sa0"), ("product", 3, 12, "sa1")),
    ],
    "inverted accumulator bits above all sums": [
        *(("psum", None, 16, "sa1"), ("psum", None, 18, "flip"), ("psum", None, 21, "flip")),
        *(("product", 5, 12, "flip"), ("act", 4, 3, "sa0")),
    ],
}


@pytest.mark.parametrize("name", HARD)
def test_faults_that_hide_one_another(name):
    array = replace(MANY, pe=1, wmem_depth=0)
    faults = tuple(Fault(0, kind, site, lane, bit) for site, lane, bit, kind in HARD[name])
    true, test_set = check(FaultProfile(array, faults)), vectors(array)
    found = infer(test_set, simulate(test_set, true))
    assert found.unexplained == () and sums_that_differ(true, found.profile, 2)[0] == 0


def test_equivalents_behave_alike():
    array = replace(MANY, pe=2, wmem_depth=0)
    swapped = (
        Fault(1, "sa1", "product", 2, 5),
        Fault(1, "sa0", "product", 6, 5),
        Fault(1, "flip", "act", 4, 3),
    )
    true = check(FaultProfile(array, swapped))
    test_set = vectors(array)
    found = infer(test_set, simulate(test_set, true))
    others = [replace(found.profile, faults=other) for other in found.equivalents[1]]
    assert set(true.faults) in [set(p.faults) for p in (found.profile, *others)]
    assert len(others) == 1 and set(others[0].faults) != set(found.profile.faults)
    for other in others:
        assert sums_that_differ(true, check(other), 3)[0] == 0
    wrong = replace(true, faults=swapped[1:])
    assert sums_that_differ(true, wrong, 3)[0] > 0


def test_other_widths_and_wrapping_sums():
    rng, pes, left = np.random.default_rng(9), 0, 0
    for _ in range(10):
        array = replace(random_spec(rng), pe=4, wmem_depth=int(rng.integers(16, 24)))
        true = drawn(array, rng)
        test_set = vectors(array)
        found = infer(test_set, simulate(test_set, true))
        idle = set(found.unexplained)
        left, pes = left + len(idle), pes + array.pe
        kept = [
            replace(p, faults=tuple(f for f in p.faults if f.pe not in idle))
            for p in (true, found.profile)
        ]
        differ, total = sums_that_differ(*kept, 1)
        assert differ == 0 and total > 0
    assert pes > 30 and left <= 1


def test_the_reference_as_the_chip():
    rng = np.random.default_rng(2)
    test_set = vectors(SMALL)
    true = drawn(SMALL, rng)
    acc = simulate(test_set, true, accumulate=reference.accumulate)
    assert np.array_equal(acc, simulate(test_set, true))
    found = infer(test_set, acc)
    assert found.unexplained == () and sums_that_differ(true, found.profile, 0)[0] == 0


def test_faulty_words_beside_faulty_logic():
    """Many words, some of them where the vectors of the logic lie, which are then left out."""
    array = replace(MANY, pe=6, wmem_depth=256)
    rng = np.random.default_rng(6)
    logic = drawn(array, rng, SITES[1:])
    places, words = Places(array, rng), []
    alive = sorted({f.pe for f in logic.faults if f.kind != "dead"})
    for number in range(150):
        words.append(places.fault(alive[number % len(alive)], "wmem", PERMANENT[number % 3]))
    true = check(replace(logic, faults=in_order((*logic.faults, *words))))
    test_set = vectors(array)
    found = infer(test_set, simulate(test_set, true))
    assert found.unexplained == ()
    assert sums_that_differ(true, found.profile, 0)[0] == 0
    assert sum(f.site == "wmem" for f in found.profile.faults) > 120


@pytest.mark.parametrize("place", [0, 300, 940, 1500])
def test_a_corrupted_answer_leaves_its_pe_idle(place):
    test_set = vectors(MANY)
    acc = simulate(test_set, check(FaultProfile(MANY, (Fault(4, "sa1", "act", 2, 3),))))
    acc[0, 7, place] ^= 1 << 6
    found = infer(test_set, acc)
    assert found.unexplained == (7,) and found.residual[7] > 0
    assert set(found.profile.faults) == {Fault(4, "sa1", "act", 2, 3), Fault(7, "dead")}


def test_what_changes_between_runs_is_not_explained():
    faults = (Fault(2, "transient", "product", 1, 4, p=0.05), Fault(0, "flip", "psum", None, 3))
    true = check(FaultProfile(replace(MANY, pe=4), faults))
    test_set = vectors(true.array)
    found = infer(test_set, simulate(test_set, true, runs=2))
    assert found.unexplained == (2,) and found.unstable[2] > 0
    assert not found.unstable[[0, 1, 3]].any()
    assert set(found.profile.faults) == {faults[1], Fault(2, "dead")}

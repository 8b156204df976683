"""Coverage of the faults, held against the step-by-step reference."""

from dataclasses import replace

import numpy as np
import pytest

from hascodesign.contract import arithmetic, array
from hascodesign.contract.types import Fault, FaultProfile, RowMap, Schedule, frozen
from hascodesign.engine import reference
from hascodesign.verify import coverage, replay
from hascodesign.verify.coverage import Excitation, excitation
from tests import rtl_cases
from tests import verify_cases as cases


def brute_force(profile, layer, row_map, activations, base, monkeypatch, columns=None):
    """Excitation by running the reference with and without each fault, watching every site."""
    through = reference._Run._through
    shape = (len(profile.faults), activations.shape[1])
    found = Excitation(np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool))
    run = (layer, row_map, activations)
    for entry in range(len(profile.faults)):
        without = replay.without(profile, entry)

        def watch(self, site, pe, s, values, number, step, *, entry=entry, without=without):
            struck = through(self, site, pe, s, values, number, step)
            carried = site == "act" and profile.array.dataflow == "ws"
            later = profile.array.pe if carried else pe + 1
            if (row_map.slots[number, pe:later] >= 0).any() and self.profile is profile:
                other = through(replace(self, profile=without), site, pe, s, values, number, step)
                found.exercised[entry] |= struck != other
            return struck

        monkeypatch.setattr(reference._Run, "_through", watch)
        struck = reference.accumulate(profile, *run, wmem_base=base, columns=columns)
        monkeypatch.setattr(reference._Run, "_through", through)
        plain = reference.accumulate(without, *run, wmem_base=base, columns=columns)
        found.changed[entry] = (struck != plain).any(axis=0)
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("signed", [False, True])
def test_excitation_equals_brute_force(seed, index, signed, monkeypatch):
    monkeypatch.setattr(coverage, "BLOCK", 30)  # several blocks of columns
    net = cases.network()
    schedule = cases.schedule(net)
    profile = cases.random_profile(seed, 14)
    layer = replace(net.layers[index], in_signed=signed)
    rng = np.random.default_rng(seed)
    low, high = (-128, 128) if signed else (0, 256)
    activations = rng.integers(low, high, (layer.depth, 7))
    activations[:, 3:5] = 0
    base = array.wmem_bases(net, schedule)[index]
    given = (layer, schedule.layers[index], activations, base)
    got = excitation(profile, *given)
    expected = brute_force(profile, *given, monkeypatch)
    assert np.array_equal(got.exercised, expected.exercised)
    assert np.array_equal(got.changed, expected.changed)
    assert got.exercised.any()
    assert not got.changed.all()


def test_fault_on_idle_pe_is_reported_untouched():
    net = cases.network()
    layer = net.layers[1]
    profile = FaultProfile(cases.ARRAY, (Fault(0, "flip", "psum", bit=0),))
    activations = np.ones((layer.depth, 2), dtype=np.int64)
    idle = excitation(profile, layer, RowMap("dense", 3, frozen([[-1, 2, 1, 0]])), activations)
    used = excitation(profile, layer, RowMap("dense", 3, frozen([[2, -1, 1, 0]])), activations)
    assert not idle.exercised.any()
    assert not idle.changed.any()
    assert used.exercised.all()
    (only,) = coverage.coverage([idle, used])
    assert (only.entry, only.exercised, only.changed_accumulator) == (0, True, used.changed.any())


def test_exercised_without_changing_an_accumulator():
    """Two flips of the accumulator's register cancel where the number of steps is even."""
    net = cases.network()
    layer = replace(net.layers[1], weights=frozen(np.zeros((3, 6))))
    profile = FaultProfile(cases.ARRAY, (Fault(0, "flip", "psum", bit=3),))
    row_map = RowMap("dense", 3, frozen([[0, 1, 2, -1]]))
    found = excitation(profile, layer, row_map, np.ones((6, 1), dtype=np.int64))
    assert found.exercised.all()
    assert not found.changed.any()


def test_coverage_joins_layers():
    nothing = np.zeros((2, 3), dtype=bool)
    first = Excitation(nothing | [[False, True, False], [False] * 3], nothing)
    second = Excitation(nothing, nothing | [[False] * 3, [True, False, False]])
    found = coverage.coverage([first, second])
    assert [(f.entry, f.exercised, f.changed_accumulator) for f in found] == [
        (0, True, False),
        (1, False, True),
    ]
    assert coverage.coverage([first.at(np.array([0, 2]))])[0].exercised is False


def test_no_faults_no_coverage():
    net = cases.network()
    plain = FaultProfile(cases.ARRAY)
    activations = arithmetic.columns(net.layers[0], cases.input_codes(1))
    found = excitation(plain, net.layers[0], cases.schedule(net).layers[0], activations)
    assert coverage.coverage([found]) == ()


@pytest.mark.parametrize("dataflow", ["os", "ws"])
@pytest.mark.parametrize("seed", range(3))
def test_every_site_and_kind_equals_brute_force(seed, dataflow, monkeypatch):
    monkeypatch.setattr(coverage, "BLOCK", 200)
    rng = np.random.default_rng(seed)
    net = cases.network()
    spec = replace(cases.ARRAY, dataflow=dataflow)
    schedule = Schedule(spec, cases.schedule(net).layers)
    words = array.wmem_words(net, spec, schedule)
    profile = rtl_cases.any_profile(rng, spec, 18, words)
    for index, (low, high) in enumerate(((0, 256), (-128, 128))):
        layer = replace(net.layers[index], in_signed=low < 0)
        activations = rng.integers(low, high, (layer.depth, 5))
        activations[:, 3] = 0
        base = array.wmem_bases(net, schedule)[index]
        counters = np.sort(rng.choice(1000, 5, replace=False))
        given = (layer, schedule.layers[index], activations, base)
        got = excitation(profile, *given, counters)
        expected = brute_force(profile, *given, monkeypatch, counters)
        assert np.array_equal(got.exercised, expected.exercised)
        assert np.array_equal(got.changed, expected.changed)
        assert got.exercised.any()
        assert got.changed.any()


def test_a_carried_activation_counts_where_only_a_later_pe_is_read():
    net = cases.network()
    layer = net.layers[1]
    systolic = replace(cases.ARRAY, dataflow="ws")
    faults = (Fault(0, "flip", "act", 0, 1), Fault(0, "flip", "product", 0, 1))
    activations = np.ones((layer.depth, 2), dtype=np.int64)
    row_map = RowMap("dense", 3, frozen([[-1, 2, 1, 0]]))
    carried = excitation(FaultProfile(systolic, faults), layer, row_map, activations)
    alone = excitation(FaultProfile(cases.ARRAY, faults), layer, row_map, activations)
    assert carried.exercised.tolist() == [[True] * 2, [False] * 2]
    assert carried.changed.any()
    assert not alone.exercised.any()

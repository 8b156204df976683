"""Choice of the simulated columns."""

import numpy as np
import pytest

from hascodesign.verify import columns
from hascodesign.verify.coverage import Excitation
from tests import verify_cases as cases


def excited(faults, candidates, exercised=(), changed=()):
    found = Excitation(
        np.zeros((faults, candidates), dtype=bool), np.zeros((faults, candidates), dtype=bool)
    )
    for place in exercised:
        found.exercised[place] = True
    for place in changed:
        found.changed[place] = True
    return found


@pytest.mark.parametrize(
    ("passes", "steps", "pe", "external", "count"),
    [
        (1, 18, 16, False, 32),
        (1, 3125, 16, False, 32),  # 32 * 3125 = 100,000: just within
        (1, 3126, 16, False, 31),
        (1, 3125, 16, True, 31),  # the load of the weights takes a column's time
        (25, 5, 124, False, 32),  # the drain of the results is what takes time, P + 1 cycles
        (25, 5, 125, False, 31),
        (64, 576, 16, False, 2),
        (640, 576, 16, True, 2),
    ],
)
def test_column_count(passes, steps, pe, external, count):
    assert columns.column_count(passes, steps, pe, external, 100_000) == count
    cycles = columns.simulated_cycles(passes, steps, pe, count, external)
    assert cycles <= 100_000 or count == columns.LEAST
    if count < columns.TARGET:
        assert columns.simulated_cycles(passes, steps, pe, count + 1, external) > 100_000


def test_faults_that_change_an_accumulator_come_first():
    found = excited(3, 100, exercised=[(0, 5), (2, 50)], changed=[(0, 7), (1, 9), (0, 9)])
    codes = np.zeros((2, 100), dtype=np.int64)
    rng = np.random.default_rng(0)
    assert 9 in columns.choose(found, codes, 2, rng)  # the one column that covers faults 0 and 1
    assert {9, 50} <= set(columns.choose(found, codes, 3, rng).tolist())
    assert {5, 9, 50} <= set(columns.choose(found, codes, 3, rng).tolist())


def test_output_values_are_spread():
    codes = np.zeros((2, 400), dtype=np.int64)
    codes[0, 17], codes[1, 211], codes[1, 300] = 1, 3, 2
    chosen = columns.choose(excited(0, 400), codes, 16, np.random.default_rng(3))
    assert {17, 211, 300} <= set(chosen.tolist())
    assert len(chosen) == 16


def test_wide_values_fall_into_bins():
    codes = np.arange(-500, 500)[None, :] * 1000
    chosen = columns.choose(excited(0, 1000), codes, 32, np.random.default_rng(3))
    bins = (codes[0, chosen] + 500_000) * columns.LEVELS // 999_001
    assert set(bins.tolist()) == set(range(columns.LEVELS))


def test_choice_is_distinct_ascending_and_repeatable():
    rng = np.random.default_rng(8)
    found = Excitation(rng.random((6, 200)) < 0.02, rng.random((6, 200)) < 0.02)
    codes = rng.integers(0, 16, (9, 200))
    first = columns.choose(found, codes, 32, np.random.default_rng(4))
    again = columns.choose(found, codes, 32, np.random.default_rng(4))
    other = columns.choose(found, codes, 32, np.random.default_rng(5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(first) == 32
    assert (np.diff(first) > 0).all()
    for table in (found.changed, found.exercised):
        assert np.array_equal(table[:, first].any(axis=1), table.any(axis=1))


def test_all_candidates_where_there_are_few():
    chosen = columns.choose(excited(1, 5), np.zeros((1, 5)), 32, np.random.default_rng(0))
    assert chosen.tolist() == [0, 1, 2, 3, 4]


def test_pool_is_bounded():
    layer = cases.network().layers[0]  # 16 positions an image
    rng = np.random.default_rng(0)
    assert columns.pool(layer, 3, 32, 48, rng).tolist() == list(range(48))
    many = columns.pool(layer, 1000, 32, 0, rng)
    assert len(many) == columns.POOL
    assert (np.diff(many) > 0).all()
    assert many[-1] < 16000
    assert len(columns.pool(layer, 1000, 2, 36_864 * 4, rng)) == columns.POOL_WORK // (36_864 * 4)
    assert len(columns.pool(layer, 1000, 2, 36_864 * 1000, rng)) == 2 * columns.CANDIDATES


def test_images_are_bounded():
    net = cases.network()
    assert columns.image_count(net, 10) == 10
    assert columns.image_count(net, 10_000) == columns.IMAGES

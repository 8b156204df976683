"""Parts of a sum on several threads: the order, errors, and the same bytes however many."""

from __future__ import annotations

from collections.abc import Iterator

import numba
import numpy as np
import pytest

from hascodesign.schedule.rebuild import Clean, _products
from hascodesign.schedule.space import make_space
from hascodesign.schedule.surrogate import make_model
from hascodesign.schedule.threads import in_order
from tests.schedule_stand_in import NetworkEvaluator
from tests.test_schedule_rebuild import NETWORKS, WIDE

MOST = numba.config.NUMBA_NUM_THREADS


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    if request.param > MOST:
        pytest.skip("numba has one thread only")
    before = numba.get_num_threads()
    numba.set_num_threads(request.param)
    yield request.param
    numba.set_num_threads(before)


def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    assert list(in_order(lambda one: one * one, range(50))) == [one * one for one in range(50)]
    assert list(in_order(str, [])) == []


def test_an_error_in_a_part_is_an_error(threads: int) -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda one: 1 // one, [1, 0, 2]))


@pytest.mark.parametrize("weighed", [False, True])
def test_products_are_those_of_all_vectors(threads: int, weighed: bool) -> None:
    rng = np.random.default_rng(5)
    # small whole numbers: their sums are exact in float32 in any order
    vectors = rng.integers(-9, 9, (3, 4, 7)).astype(np.float32)
    half = rng.integers(-9, 9, (4, 4))
    weights = (half + half.T).astype(np.float32)
    flat = vectors.reshape(12, 7)
    wanted = (flat @ flat.T) * np.tile(weights, (3, 3)) if weighed else flat @ flat.T
    assert np.array_equal(_products(vectors, weights if weighed else None), wanted)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_model_and_errors_are_the_same_on_two_threads(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if MOST < 2:
        pytest.skip("numba has one thread only")
    network = NETWORKS[name]
    evaluator = NetworkEvaluator(network, WIDE, images=6)
    space = make_space(network, WIDE)
    images = (evaluator.codes, evaluator.labels)
    monkeypatch.setattr("hascodesign.schedule.surrogate.cheap", lambda *_: False)
    found = []
    before = numba.get_num_threads()
    for threads in (1, 2):
        numba.set_num_threads(threads)
        try:
            model = make_model(network, WIDE, space, *images, None, lambda *_: None)
            clean = Clean(network, WIDE, space, *images)
            errors = clean.problem(clean.steps[0], 0.1).errors
        finally:
            numba.set_num_threads(before)
        assert errors is not None
        found.append([c.tobytes() for c in model.changes] + [errors.gram.tobytes()])
    assert found[0] == found[1]
    assert any(change.any() for change in model.changes)

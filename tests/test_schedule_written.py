"""Written rows in schedule.json: they come back as they were, and bad ones are refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hascodesign.contract.errors import ScheduleError
from hascodesign.schedule import formats, written
from tests.engine_helpers import random_inputs, random_schedule
from tests.written_cases import case, write


def document(network, found):
    rows = [[row.text() for row in layer] for layer in written.rows_of(network, found.written)]
    return formats.to_json(found.schedule, rows)


def written_case():
    rng, network, profile = case(3)
    codes, labels = random_inputs(rng, network, 24)
    schedule = random_schedule(rng, network, profile.array)
    return network, profile.array, write(network, profile, codes, labels, schedule)


def same(one, other):
    for a, b in zip(one.layers, other.layers, strict=True):
        assert np.array_equal(a.weights, b.weights) and np.array_equal(a.bias, b.bias)
        left, right = written.as_thresholds(a), written.as_thresholds(b)
        assert (left is None) == (right is None)
        if left is not None:
            assert np.array_equal(left.values, right.values) and left.lowest == right.lowest
            assert np.array_equal(left.descending, right.descending)


def test_written_rows_come_back_from_their_file():
    network, array, made = written_case()
    data = document(network, replace_found(made))
    assert json.loads(data)["version"] == 2
    assert formats.from_json(data, network, array).layers[0].slots.tolist() == (
        made.schedule.layers[0].slots.tolist()
    )
    back = written.from_json(data, network, array)
    same(back, made.network)
    assert document(network, replace_found(replace(made, network=back))) == data
    plain = formats.to_json(made.schedule)
    assert json.loads(plain)["version"] == 1
    assert written.from_json(plain, network, array) is None


def replace_found(made):
    class Found:
        schedule, written = made.schedule, made.network

    return Found


BAD = {
    "row": (10_000, "must be a whole number from 0 to"),
    "sign": (0, "must be 1 or -1"),
    "words": ([[0, 99]], "must be a whole number from -"),
    "bias": (0.5, "must be a whole number from"),
    "descending": (1, "must be true or false"),
    "thresholds": ([1], "must be a list of"),
}


@pytest.mark.parametrize("key", BAD)
def test_a_written_row_that_does_not_fit_is_refused_with_its_place(key):
    network, array, made = written_case()
    top = json.loads(document(network, replace_found(made)))
    layer = next(i for i, entry in enumerate(top["layers"]) if entry["written"])
    value, words_ = BAD[key]
    top["layers"][layer]["written"][0][key] = value
    with pytest.raises(ScheduleError, match=rf"layers\[{layer}\].written\[0\].{key}.*{words_}"):
        written.from_json(json.dumps(top).encode(), network, array)


def test_thresholds_out_of_order_and_rows_twice_are_refused():
    network, array, made = written_case()
    top = json.loads(document(network, replace_found(made)))
    layer = next(
        i for i, entry in enumerate(top["layers"]) if any(r["thresholds"] for r in entry["written"])
    )
    entry = top["layers"][layer]["written"][0]
    good = entry["thresholds"]
    beyond = good[-1] - 1 if entry["descending"] else good[-1] + 1
    entry["thresholds"] = [beyond, *good[1:]]
    with pytest.raises(ScheduleError, match="in the order in which they are passed"):
        written.from_json(json.dumps(top).encode(), network, array)
    entry["thresholds"] = good
    top["layers"][layer]["written"].append(entry)
    with pytest.raises(ScheduleError, match=r"row must be (above|a whole)"):
        written.from_json(json.dumps(top).encode(), network, array)

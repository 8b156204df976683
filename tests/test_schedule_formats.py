"""schedule.json: lossless, deterministic, and strict about everything it takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hascodesign.contract.array import identity_map, identity_schedule
from hascodesign.contract.errors import ScheduleError
from hascodesign.contract.types import RowMap, Schedule, frozen
from hascodesign.schedule.formats import check, from_json, to_json
from tests.schedule_stand_in import array, dense_network

NETWORK = dense_network([6, 3], 5, seed=1)
ARRAY = array()


def shuffled(seed: int) -> Schedule:
    rng = np.random.default_rng(seed)
    maps = []
    for layer in NETWORK.layers:
        plain = identity_map(layer, ARRAY.pe, passes=3)
        slots = rng.permutation(plain.slots.reshape(-1)).reshape(plain.slots.shape)
        maps.append(RowMap(layer.name, layer.rows, frozen(slots)))
    return Schedule(ARRAY, tuple(maps))


@pytest.mark.parametrize("seed", range(5))
def test_comes_back_the_same_with_spare_passes(seed: int) -> None:
    schedule = shuffled(seed)
    back = from_json(to_json(schedule), NETWORK, ARRAY)
    assert back.array == ARRAY
    for there, here in zip(back.layers, schedule.layers, strict=True):
        assert (there.name, there.rows) == (here.name, here.rows)
        assert np.array_equal(there.slots, here.slots)
        assert not there.slots.flags.writeable
    assert to_json(back) == to_json(schedule)


def test_one_line_for_each_pass_of_plain_json() -> None:
    text = to_json(identity_schedule(NETWORK, ARRAY)).decode()
    assert "\n        [0, 1, 2, 3],\n        [4, 5, -1, -1]\n" in text
    assert json.loads(text)["layers"][1]["slots"] == [[0, 1, 2, -1]]
    assert text.endswith("}\n")


def test_check_takes_a_good_one_and_refuses_another_networks() -> None:
    schedule = shuffled(0)
    assert to_json(check(schedule, NETWORK)) == to_json(schedule)
    with pytest.raises(ScheduleError, match=r"layers\[0\]\.rows must be 7, not 6"):
        check(schedule, dense_network([7, 3], 5, seed=1))


def edit(*keys: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(record: Any) -> None:
        for key in keys[:-1]:
            record = record[key]
        record[keys[-1]] = to

    return change


def drop(*keys: str | int) -> Callable[[dict[str, Any]], None]:
    def change(record: Any) -> None:
        for key in keys[:-1]:
            record = record[key]
        del record[keys[-1]]

    return change


BAD = [
    (edit("version", to=3), "schedule.json: version must be 1 or 2, not 3"),
    (edit("version", to=2), "schedule.json: layers[0]: key 'written' is missing"),
    (edit("version", to=True), "schedule.json: version must be 1 or 2, not true"),
    (drop("version"), "schedule.json: key 'version' is missing"),
    (edit("speed", to=1), 'schedule.json: unknown key "speed"'),
    (edit("array", "colour", to=1), 'schedule.json: array: unknown key "colour"'),
    (edit("array", "pe", to=8), "schedule.json: array.pe must be the array's 4, not 8"),
    (edit("array", "dataflow", to="ws"), "array.dataflow must be the array's 'os', not \"ws\""),
    (edit("array", "simd", to=3.0), "array.simd must be the array's 3, not 3.0"),
    (edit("array", to=[1]), "schedule.json: array must be an object, not a list of 1"),
    (edit("layers", to={}), "schedule.json: layers must be a list, not an object of 0 keys"),
    (drop("layers", 1), "schedule.json: layer 'dense1' of the network has no entry"),
    (drop("layers", 0), "layers[0].name must be 'dense0', not \"dense1\""),
    (edit("layers", 0, "name", to=7), "layers[0].name must be 'dense0', not 7"),
    (edit("layers", 1, "rows", to=4), "schedule.json: layers[1].rows must be 3, not 4"),
    (edit("layers", 1, "note", to=""), 'schedule.json: layers[1]: unknown key "note"'),
    (drop("layers", 1, "slots"), "schedule.json: layers[1]: key 'slots' is missing"),
    (edit("layers", 0, "slots", 0, to=[0, 1, 2]), "layers[0].slots[0] must be a list of 4 rows"),
    (edit("layers", 0, "slots", 1, to=3), "layers[0].slots[1] must be a list of 4 rows"),
    (
        drop("layers", 0, "slots", 1),
        "layers[0].slots must be a list of at least 2 passes, not a list of 1",
    ),
    (
        edit("layers", 0, "slots", 1, 0, to=2),
        "layers[0].slots[1][0]: row 2 must stand once, it stands at layers[0].slots[0][2] too",
    ),
    (edit("layers", 0, "slots", 1, 0, to=-1), "layers[0].slots: row 4 must stand once, not never"),
    (
        edit("layers", 0, "slots", 0, 3, to=6),
        "layers[0].slots[0][3] must be a row from 0 to 5 or -1 for idle, not 6",
    ),
    (edit("layers", 0, "slots", 0, 3, to=-2), "or -1 for idle, not -2"),
    (edit("layers", 0, "slots", 0, 3, to=True), "or -1 for idle, not true"),
    (edit("layers", 0, "slots", 0, 3, to=3.0), "or -1 for idle, not 3.0"),
    (edit("layers", 0, "slots", 0, 3, to="x" * 99), 'or -1 for idle, not "xxxx'),
]


@pytest.mark.parametrize(("change", "words"), BAD, ids=[words for _, words in BAD])
def test_refuses_with_the_place(change: Callable[[dict[str, Any]], None], words: str) -> None:
    record = json.loads(to_json(identity_schedule(NETWORK, ARRAY)))
    change(record)
    with pytest.raises(ScheduleError) as caught:
        from_json(json.dumps(record).encode(), NETWORK, ARRAY)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 160


def test_refuses_a_layer_too_many() -> None:
    record = json.loads(to_json(identity_schedule(NETWORK, ARRAY)))
    record["layers"].append(record["layers"][1])
    with pytest.raises(ScheduleError, match=r"layers\[2\] must not be there, .* 2 multiply"):
        from_json(json.dumps(record).encode(), NETWORK, ARRAY)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "must be JSON: Expecting value, line 1 column 1"),
        (b"\xff\xfe", "must be UTF-8, not byte 0xff at offset 0"),
        (b"[1]", "schedule.json must be an object, not a list of 1"),
        (b'{"version": 1, "version": 1}', 'key "version" must stand once, not twice'),
        (b"[" * 100_000, "must be JSON"),
        (b'{"version": ' + b"9" * 5000 + b"}", "key 'array' is missing"),
    ],
)
def test_refuses_what_is_not_json(data: bytes, words: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        from_json(data, NETWORK, ARRAY)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_refuses_every_file_cut_short() -> None:
    data = to_json(identity_schedule(NETWORK, ARRAY)).rstrip()
    for length in range(len(data)):
        with pytest.raises(ScheduleError):
            from_json(data[:length], NETWORK, ARRAY)


def test_holds_the_passes_against_the_weight_banks() -> None:
    data = to_json(shuffled(3))  # three passes of 2 steps and of 2 steps
    deep, shallow = array(wmem_depth=12), array(wmem_depth=11)
    assert from_json(data, NETWORK, deep).array == deep
    with pytest.raises(ScheduleError, match=r"takes 12 words .* wmem_depth of 11"):
        from_json(data, NETWORK, shallow)

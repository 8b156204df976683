import json

import numpy as np
import pytest

from hascodesign.common import records
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile, RowMap, frozen
from hascodesign.flow.store import StepStore, sources

PROFILE = FaultProfile(
    ArraySpec(2, 2, 4, 4, 16), (Fault(0, "sa1", "psum", bit=3),), 7, "x", {"v": 0.6}
)


def test_records_come_back_equal():
    record = (PROFILE, RowMap("a", 2, frozen([[1, 0]])), {"f": b"\x00\xff"}, None, 1.5, "s")
    back = records.decode(records.encode(record))
    assert back[0] == PROFILE
    assert np.array_equal(back[1].slots, [[1, 0]]) and not back[1].slots.flags.writeable
    assert back[2:] == record[2:]
    assert records.digest(record) == records.digest(back)


def test_digest_sees_one_changed_integer():
    one, two = RowMap("a", 2, frozen([[1, 0]])), RowMap("a", 2, frozen([[0, 1]]))
    assert records.digest(one) != records.digest(two)
    assert records.digest(np.zeros(4, np.int64)) != records.digest(np.zeros((2, 2), np.int64))


def test_a_foreign_object_is_not_stored():
    with pytest.raises(TypeError, match="plain values, not object"):
        records.encode(object())


def count_runs(store, inputs, result="r"):
    runs = []
    value = store.run("load", inputs, lambda: runs.append(1) or result)
    return value, len(runs)


def test_same_inputs_are_served_and_changed_ones_are_not(tmp_path):
    assert count_runs(StepStore(tmp_path), (PROFILE, 1)) == ("r", 1)
    assert count_runs(StepStore(tmp_path), (PROFILE, 1)) == ("r", 0)
    assert count_runs(StepStore(tmp_path), (PROFILE, 2)) == ("r", 1)
    assert count_runs(StepStore(tmp_path, frozenset({"load"})), (PROFILE, 2)) == ("r", 1)


def test_changed_code_is_not_served(tmp_path, monkeypatch):
    count_runs(StepStore(tmp_path), (1,))
    monkeypatch.setattr("hascodesign.flow.store.source_digest", lambda: "other")
    assert count_runs(StepStore(tmp_path), (1,))[1] == 1


@pytest.mark.parametrize("name", ["load.npz", "load.json"])
def test_damaged_results_are_computed_again(tmp_path, name):
    count_runs(StepStore(tmp_path), (1,))
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    assert count_runs(StepStore(tmp_path), (1,)) == ("r", 1)


def test_a_result_swapped_for_another_is_not_served(tmp_path):
    count_runs(StepStore(tmp_path), (1,))
    (tmp_path / "load.npz").write_bytes(records.encode("other"))
    assert count_runs(StepStore(tmp_path), (1,)) == ("r", 1)


def test_a_failed_step_stores_nothing(tmp_path):
    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        StepStore(tmp_path).run("load", (1,), fail)
    assert list(tmp_path.iterdir()) == []


def test_records_say_what_was_cached(tmp_path):
    count_runs(StepStore(tmp_path), (1,))
    store = StepStore(tmp_path)
    count_runs(store, (1,))
    assert [(r.name, r.cached) for r in store.records] == [("load", True)]
    assert json.loads((tmp_path / "load.json").read_text())["seconds"] == store.records[0].seconds


def test_plan_digest_covers_paths_and_contents():
    base = BuildPlan({"a": b"1", "b": b"2"})
    assert base.digest == BuildPlan({"b": b"2", "a": b"1"}).digest
    assert (
        len({p.digest for p in (base, BuildPlan({"a": b"12", "b": b""}), BuildPlan({"ab": b"12"}))})
        == 3
    )
    with pytest.raises(ValueError, match="two parts of the build write a"):
        BuildPlan.merge([base, base])


def test_whatever_the_results_come_from_is_in_the_key() -> None:
    names = {name for name, _ in sources()}
    assert {"hls/has_layer.cpp", "hls/has_faults.h", "has_pe.v", "core/has_core.v.j2"} <= names
    assert {"core_bench.py", "engine/kernels.py", "report/report.html.j2"} <= names
    assert not [name for name in names if "__pycache__" in name]

"""Studies on a cluster: the rows of one process but for times, kept as they come."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from hascodesign.fleet import cluster, work
from hascodesign.flow.config import board_config, load_config
from hascodesign.flow.request import Request
from hascodesign.study import benchmark, seeds, voltage
from hascodesign.study.has import experiment
from hascodesign.study.has import model as has_model

SMALL = {
    "board": "pynq-z2", "faults.faulty_pes": 2, "schedule.evaluations": 4,
    "schedule.generations": 1, "schedule.random_maps": 1,
}  # fmt: skip
WHERE = cluster.Where(workers=2)


@pytest.fixture
def here(monkeypatch):
    """The cluster's workers are threads of this process; gives what they were asked."""
    asked: list[int] = []

    @contextmanager
    def local(workers: int):
        asked.append(workers)
        options = {"processes": False, "dashboard_address": "127.0.0.1:0", "protocol": "inproc"}
        sizes = {"n_workers": workers, "threads_per_worker": 1}
        with LocalCluster(**sizes, **options) as made, Client(made) as client:
            yield client

    monkeypatch.setattr(cluster, "local", local)
    return asked


def request(out: Path, **changes: object) -> Request:
    config = load_config(board_config("pynq-z2"), SMALL | {"schedule.moves": []} | changes)
    return Request(config=config, out=out, cache=out / "cache")


def test_seeds(tmp_path: Path, here, monkeypatch) -> None:
    alone = seeds.run(request(tmp_path / "alone"), [3])
    assert here == []
    spread = seeds.run(request(tmp_path / "spread"), [3], where=WHERE)
    assert here == [2] and len(spread) == 1
    assert [replace(r, seconds=0.0) for r in spread] == [replace(r, seconds=0.0) for r in alone]
    # what is kept is not asked again
    monkeypatch.setattr(work, "call", None)
    assert seeds.run(request(tmp_path / "spread"), [3], where=WHERE) == spread
    assert here == [2]


def test_benchmark(tmp_path: Path, here, monkeypatch) -> None:
    names = ("plain", "rule")

    def made(folder: str, where: cluster.Where | None) -> benchmark.Benchmark:
        return benchmark.run(request(tmp_path / folder), ["8x1"], names, [3, 4], where=where)

    def untimed(result: benchmark.Benchmark) -> list[object]:
        return [
            replace(row, outcomes={m: replace(o, seconds=0.0) for m, o in row.outcomes.items()})
            for row in result.rows
        ]

    alone, spread = made("alone", None), made("spread", WHERE)
    assert here == [2]
    assert untimed(spread) == untimed(alone) and len(spread.rows[1].outcomes) == 2
    monkeypatch.setattr(work, "call", None)
    assert made("spread", WHERE) == spread
    assert here == [2]


def test_voltage(tmp_path: Path, here, monkeypatch) -> None:
    # what a search finds is the same anywhere by tests of its own
    monkeypatch.setattr(voltage._Bench, "search", lambda _bench, _profile, before: before)
    sweeps = [
        voltage.run(request(tmp_path / name), chips=2, voltages=(0.56, 0.62), where=where).sweeps
        for name, where in (("alone", None), ("spread", WHERE))
    ]
    assert here == [2]
    assert sweeps[0] == sweeps[1]
    ((high, low),) = (sweep.points for sweep in sweeps[1])
    assert all(at.faults > above.faults for above, at in zip(high, low, strict=True))


def test_has(tmp_path: Path, here, monkeypatch) -> None:
    recipe = has_model.Recipe(16, (64, 10), 2, 64, 5e-3)
    monkeypatch.setattr(has_model, "RECIPES", {"digits": recipe})
    sizes = {"images": 120, "redraws": 1, "random": 1, "profiles": 1}
    options = experiment.HasOptions(kinds=("invert", "set1"), pmax=(0.005,), **sizes)
    told: list[tuple[str, int, int]] = []

    def cases(where: cluster.Where | None) -> list[object]:
        made = experiment.run(options, tmp_path, lambda *a: told.append(a), where)
        return [replace(one, seconds=0.0) for one in made.cases]

    alone = cases(None)
    assert here == [] and [one.kind for one in alone] == ["invert", "set1"]
    told.clear()
    assert cases(WHERE) == alone
    assert here == [2] and [one for one in told if one[0] == "cases"][-1] == ("cases", 2, 2)

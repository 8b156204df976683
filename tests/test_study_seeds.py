"""The study over seeds: what is drawn, what is kept, what its sentences say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from hascodesign.cli.main import app
from hascodesign.common.stats import accuracy
from hascodesign.contract.array import generator
from hascodesign.contract.results import Baseline, SearchResult, recovery
from hascodesign.contract.types import ArraySpec, RowMap, Schedule, frozen
from hascodesign.engine.loss import Judgement
from hascodesign.faults import generate
from hascodesign.fleet.cluster import Where
from hascodesign.flow.config import board_config, load_config
from hascodesign.flow.request import Request
from hascodesign.study import seeds, seeds_report
from hascodesign.study.seeds import Longer, SeedRow

ROW = SeedRow(
    seed=1, n=500, integer=99.0, faulty_identity=49.0, faulty_random_mean=40.0,
    faulty_random_best=60.0, assignment=90.0, scheduled=98.0, recovery=0.98, passes=4,
    least_passes=4, healthy_loss=0.1, plain_loss=2.1, scheduled_loss=0.2,
    evaluations=100, seconds=9.0, notes=("Stopped early.",),
)  # fmt: skip


def request(out: Path) -> Request:
    config = load_config(board_config("pynq-z2"), {"board": "pynq-z2"})
    return Request(config=config, out=out, cache=out / "cache")


def test_upper_bits_are_the_more_significant_half() -> None:
    spec = ArraySpec(pe=16, simd=8, weight_bits=4, act_bits=8, acc_bits=24)
    seen = set()
    for seed in range(150):
        profile = generate.by_area(
            spec, generator(seed, "faults"), faulty_pes=8,
            weights={"product": 81.0, "psum": 11.0}, bits="upper",
        )  # fmt: skip
        assert len({fault.pe for fault in profile.faults}) == len(profile.faults) == 8
        seen |= {(fault.site, fault.bit) for fault in profile.faults}
    # 6 of 13 bits of a product, 12 of 24 of a sum
    wanted = {("product", bit) for bit in range(7, 13)} | {("psum", bit) for bit in range(12, 24)}
    assert seen == wanted


class StubFlow:
    """A flow whose search and figures are given."""

    made = 0

    def __init__(self, own: Request, *_rest: object) -> None:
        type(self).made += 1
        self.seed = own.config.seed
        self.profile_bits = own.config.faults.bits
        array = ArraySpec(pe=2, simd=1, weight_bits=4, act_bits=4, acc_bits=16)
        maps = tuple(RowMap("a", 2, frozen(np.array(s))) for s in ([[0, 1]], [[0, -1], [1, -1]]))
        plain, found = (Schedule(array, (one,)) for one in maps)
        self.search = SearchResult(
            found, "x", 7, 1.5, 0.3, (), (Baseline("identity", plain, 2.0, 0.4),),
            ("A note.",), healthy_loss=0.1,
        )  # fmt: skip
        self.accuracy = {
            name: accuracy(count, 500)
            for name, count in (
                ("integer", 495), ("faulty_identity", 200), ("faulty_random_mean", 150),
                ("faulty_random_best", 300), ("assignment", 400), ("scheduled", 480 + self.seed),
            )
        }  # fmt: skip

    def share_model(self, _other: object) -> None:
        pass


def test_a_study_is_taken_up_where_it_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeds, "Flow", StubFlow)
    StubFlow.made = 0
    first = seeds.run(request(tmp_path), [1, 2])
    assert StubFlow.made == 2
    assert [row.scheduled for row in first] == [96.2, 96.4]
    assert first[0].recovery == recovery(StubFlow(request(tmp_path)).accuracy)
    assert (first[0].passes, first[0].least_passes, first[0].plain_loss) == (2, 1, 2.0)
    StubFlow.made = 0
    assert seeds.run(request(tmp_path), [1, 2, 3])[:2] == first
    assert StubFlow.made == 1
    # another profile, another row
    other = request(tmp_path)
    faults = other.config.faults.model_copy(update={"bits": "upper"})
    other = replace(other, config=other.config.model_copy(update={"faults": faults}))
    seeds.run(other, [1])
    assert StubFlow.made == 2
    # a damaged file is computed again
    (tmp_path / "seed-2" / "row.json").write_text("{")
    seeds.run(request(tmp_path), [2])
    assert StubFlow.made == 3


def test_ten_times_is_asked_of_a_kept_row_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeds, "Flow", StubFlow)
    monkeypatch.setattr(seeds, "_longer", lambda _flow: Longer(98.0, 0.1, 70, 15.0))
    (row,) = seeds.run(request(tmp_path), [1])
    assert row.longer is None
    (row,) = seeds.run(request(tmp_path), [1], ten_times=[1])
    assert row.longer_recovery == pytest.approx((98.0 - 40.0) / 59.0)
    assert seeds.run(request(tmp_path), [1], ten_times=[1]) == (row,)


def test_what_19_of_20_do_not_pass() -> None:
    assert seeds_report.most([3.0, 1.0, 2.0]) == 3.0
    assert seeds_report.most([float(i) for i in range(20)]) == 18.0
    assert seeds_report.most([float(i) for i in range(40)]) == 37.0


def test_sentences_and_files_hold_the_criteria(tmp_path: Path) -> None:
    rows = [
        ROW,
        replace(ROW, seed=2, scheduled=97.0, recovery=0.96, passes=6, seconds=12.0,
                longer=Longer(97.5, 0.15, 1000, 90.0)),
        replace(ROW, seed=3, faulty_identity=97.0, scheduled=99.0, recovery=1.0),
    ]  # fmt: skip
    text = " ".join(seeds_report.sentences(rows))
    assert "scheduled 1.00 (" in text
    assert "2 of 3 profiles within 1.5; 19 of 20 lose at most 2.00, all 2.00;" in text
    assert "2 of 3 profiles cost the plain order 5 points or more: recovery 0.970 (" in text
    assert "0.960 at the least" in text
    assert "wins 0.50 (0.50 to 0.50) points more on 1 profiles" in text
    assert "Passes: 4 for 4, 6 for 4." in text
    assert "Longest search 12.0 s." in text
    seeds_report.write(rows, tmp_path)
    content = json.loads((tmp_path / "seeds.json").read_bytes())
    assert content["mean_recovery"] == pytest.approx(0.97)
    assert content["near"] == 2
    assert content["search_seconds_max"] == 12.0
    assert content["seeds"][1]["longer_recovery"] == pytest.approx(48.5 / 50.0)
    assert seeds_report.table(rows).row_count == 3


def test_the_command_takes_seeds_from_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[int], list[int]]] = []
    clusters: list[Where | None] = []

    def run(
        _request: Request, drawn: Sequence[int], *, ten_times: Sequence[int], where: Where | None
    ) -> list[SeedRow]:
        asked.append((list(drawn), list(ten_times)))
        clusters.append(where)
        return [replace(ROW, seed=seed) for seed in drawn]

    monkeypatch.setattr(seeds, "run", run)
    arguments = ["study", "seeds", "--n", "3", "--first", "21", "--ten-times", "2"]
    assert CliRunner().invoke(app, [*arguments, "--out", str(tmp_path)]).exit_code == 0
    assert asked == [([21, 22, 23], [21, 22])] and clusters == [None]
    for option in (("--workers", "3"), ("--scheduler", "tcp://h:1")):
        CliRunner().invoke(app, [*arguments, *option, "--out", str(tmp_path)])
    assert clusters[1:] == [Where(None, 3), Where("tcp://h:1", 1)]
    both = ["--workers", "3", "--scheduler", "tcp://h:1"]
    refused = CliRunner().invoke(app, [*arguments, *both, "--out", str(tmp_path)])
    assert "--scheduler has its own" in str(refused.exception) and len(clusters) == 3
    written = json.loads((tmp_path / "seeds.json").read_text())
    assert [row["seed"] for row in written["seeds"]] == [21, 22, 23]


def test_the_long_search_is_judged_with_its_rows_as_written(tmp_path: Path) -> None:
    flow = StubFlow(request(tmp_path))
    written, asked = object(), []
    longer = replace(flow.search, loss=flow.search.loss / 2, written=written)

    def evaluator(_split: object, _kind: object, network: object) -> object:
        asked.append(network)
        return SimpleNamespace(judge=lambda _schedule: Judgement(0.1, 30, 40))

    stub = SimpleNamespace(
        search=flow.search,
        search_longer=lambda _times: longer,
        evaluator=evaluator,
        dataset=SimpleNamespace(heldout=None),
    )
    found = seeds._longer(stub)
    assert asked == [written]
    assert (found.accuracy, found.loss) == (75.0, longer.loss)

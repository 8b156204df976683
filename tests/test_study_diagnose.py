"""`study diagnose`: chips of their seeds, and PEs that are wrong told from those named."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from hascodesign.cli import main as cli
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec
from hascodesign.study import diagnose as study
from hascodesign.study import transients


def study_call(monkeypatch, capsys, *arguments: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["hascodesign", "study", "diagnose", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    said = capsys.readouterr()
    return int(caught.value.code or 0), said.out, said.err


def test_chips_of_a_study_are_those_of_their_seeds():
    chips = [study.chip(seed) for seed in range(48)]
    assert chips[5] == study.chip(5) and len({profile.faults for _, profile in chips}) == 48
    for seed, (draw, profile) in enumerate(chips):
        faults = [f for f in profile.faults if f.site != "wmem"]
        each = [sum(f.pe == pe for f in faults) for pe in {f.pe for f in faults}]
        assert draw == ("by area", "by bit")[seed % 2]
        assert len(each) in study.FAULTY and 1 <= min(each) <= max(each) <= study.MOST_FAULTS
        assert len(profile.faults) - len(faults) <= study.MOST_WORDS
    assert sum(any(f.site == "wmem" for f in p.faults) for _, p in chips) == 12


def test_a_study_of_a_chip(monkeypatch, capsys):
    small = replace(study.ARRAY, wmem_depth=64)
    monkeypatch.setattr(study, "ARRAY", small)
    (row,) = study.run(1, 6)
    assert (row.faulty, row.unexplained, row.differ) == (4, 0, 0)
    assert row.compared == 16 * 24 * 2 * (64 + 7 + 2)
    code, out, _ = study_call(monkeypatch, capsys, "--n", 1, "--first", 6)
    assert code == 0 and f"0 of {row.compared:,}" in out


def test_a_study_of_dataflow_ws(monkeypatch, capsys):
    small = replace(study.ARRAY, pe=5, wmem_depth=8)
    monkeypatch.setattr(study, "ARRAY", small)
    monkeypatch.setattr(study, "FAULTY", (4,))
    _, profile = study.chip(7, "ws")
    assert profile.array == replace(small, dataflow="ws")
    assert len({f.pe for f in profile.faults}) == 4
    sites = {f.site for seed in range(1, 60, 2) for f in study.chip(seed, "ws")[1].faults}
    assert sites == {"wmem", "weight", "act", "product", "psum", "acc"}
    code, out, _ = study_call(monkeypatch, capsys, "--n", 1, "--first", 7, "--dataflow", "ws")
    assert code == 0 and f"0 of {5 * 24 * 2 * (8 + 1 + 1):,}" in out and "0 of 5" in out
    code, _, err = study_call(monkeypatch, capsys, "--transient", "--dataflow", "ws")
    assert code == 2 and err.count("\n") == 1 and "only in os" in err


def test_a_study_of_transient_faults(monkeypatch, capsys):
    """Every wire right; an explained PE with another wire exits 1, one that is named does not."""
    small = ArraySpec(4, 2, 3, 4, 18)
    monkeypatch.setattr(transients, "ARRAY", small)
    monkeypatch.setattr(transients, "CASES", (("act", 1), ("psum", 0)))
    monkeypatch.setattr(transients, "CHANCES", (0.1, 0.02))
    monkeypatch.setattr(transients, "LEAST", 0.02)
    row = transients.one(2)
    assert [(case.site, case.permanent, case.p) for case in row.cases] == [
        ("act", 1, 0.1),
        ("psum", 0, 0.1),
    ]
    assert all(case.explained and case.right for case in row.cases)
    assert (row.wrong, row.named) == ((), 0) and row.compared == 4 * 24 * 2 * 3
    assert transients.chip(2) == transients.chip(2) != transients.chip(4)
    code, out, _ = study_call(monkeypatch, capsys, "--transient", "--n", 1, "--first", 2)
    assert code == 0 and "0 PEs wrong" in out and f"{row.compared:,} sums" in out
    true = transients.infer

    def another(test_set, answers):
        found = true(test_set, answers)
        one = found.transients[0]
        moved = replace(one, fault=replace(one.fault, bit=(one.fault.bit + 1) % 4))
        return replace(found, transients={**found.transients, 0: moved})

    monkeypatch.setattr(transients, "infer", another)
    code, _, err = study_call(monkeypatch, capsys, "--transient", "--n", 1, "--first", 2)
    assert code == 1 and "not so: seed 2 PE 0" in err

    def humble(test_set, answers):
        found = true(test_set, answers)
        return replace(found, transients={1: found.transients[1]})

    monkeypatch.setattr(transients, "infer", humble)
    code, out, _ = study_call(monkeypatch, capsys, "--transient", "--n", 1, "--first", 2)
    assert code == 0 and "seed 2: PE 0 is not explained" in out


def test_workers_give_the_rows_of_one_process(monkeypatch):
    """In the order of the seeds, whatever chip is done first; but for times."""
    monkeypatch.setattr(study, "ARRAY", replace(study.ARRAY, wmem_depth=16))

    def infer(*_):
        raise ConfigError("none is explained")

    def spread(where, shared, function, calls):
        assert where == "two workers" and shared is None and function.func is study.one
        return reversed([(place, function(*call)) for place, call in enumerate(calls)])

    monkeypatch.setattr(study, "simulate", lambda *_: None)  # these two take longest, and are
    monkeypatch.setattr(study, "infer", infer)  # not what is tested
    monkeypatch.setattr("hascodesign.fleet.cluster.spread", spread)
    monkeypatch.setattr(study, "COLUMNS", 2)
    told: list[tuple[int, int]] = []
    alone = study.run(2, 6)
    shared = study.run(2, 6, lambda _, done, total: told.append((done, total)), "two workers")
    assert [replace(row, seconds=0.0) for row in shared] == [replace(r, seconds=0.0) for r in alone]
    assert [row.seed for row in shared] == [6, 7] and told == [(0, 2), (1, 2)]


def test_a_study_tells_lies_from_pes_that_are_named(monkeypatch, capsys):
    """A diagnosis that misses a fault exits 1; one that names the PE does not."""
    monkeypatch.setattr(study, "ARRAY", replace(study.ARRAY, wmem_depth=64))
    true = study.infer

    def blind(test_set, answers):
        found = true(test_set, answers)
        return replace(found, profile=replace(found.profile, faults=found.profile.faults[:-1]))

    monkeypatch.setattr(study, "infer", blind)
    code, _, err = study_call(monkeypatch, capsys, "--n", 1, "--first", 6)
    assert code == 1 and err.count("\n") == 1 and "one does not: 6" in err

    def humble(test_set, answers):
        found = blind(test_set, answers)
        last = true(test_set, answers).profile.faults[-1].pe
        residual = np.zeros_like(found.residual)
        residual[last] = 1
        return replace(found, residual=residual)

    monkeypatch.setattr(study, "infer", humble)
    code, out, _ = study_call(monkeypatch, capsys, "--n", 1, "--first", 6)
    assert code == 0 and "seed 6: 1 PEs are not explained" in out

    def lost(*_):
        raise ConfigError("no PE that faults explain")

    monkeypatch.setattr(study, "infer", lost)
    code, _, err = study_call(monkeypatch, capsys, "--n", 1, "--first", 6)
    assert code == 1 and "no sum was compared" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("--n", 0), "--n must be 1..100000"), (("--first", -1), "a seed must be 0..4294967295")],
)
def test_studies_that_cannot_be_taken(monkeypatch, capsys, arguments, words):
    code, _, err = study_call(monkeypatch, capsys, *arguments)
    assert code == 2 and words in err

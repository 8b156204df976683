"""Diagnosis: the profile that an array's answers tell of, held against the one it has."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hascodesign.cli import main as cli
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile
from hascodesign.diagnose import files
from hascodesign.diagnose.evidence import Shared
from hascodesign.diagnose.infer import infer
from hascodesign.diagnose.model import PeModel
from hascodesign.diagnose.simulate import simulate
from hascodesign.diagnose.vectors import OPEN_WORDS, groups, vectors
from hascodesign.engine import reference
from hascodesign.faults import formats
from hascodesign.faults.places import PERMANENT, Places, in_order
from hascodesign.faults.profile import check
from hascodesign.study import diagnose as study
from hascodesign.study.diagnose import sums_that_differ
from tests.engine_helpers import random_faults, random_spec
from tests.fuzz_mutations import ANY, TEXT, header, zip_field
from tests.fuzz_readers import damaged

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


def test_multipliers_with_two_faults_are_told_apart_wherever_they_differ():
    """What drives a multiplier alone separates all pairs of faults that any operands separate."""
    catalogue = Shared(DEFAULT, groups(vectors(DEFAULT))).catalogue
    words, codes = (v.ravel() for v in np.meshgrid(np.arange(-8, 8), np.arange(256)))
    seen, everywhere, count = [], [], 0
    for level in catalogue.levels:
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


def test_two_hundred_pes_of_one_to_three_faults_are_found():
    exact = pes = 0
    met, numbers = set(), set()
    test_set = vectors(MANY)
    for seed in range(4):
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
    assert pes == 200 and exact >= 195


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


# ----------------------------------------------------------------------------------- command line


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run `hascodesign diagnose ...` in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hascodesign", "diagnose", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out, said.err

    return run


TRUE = (
    Fault(0, "sa1", "product", 3, 9),
    Fault(1, "dead"),
    Fault(2, "sa0", "wmem", 1, 2, 5),
    Fault(2, "flip", "psum", None, 4),
)
SIZES = ("--pe", 3, "--simd", 4, "--wmem-depth", 8)
INFER = ("infer", "t", "--responses", "acc.npz", "--out", "chip.json", "--report", "r.json")


def given(call, faults=TRUE, *options) -> tuple[FaultProfile, np.ndarray]:
    """Vectors in t/ and the answers of a chip in acc.npz."""
    assert call("vectors", "--board", "pynq-z2", *SIZES, "--out", "t")[0] == 0
    array = files.read_tests(Path("t")).array
    true = check(FaultProfile(array, faults))
    Path("true.json").write_bytes(formats.write_json(true))
    code, out, _ = call("simulate", "--faults", "true.json", "--out", "acc.npz", *options)
    assert (code, out) == (0, "acc.npz\n")
    return true, files.read_responses(Path("acc.npz"), files.read_tests(Path("t")))


def test_the_command_line_from_vectors_to_profile(call):
    true, _ = given(call, TRUE, "--tests", "t", "--runs", 2)
    first = Path("acc.npz").read_bytes()
    given(call, TRUE, "--runs", 2)
    assert Path("acc.npz").read_bytes() == first
    assert call(*INFER)[:2] == (0, "chip.json\nr.json\n3 of 3 PEs explained\n")
    assert formats.read(Path("chip.json")).faults == true.faults
    report = json.loads(Path("r.json").read_text())
    assert report["runs"] == 2 and report["memory_tested"] and report["unexplained"] == []
    assert [pe["state"] for pe in report["pes"]] == ["faulty"] * 3
    written = [Path(name).read_bytes() for name in ("chip.json", "r.json")]
    assert call(*INFER)[0] == 0
    assert [Path(name).read_bytes() for name in ("chip.json", "r.json")] == written


def test_a_pe_that_is_not_explained_is_named_and_exit_1(call):
    _, acc = given(call)
    acc = acc.copy()
    acc[0, 0, 10] ^= 1
    test_set = files.read_tests(Path("t"))
    Path("acc.npz").write_bytes(files.write_responses(test_set, acc))
    code, out, err = call(*INFER)
    assert code == 1 and "2 of 3 PEs explained" in out
    assert "stand as dead in chip.json: 0" in err
    assert Fault(0, "dead") in formats.read(Path("chip.json")).faults
    report = json.loads(Path("r.json").read_text())
    assert report["unexplained"] == [0] and report["pes"][0]["residual"] > 0


def test_an_open_depth_leaves_the_memory_untested(call):
    assert call("vectors", "--out", "t")[0] == 0
    faults = (Fault(3, "sa1", "weight", 2, 1),)
    array = files.read_tests(Path("t")).array
    Path("true.json").write_bytes(formats.write_json(FaultProfile(array, faults)))
    assert call("simulate", "--faults", "true.json", "--out", "acc.npz")[0] == 0
    code, out, _ = call(*INFER)
    assert code == 0 and "weight memory not tested" in out
    assert not json.loads(Path("r.json").read_text())["memory_tested"]
    assert formats.read(Path("chip.json")).faults == faults


NOISE = np.random.default_rng(0)
SPOILED = {
    "length": (lambda acc: acc[..., :-1], "must be [runs, 3 PEs,"),
    "array": (lambda acc: acc[:, :2], "must be [runs, 3 PEs,"),
    "runs": (lambda acc: np.repeat(acc, 17, axis=0), "1 to 16 runs"),
    "zero": (np.zeros_like, "all are 0"),
    "noise": (lambda acc: NOISE.integers(-(1 << 20), 1 << 20, acc.shape), "noise"),
    "float": (lambda acc: acc.astype(np.float64), "must be integers"),
    "wide": (lambda acc: acc.astype(np.int64) + (1 << 30), "24 bits"),
    "empty": (lambda acc: acc[:0], "must be [runs, 3 PEs,"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_answers_that_are_none(call, how):
    _, acc = given(call)
    spoil, words = SPOILED[how]
    test_set = files.read_tests(Path("t"))
    Path("acc.npz").write_bytes(files.write_responses(test_set, spoil(acc)))
    code, _, err = call(*INFER)
    assert code == 2 and err.count("\n") == 1 and words in err
    assert not Path("chip.json").exists() and not Path("r.json").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda held: held | {"seed": 5}, "digest must be that of the vectors"),
        (lambda held: held | {"seed": "x"}, "seed must be an integer"),
        (lambda held: held | {"version": 2}, "version must be 1"),
        (lambda held: held | {"more": 2}, "unknown key 'more'"),
        (lambda held: held | {"array": held["array"] | {"dataflow": "ws"}}, "must be os"),
        (lambda held: held | {"array": held["array"] | {"wmem_depth": 1 << 32}}, "at most"),
        (lambda held: [], "an object must stand here"),
    ],
)
def test_a_test_set_that_is_none(call, change, words):
    given(call)
    path = Path("t/tests.json")
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    code, _, err = call(*INFER)
    assert code == 2 and err.count("\n") == 1 and words in err and "tests.json" in err
    assert not Path("chip.json").exists()


def test_answers_to_other_vectors(call):
    given(call)
    assert call("vectors", *SIZES, "--seed", 1, "--out", "t")[0] == 0
    code, _, err = call(*INFER)
    assert code == 2 and "not to others" in err
    np.savez("acc.npz", acc=np.zeros(3))
    assert "must hold 'digest'" in call(*INFER)[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("vectors", "--out", "t", "--dataflow", "ws"), "not diagnosed yet"),
        (("vectors", "--out", "t", "--wmem-depth", 3), "wmem_depth must be 4 words or more"),
        (("vectors", "--out", "t", "--simd", 65), "at most simd 64"),
        (("vectors", "--out", "t", "--wmem-depth", 10**6), "the memory's answers"),
        (("vectors", "--out", "t", "--seed", -1), "seed must be 0..4294967295"),
        (("vectors", "--out", "t", "--board", "none"), "none"),
        (("infer", "t", "--responses", "acc.npz", "--out", "chip.json"), "tests.json"),
        (("infer", "t", "--responses", "a", "--out", "c.txt"), "must end in"),
        (("infer", "t", "--responses", "a", "--out", "c.json", "--report", "c.json"), "another"),
        (("simulate", "--faults", "none.json", "--out", "acc.npz"), "none.json"),
        (("simulate", "--faults", "none.json", "--out", "acc.txt"), "must end in .npz"),
    ],
)
def test_arguments_that_cannot_be_taken(call, arguments, words):
    code, _, err = call(*arguments)
    assert code == 2 and err.count("\n") == 1 and words in err, err


def test_damaged_files_are_read_or_refused_in_one_line(call):
    given(call)
    test_set = files.read_tests(Path("t"))
    readers = {
        "t/tests.json": ((*ANY, *TEXT), lambda: files.read_tests(Path("t"))),
        "acc.npz": (
            (*ANY, zip_field, header),
            lambda: infer(test_set, files.read_responses(Path("acc.npz"), test_set)),
        ),
    }
    for name, (mutations, read) in readers.items():
        case = SimpleNamespace(name=name, seeds=[Path(name).read_bytes()], mutations=mutations)
        refused = 0
        for number in range(150):
            Path(name).write_bytes(damaged(case, 1, number))
            try:
                read()
            except ConfigError as error:
                refused += 1
                assert str(error).isprintable() and len(str(error)) < 2000
        assert 100 < refused < 150
        Path(name).write_bytes(case.seeds[0])


def test_a_profile_of_another_array(call):
    given(call)
    other = FaultProfile(replace(files.read_tests(Path("t")).array, pe=4))
    Path("true.json").write_bytes(formats.write_json(other))
    code, _, err = call("simulate", "--faults", "true.json", "--tests", "t", "--out", "b.npz")
    assert code == 2 and "must be of the array that is tested" in err
    with pytest.raises(ConfigError, match=r"runs must be 1\.\.16"):
        simulate(vectors(SMALL), FaultProfile(SMALL), runs=0)


# ----------------------------------------------------------------------------------------- study


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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("--n", 0), "--n must be 1..100000"), (("--first", -1), "a seed must be 0..4294967295")],
)
def test_studies_that_cannot_be_taken(monkeypatch, capsys, arguments, words):
    code, _, err = study_call(monkeypatch, capsys, *arguments)
    assert code == 2 and words in err

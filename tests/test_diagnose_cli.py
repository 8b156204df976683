"""The commands of diagnosis: what they write, and what they refuse."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hascodesign.cli import main as cli
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import Fault, FaultProfile
from hascodesign.diagnose import files
from hascodesign.diagnose.infer import infer
from hascodesign.diagnose.simulate import simulate
from hascodesign.diagnose.vectors import vectors
from hascodesign.faults import formats
from hascodesign.faults.profile import check
from tests.fuzz_mutations import ANY, TEXT, header, zip_field
from tests.fuzz_readers import damaged
from tests.test_diagnose import SMALL


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
    said = "chip.json\nr.json\n3 of 3 PEs explained; transient faults not tested\n"
    assert call(*INFER)[:2] == (0, said)
    found = formats.read(Path("chip.json"))
    assert found.faults == true.faults and found.source.startswith("diagnosed from ")
    when = datetime.fromisoformat(str(found.conditions["answered"]))
    assert when.timestamp() == int(Path("acc.npz").stat().st_mtime)
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
        (lambda held: held | {"array": held["array"] | {"dataflow": "ws"}}, "digest must be that"),
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
        (
            ("vectors", "--out", "t", "--dataflow", "ws", "--transients", 0.01),
            "only in os are transient faults diagnosed",
        ),
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


def test_transient_faults_are_told_with_their_error(call):
    sizes = ("--pe", 2, "--simd", 2, "--weight-bits", 3, "--act-bits", 4)
    asked = ("vectors", "--board", "pynq-z2", *sizes, "--out", "t", "--transients")
    code, _, err = call(*asked, 0.9)
    assert code == 2 and "transients must be a probability 0.0001..0.5, not 0.9" in err
    assert not Path("t").exists()
    assert call(*asked, 0.05)[0] == 0
    array = files.read_tests(Path("t")).array
    true = FaultProfile(array, (Fault(1, "transient", "act", 0, 2, p=0.05),), 5)
    Path("true.json").write_bytes(formats.write_json(true))
    simulated = ("simulate", "--faults", "true.json", "--out", "acc.npz")
    assert call(*simulated, "--tests", "t")[0] == 0
    code, out, _ = call(*INFER)
    assert code == 0 and "PE 1: transient on act bit 2 of multiplier 0, p = 0.0" in out
    assert "a transient fault of p below 0.0015 may have passed unseen" in out
    line = json.loads(Path("r.json").read_text())["pes"][1]
    assert line["state"] == "faulty" and line["unstable"] > 0
    told = line["transient"]
    assert abs(told["p"] - 0.05) < 4 * told["sigma"] < 0.02 and told["uses"] > 1900
    (fault,) = formats.read(Path("chip.json")).faults
    assert fault == replace(true.faults[0], p=told["p"])
    assert call(*simulated)[0] == 0  # to the vectors without that part
    assert call(*INFER)[0] == 2

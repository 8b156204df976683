"""`heal`: from a build and a chip's answers to what its driver loads, and what is refused."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hascodesign.cli import main as cli
from hascodesign.common import files as common_files
from hascodesign.common.display import Display
from hascodesign.contract import arithmetic
from hascodesign.contract.array import generator
from hascodesign.contract.types import Fault, FaultProfile
from hascodesign.diagnose import files
from hascodesign.diagnose.simulate import simulate
from hascodesign.diagnose.vectors import TestSet, vectors
from hascodesign.faults import formats as fault_formats
from hascodesign.faults import generate
from hascodesign.faults.places import in_order
from hascodesign.faults.profile import check
from hascodesign.flow.config import board_config, load_config
from hascodesign.flow.flow import Flow
from hascodesign.flow.request import Request
from hascodesign.flow.store import StepStore
from hascodesign.healing import run as healing
from hascodesign.render.driver import render_driver
from hascodesign.render.rom import build_roms
from hascodesign.render.rom_format import rom_files
from hascodesign.schedule import formats as schedules
from hascodesign.schedule import written
from hascodesign.verify.images import image_file

CONFIG = {
    "faults.faulty_pes": 0,
    "schedule.random_maps": 2,
    "schedule.extra_passes": 1,
    "schedule.evaluations": 8,
}


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """digits-cnn on the default array, built without a fault, with a spare pass of each layer."""
    out = tmp_path_factory.mktemp("build")
    flow = Flow(request(out), StepStore(out / "steps"), Display())
    roms = rom_files(build_roms(flow.network, flow.schedule, (True,) * 3))
    shape = (flow.network, flow.schedule, flow.profile, roms, (True,) * 3)
    common_files.write_tree(out, render_driver(*shape, clock_mhz=100.0))
    common_files.write_tree(out, flow.records(flow.schedule))
    heldout = flow.dataset.heldout
    codes = arithmetic.quantise(heldout.images[:20], flow.network.input)
    images = image_file(flow.deployed, flow.schedule, flow.profile, codes, heldout.labels[:20])
    common_files.write_tree(out, images)
    return out


def request(out: Path) -> Request:
    return Request(config=load_config(board_config("pynq-z2"), CONFIG), out=out, cache=out)


@pytest.fixture(scope="module")
def chip(build: Path) -> tuple[FaultProfile, TestSet, Any]:
    """A chip of which the build knows nothing, and what it answers."""
    with Display() as display:
        array = healing.opened(request(build), build, None, display).array
    rng = generator(5, "faults")
    true = generate.by_area(array, rng, faulty_pes=8, faults_per_pe=2, bits="upper")
    test_set = vectors(replace(array, wmem_depth=0))  # of the logic alone: a tenth of the answers
    common_files.write_tree(build / "few", files.write_tests(test_set))
    return true, test_set, simulate(test_set, replace(true, array=test_set.array))


@pytest.fixture
def call(build, tmp_path, monkeypatch, capsys) -> Callable[..., tuple[int, str]]:
    """Run `hascodesign heal` on answers: exit code and standard error; the folder is healed/."""
    monkeypatch.chdir(tmp_path)
    config = board_config("pynq-z2").read_text()
    config += "\n[schedule]\nrandom_maps = 2\nevaluations = 8\n"
    (tmp_path / "flow.toml").write_text(config)

    def run(
        answers: bytes, *options: object, way: tuple[str, ...] = ("--answers", "acc.npz")
    ) -> tuple[int, str]:
        Path("acc.npz").write_bytes(answers)
        given = ["heal", build, *way, "--out", "healed"]
        given += ["--config", "flow.toml", "--tests", build / "few", *options]
        monkeypatch.setattr(sys, "argv", ["hascodesign", *map(str, given)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return int(caught.value.code or 0), capsys.readouterr().err

    return run


def test_a_chip_that_nobody_described(build, chip, call):
    """Its accuracy comes back, and what the driver is told is what the true chip does."""
    true, test_set, acc = chip
    code, said = call(files.write_responses(test_set, acc))
    assert code == 0, said
    with Display() as display:
        in_use = healing.opened(request(build), build, None, display)
    flow, content = in_use.flow, Path("healed/schedule.json").read_bytes()
    schedule = schedules.from_json(content, flow.network, true.array)
    deployed = written.from_json(content, flow.network, true.array) or flow.network
    assert [m.passes for m in schedule.layers] == list(in_use.passes)
    with np.load("healed/board/predicted.npz") as file:
        assert np.array_equal(file["acc"], acc[0]) and file["explained"].all()
    with np.load("healed/board/schedule/images.npz") as file:
        images, labels = file["codes"], file["labels"]
        wanted = image_file(deployed, schedule, true, images.astype(np.int64), labels)
        (name,) = wanted
        Path("true.npz").write_bytes(wanted[name])
        with np.load("true.npz") as other:
            assert np.array_equal(file["logits"], other["logits"]) and file["logits"].size == 1000
            assert (file["logits"] != other["healthy"]).any()
    held = {name: float(value) for name, value in _accuracies(said).items()}
    assert held["in use"] < 60 and held["healthy"] - held["healed"] <= 1.0
    core = json.loads(Path("healed/board/schedule/core.json").read_text())
    assert core["layers"] == in_use.core["layers"]


def _accuracies(said: str) -> dict[str, str]:
    (line,) = [line for line in said.splitlines() if line.startswith("held-out accuracy")]
    parts = line.split(": ", 1)[1].split(", ")
    return {
        part.split(" %")[0].rsplit(" ", 1)[0]: part.split(" %")[0].split()[-1] for part in parts
    }


def test_a_transient_fault_is_scheduled_for_and_not_predicted(build, chip, call):
    """The profile has it with its p; answers and logits are said as they are without it."""
    true = chip[0]
    pe = next(pe for pe in range(true.array.pe) if pe not in {f.pe for f in true.faults})
    struck = Fault(pe, "transient", "psum", None, 12, p=0.05)
    test_set = vectors(replace(true.array, wmem_depth=0), transients=0.05)
    common_files.write_tree(Path("t"), files.write_tests(test_set))
    varying = check(FaultProfile(test_set.array, in_order((*true.faults, struck)), 3))
    acc = simulate(test_set, varying)
    code, said = call(files.write_responses(test_set, acc), "--tests", "t")
    assert code == 0 and f"PE {pe}: transient on psum bit 12, p = 0.0" in said
    faults = fault_formats.read(Path("healed/faults.json")).faults
    (found,) = (fault for fault in faults if fault.kind == "transient")
    assert replace(found, p=0.05) == struck and abs(found.p - 0.05) < 0.01
    steady = simulate(test_set, replace(true, array=test_set.array))[0]
    with np.load("healed/board/predicted.npz") as file:
        assert file["explained"].all() and np.flatnonzero(file["varies"]).tolist() == [pe]
        assert np.array_equal(file["acc"], steady) and (acc[0] != steady).any()
    with Display() as display:
        flow = healing.opened(request(build), build, None, display).flow
    content = Path("healed/schedule.json").read_bytes()
    deployed = written.from_json(content, flow.network, true.array) or flow.network
    with np.load("healed/board/schedule/images.npz") as file:
        codes, labels = file["codes"].astype(np.int64), file["labels"]
        schedule = schedules.from_json(content, flow.network, true.array)
        (wanted,) = image_file(deployed, schedule, true, codes, labels).values()
        with np.load(io.BytesIO(wanted)) as other:
            assert np.array_equal(file["logits"], other["logits"]) and file["logits"].size == 1000


def test_a_pe_that_nothing_explains_is_idle_or_nothing_is_made(chip, call):
    """Idle where the passes leave room for its rows; with most PEs so, refused."""
    _, test_set, acc = chip
    noisy = np.concatenate([acc, acc])
    noisy[1, 3] ^= 1
    code, said = call(files.write_responses(test_set, noisy))
    assert code == 1 and "are left idle: 3" in said
    document = json.loads(Path("healed/schedule.json").read_text())
    assert all(line[3] == -1 for layer in document["layers"] for line in layer["slots"])
    assert "healed" not in said.splitlines()[-1]
    noisy[1, :9] ^= 1
    code, said = call(files.write_responses(test_set, noisy), "--out", "other")
    assert code == 1 and "must stay idle" in said and not Path("other").exists()


def test_a_chip_that_is_whole_is_left_as_it_is(chip, call):
    """No fault, no word: the map in use and its rows stay, and all of the chip was looked at."""
    _, test_set, _ = chip
    healthy = simulate(test_set, FaultProfile(test_set.array))
    code, said = call(files.write_responses(test_set, healthy))
    assert code == 0 and "16 of 16 PEs explained, 0 entries" in said, said
    same = re.search(r"^0 of (\d+) words differ from those in use$", said, re.MULTILINE)
    assert same and int(same[1]) > 1000, said
    assert re.search(r"^\d+ words of each weight bank were not tested;", said, re.MULTILINE)
    assert not json.loads(Path("healed/faults.json").read_text())["faults"]


def test_answers_that_tell_nothing(chip, call):
    """As `diagnose infer` refuses them: one line, and nothing is written."""
    _, test_set, acc = chip
    code, said = call(files.write_responses(test_set, np.zeros_like(acc)))
    assert code == 2 and "no accumulator reached the file" in said and said.count("\n") == 1
    assert not Path("healed").exists()


def test_what_is_of_another_array_or_build(build, chip, call, tmp_path):
    """Vectors, answers, the schedule in use and the network; nothing is written."""
    _, test_set, acc = chip
    answers = files.write_responses(test_set, acc)
    other = vectors(replace(test_set.array, pe=8))
    common_files.write_tree(tmp_path / "other", files.write_tests(other))
    Path("own").mkdir()
    Path("own/notes.txt").write_text("mine")
    changed = json.loads((build / "schedule.json").read_text())
    slots = changed["layers"][0]["slots"]
    slots[0], slots[1] = slots[1], slots[0]
    Path("shorter.json").write_text(json.dumps(changed).replace('"rows": 16', '"rows": 15'))
    of_other = files.write_responses(other, simulate(other, FaultProfile(other.array)))
    for given, options, words in (
        (of_other, (), "must be to the vectors of the folder, not to others"),
        (of_other, ("--tests", "other"), "must be of the array in use"),
        (answers, ("--tests", "none"), "No such file or directory"),
        (answers, ("--in-use", "shorter.json"), "rows"),
        (answers, ("--out", "own"), "--out must be a new folder or one that `heal` wrote"),
        (answers, ("--simulate", "true.json"), "one way to the chip must be given"),
        (answers, ("--images", 9), "--images has no effect without --simulate"),
        (answers, ("--board", "none"), "none"),
    ):
        code, said = call(given, *options)
        assert code == 2 and words in said and said.count("\n") == 1, (options, said)
        assert not Path("healed").exists()
    assert [path.name for path in Path("own").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("deploy/driver/schedule/core.json", None, "No such file or directory"),
        ("deploy/driver/schedule/core.json", lambda text: text[:-9], "must be whole JSON"),
        ("deploy/driver/schedule/core.json", lambda text: "{}", "must be what the flow renders"),
        (
            "deploy/driver/schedule/weights_pe03.mem",
            lambda text: ("0" if text[0] != "0" else "1") + text[1:],
            "must be of the network that is loaded",
        ),
        (
            "deploy/driver/schedule/core.json",
            lambda text: text.replace('"classes": 10', '"classes": 11'),
            "its classes must be 11, not 10",
        ),
    ],
    ids=["no accelerator", "half a file", "another file", "other weights", "other classes"],
)
def test_a_build_that_is_none(build, chip, call, name, change, words):
    _, test_set, acc = chip
    path = build / name
    held = path.read_bytes()
    try:
        path.unlink()
        if change is not None:
            path.write_text(change(held.decode()))
        code, said = call(files.write_responses(test_set, acc))
    finally:
        path.write_bytes(held)
    assert code == 2 and words in said and said.count("\n") == 1, said
    assert not Path("healed").exists()


BOARD_SIDE = """
import os, shutil, sys
loaded = sys.argv[1:3] if sys.argv[1] == "--load" else []
command, folder, *rest = sys.argv[1 + len(loaded):]
assert os.path.isdir(folder) and all(map(os.path.isdir, loaded[1:]))
print("board:", command, *loaded[:1])
if command == "diagnose":
    assert os.path.isfile(folder + "/tests.json") and rest[0] == "--out"
    shutil.copy(os.environ["ACC"], rest[1])
elif not os.path.isfile(folder + "/predicted.npz"):
    sys.exit(2)
elif "STOPPED" not in os.environ:
    print("3 of 5 words written")
sys.exit(int(os.environ.get("CODE_" + command.upper(), 0)))
"""
FAKES = {
    "ssh": 'test "$1" = -- && shift\ncd "$BOARD" && sh -c "$2"\n',
    "scp": 'while [ "$1" != -- ]; do shift; done\n[ -z "${FAIL:-}" ] || exit 1\n'
    'cd "$BOARD" && cp -r -- "${2#pynq:}" "${3#pynq:}"\n',
    "sudo": 'test "$1" = -n && shift\nexec "$@"\n',
}


def test_a_board_that_ssh_reaches(build, chip, call, tmp_path, monkeypatch):
    """Vectors there, answers here, the schedule there: the board's word decides."""
    _, test_set, acc = chip
    answers = files.write_responses(test_set, acc)
    tools, board = tmp_path / "bin", tmp_path / "home"
    common_files.write_tree(tools, {n: f"#!/bin/sh\n{text}".encode() for n, text in FAKES.items()})
    for path in tools.iterdir():
        path.chmod(0o755)
    package = {"__init__.py": b"", "__main__.py": BOARD_SIDE.encode()}
    common_files.write_tree(board / "hascodesign/driver/has_driver", package)
    monkeypatch.setenv("PATH", f"{tools}:{Path(sys.executable).parent}:/usr/bin:/bin")
    for name, value in (("BOARD", board), ("ACC", tmp_path / "acc.npz")):
        monkeypatch.setenv(name, str(value))
    real, made = healing.plan, []
    monkeypatch.setattr(healing, "plan", lambda *given: made.append(real(*given)) or made[-1])
    code, said = call(answers, "--host", "pynq", way=())
    assert code == 0 and "board: heal\n" in said, said
    code, said = call(answers, "--host", "pynq", "--in-use", "healed/schedule.json", way=())
    assert code == 0 and "board: heal --load\n" in said, said
    same = re.search(r"^0 of (\d+) words differ from those in use$", said, re.MULTILINE)
    assert same and int(same[1]) > 1000, said  # the same answers: nothing is left to be written
    monkeypatch.setattr(healing, "plan", lambda *_: made[0])  # again the same takes seconds
    monkeypatch.setenv("CODE_HEAL", "1")
    code, said = call(answers, "--host", "pynq", way=())
    assert code == 1 and "must be as predicted, and is not" in said
    for name, value, words in (
        ("STOPPED", "", "pynq must be healed, and was not: ended with status 1: board: heal"),
        ("CODE_HEAL", "2", "pynq must be healed, and was not: ended with status 2: board: heal"),
        ("CODE_DIAGNOSE", "1", "must play the vectors, and did not: ended with status 1"),
        ("FAIL", "1", "pynq must be written, and was not: ended with status 1"),
    ):
        monkeypatch.setenv(name, value)
        code, said = call(answers, "--host", "pynq", "--out", "other", way=())
        assert code == 1 and words in said.splitlines()[-1], said
        assert not Path("other").exists()  # what stands there may be what the board runs
    assert "--host must be letters" in call(answers, "--host", "pynq;touch x", way=())[1]
    monkeypatch.setenv("PATH", str(board))
    code, said = call(answers, "--host", "pynq", way=())
    assert code == 3 and "apt-get install openssh-client" in said

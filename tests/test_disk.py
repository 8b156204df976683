"""A full disk, a limit on files, names too long and folders in the way: one line each."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hascodesign.common import records
from hascodesign.flow.store import StepStore

COMMAND = [sys.executable, "-m", "hascodesign"]


def small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))


def said(*arguments: object, small: bool = False, **streams: int) -> tuple[int, list[str]]:
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], text=True, check=False, stderr=subprocess.PIPE,
        preexec_fn=small_files if small else None, **streams,
    )  # fmt: skip
    return done.returncode, done.stderr.splitlines()


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    code, lines = said("faults", "generate", "--out", tmp_path / "f.json", small=True)
    assert code == 1 and len(lines) == 1
    assert lines[0].startswith("hascodesign: files must fit the limit on their size: ")
    assert list(tmp_path.iterdir()) == []


def test_output_to_a_full_disk() -> None:
    with Path("/dev/full").open("w") as full:
        code, lines = said("boards", stdout=full.fileno())
    assert code == 1 and len(lines) == 1
    assert lines[0].startswith("hascodesign: the disk must have room, and is full: ")


def test_names_that_are_too_long(tmp_path: Path) -> None:
    for option in ("--out", "--config"):
        code, lines = said("flow", option, tmp_path / ("x" * 300))
        assert code == 2 and len(lines) == 1 and "File name too long" in lines[0]
    longest = tmp_path / ("x" * 250 + ".json")
    assert said("faults", "generate", "--out", longest) == (0, [])
    assert longest.exists()


def swap(path: Path, content: bytes) -> None:
    """Put other bytes in a stored step, with the digest that they need to be believed."""
    meta = path.with_suffix(".json")
    summary = json.loads(meta.read_bytes()) | {"sha256": hashlib.sha256(content).hexdigest()}
    path.write_bytes(content)
    meta.write_text(json.dumps(summary))


def in_the_way(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name / "inner").mkdir(parents=True)

    return change


def pipe(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


def seconds(value: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        meta = folder / "load.json"
        summary = json.loads(meta.read_bytes())
        meta.write_text(json.dumps(summary | {"seconds": "X"}).replace('"X"', value))

    return change


def damaged(content: bytes) -> Callable[[Path], None]:
    return lambda folder: swap(folder / "load.npz", content)


WHOLE = records.encode(("r", 1))
CHANGES = {
    "a folder for the result": in_the_way("load.npz"),
    "a folder for the key": in_the_way("load.json"),
    "a pipe for the result": pipe("load.npz"),
    "a pipe for the key": pipe("load.json"),
    "brackets": lambda folder: (folder / "load.json").write_bytes(b"[" * 100_000),
    "a list": lambda folder: (folder / "load.json").write_bytes(b"[]"),
    "a large key": lambda folder: (folder / "load.json").write_bytes(b" " * (1 << 20)),
    "no time": seconds("NaN"),
    "endless time": seconds("1e999"),
    "a short zip": damaged(WHOLE[: len(WHOLE) // 2]),
    "a zip of noise": damaged(WHOLE[:40] + bytes(len(WHOLE) - 80) + WHOLE[-40:]),
    "nothing": damaged(b""),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_step_that_cannot_be_read_is_computed_again(tmp_path: Path, name: str) -> None:
    made: list[int] = []

    def step() -> str:
        return str(StepStore(tmp_path).run("load", (1,), lambda: made.append(1) or "r"))

    assert step() == "r" and made == [1]
    CHANGES[name](tmp_path)
    assert step() == "r" and made == [1, 1]
    assert step() == "r" and made == [1, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["load.json", "load.npz"]

"""Ctrl-C during a search, sent to a real process: the best map so far, one line, exit code 130."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hascodesign.common import interrupt, records
from hascodesign.common.display import Display
from hascodesign.contract.errors import Interrupted
from hascodesign.contract.results import SearchResult
from hascodesign.faults import formats as fault_formats
from hascodesign.flow.config import board_config, load_config
from hascodesign.flow.request import Request
from hascodesign.flow.run import _keep, run_flow
from hascodesign.flow.store import StepStore
from hascodesign.schedule import evolve
from hascodesign.schedule.formats import from_json, to_json
from tests.test_flow import QUICK

LONG = QUICK.replace("evaluations = 60", "evaluations = 1000000").replace(
    "random_maps = 2",
    "random_maps = 1\nmoves = []",  # the search of rows' places alone is long
)


class Watched:
    """One command whose standard error is read as it comes."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-m", "hascodesign", *map(str, arguments)]
        self.process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
            preexec_fn=partial(signal.signal, signal.SIGHUP, signal.SIG_DFL),  # noqa: PLW1509
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(iter(self.process.stderr.readline, ""))

    def wait_for(self, words: str, seconds: float = 240.0) -> None:
        end = time.monotonic() + seconds
        while not any(words in line for line in self.lines):
            assert self.process.poll() is None, "".join(self.lines)
            assert time.monotonic() < end, "".join(self.lines)
            time.sleep(0.02)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str]:
        code = self.process.wait(timeout=120)
        self._reader.join(timeout=10)
        return code, "".join(self.lines)


@contextmanager
def watched(*arguments: object) -> Iterator[Watched]:
    command = Watched(*arguments)
    try:
        yield command
    finally:
        command.process.kill()
        command.process.wait()


def test_ctrl_c_writes_the_best_map_so_far_and_a_second_one_quits(tmp_path: Path) -> None:
    config, out = tmp_path / "long.toml", tmp_path / "out"
    config.write_text(LONG)
    arguments = ("flow", "--config", config, "--out", out)
    with watched(*arguments) as command:
        command.wait_for("  search: ")
        command.interrupt()
        code, text = command.end()
    assert code == 130
    assert "Traceback" not in text
    last = text.splitlines()[-1]
    assert re.fullmatch(
        r"hascodesign: the search was stopped by Ctrl-C after \d+ evaluations; the best map so far"
        rf" is in {re.escape(str(out))}/schedule.json, to be judged and rendered with --schedule,"
        r" and with --faults for the faults\.json beside it",
        last,
    )
    # nothing but what is whole: no rendered file, no staging folder, no search to be served later
    kept = {path.name for path in out.iterdir()}
    assert kept == {".lock", "flow.log", "steps", "faults.json", "schedule.json"}
    assert {path.stem for path in (out / "steps").iterdir()} == {"load", "integerise", "faults"}
    _is_a_whole_schedule(out)

    before = (out / "schedule.json").read_bytes()
    with watched(*arguments) as command:
        command.wait_for("  search: ")
        start = time.monotonic()
        command.interrupt()
        time.sleep(0.3)  # two at once would be one
        command.interrupt()
        code, text = command.end()
    assert code == 130
    assert time.monotonic() - start < 60
    assert "Traceback" not in text
    assert "stopped by Ctrl-C" in text.splitlines()[-1]
    assert {path.name for path in out.iterdir()} == kept
    if "it has no map" in text:
        assert (out / "schedule.json").read_bytes() == before

    for number, code in ((signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        before = (out / "schedule.json").read_bytes()
        with watched(*arguments) as command:
            command.wait_for("  search: ")
            command.process.send_signal(number)
            ended, text = command.end()
        assert ended == code and "Traceback" not in text
        assert text.splitlines()[-1] == f"hascodesign: stopped by {number.name}"
        assert (out / "schedule.json").read_bytes() == before
        assert {path.name for path in out.iterdir()} == kept


def _is_a_whole_schedule(out: Path) -> None:
    network = records.decode((out / "steps" / "integerise.npz").read_bytes())[0]
    profile = fault_formats.read(out / "faults.json")
    assert len(profile.faults) == 4
    content = (out / "schedule.json").read_bytes()
    assert to_json(from_json(content, network, profile.array)) == content


@pytest.fixture
def handlers() -> Iterator[None]:
    old = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in old.items():
        signal.signal(number, handler)
    interrupt._seen.clear()


def test_a_ctrl_c_that_a_library_swallows_is_raised_at_the_next_check(handlers: None) -> None:
    interrupt.install()
    interrupt.check()
    with suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupt.check()
    interrupt.check()


def test_rendered_files_of_another_schedule_do_not_stay_beside_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "rtl").mkdir()
    (tmp_path / "schedule.json").write_bytes(b"old")
    _keep(tmp_path, {"schedule.json": b"old"})
    assert (tmp_path / "rtl").exists()
    _keep(tmp_path, {"schedule.json": b"new"})
    assert not (tmp_path / "rtl").exists()
    assert (tmp_path / "schedule.json").read_bytes() == b"new"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_a_step_swallows_ends_the_flow_at_its_next_word(
    tmp_path: Path, handlers: None, number: signal.Signals
) -> None:
    def swallow() -> str:
        with suppress(interrupt.Terminated):
            signal.raise_signal(number)
        return "done"

    interrupt.install()
    with pytest.raises(interrupt.Terminated) as caught:
        StepStore(tmp_path).run("load", (1,), swallow)
    assert caught.value.exit_code == 128 + number and list(tmp_path.iterdir()) == []
    swallow()
    with pytest.raises(interrupt.Terminated, match=f"stopped by {number.name}"):
        Display().progress("verify", 1, 4)
    interrupt.install()
    Display().progress("verify", 0, 4)


def test_rows_written_before_ctrl_c_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = evolve.search

    def stopped(*arguments: Any, **options: Any) -> SearchResult:
        return replace(search(*arguments, **options), interrupted=True)

    monkeypatch.setattr(evolve, "search", stopped)
    config = load_config(board_config("pynq-z2"), {"schedule.random_maps": 1})
    asked = Request(config=config, out=tmp_path / "out", cache=tmp_path, to_step="schedule")
    with pytest.raises(Interrupted, match="best map so far") as caught:
        run_flow(asked)
    assert caught.value.best is None  # it has been written
    kept = json.loads((tmp_path / "out" / "schedule.json").read_bytes())
    assert kept["version"] == 2 and sum(len(layer["written"]) for layer in kept["layers"]) > 10


def test_what_nohup_ignores_stays_ignored(handlers: None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    interrupt.install()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL  # the others are taken
    signal.raise_signal(signal.SIGHUP)

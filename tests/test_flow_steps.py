"""The table of the flow's steps, and what follows from it."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from hascodesign.cli.main import app
from hascodesign.flow.config import board_config, load_config
from hascodesign.flow.flow import Flow
from hascodesign.flow.request import Request
from hascodesign.flow.run import _redo, wanted_steps
from hascodesign.flow.steps import NAMES, STEPS, since, up_to


def request(**changes: object) -> Request:
    config = load_config(board_config("pynq-z2"), {})
    return Request(config=config, out=Path("o"), cache=Path("c"), **changes)  # type: ignore[arg-type]


def test_every_step_has_its_method_and_inputs() -> None:
    methods = [STEPS[name].method for name in NAMES]
    assert len(set(methods)) == len(methods)
    for step in STEPS.values():
        assert callable(getattr(Flow, step.method))
        for key in step.inputs:
            first = key.split(".")[0]
            assert hasattr(Flow, first) or first in ("config", "request"), key


def test_a_step_is_run_once_from_its_method_on_its_inputs(tmp_path: Path) -> None:
    seen: list[tuple[str, tuple[object, ...]]] = []

    class Store:
        def run(
            self, name: str, inputs: tuple[object, ...], compute: object, *, afresh: bool
        ) -> str:
            assert not afresh  # shipped with the program, whose digest is in every key
            seen.append((name, inputs))
            return compute()  # type: ignore[operator]

    class Stub(Flow):
        def _load(self) -> str:  # type: ignore[override]
            return "data"

    flow = Stub(request(), Store(), None)  # type: ignore[arg-type]
    assert flow.dataset == flow.result("load") == "data"
    assert seen == [("load", ("digits-cnn",))]


def test_from_and_to_follow_from_the_order() -> None:
    assert up_to("faults") == ("load", "integerise", "faults")
    assert since("verify")[0] == "verify" and since("verify")[-1] == "estimate"
    assert wanted_steps(request(to_step="schedule")) == up_to("schedule")
    assert "timing" not in wanted_steps(request())
    assert wanted_steps(request(post_route=True)) == NAMES
    assert _redo(request(from_step="render")) == set(since("render")) >= {"masked", "timing"}
    assert _redo(request(fresh=True)) == set(NAMES) and _redo(request()) == set()


def test_the_commands_end_with_their_steps() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    ends = {
        name: next(p.default for p in command.params if p.name == "to_step")
        for name, command in commands.items()
        if any(p.name == "to_step" for p in command.params)
    }
    assert ends == {
        "flow": "estimate",
        "verify": "verify",
        "render": "render",
        "schedule": "schedule",
    }
    assert next(iter(ends)) == "flow"


@pytest.mark.parametrize("name", NAMES)
def test_a_step_uses_only_options_that_there_are(name: str) -> None:
    flow = typer.main.get_command(app).commands["flow"]  # type: ignore[attr-defined]
    assert set(STEPS[name].options) <= {p.name for p in flow.params}

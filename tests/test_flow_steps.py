"""The table of the flow's steps, and what follows from it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

import pytest
import typer

from hascodesign.cli.main import app
from hascodesign.common import processes
from hascodesign.contract.errors import StepFailed
from hascodesign.flow.config import board_config, load_config
from hascodesign.flow.flow import Flow
from hascodesign.flow.request import Request
from hascodesign.flow.run import _redo, wanted_steps
from hascodesign.flow.steps import NAMES, STEPS, since, up_to
from hascodesign.flow.store import StepStore


def request(**changes: Any) -> Request:
    config = load_config(board_config("pynq-z2"), {})
    return Request(config=config, out=Path("o"), cache=Path("c"), **changes)


def test_every_step_has_its_method_and_inputs() -> None:
    methods = [STEPS[name].method for name in NAMES]
    assert len(set(methods)) == len(methods)
    for step in STEPS.values():
        assert callable(getattr(Flow, step.method))
        for key in step.inputs:
            first = key.split(".")[0]
            assert hasattr(Flow, first) or first in ("config", "request"), key


class Stub(Flow):
    """A flow whose first step is not computed, and whose network is of that step's making."""

    def _load(self) -> Any:
        return "data"


def test_a_step_is_run_once_from_its_method_on_its_inputs() -> None:
    seen: list[tuple[str, tuple[object, ...]]] = []

    class Store:
        def run(self, name: str, inputs: tuple[object, ...], compute: Any, **how: object) -> Any:
            # shipped with the program, whose digest is in every key
            assert how == {"afresh": False, "begun": None}
            seen.append((name, inputs))
            return compute()

    nothing: Any = None
    store: Any = Store()
    flow = Stub(request(), store, nothing)
    assert flow.dataset == flow.result("load") == "data"
    assert seen == [("load", ("digits-cnn",))]


def test_a_step_begun_in_a_pool_is_computed_once_and_stored(tmp_path: Path) -> None:
    calls, nothing = [], cast("Any", None)
    gate = threading.Event()

    class Slow(Stub):
        def _load(self) -> Any:
            calls.append(threading.current_thread())
            assert gate.wait(60)
            return "data"

    with processes.threads(1) as pool:
        flow = Slow(request(), StepStore(tmp_path), nothing)
        flow.begin("load", pool)  # comes back at once
        gate.set()
        assert flow.dataset == "data"
        again = Slow(request(), StepStore(tmp_path), nothing)
        again.begin("load", pool)
        assert again.dataset == "data"
    assert len(calls) == 1 and calls[0] is not threading.main_thread()


def test_what_a_begun_step_raises_comes_out_where_it_is_asked_for(tmp_path: Path) -> None:
    class Failing(Stub):
        def _load(self) -> Any:
            raise StepFailed("no")

    with processes.threads(1) as pool:
        flow = Failing(request(), StepStore(tmp_path), cast("Any", None))
        flow.begin("load", pool)
        with pytest.raises(StepFailed, match="no"):
            _ = flow.dataset
    assert not list(tmp_path.iterdir())


def test_a_step_stands_behind_the_one_beside_which_it_runs() -> None:
    beside = {name: STEPS[name].beside for name in NAMES if STEPS[name].beside is not None}
    assert beside == {"estimate": "verify"}
    for name, other in beside.items():
        assert NAMES.index(name) > NAMES.index(str(other))
        assert not {"verified", "masking", "timing"} & set(STEPS[name].inputs)


def test_from_and_to_follow_from_the_order() -> None:
    assert up_to("faults") == ("load", "integerise", "faults")
    assert since("verify")[0] == "verify" and since("verify")[-1] == "estimate"
    assert wanted_steps(request(to_step="schedule")) == up_to("schedule")
    assert "timing" not in wanted_steps(request())
    assert wanted_steps(request(post_route=True)) == NAMES
    assert _redo(request(from_step="render")) == set(since("render")) >= {"masked", "timing"}
    assert _redo(request(fresh=True)) == set(NAMES) and _redo(request()) == set()


def test_the_commands_end_with_their_steps() -> None:
    commands = cast("Any", typer.main.get_command(app)).commands
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
    flow = cast("Any", typer.main.get_command(app)).commands["flow"]
    assert set(STEPS[name].options) <= {p.name for p in flow.params}

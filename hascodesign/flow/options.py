"""Options that a run cannot use are refused, never ignored.

Which step uses which option stands in the table of steps; what else an option needs stands in
``RULES`` below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hascodesign.common.inputs import is_folder, one_line, printable
from hascodesign.contract.errors import ConfigError
from hascodesign.faults.sources import kind_of
from hascodesign.flow.request import Request, has_own_data, is_qonnx, is_user_model
from hascodesign.flow.steps import NAMES, STEPS, up_to

#: Options of the run itself, whatever its steps.
ALWAYS = ("board", "out", "config", "fresh", "from_step", "to_step")
#: Options that name a file; those of FOLDERS may name a folder too.
PATHS = ("config", "faults", "schedule", "checkpoint", "data")
FOLDERS = ("faults", "data")
_DEPTH = ("objectives", "extra_passes", "spare_passes")


@dataclass(frozen=True, slots=True)
class Rule:
    """When some options are without effect, and what to do about it."""

    options: tuple[str, ...]  # names of the command's parameters
    idle: Callable[[Request], bool]
    remedy: str  # what the reader is told; {model}, {faults}, {to_step}, {from_step} are filled in


def _source(request: Request) -> str | None:
    return None if request.faults is None else kind_of(request.faults)


RULES = (
    Rule(
        ("data",),
        lambda r: has_own_data(r.config.model),
        "{model} has its own data; name a network of yours with --model file.py:factory",
    ),
    Rule(
        ("checkpoint",),
        lambda r: not is_user_model(r.config.model) or is_qonnx(r.config.model),
        "{model} is trained; --checkpoint goes with --model file.py:factory",
    ),
    Rule(
        ("voltage",),
        lambda r: _source(r) in ("profile", "probabilities"),
        "the faults of {faults} are the same at every voltage; give cells (.cells.json) or a"
        " measured list with --faults, or leave --voltage out",
    ),
    Rule(
        ("search_seconds", "allowed_points", "moves", *_DEPTH),
        lambda r: r.schedule is not None,
        "with --schedule nothing is searched; leave it out, and give the faults.json that lies"
        " beside the schedule with --faults",
    ),
    Rule(
        ("moves",),
        lambda r: "preload" in r.config.schedule.moves and not r.config.render.preload,
        "its move preload needs an array that is built with preloads; leave --no-preload out, or"
        " the move",
    ),
    Rule(
        ("allowed_points",),
        lambda r: len(r.config.schedule.objectives) == 1,
        "only a front has points to choose from; ask for one with --objectives accuracy,passes",
    ),
    Rule(
        _DEPTH,
        lambda r: _source(r) == "profile" and "schedule" not in up_to(r.to_step),
        "{faults} is taken as it is and nothing is searched up to step {to_step}; leave it out",
    ),
    Rule(
        ("seed",),
        lambda r: _source(r) in ("profile", "cells") and "schedule" not in up_to(r.to_step),
        "{faults} holds its faults and nothing is drawn up to step {to_step}; leave it out",
    ),
    Rule(
        ("core_images",),
        lambda r: bool(r.config.verify.core_images) and "verify" not in up_to(r.to_step),
        "no image is simulated up to step {to_step}; leave it out, or end later with --to",
    ),
    Rule(
        ("watch",),
        lambda r: r.config.verify.core_images == 0,
        "the accelerator watches its array, and with --core-images 0 the array alone is built;"
        " leave one of the two out",
    ),
    Rule(
        ("from_step",),
        lambda r: r.fresh,
        "--fresh computes every step again; leave one of the two out",
    ),
    Rule(
        ("from_step",),
        lambda r: r.from_step not in (None, *up_to(r.to_step)),
        "step {from_step} comes after step {to_step}, with which the run ends",
    ),
    Rule(
        ("from_step",),
        lambda r: r.from_step == "timing" and not r.post_route,
        "only --post-route asks for step timing",
    ),
    Rule(
        ("to_step",),
        lambda r: r.to_step == "timing" and not r.post_route,
        "only --post-route asks for step timing",
    ),
)


def check_paths(paths: Mapping[str, Path | None]) -> None:
    """Refuse an option that names a file which is not there, before anything is read.

    Parameters
    ----------
    paths : by the option's parameter; None where it was not given.
    """
    for name, path in paths.items():
        if path is None:
            continue
        shown = f"--{name} {printable(path)}"
        try:
            there = path.exists()
        except (OSError, ValueError) as error:  # a name that no file can have
            raise ConfigError(f"{shown}: {one_line(error)}") from None
        if not there:
            raise ConfigError(f"{shown}: no such file")
        if is_folder(path) and name not in FOLDERS:
            raise ConfigError(f"{shown}: must be a file, not a folder")


def check_used(given: Mapping[str, str], request: Request, last: str) -> None:
    """Refuse every option that this run would ignore.

    Parameters
    ----------
    given : options that stand on the command line: parameter's name -> as it is written.
    request : what they and the flow file ask for.
    last : step with which the command ends; ``--to`` may end it before, not after.

    Raises
    ------
    ConfigError
        One line: the option, why it is without effect, and what to do.
    """
    if NAMES.index(request.to_step) > NAMES.index(last):
        raise ConfigError(
            f"--to {request.to_step}: this command ends with step {last}; call"
            f" `hascodesign flow --to {request.to_step}`"
        )
    wanted = up_to(request.to_step)
    for name, written in given.items():
        users = [step.name for step in STEPS.values() if name in step.options]
        if users and not set(users) & set(wanted):
            raise ConfigError(
                f"{written} has no effect: step {users[0]} uses it, and the run ends with step"
                f" {request.to_step}; leave it out, or end later with --to {users[0]}"
            )
    words = {
        "model": request.config.model,
        "faults": request.faults,
        "to_step": request.to_step,
        "from_step": request.from_step,
    }
    for rule in RULES:
        for name in rule.options:
            if name in given and rule.idle(request):
                raise ConfigError(f"{given[name]} has no effect: {rule.remedy.format(**words)}")

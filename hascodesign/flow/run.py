"""One run of the flow, from an empty folder to the files and the report in it."""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hascodesign.board import tools
from hascodesign.common import files, process_memory
from hascodesign.common.display import Display
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.errors import (
    ConfigError,
    HascodesignError,
    Interrupted,
    StepFailed,
    VerificationMismatch,
)
from hascodesign.contract.results import StepRecord
from hascodesign.contract.types import FaultProfile
from hascodesign.faults import power
from hascodesign.flow.flow import OUTPUTS, Flow
from hascodesign.flow.request import Request
from hascodesign.flow.steps import NAMES, STEPS, since, up_to
from hascodesign.flow.store import StepStore


def run_flow(request: Request) -> None:
    """Run the flow up to ``request.to_step``, write what it made and show the result.

    Raises
    ------
    HascodesignError
        Anything the user can act on. On bad input nothing is left of a new output folder; on a
        mismatch no rendered file is left in an old one.
    """
    if request.post_route:  # refused now rather than after minutes
        for name in ("yosys", "nextpnr-ecp5"):
            tools.require(name)
    new = not request.out.exists()
    out = files.usable_folder(request.out)
    try:
        with locked(out), Display(out / "flow.log") as display:
            display.record(request.command)
            try:
                _run(request, display)
            except HascodesignError as error:
                display.record(f"failed: {error}")
                raise
    except ConfigError:
        if new:
            shutil.rmtree(out, ignore_errors=True)
        raise


def _run(request: Request, display: Display) -> None:
    start = time.perf_counter()

    def announce(step: StepRecord) -> None:
        display.line(f"{step.name:<10} {_time(step)}")

    store = StepStore(request.out / "steps", _redo(request), announce)
    flow = Flow(request, store, display)
    wanted = wanted_steps(request)
    try:
        for step in wanted:
            flow.result(step)
    except (VerificationMismatch, StepFailed):
        _withdraw(request.out)
        raise
    except Interrupted as stopped:
        if stopped.best is None:
            raise
        _keep(request.out, flow.records(stopped.best))
        raise Interrupted(
            f"{stopped}; the best map so far is in {request.out / 'schedule.json'}, to be judged"
            " and rendered with --schedule"
        ) from None
    _deliver(flow, wanted)
    if "schedule" in wanted and "estimate" not in wanted:
        for note in flow.search.notes:  # else the report has them
            display.line(note)
    display.line(f"done in {time.perf_counter() - start:.1f} s: {request.out}")


def wanted_steps(request: Request) -> tuple[str, ...]:
    """Names of the steps that a request asks for, in order."""
    switches = {name: STEPS[name].asked for name in up_to(request.to_step)}
    return tuple(n for n, switch in switches.items() if not switch or getattr(request, switch))


def _redo(request: Request) -> frozenset[str]:
    if request.fresh:
        return frozenset(NAMES)
    return frozenset() if request.from_step is None else frozenset(since(request.from_step))


def _time(step: StepRecord) -> str:
    return f"{'stored' if step.cached else 'done'}, {step.seconds:.1f} s"


def _withdraw(out: Path) -> None:
    """Take away everything that an earlier run rendered: nothing is left that looks good."""
    for name in OUTPUTS:
        shutil.rmtree(out / name, ignore_errors=True)
    for name in ("report.json", "report.html", "schedule.json"):
        (out / name).unlink(missing_ok=True)


def _deliver(flow: Flow, wanted: tuple[str, ...]) -> None:
    """Write what the steps made: rendered files in place only where they have verified."""
    out = flow.request.out
    if "verify" in wanted:
        content = dict(BuildPlan.merge([flow.plan, BuildPlan(flow.verified[1])]).files)
        if "estimate" in wanted:
            content |= flow.resources.files
            content |= _report(flow, content)
        _withdraw(out)
        files.replace_trees(out, content)
    elif "render" in wanted:
        plan = flow.plan.files
        files.replace_trees(out, {f"unverified/{path}": plan[path] for path in plan})
    elif "faults" in wanted:
        _keep(out, flow.records(flow.schedule if "schedule" in wanted else None))


def _keep(out: Path, records: Mapping[str, bytes]) -> None:
    """Write profile and schedule; what was rendered from others beside them goes first."""
    if any(
        (out / name).exists() and (out / name).read_bytes() != records[name] for name in records
    ):
        _withdraw(out)
    files.replace_trees(out, records)


def _report(flow: Flow, content: Mapping[str, bytes]) -> dict[str, bytes]:
    """report.json and report.html; the tables go to the terminal."""
    from hascodesign.report import html, json, record, terminal  # noqa: PLC0415  (matplotlib)

    data = flow.dataset
    result = record.FlowResult(
        command=flow.request.command,
        board=flow.board,
        profile=flow.profile,
        seed=flow.config.seed,
        network=flow.network,
        dataset=data.name,
        calibration=len(data.calibration.labels),
        heldout=len(data.heldout.labels),
        equivalence=flow.integers[1],
        accuracy=flow.accuracy,
        search=flow.search,
        verification=flow.verified[0],
        resources=flow.resources,
        whole=flow.verified[2],
        masking=flow.masking,
        power=_power(flow.profile),
        timing=flow.timing,
        files=content,
        steps=flow.store.records,
        peak_rss_bytes=process_memory.peak(),
    )
    terminal.show(flow.display.console, result)
    return {"report.json": json.dumps(json.build(result)), "report.html": html.render(result)}


def _power(profile: FaultProfile) -> dict[str, Any] | None:
    """Modelled power where the profile is that of a supply voltage, with the model's words."""
    volts = profile.conditions.get("voltage")
    # anybody may call a condition so; the cells' own is in volts of the whole array's supply
    own = profile.conditions.get("generator") == "threshold"
    return asdict(power.power(volts)) if own and isinstance(volts, float) else None


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the output folder for this run alone."""
    with (out / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"output folder must not be in use by another run: {out}") from error
        yield

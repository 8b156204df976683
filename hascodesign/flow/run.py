"""One run of the flow, from an empty folder to the files and the report in it."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hascodesign.board import tools
from hascodesign.common import files, process_memory, processes
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
from hascodesign.flow import delivery, oddities
from hascodesign.flow.flow import Flow
from hascodesign.flow.request import Request
from hascodesign.flow.steps import NAMES, STEPS, since, up_to
from hascodesign.flow.store import StepStore
from hascodesign.verify import simulate


def run_flow(request: Request) -> Flow:
    """Run the flow up to ``request.to_step``, write what it made and show the result.

    Returns
    -------
    The flow, whose steps' records are at hand.

    Raises
    ------
    HascodesignError
        Anything the user can act on. On bad input nothing is left of a new output folder; on a
        mismatch no rendered file is left in an old one.
    """
    _require_programs(request)
    new = not request.out.exists()
    out, held = files.usable_folder(request.out), False
    try:
        with locked(out), Display(out / "flow.log") as display:
            held = True
            for folder in (out, out / "steps"):
                files.sweep(folder)
            display.record(request.command)
            try:
                return _run(request, display)
            except (HascodesignError, OSError) as error:
                with suppress(OSError):  # a full disk has no room for its own word
                    display.record(f"failed: {error}")
                raise
    except ConfigError:
        if new and held:  # else it is another run's, that began at the same time
            shutil.rmtree(out, ignore_errors=True)
        raise


def _require_programs(request: Request) -> None:
    """Ask for what any step needs now, rather than after the search."""
    for name in wanted_steps(request):
        if name == "verify":
            simulate.require(request.simulator)
        for program in STEPS[name].programs:
            tools.require(program)


def _run(request: Request, display: Display) -> Flow:
    start = time.perf_counter()

    def announce(step: StepRecord) -> None:
        display.line(f"{step.name:<10} {_time(step)}")

    store = StepStore(request.out / "steps", _redo(request), announce)
    flow = Flow(request, store, display)
    wanted = wanted_steps(request)
    try:
        with processes.threads(1) as pool:
            for step in wanted:
                for other in wanted:
                    if STEPS[other].beside == step:
                        flow.begin(other, pool)
                flow.result(step)
                if step == "load":
                    flow.check_images()
                if step == "integerise":
                    flow.say_accuracy()
                if step == "faults" and flow.profile_warning is not None:
                    display.line(flow.profile_warning)
    except (VerificationMismatch, StepFailed):
        delivery.withdraw(request.out, inputs=_inputs(request))
        raise
    except Interrupted as stopped:
        if stopped.best is None:
            raise
        _keep(request.out, flow.records(stopped.best, stopped.written), _inputs(request))
        raise Interrupted(
            f"{stopped}; the best map so far is in {request.out / 'schedule.json'}, to be judged"
            " and rendered with --schedule, and with --faults for the faults.json beside it"
        ) from None
    _deliver(flow, wanted)
    if "estimate" not in wanted:  # else the report has them
        _say_found(flow, wanted)
    display.line(f"done in {time.perf_counter() - start:.1f} s: {request.out}")
    return flow


def _say_found(flow: Flow, wanted: tuple[str, ...]) -> None:
    """What a run that ends before the report has found."""
    if "judge" in wanted:
        from hascodesign.report import terminal  # noqa: PLC0415  (start-up time)

        images = len(flow.dataset.heldout.labels)
        table = terminal.accuracy_table(flow.network.name, images, flow.accuracy)
        flow.display.console.print(table)
    if "schedule" in wanted:
        for note in flow.search.notes:
            flow.display.line(note)


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


def _deliver(flow: Flow, wanted: tuple[str, ...]) -> None:
    """Write what the steps made: rendered files in place only where they have verified."""
    out, inputs = flow.request.out, _inputs(flow.request)
    if "verify" in wanted:
        content = dict(BuildPlan.merge([flow.plan, BuildPlan(flow.verified[1])]).files)
        if "estimate" in wanted:
            content |= flow.resources.files
            content |= _report(flow, content)
        delivery.deliver(out, content, inputs=inputs)
    elif "render" in wanted:
        plan = flow.plan.files
        delivery.deliver(out, {f"unverified/{path}": plan[path] for path in plan}, alone=True)
    elif "faults" in wanted:
        records = flow.records(None)
        if "schedule" in wanted:
            records = flow.records(flow.schedule, flow.search.written)
        _keep(out, records, inputs)


def _keep(out: Path, records: Mapping[str, bytes], inputs: Collection[Path] = ()) -> None:
    """Write profile and schedule; what was rendered from others beside them goes first."""
    held = {name: _content(out / name) for name in records if os.path.lexists(out / name)}
    if held == records:
        return  # a delivery made from them stays whole
    alone = all(records[name] == content for name, content in held.items())
    delivery.deliver(out, records, inputs=inputs, alone=alone)


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _inputs(request: Request) -> tuple[Path, ...]:
    """Files that the user gave, which may lie in the output folder."""
    given = (request.schedule, request.faults, request.data, request.checkpoint)
    return tuple(path for path in given if path is not None)


def _report(flow: Flow, content: Mapping[str, bytes]) -> dict[str, bytes]:
    """report.json and report.html; the tables go to the terminal."""
    from hascodesign.report import html, json, record, terminal  # noqa: PLC0415  (matplotlib)

    data = flow.dataset
    result = record.FlowResult(
        command=flow.request.command,
        board=flow.board,
        profile=flow.profile,
        origin=flow.origin,
        seed=flow.config.seed,
        network=flow.network,
        dataset=data.name,
        calibration=len(data.calibration.labels),
        heldout=len(data.heldout.labels),
        held=data.held,
        equivalence=flow.integers[1],
        warnings=(
            *oddities.warnings(
                flow.network, flow.integers[1], data, factory_weights=flow.factory_weights
            ),
            *filter(None, [flow.profile_warning]),
        ),
        accuracy=flow.accuracy,
        search=flow.search,
        verification=flow.verified[0],
        resources=flow.resources,
        whole=flow.verified[2],
        masking=flow.masking,
        slots=flow.slots,
        power=_power(flow.profile),
        timing=flow.timing,
        files=content,
        steps=flow.store.records,
        peak_rss_bytes=process_memory.peak(),
    )
    terminal.show(flow.display.console, result)
    page = {"report.html": html.render(result)}
    whole = replace(result, files={**content, **page})
    return {**page, delivery.MARK: json.dumps(json.build(whole))}


def _power(profile: FaultProfile) -> dict[str, Any] | None:
    """Modelled power where the profile is that of a supply voltage, with the model's words."""
    volts = power.supply(profile)
    return None if volts is None else asdict(power.power(volts))


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the output folder for this run alone."""
    with (out / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"output folder must not be in use by another run: {out}") from error
        yield

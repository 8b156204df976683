"""The flow's parts as plain calls, for scripts and notebooks; ``import hascodesign as has``.

Errors are those of ``hascodesign.contract.errors``: one tree under ``HascodesignError``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
from pydantic import ValidationError

from hascodesign.board.boards import find
from hascodesign.common.display import Display, silent
from hascodesign.contract import arithmetic, array
from hascodesign.contract.build import Build, BuildPlan
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.results import Accuracy, SearchResult
from hascodesign.contract.types import ArraySpec, FaultProfile, IntegerNetwork, Split
from hascodesign.faults import formats, generate
from hascodesign.faults.profile import check
from hascodesign.flow import delivery
from hascodesign.flow.config import (
    RenderConfig,
    VerifyConfig,
    board_config,
    first_error,
    load_config,
)
from hascodesign.flow.request import Request, has_own_data, is_qonnx, is_user_model
from hascodesign.render.rom_format import on_chip_of

if TYPE_CHECKING:
    from hascodesign.engine.network import Evaluator
    from hascodesign.models.load import Loaded


def load(
    model: str = "digits-cnn",
    *,
    data: str | Path | None = None,
    checkpoint: str | Path | None = None,
) -> Loaded:
    """A Brevitas model and its data.

    Parameters
    ----------
    model : ``file.py:factory``, a QONNX ``file.onnx``, or a bundled network.
    data : ``.npz`` or folder of IDX files; needed with a network of yours.
    checkpoint : state dict for a model of yours.

    Returns
    -------
    With ``model`` (torch), ``dataset.calibration`` and ``dataset.heldout``.
    """
    from hascodesign.models import load as loading  # noqa: PLC0415  (torch takes seconds)

    folder = None if data is None else Path(data)
    if checkpoint is not None and (is_qonnx(model) or not is_user_model(model)):
        raise ConfigError(f"checkpoint goes with file.py:factory, {model} is trained")
    if data is not None and has_own_data(model):
        raise ConfigError(f"data goes with a model of yours or MNIST's: {model} brings its own")
    if not is_user_model(model):
        return loading.load_bundled(model, folder, _cache(), silent)
    if folder is None:
        raise ConfigError(f"model {model} needs data: an .npz or a folder of IDX files")
    if is_qonnx(model):
        return loading.load_qonnx(model, folder)
    return loading.load_user(model, None if checkpoint is None else Path(checkpoint), folder)


def integerise(loaded: Loaded, acc_bits: int = 24, *, preload: bool = True) -> IntegerNetwork:
    """The integer graph of a model, held against it code for code on all held-out images.

    Parameters
    ----------
    loaded : what ``load`` gave.
    acc_bits : bits of the array's accumulator.
    preload : whether the array is built with preloads.

    Raises
    ------
    HascodesignError
        A layer that the array cannot compute, or a code that differs.
    """
    from hascodesign.models import integer  # noqa: PLC0415  (torch takes seconds)

    network = integer.integerise(loaded.model, loaded.name, loaded.in_shape, acc_bits)
    heldout = loaded.dataset.heldout
    integer.require_equal(integer.compare(loaded.model, network, heldout, acc_bits))
    return array.with_preloads(network) if preload else network


def read_faults(path: str | Path) -> FaultProfile:
    """A fault profile, .json or .csv, checked."""
    return formats.read(Path(path))


def draw_faults(spec: ArraySpec, seed: int = 1, **options: Any) -> FaultProfile:
    """Permanent faults on some PEs, drawn by area as ``flow`` draws them.

    Parameters
    ----------
    spec : the array.
    seed : the same seed gives the same faults.
    options : ``faulty_pes``, ``faults_per_pe``, ``bits`` and what else ``generate.by_area`` takes.
    """
    return generate.by_area(spec, array.generator(seed, "faults"), seed=seed, **options)


def evaluator(network: IntegerNetwork, profile: FaultProfile, split: Split) -> Evaluator:
    """What judges schedules of a network on a faulty array, on the images of a split."""
    from hascodesign.engine.network import Evaluator  # noqa: PLC0415  (numba compiles)

    check_fit(network, profile)
    codes = arithmetic.quantise(split.images, network.input)
    return Evaluator(network, profile, codes, split.labels)


def check_fit(network: IntegerNetwork, profile: FaultProfile) -> None:
    """Refuse a network that is too wide for the array, or a fault on a word that it has not.

    Raises
    ------
    ConfigError
        Which layer or entry, what it needs and what there is.
    """
    array.check_widths(network, profile.array)
    check(profile, words=array.wmem_words(network, profile.array))


def search(
    network: IntegerNetwork,
    profile: FaultProfile,
    calibration: Split,
    seed: int = 1,
    **options: Any,
) -> SearchResult:
    """Which row stands on which slot, and how each row is written there.

    Parameters
    ----------
    network, profile : what runs, and on what.
    calibration : images of every choice; held-out images stay unseen.
    seed : of every draw.
    options : of ``schedule.options.SearchOptions``, e.g. ``moves=()`` for maps alone.

    Returns
    -------
    ``schedule``, and ``written``: the network with its rows as written, None = as trained.
    """
    from hascodesign.contract.results import MOVES  # noqa: PLC0415
    from hascodesign.schedule import evolve  # noqa: PLC0415  (pymoo takes seconds)

    chosen = evolve.SearchOptions(**({"moves": MOVES} | options))
    return evolve.search(evaluator(network, profile, calibration), chosen, seed)


def build(
    network: IntegerNetwork,
    found: SearchResult,
    profile: FaultProfile,
    board: str = "pynq-z2",
    **render: Any,
) -> BuildPlan:
    """Every rendered file in memory: ``plan.files`` is path -> bytes.

    Parameters
    ----------
    network, found, profile : what was searched, and what the search gave.
    board : gives clock and block RAM.
    render : of ``[render]`` in a flow file: ``pipeline``, ``multipliers``, ``clock_mhz``.

    Raises
    ------
    ConfigError
        ``preload`` is not what the network was integerised for.
    """
    from hascodesign.render import build as rendering  # noqa: PLC0415  (jinja2)
    from hascodesign.render import core_fit, rtl  # noqa: PLC0415

    deployed, schedule, record = found.written or network, found.schedule, find(board)
    with_core = rendering.core_refusal(deployed, schedule, profile) is None
    try:
        chosen = RenderConfig(**({"preload": deployed.preloaded} | render))
    except ValidationError as error:
        raise ConfigError(f"render {first_error(error)}") from None
    if chosen.preload != deployed.preloaded:
        raise ConfigError(
            f"preload must be {deployed.preloaded}, as the network was integerised, not"
            f" {chosen.preload}; integerise(..., preload={chosen.preload}) builds that"
        )
    options = core_fit.fitted(
        deployed,
        schedule,
        record,
        rtl.RtlOptions(chosen.pipeline, chosen.multipliers),
        with_core=with_core,
        batch=chosen.batch,
    )
    options = replace(options, watch=chosen.watch)
    plan = rendering.build_files(
        deployed,
        schedule,
        profile,
        record,
        options,
        clock_mhz=chosen.clock_mhz,
        with_core=with_core,
    )
    records = delivery.records(network, profile, schedule, found.written)
    return BuildPlan.merge([plan, BuildPlan(records)])


def verify(
    network: IntegerNetwork,
    found: SearchResult,
    profile: FaultProfile,
    plan: BuildPlan,
    heldout: Split,
    work: str | Path,
    simulator: str = "icarus",
) -> Any:
    """Simulate the plan's own Verilog, layer by layer and whole images, against the engine.

    Returns
    -------
    ``(Verification, vectors, WholeImages)`` as the flow reports them.

    Raises
    ------
    VerificationMismatch
        One integer that differs.
    """
    from hascodesign.flow import proof  # noqa: PLC0415  (jinja2)
    from hascodesign.render import build as rendering  # noqa: PLC0415
    from hascodesign.render.core_sizes import CoreOptions  # noqa: PLC0415
    from hascodesign.render.driver import SCHEDULE  # noqa: PLC0415
    from hascodesign.render.rtl import RtlOptions  # noqa: PLC0415

    deployed, schedule = found.written or network, found.schedule
    refusal = rendering.core_refusal(deployed, schedule, profile)
    on_chip = on_chip_of(plan.files, [layer.name for layer in network.layers])
    hardware = CoreOptions()
    if refusal is None:  # how it was built stands beside the driver
        held = json.loads(plan.files[f"{SCHEDULE}/core.json"])
        lanes, runs, batch = (held[name] for name in ("lanes", "runs", "batch"))
        array = RtlOptions(on_chip=on_chip)
        watch = "watch" in held
        hardware = CoreOptions(array, lanes=lanes, runs=runs, batch=batch, watch=watch)
    codes = arithmetic.quantise(heldout.images, network.input)
    chosen = VerifyConfig()
    job = proof.VerifyJob(
        Build(deployed, schedule, profile, plan),
        codes,
        heldout.labels,
        on_chip,
        chosen,
        simulator,
        refusal,
        hardware,
    )
    with Display() as display:
        return proof.verify(job, Path(work), display)


@dataclass(frozen=True, slots=True)
class FlowOutcome:
    """What one whole flow gave."""

    accuracy: Mapping[str, Accuracy]  # by name: integer, faulty_identity, scheduled, ...
    search: SearchResult
    folder: Path  # where every file lies
    files: Mapping[str, bytes]  # rendered and verified: path -> bytes


def flow(board: str = "pynq-z2", *, out: str | Path | None = None, **options: Any) -> FlowOutcome:
    """The whole flow, as ``hascodesign flow`` runs it.

    Parameters
    ----------
    board : its name.
    out : output folder; build/<board> by default.
    options : ``model``, ``data``, ``checkpoint``, ``faults``, ``schedule``, ``voltage``,
        ``simulator``, and keys of a flow file with __ for the dot, e.g. ``array__pe=8``.
    """
    from hascodesign.flow.run import run_flow  # noqa: PLC0415  (jinja2)

    record = find(board)
    given = [repr(record.name), *(f"{name}={value!r}" for name, value in options.items())]
    files: dict[str, Any] = {
        name: Path(options.pop(name))
        for name in ("data", "checkpoint", "faults", "schedule")
        if options.get(name) is not None
    }
    plain = {name: options.pop(name) for name in ("voltage", "simulator") if name in options}
    changes = {"board": record.name} | {k.replace("__", "."): v for k, v in options.items()}
    request = Request(
        config=load_config(board_config(record.name), changes),
        out=Path("build", record.name) if out is None else Path(out),
        cache=_cache(),
        command=f"hascodesign.run({', '.join(given)})",
        **files,
        **plain,
    )
    done = run_flow(request)
    return FlowOutcome(done.accuracy, done.search, request.out, done.plan.files)


def _cache() -> Path:
    return Path(platformdirs.user_cache_dir("hascodesign"))

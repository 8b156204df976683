"""The steps of the flow, in one table: order, hashing, resuming, commands and options follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the flow."""

    name: str  # for --from and --to, in the report, and of its files in steps/
    method: str  # of Flow: computes the step's record
    inputs: tuple[str, ...]  # attributes of Flow: all that the record depends on, hashed
    options: tuple[str, ...] = ()  # of the command line, that the step uses
    programs: tuple[str, ...] = ()  # of board.tools, that the step cannot do without
    beside: str | None = None  # the step while which it runs already, on another core
    asked: str | None = None  # the request's switch without which the step is left out
    command: str | None = None  # of the command line, that ends with this step
    help: str = ""  # of that command


_TABLE = (
    Step("load", "_load", ("config.model",), ("model", "checkpoint", "data")),
    Step(
        "integerise",
        "_integerise",
        ("what_was_loaded", "array"),
        ("pe", "simd", "weight_bits", "act_bits", "acc_bits", "dataflow", "multipliers"),
    ),
    Step(
        "faults",
        "_faults",
        ("array", "config.seed", "config.faults", "network_words", "given_profile", "source"),
        # spare passes and a front make the weight banks deeper, in which faults are drawn
        ("faults", "voltage", "seed", "objectives", "extra_passes", "spare_passes"),
    ),
    Step(
        "schedule",
        "_schedule",
        (
            *("network", "profile", "config.seed", "config.schedule", "given_schedule"),
            "dataset.calibration",
        ),
        (
            *("schedule", "seed", "device", "search_seconds", "objectives", "allowed_points"),
            *("extra_passes", "spare_passes", "moves", "preload"),
        ),
        command="schedule",
        help="The flow up to the schedule.",
    ),
    Step(
        "judge",
        "_judge",
        (
            *("network", "profile", "schedule", "candidates", "search.front", "brevitas_correct"),
            *("search.written", "dataset.heldout"),
        ),
        ("device",),
    ),
    Step(
        "render",
        "_render",
        (
            *("deployed", "schedule", "profile", "board", "on_chip", "fit", "config.render"),
            "core_refusal",
        ),
        ("multipliers", "core_images", "preload", "batch", "watch"),
        command="render",
        help="The flow up to the rendered files, not verified yet.",
    ),
    Step(
        "verify",
        "_verify",
        (
            *("plan", "deployed", "schedule", "profile", "dataset.heldout", "request.simulator"),
            *("config.verify", "core_refusal", "simulator_identity", "compiler_identity"),
        ),
        ("simulator", "core_images"),
        command="verify",
        help="The flow up to the verified files.",
    ),
    Step(
        "masked",
        "_masked",
        ("deployed", "profile", "schedule", "config.seed", "dataset.calibration"),
        ("seed",),
    ),
    Step(
        "slots",
        "_slots",
        (
            *("network", "search.written", "profile", "schedule", "config.seed"),
            "dataset.calibration",
        ),
        ("seed", "device"),
    ),
    Step(
        "timing",
        "_timing",
        ("plan", "board", "config.render.multipliers", "yosys_identity", "nextpnr_identity"),
        ("post_route", "multipliers"),
        ("yosys", "nextpnr-ecp5"),
        asked="post_route",
    ),
    Step(
        "estimate",
        "_estimate",
        ("plan", "board", "on_chip", "yosys_identity"),
        programs=("yosys",),
        beside="verify",
        command="flow",
        help="The whole flow: from a Brevitas model to verified ROMs and a report.",
    ),
)

#: Every step by its name, in the order in which they run.
STEPS: Mapping[str, Step] = MappingProxyType({step.name: step for step in _TABLE})
#: Their names, in the same order.
NAMES = tuple(STEPS)
LAST = NAMES[-1]


def up_to(last: str) -> tuple[str, ...]:
    """Names of the steps up to one, that one included."""
    return NAMES[: NAMES.index(last) + 1]


def since(first: str) -> tuple[str, ...]:
    """Names of the steps from one on."""
    return NAMES[NAMES.index(first) :]

"""What a flow is asked to do: flows/<board>.toml with the options laid over it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from hascodesign.common import documents, inputs
from hascodesign.common.inputs import Unreadable, one_line, printable
from hascodesign.common.shipped import share
from hascodesign.contract.batches import MOST_IMAGES
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.results import MOVES, Move, Objective
from hascodesign.contract.types import ArraySpec, Dataflow, Multipliers, Site


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ArrayConfig(_Section):
    """[array]: size and word widths of the PE array."""

    pe: int = Field(ge=1, le=4096)  # P, processing elements
    simd: int = Field(ge=1, le=1024)  # S, multipliers in each PE
    weight_bits: int = Field(ge=1, le=8)
    act_bits: int = Field(ge=1, le=8)
    acc_bits: int = Field(ge=16, le=32)
    dataflow: Dataflow = "os"

    def spec(self) -> ArraySpec:
        """The array's record; the banks are as deep as the network takes."""
        return ArraySpec(
            self.pe, self.simd, self.weight_bits, self.act_bits, self.acc_bits, self.dataflow
        )


class FaultsConfig(_Section):
    """[faults]: the profile that is drawn where none is given."""

    faulty_pes: int = Field(ge=0)  # PEs with faults
    faults_per_pe: int = Field(default=1, ge=1)
    bits: Literal["all", "upper"] = "all"  # of each site; upper = its more significant half
    site_area: dict[Site, float] = Field(default_factory=dict)  # share of faults by site


class ScheduleConfig(_Section):
    """[schedule]: the genetic search over row maps."""

    population: int = Field(default=24, ge=4, le=10_000)
    generations: int = Field(default=40, ge=0, le=1_000_000)
    evaluations: int | None = Field(default=None, ge=1, le=100_000_000)  # None = by the work
    # wall clock: the search stops early past this, and says so; only then is it not repeatable
    seconds: float = Field(default=300.0, gt=0)
    random_maps: int = Field(default=20, ge=1, le=1000)  # baselines beside the search
    extra_passes: int = Field(default=0, ge=0, le=1000)  # spare passes of every layer
    # and in all, as a share of the least number of passes, given to the layers that they help most
    spare_passes: float = Field(default=0.0, ge=0, le=10)
    # what may be done to a row so that it suits its slot, through the memories alone; none of it
    # where maps alone are searched
    moves: tuple[Move, ...] = Field(default=MOVES, strict=False)
    # accuracy alone: one schedule; with passes or power or both: a front, and one point of it
    objectives: tuple[Objective, ...] = Field(default=("accuracy",), strict=False)
    # points of calibration accuracy that the front's point may give up for the other objectives
    allowed_points: float = Field(default=0.5, ge=0, le=100)

    @field_validator("objectives")
    @classmethod
    def _distinct(cls, value: tuple[Objective, ...]) -> tuple[Objective, ...]:
        if "accuracy" not in value or len(set(value)) < len(value):
            raise ValueError("accuracy must be among them and each must stand once")
        return value

    @field_validator("moves")
    @classmethod
    def _once(cls, value: tuple[Move, ...]) -> tuple[Move, ...]:
        if len(set(value)) < len(value):
            raise ValueError("each must stand once")
        return value


class VerifyConfig(_Section):
    """[verify]: the simulation of the rendered Verilog."""

    cycle_budget: int = Field(default=100_000, ge=1)  # cycles per layer for 32 columns
    # images run through the whole accelerator, has_core; 0 = the array alone is built;
    # None = 2, or fewer where they take more than core_cycles
    core_images: int | None = Field(default=None, ge=0, le=100_000)
    core_cycles: int = Field(default=120_000, ge=1)  # cycles of each run of whole images


class RenderConfig(_Section):
    """[render]: the hardware that is written."""

    pipeline: int = Field(default=4, ge=0, le=5)  # register stages inside a PE
    multipliers: Multipliers = "dsp"
    clock_mhz: float | None = Field(default=None, gt=0, le=1000)  # None = the board's
    # images for which streamed weights come once; None = as many as pay and fit
    batch: int | None = Field(default=None, ge=1, le=MOST_IMAGES)
    watch: bool = False  # the accelerator checks its array between images, and raises an alarm
    preload: bool = True  # accumulators start from words of their own, not from 0
    # thresholds in place of shifts even where no row is written: the build takes any schedule
    thresholds: bool = False


class FlowConfig(_Section):
    """All of a flow but the files it works on."""

    board: str
    model: str = "digits-cnn"
    seed: int = Field(default=1, ge=0, lt=2**32)
    array: ArrayConfig
    faults: FaultsConfig
    schedule: ScheduleConfig = ScheduleConfig()
    verify: VerifyConfig = VerifyConfig()
    render: RenderConfig = RenderConfig()


def load_config(path: Path, changes: Mapping[str, Any]) -> FlowConfig:
    """Read a flow file and lay the command line's options over it.

    Parameters
    ----------
    path : a TOML file with the sections above.
    changes : dotted keys, e.g. ``{"array.pe": 8}``; None leaves what the file says.

    Raises
    ------
    ConfigError
        Unreadable file, TOML syntax, unknown key, or a value out of range; one line.
    """
    data = _parsed(path)
    _check_idle(path, data, changes)
    for key, value in changes.items():
        if value is not None:
            _set(data, key.split("."), value)
    try:
        return FlowConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{path.name}: {first_error(error)}") from None


def first_error(error: ValidationError) -> str:
    """What is wrong first, in one line: the key, what it must be, what it is."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = printable(".".join(str(part) for part in first["loc"]))
    words = {"missing": "must be given", "extra_forbidden": "is no key of a flow file"}
    if first["type"] in words:
        return f"{where} {words[first['type']]}"
    return f"{where}: {first['msg']}, not {_shown(first['input'])}"


def board_of(path: Path | None) -> str:
    """The board that a flow file names; pynq-z2 where there is none."""
    named = None if path is None else _parsed(path).get("board")
    return named if isinstance(named, str) else "pynq-z2"


def board_config(board: str) -> Path:
    """The flow file shipped for a board (its canonical name)."""
    return share("flows", f"{board}.toml")


def _parsed(path: Path) -> dict[str, Any]:
    content = inputs.read(path, inputs.FLOW_FILE)
    try:
        return tomllib.loads(documents.text_of(content))
    except Unreadable as error:
        raise inputs.FLOW_FILE.refused(path, str(error)) from None
    except (ValueError, RecursionError) as error:  # ValueError: of syntax, or thousands of digits
        raise inputs.FLOW_FILE.refused(path, f"must be TOML: {one_line(error)}") from None


#: Keys of a flow file without effect where another key has one of these values, and why.
_IDLE: tuple[tuple[str, tuple[str, ...], str, Callable[[Any], bool], str], ...] = (
    (
        "schedule", ("allowed_points",), "objectives",
        lambda value: value in (None, ["accuracy"]),
        "only a front has points to choose from, as of objectives = ['accuracy', 'passes']",
    ),
    (
        "verify", ("core_cycles",), "core_images",
        lambda value: value is not None,
        "core_images says how many images run; leave one of the two out",
    ),
    (
        "faults", ("faults_per_pe", "bits", "site_area"), "faulty_pes",
        lambda value: type(value) is int and value == 0,
        "faulty_pes = 0 draws none; leave it out",
    ),
)  # fmt: skip


def _check_idle(path: Path, data: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    """Refuse keys that the file itself leaves without effect; options decide for themselves."""
    for section, keys, other, idle, why in _IDLE:
        held = data.get(section)
        if not isinstance(held, dict) or changes.get(f"{section}.{other}") is not None:
            continue
        for key in keys:
            if key in held and idle(held.get(other)):
                raise ConfigError(f"{path.name}: {section}.{key} has no effect: {why}")


def _set(data: dict[str, Any], keys: list[str], value: object) -> None:
    for key in keys[:-1]:
        data = data.setdefault(key, {})
        if not isinstance(data, dict):
            return  # the section's own check refuses it
    data[keys[-1]] = value


def _shown(value: object) -> str:
    """A value of the file for a message; it can be nested deeper than repr() goes."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."


Simulator = Literal["icarus", "verilator"]

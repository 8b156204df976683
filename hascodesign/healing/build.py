"""The build that a chip runs, and the schedule that its memories hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hascodesign.common import inputs
from hascodesign.common.inputs import printable
from hascodesign.contract.build import BuildPlan, Rom
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.memories import bank_depths
from hascodesign.contract.types import ArraySpec, FaultProfile, IntegerNetwork, Schedule
from hascodesign.faults.formats import json_document, object_of, text_of
from hascodesign.faults.profile import range_problem, shown
from hascodesign.flow.config import ArrayConfig, FlowConfig, first_error
from hascodesign.flow.flow import Flow
from hascodesign.render import rom
from hascodesign.render.core_sizes import CoreOptions
from hascodesign.render.driver import FORMAT, SCHEDULE, describe, render_driver
from hascodesign.render.rom_format import rom_files
from hascodesign.render.rtl import RtlOptions
from hascodesign.schedule import formats, written

CORE = f"{SCHEDULE}/core.json"
IN_USE = "schedule.json"
#: What core.json holds besides what a schedule may change.
_FIXED = ("map_version", "registers", "array", "in_shape", "classes", "result_bits", "stages")
_KEYS = ("format", *_FIXED, "layers", "memories", "clock_mhz")
_LAYERS = ("name", "rows", "depth", "passes", "on_chip")
_FIT = (("lanes", 0), ("runs", 0), ("batch", 1))  # the least; so where core.json has none
_MEMORIES = ("name", "content", "width", "depth")
MOST_MHZ, MOST_BAUD, MOST_WORDS, MOST_FIT = 1000, 100_000_000, 1 << 32, 1 << 16
MOST_SHOWN = 200  # characters of a value in a message


def _short(value: Any) -> str:
    """A value for a message: one short line."""
    text = printable(str(value))
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


@dataclass(frozen=True)
class InUse:
    """A delivered build, and the schedule that runs on it.

    Parameters
    ----------
    flow : its network, images and options; of the profile nothing is taken.
    core : what its core.json says.
    schedule : the map in use.
    network : its rows as written for it.
    """

    flow: Flow
    core: Mapping[str, Any]
    schedule: Schedule
    network: IntegerNetwork

    @property
    def on_chip(self) -> tuple[bool, ...]:
        """Per layer: whether its weights lie in the banks."""
        return tuple(bool(layer["on_chip"]) for layer in self.core["layers"])

    @property
    def fit(self) -> tuple[int, int, int]:
        """Lanes and runs, 0 as the network needs them, and images of a batch."""
        lanes, runs, batch = (int(self.core[name]) for name, _ in _FIT)
        return lanes, runs, batch

    @property
    def watch(self) -> bool:
        """Whether the core checks its array between images."""
        return bool(self.core["watch"])

    @property
    def hardware(self) -> CoreOptions:
        """How its array and accelerator were built."""
        chosen = self.flow.config.render
        array = RtlOptions(chosen.pipeline, chosen.multipliers, self.on_chip)
        lanes, runs, batch = self.fit
        return CoreOptions(array, lanes=lanes, runs=runs, batch=batch, watch=self.watch)

    @property
    def array(self) -> ArraySpec:
        """The array, its banks as deep as the build's."""
        return replace(self.flow.array, wmem_depth=self.bank_words)

    @property
    def bank_words(self) -> int:
        """Words of each weight bank, those of the layers on chip."""
        return bank_depths(self.network, self.schedule, self.on_chip)[0]

    @property
    def passes(self) -> tuple[int, ...]:
        """Of each layer."""
        return tuple(row_map.passes for row_map in self.schedule.layers)

    @cached_property
    def roms(self) -> tuple[Rom, ...]:
        """Its memories."""
        return rom.build_roms(self.network, self.schedule, self.on_chip)

    def schedule_files(
        self, network: IntegerNetwork, schedule: Schedule, profile: FaultProfile
    ) -> dict[str, bytes]:
        """``schedule/`` of a driver, by path in it: what runs on this build, and its memories."""
        roms = rom_files(rom.build_roms(network, schedule, self.on_chip))
        clock, baud = float(self.core["clock_mhz"]), self.core["baud"]
        held = render_driver(
            network, schedule, profile, roms, self.on_chip, clock, baud,
            fit=self.fit, watch=self.watch,
        )  # fmt: skip
        return BuildPlan(held).under(SCHEDULE)

    def refusal(self, network: IntegerNetwork, schedule: Schedule) -> str:
        """Why a schedule does not run on this build; empty where it does."""
        other = describe(
            network, schedule, FaultProfile(schedule.array), self.on_chip,
            clock_mhz=float(self.core["clock_mhz"]), fit=self.fit, watch=self.watch,
        )  # fmt: skip
        for key in _FIXED:
            if other[key] != self.core[key]:
                return f"its {key} must be {_short(self.core[key])}, not {_short(other[key])}"
        layers = [{key: one[key] for key in _LAYERS} for one in self.core["layers"]]
        if other["layers"] != layers:
            return f"its layers must be {_short(layers)}, not {_short(other['layers'])}"
        held, names = ([one["name"] for one in of["memories"]] for of in (self.core, other))
        if names != held:
            return f"its memories must be {_short(held)}, not {_short(names)}"
        for mine, one in zip(self.core["memories"], other["memories"], strict=True):
            if one["depth"] != mine["depth"] or one["width"] > mine["width"]:
                return f"memory {one['name']} must be at most {_short(mine)}, not {one}"
        return ""


def settings(core: Mapping[str, Any], config: FlowConfig) -> FlowConfig:
    """The options of a build with this core.json: the array and what is built with it its own."""
    array = config.array.model_copy(update=core["array"])
    memories = {one["name"] for one in core["memories"]}
    fixed = {
        "preload": "preload" in memories,
        "thresholds": all(stage.get("shift") is None for stage in core["stages"]),
    }
    render = config.render.model_copy(update=fixed)
    moves = tuple(m for m in config.schedule.moves if fixed["preload"] or m != "preload")
    schedule = config.schedule.model_copy(update={"moves": moves})
    return config.model_copy(update={"array": array, "render": render, "schedule": schedule})


def read(folder: Path, flow: Flow, in_use: Path | None = None) -> InUse:
    """The build in a flow's output folder.

    Parameters
    ----------
    folder : of the flow.
    flow : its network and images, with the options of `settings`.
    in_use : schedule.json of what runs on it; the folder's own where None.

    Raises
    ------
    ConfigError
        It has no accelerator, or is of another network or other options.
    """
    core = read_core(folder / CORE)
    built = _running(flow, core, folder, folder / IN_USE)
    _check_memories(folder, built)  # whatever runs on it: they tell of the network
    return built if in_use is None else _running(flow, core, folder, in_use)


def _running(flow: Flow, core: Mapping[str, Any], folder: Path, path: Path) -> InUse:
    """The schedule at ``path`` on the build, if it runs there."""
    content = inputs.read(path, inputs.SCHEDULE)
    network, array = flow.network, flow.array
    schedule = formats.from_json(content, network, array)
    rows = written.from_json(content, network, array)
    found = InUse(flow, core, schedule, rows or network)
    if refusal := found.refusal(found.network, schedule):
        raise ConfigError(
            f"{printable(path)} must be of the build in {printable(folder)}: {refusal}"
        )
    return found


def _check_memories(folder: Path, built: InUse) -> None:
    """The delivered memories must be those of the network and the schedule: the same bytes.

    Those of streamed weights, too.
    """
    healthy = FaultProfile(built.schedule.array)  # memories know no faults
    files = built.schedule_files(built.network, built.schedule, healthy)
    for name, content in files.items():
        if not name.endswith(".mem"):
            continue
        file = folder / SCHEDULE / name
        if inputs.read(file, inputs.ANY) != content:
            raise ConfigError(
                f"{printable(file)} must be of the network that is loaded and of {IN_USE}, and is"
                " of others: give the --model, --checkpoint and --data of the flow that built it"
            )


def read_core(path: Path) -> dict[str, Any]:
    """What a core.json says of its build, as far as a schedule is held against it.

    Raises
    ------
    ConfigError
        One line: no such file, or not what the flow renders.
    """
    content = inputs.read(path, inputs.CORE)
    try:
        return _checked(json_document(text_of(content)))
    except ConfigError as error:
        raise ConfigError(
            f"{printable(path)} must be what the flow renders: {inputs.one_line(error)}"
        ) from None


def _checked(document: Any) -> dict[str, Any]:
    held = object_of(document, "the file", None, _KEYS)
    if type(held["format"]) is not int or held["format"] != FORMAT:
        raise ConfigError(f"format must be {FORMAT}, not {shown(held['format'])}")
    kept = {key: held[key] for key in _KEYS}
    kept["array"] = object_of(held["array"], "array", tuple(ArrayConfig.model_fields), ("pe",))
    try:
        ArrayConfig.model_validate(kept["array"])
    except ValidationError as error:
        raise ConfigError(f"array.{first_error(error)}") from None
    clock, baud = held["clock_mhz"], held.get("baud")
    kept["baud"] = baud
    if type(clock) not in (int, float) or not 0 < clock <= MOST_MHZ:
        raise ConfigError(f"clock_mhz must be above 0, {MOST_MHZ} at most, not {shown(clock)}")
    if baud is not None and (problem := range_problem("baud", baud, 1, MOST_BAUD)):
        raise ConfigError(problem)
    if type(watch := held.get("watch", False)) is not bool:
        raise ConfigError(f"watch must be true or false, not {shown(watch)}")
    kept["watch"] = watch
    for name, least in _FIT:
        kept[name] = held.get(name, least)
        if problem := range_problem(name, kept[name], least, MOST_FIT):
            raise ConfigError(problem)
    for name, keys in (("stages", ("name",)), ("layers", _LAYERS), ("memories", _MEMORIES)):
        kept[name] = _records(held[name], name, keys)
    for place, one in enumerate(kept["memories"]):
        for key in ("width", "depth"):
            if problem := range_problem(f"memories[{place}].{key}", one[key], 0, MOST_WORDS):
                raise ConfigError(problem)
    return kept


def _records(value: Any, name: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    """A list of objects that have a name of their own and these keys."""
    if not isinstance(value, list):
        raise ConfigError(f"{name} must be a list, not {shown(value)}")
    found = [object_of(one, f"{name}[{place}]", None, keys) for place, one in enumerate(value)]
    for place, one in enumerate(found):
        if not isinstance(one["name"], str):
            raise ConfigError(f"{name}[{place}].name must be a text, not {shown(one['name'])}")
    if len({one["name"] for one in found}) < len(found):
        raise ConfigError(f"each of {name} must have a name of its own")
    return found

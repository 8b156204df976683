"""The build that a chip runs, and the schedule that its memories hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hascodesign.common import inputs
from hascodesign.common.inputs import printable
from hascodesign.contract.array import wmem_words
from hascodesign.contract.build import BuildPlan, Rom
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, FaultProfile, IntegerNetwork, Schedule
from hascodesign.faults.formats import json_document, text_of
from hascodesign.flow.config import FlowConfig
from hascodesign.flow.flow import Flow
from hascodesign.render import rom
from hascodesign.render.driver import SCHEDULE, describe, render_driver
from hascodesign.render.rom_format import rom_files
from hascodesign.schedule import formats, written

CORE = f"{SCHEDULE}/core.json"
IN_USE = "schedule.json"
#: What core.json holds besides what a schedule may change.
_FIXED = ("map_version", "registers", "array", "in_shape", "classes", "result_bits", "stages")
_LAYERS = ("name", "rows", "depth", "passes", "on_chip")


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
    def array(self) -> ArraySpec:
        """The array, its banks as deep as the build's."""
        return replace(self.flow.array, wmem_depth=self.bank_words)

    @property
    def bank_words(self) -> int:
        """Words of each weight bank."""
        return wmem_words(self.network, self.flow.array, self.schedule)

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
        clock = float(self.core["clock_mhz"])
        return BuildPlan(
            render_driver(network, schedule, profile, roms, self.on_chip, clock)
        ).under(SCHEDULE)

    def refusal(self, network: IntegerNetwork, schedule: Schedule) -> str:
        """Why a schedule does not run on this build; empty where it does."""
        other = describe(
            network, schedule, FaultProfile(schedule.array), self.on_chip,
            clock_mhz=float(self.core["clock_mhz"]),
        )  # fmt: skip
        for key in (*_FIXED, "layers"):
            if other[key] != self.core[key]:
                return f"its {key} must be {self.core[key]}, not {other[key]}"
        held = {one["name"]: one for one in self.core["memories"]}
        for one in other["memories"]:
            mine = held.get(one["name"])
            if mine is None or one["depth"] != mine["depth"] or one["width"] > mine["width"]:
                return f"memory {one['name']} must be at most {mine}, not {one}"
        return ""


def settings(folder: Path, config: FlowConfig) -> FlowConfig:
    """The options of a delivered build: the array and what is built with it are its own."""
    core = _core(folder)
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
    core, path = _core(folder), in_use or folder / IN_USE
    content = inputs.read(path, inputs.SCHEDULE)
    network, array = flow.network, flow.array
    schedule = formats.from_json(content, network, array)
    rows = written.from_json(content, network, array)
    found = InUse(flow, core, schedule, rows or network)
    refusal = found.refusal(found.network, schedule)
    if refusal:
        raise ConfigError(
            f"{printable(path)} must be of the build in {printable(folder)}: {refusal}"
        )
    if in_use is None:
        _check_memories(folder, found)
    return found


def _check_memories(folder: Path, found: InUse) -> None:
    """The delivered memories must be those of the network and the schedule: the same bytes."""
    for name, content in rom_files(found.roms).items():
        file = folder / SCHEDULE / name.removeprefix("roms/")
        if not name.endswith(".mem"):
            continue
        if inputs.read(file, inputs.ANY) != content:
            raise ConfigError(
                f"{printable(file)} must be of the network that is loaded and of {IN_USE}, and is"
                " of others: give the --model, --checkpoint and --data of the flow that built it"
            )


def _core(folder: Path) -> dict[str, Any]:
    path = folder / CORE
    found = json_document(text_of(inputs.read(path, inputs.CORE)))
    try:
        kept = {key: found[key] for key in (*_FIXED, "clock_mhz")}
        kept["layers"] = [{key: one[key] for key in _LAYERS} for one in found["layers"]]
        kept["memories"] = [dict(one) for one in found["memories"]]
        json.dumps([float(kept["clock_mhz"]), dict(kept["array"]), list(kept["stages"])])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{printable(path)} must be what the flow renders: {type(error).__name__} {error}"
        ) from None
    return kept

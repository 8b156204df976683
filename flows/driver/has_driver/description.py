"""What was built: ``core.json`` beside the memories, as rendered with them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import UNREADABLE, InputError

FILE = "core.json"
FORMAT = 1


@dataclass(frozen=True)
class Quantiser:
    """code = clamp(round_half_even((gain * x + offset) / scale), low, high).

    Or where ``binary``: high where gain * x + offset >= 0, else low.
    """

    scale: float
    bits: int
    signed: bool
    low: int
    high: int
    gain: float
    offset: float
    binary: bool


@dataclass(frozen=True)
class Array:
    """The PE array."""

    pe: int
    simd: int
    weight_bits: int
    act_bits: int
    acc_bits: int
    dataflow: str


@dataclass(frozen=True)
class Layer:
    """A layer that multiplies."""

    name: str
    rows: int
    depth: int  # products of one output
    passes: int
    on_chip: bool  # whether its weights lie in memory 0; else they are streamed

    def steps(self, array: Array) -> int:
        """Words that a pass takes in memory 0."""
        return -(-self.depth // array.simd)


@dataclass(frozen=True)
class Memory:
    """A memory that the registers write and read; its number is its place in the list."""

    name: str
    content: str  # weights, row_map, bias, descending, thresholds, preload
    width: int  # bits of a word, of all PEs where each has one
    depth: int  # words


@dataclass(frozen=True)
class Blocks:
    """Names in the overlay's block design, and what its DMAs are built with."""

    core: str
    dma: str
    weight_dma: str
    length_bits: int  # of a DMA's length register


@dataclass(frozen=True)
class Description:
    """One build."""

    network: str
    map_version: int  # of the register map
    registers: dict[str, int]  # address of each, of the first of a row
    array: Array
    input: Quantiser
    in_shape: tuple[int, int, int]  # height, width, channels
    classes: int
    logit_scale: float | NDArray[np.float64]  # [classes] where each has a factor of its own
    result_bits: int  # of one result beat, 32 or 64
    stages: tuple[dict[str, Any], ...]  # shapes and rules that a schedule cannot change
    layers: tuple[Layer, ...]
    memories: tuple[Memory, ...]
    clock_mhz: float
    blocks: Blocks
    baud: int | None  # of the serial line, where the bitstream has one
    batch: int  # images for which streamed weights come once, at most
    wmem_faults: tuple[tuple[int, int, int, int], ...]  # PE, multiplier, bit, word of the bank
    folder: Path

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Layers by name, poolings by their place."""
        return tuple(str(stage["name"]) for stage in self.stages)

    @property
    def codes_of_image(self) -> int:
        """Input codes of one image."""
        height, width, channels = self.in_shape
        return height * width * channels

    @property
    def watches(self) -> bool:
        """Whether the core can check its array between images."""
        return "WATCH" in self.registers

    @property
    def streamed(self) -> tuple[Layer, ...]:
        """Layers whose weights come by the weight stream."""
        return tuple(layer for layer in self.layers if not layer.on_chip)

    def with_schedule_of(self, other: Description) -> Description:
        """The same build with what another's schedule says of images, logits and the chip."""
        return replace(
            self,
            network=other.network,
            input=other.input,
            logit_scale=other.logit_scale,
            wmem_faults=other.wmem_faults,
            folder=other.folder,
        )

    def refusal(self, other: Description) -> str | None:
        """Why the schedule of another build cannot be loaded into this one; None where it can."""
        pairs = {
            "array": (self.array, other.array),
            "image shape": (self.in_shape, other.in_shape),
            "stages": (self.stage_names, other.stage_names),
            "layers": (self.layers, other.layers),
        }
        for what, (mine, theirs) in pairs.items():
            if mine != theirs:
                return f"its {what} must be {mine}, not {theirs}"
        for one, two in zip(self.stages, other.stages, strict=True):
            for key in one:
                if one[key] != two.get(key):
                    return f"{key} of {one['name']} must be {one[key]}, not {two.get(key)}"
        names = tuple(memory.name for memory in self.memories)
        theirs = tuple(memory.name for memory in other.memories)
        return None if names == theirs else f"its memories must be {names}, not {theirs}"


def read(folder: Path) -> Description:
    """The description in a folder.

    Raises
    ------
    InputError
        There is none, or it is not of this driver's format.
    """
    path = folder / FILE
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} must be there, as the flow renders it") from None
    except UNREADABLE as error:
        raise InputError(f"{path} must be JSON that can be read: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InputError(f"{path} must be of format {FORMAT}, as this driver reads it")
    try:
        return _description(found, folder)
    except UNREADABLE as error:
        raise InputError(
            f"{path} must hold what the flow renders: {type(error).__name__} {error}"
        ) from None


def _description(found: dict[str, Any], folder: Path) -> Description:
    height, width, channels = (int(size) for size in found["in_shape"])
    scale = found["logit_scale"]
    return Description(
        network=str(found["network"]),
        map_version=int(found["map_version"]),
        registers={str(name): int(at) for name, at in found["registers"].items()},
        array=Array(**found["array"]),
        input=Quantiser(**found["input"]),
        in_shape=(height, width, channels),
        classes=int(found["classes"]),
        logit_scale=np.array(scale, np.float64) if isinstance(scale, list) else float(scale),
        result_bits=int(found["result_bits"]),
        stages=tuple(dict(stage) for stage in found["stages"]),
        layers=tuple(Layer(**layer) for layer in found["layers"]),
        memories=tuple(Memory(**memory) for memory in found["memories"]),
        clock_mhz=float(found["clock_mhz"]),
        blocks=Blocks(**found["blocks"]),
        baud=found.get("baud"),
        batch=int(found.get("batch", 1)),
        wmem_faults=tuple((pe, simd, bit, word) for pe, simd, bit, word in found["wmem_faults"]),
        folder=folder,
    )

"""The host driver of an accelerator: Python for the board, and what it knows of the build."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hascodesign.common.shipped import share
from hascodesign.contract import registers
from hascodesign.contract.array import k_order, stored_weights
from hascodesign.contract.build import Rom
from hascodesign.contract.memories import (
    bank_depths,
    control_memories,
    preload_bank,
    value_bits,
    weight_bits,
)
from hascodesign.contract.types import (
    Fault,
    FaultProfile,
    IntegerNetwork,
    MaxPool,
    MultiplyLayer,
    Schedule,
    Shift,
    Thresholds,
)
from hascodesign.render.cells import notebook
from hascodesign.render.rom import pack_words
from hascodesign.render.rom_format import MANIFEST, rom_files

FOLDER = "deploy/driver"
SCHEDULE = f"{FOLDER}/schedule"  # what a schedule brings; the rest is the same for every build
FORMAT = 1  # of core.json
Fit = tuple[int, int, int]
PLAIN: Fit = (0, 0, 1)
#: Of the overlay's block design.
BLOCKS = {
    "core": "has_core_0",
    "dma": "axi_dma_0",
    "weight_dma": "axi_dma_1",
    "length_bits": 26,
}


def render_driver(
    network: IntegerNetwork,
    schedule: Schedule,
    profile: FaultProfile,
    memories: Mapping[str, bytes],
    on_chip: Sequence[bool],
    clock_mhz: float,
    baud: int | None = None,
    fit: Fit = PLAIN,
    watch: bool = False,
) -> dict[str, bytes]:
    """The driver's sources and the description of the build that they are for.

    Parameters
    ----------
    network : with its rows as written.
    schedule : one row map per multiply layer.
    profile : faults of the array; those of weight memories are known when words are read back.
    memories : files of ``rom_files`` of the same build.
    on_chip : per multiply layer, whether its weights lie in the weight memories.
    clock_mhz : of the core on the board.
    baud : of the serial line, where there is one and no overlay: the driver runs beside the board.
    fit : lanes and runs of the accelerator, 0 as needed, and images of a batch.
    watch : whether the core checks its array between images.
    """
    source = share("flows", "driver")
    files = {
        f"{FOLDER}/has_driver/{path.name}": path.read_bytes()
        for path in sorted((source / "has_driver").glob("*.py"))
    }
    if baud is None:
        files[f"{FOLDER}/deploy.sh"] = (source / "deploy.sh").read_bytes()
        files[f"{FOLDER}/accelerator.ipynb"] = notebook((source / "notebook.py").read_text("utf-8"))
    described = describe(network, schedule, profile, on_chip, clock_mhz, baud, fit, watch)
    files[f"{SCHEDULE}/core.json"] = _json(described)
    streamed = rom_files(_streamed(network, schedule, on_chip))
    held = {**memories, **streamed}
    entries = [
        entry
        for part in (memories, streamed)
        for entry in json.loads(part[MANIFEST])["files"]
        if entry["file"].endswith(".mem")
    ]
    files[f"{SCHEDULE}/manifest.json"] = _json({"version": 1, "files": entries})
    for entry in entries:
        files[f"{SCHEDULE}/{entry['file']}"] = held[f"roms/{entry['file']}"]
    return files


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()


def _streamed(
    network: IntegerNetwork, schedule: Schedule, on_chip: Sequence[bool]
) -> tuple[Rom, ...]:
    """The weights that go with every batch: a word is one beat of the stream, PE 0 lowest."""
    spec = schedule.array
    layers = [layer for layer in network.layers if not on_chip[layer.index]]
    if not layers:
        return ()
    words: list[int] = []
    for layer in layers:
        slots = schedule.layers[layer.index].slots
        stored = stored_weights(layer.weights, k_order(layer.depth, spec.simd), slots)
        beats = stored.transpose(1, 2, 0, 3).reshape(-1, spec.pe * spec.simd)
        words.extend(pack_words(beats, spec.weight_bits))
    return (
        Rom(
            name="stream",
            content="stream",
            width=spec.pe * weight_bits(spec),
            words=tuple(words),
            order="layer, pass, step",
            layer=" ".join(layer.name for layer in layers),
        ),
    )


def describe(
    network: IntegerNetwork,
    schedule: Schedule,
    profile: FaultProfile,
    on_chip: Sequence[bool],
    clock_mhz: float,
    baud: int | None = None,
    fit: Fit = PLAIN,
    watch: bool = False,
) -> dict[str, Any]:
    """What core.json holds; ``flows/driver/has_driver/description.py`` reads it."""
    spec, quant = schedule.array, network.input
    scale = np.asarray(network.logit_scale, dtype=np.float64)
    return {
        "format": FORMAT,
        "network": network.name,
        "map_version": registers.VERSION,
        "registers": {
            one.name: one.address for one in registers.present(batch=fit[2] > 1, watch=watch)
        },
        "array": {
            name: getattr(spec, name)
            for name in ("pe", "simd", "weight_bits", "act_bits", "acc_bits", "dataflow")
        },
        "input": {
            name: getattr(quant, name)
            for name in ("scale", "bits", "signed", "low", "high", "gain", "offset", "binary")
        },
        "in_shape": list(network.in_shape),
        "classes": network.layers[-1].rows,
        "logit_scale": scale.tolist(),  # a list where each class has its own
        "result_bits": 32 if value_bits(network, spec) < 32 else 64,
        "stages": [_stage(place, stage) for place, stage in enumerate(network.stages)],
        "layers": [
            {
                "name": layer.name,
                "rows": layer.rows,
                "depth": layer.depth,
                "passes": row_map.passes,
                "on_chip": inside,
            }
            for layer, row_map, inside in zip(network.layers, schedule.layers, on_chip, strict=True)
        ],
        "memories": _memories(network, schedule, on_chip),
        "clock_mhz": clock_mhz,
        "blocks": BLOCKS,
        "baud": baud,  # of the serial line; null where there is none
        "lanes": fit[0],  # and runs: as the Verilog of the same build was rendered
        "runs": fit[1],
        "batch": fit[2],  # images for which streamed weights come once, at most
        **({"watch": True} if watch else {}),  # the core checks its array between images
        "wmem_faults": [
            [fault.pe, fault.simd, bit, fault.address]
            for fault in profile.faults
            if fault.site == "wmem"
            for bit in _bits(fault)
        ],
    }


def _bits(fault: Fault) -> Iterable[int]:
    if fault.bits is not None:
        return range(fault.bits[0], fault.bits[1] + 1)
    return () if fault.bit is None else (fault.bit,)


def _stage(place: int, stage: MultiplyLayer | MaxPool) -> dict[str, Any]:
    """What the Verilog holds of a stage whatever the schedule."""
    if isinstance(stage, MaxPool):
        return {
            "name": f"pool{place}",
            "kernel": list(stage.kernel),
            "stride": list(stage.stride),
            "in_shape": list(stage.in_shape),
        }
    conv, output = stage.conv, stage.output
    return {
        "name": stage.name,
        "rows": stage.rows,
        "depth": stage.depth,
        "in_signed": stage.in_signed,
        "out_signed": stage.out_signed,
        "in_shape": None if conv is None else list(conv.in_shape),
        "kernel": None if conv is None else list(conv.kernel),
        "stride": None if conv is None else list(conv.stride),
        "padding": None if conv is None else list(conv.padding),
        "lowest": output.lowest if isinstance(output, Thresholds) else None,
        "shift": [output.shift, output.low, output.high] if isinstance(output, Shift) else None,
    }


def _memories(
    network: IntegerNetwork, schedule: Schedule, on_chip: Sequence[bool]
) -> list[dict[str, Any]]:
    """Memories in the order of their numbers, as the registers write them."""
    pes, fixed = schedule.array.pe, bank_depths(network, schedule, on_chip)[0]
    found = [("weights", "weights", pes * weight_bits(schedule.array), fixed)]
    found += [
        (memory.name, memory.content, memory.width, memory.depth)
        for memory in control_memories(network, schedule)
    ]
    found += [
        ("preload", memory.content, pes * memory.width, memory.depth)
        for memory in preload_bank(network, schedule)
    ]
    keys = ("name", "content", "width", "depth")
    return [dict(zip(keys, one, strict=True)) for one in found]

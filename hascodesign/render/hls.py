"""The HLS C++ of the build: one layer through the row map, its faults, a test bench.

The C++ itself is plain source in ``flows/hls``; what varies stands in two rendered headers,
``has_config.h`` (array, layers, memories) and ``faults.h`` (the profile's masks), and in the
memories' own headers under ``roms/``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hascodesign.common.shipped import share
from hascodesign.contract.array import (
    k_order,
    site_masks,
    step_activations,
    stored_preloads,
    stored_weights,
    wmem_bases,
)
from hascodesign.contract.build import Rom
from hascodesign.contract.errors import FaultProfileError, ModelError
from hascodesign.contract.memories import threshold_stages, value_bits
from hascodesign.contract.types import (
    ArraySpec,
    Fault,
    FaultProfile,
    IntArray,
    IntegerNetwork,
    MultiplyLayer,
    RowMap,
    Schedule,
    Shift,
    Site,
    Thresholds,
)
from hascodesign.render.rom import pack_words

PLAIN = (
    *("has_types.h", "has_faults.h", "has_array.h", "has_layer.h", "has_layer.cpp"),
    "has_layer_tb.cpp",
)
RENDERED = ("has_config.h", "faults.h")
_MASKED: tuple[Site, ...] = ("weight", "act", "product", "psum", "acc")
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
LEAST_DEPTH = 1 << 16  # of the ports in a co-simulation
_PER_LINE = 16  # numbers on a line of a vector file


def render_hls(
    network: IntegerNetwork,
    schedule: Schedule,
    roms: Sequence[Rom],
    on_chip: Sequence[bool],
    profile: FaultProfile | None = None,
) -> dict[str, bytes]:
    """Every file of ``hls/``; they include the headers of ``roms/`` beside that folder.

    Parameters
    ----------
    network : the integer network.
    schedule : one row map per multiply layer.
    roms : the memories that :func:`~hascodesign.render.rom.build_roms` made of the two.
    on_chip : as given to ``build_roms``.
    profile : faults that the C++ can apply (compiled with ``HAS_FAULT_SITES`` 1); none by default.

    Raises
    ------
    FaultProfileError : a profile of another array.
    ModelError : a layer name that is no identifier.
    """
    spec = schedule.array
    profile = FaultProfile(spec) if profile is None else profile
    _check(network, spec, profile)
    environment = templates()
    values = _config(network, schedule, roms, on_chip) | _faults(profile)
    files = {name: share("flows", "hls", name).read_bytes() for name in PLAIN}
    for name in RENDERED:
        files[name] = environment.get_template(f"{name}.j2").render(values).encode()
    return {f"hls/{name}": files[name] for name in sorted(files)}


def templates() -> Environment:
    """Templates of the rendered headers."""
    return Environment(
        loader=FileSystemLoader(share("flows", "hls")),
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )


def weight_chunks(spec: ArraySpec) -> int:
    """64-bit chunks of the weight word of one PE and step."""
    return -(-spec.simd * spec.weight_bits // 64)


def image_beat(spec: ArraySpec) -> int:
    """Bits of a beat of images, whole bytes."""
    return _whole_bytes(spec.simd * spec.act_bits)


def weight_beat(spec: ArraySpec) -> int:
    """Bits of a beat of streamed weights, whole bytes."""
    return _whole_bytes(spec.pe * spec.simd * spec.weight_bits)


def widest_beat(spec: ArraySpec, on_chip: Sequence[bool]) -> int:
    """Bits of the widest beat of the network's streams."""
    return max(image_beat(spec), 0 if all(on_chip) else weight_beat(spec))


def _whole_bytes(bits: int) -> int:
    return -(-bits // 8) * 8


def _check(network: IntegerNetwork, spec: ArraySpec, profile: FaultProfile) -> None:
    ours, theirs = (
        (a.pe, a.simd, a.weight_bits, a.act_bits, a.acc_bits, a.dataflow)
        for a in (spec, profile.array)
    )
    if ours != theirs:
        raise FaultProfileError(f"the profile's array must be {ours}, not {theirs}")
    for layer in network.layers:
        if not _IDENTIFIER.fullmatch(layer.name):
            raise ModelError(f"a layer name must be letters, digits and _, not {layer.name!r}")


# ---------------------------------------------------------------------------------- has_config.h


@dataclass(frozen=True, slots=True)
class _LayerRow:
    """One row of the table of layers: its name and the fields of ``has_layer_t``."""

    name: str
    fields: tuple[int | str, ...]


def _config(
    network: IntegerNetwork, schedule: Schedule, roms: Sequence[Rom], on_chip: Sequence[bool]
) -> dict[str, Any]:
    spec = schedule.array
    banks = [rom.name for rom in roms if rom.content == "weights"]
    return {
        "spec": spec,
        "memories": [rom.name for rom in roms],
        "banks": banks,
        "preloads": [rom.name for rom in roms if rom.content == "preload"],
        "value_bits": value_bits(network, spec),
        "systolic": int(spec.dataflow == "ws"),
        "stages": threshold_stages(network),
        "chunks": weight_chunks(spec),
        "widest": widest_beat(spec, on_chip),
        "max_steps": max(spec.steps(layer.depth) for layer in network.layers),
        "max_passes": max(row_map.passes for row_map in schedule.layers),
        "port_depth": _port_depth(network, schedule),
        "result_type": "int32_t" if value_bits(network, spec) <= 32 else "int64_t",
        "layers": list(_layer_rows(network, schedule, on_chip)),
    }


def _port_depth(network: IntegerNetwork, schedule: Schedule) -> int:
    """Elements of the longest port of one column of any layer, and of more where that is little."""
    spec = schedule.array
    longest = LEAST_DEPTH
    for layer, row_map in zip(network.layers, schedule.layers, strict=True):
        steps, slots = spec.steps(layer.depth), row_map.slots.size
        words = slots * steps * weight_chunks(spec)
        longest = max(longest, steps * spec.simd, words, 2 * slots, layer.rows)
    return longest


def _layer_rows(
    network: IntegerNetwork, schedule: Schedule, on_chip: Sequence[bool]
) -> Iterator[_LayerRow]:
    weights_base, map_base, row_base = 0, 0, 0
    layers = zip(
        network.layers,
        schedule.layers,
        on_chip,
        wmem_bases(network, schedule),
        strict=True,
    )
    for layer, row_map, inside, bank_base in layers:
        steps = schedule.array.steps(layer.depth)
        size = (layer.rows, steps, row_map.passes, int(layer.in_signed), int(inside))
        bases = (weights_base, bank_base, map_base, row_base)
        yield _LayerRow(layer.name, (*size, *bases, *_output(layer)))
        weights_base += row_map.passes * steps if inside else 0
        map_base += row_map.slots.size
        row_base += layer.rows


def _output(layer: MultiplyLayer) -> tuple[str, int, int, int]:
    """Kind, lowest, high, shift."""
    if isinstance(layer.output, Thresholds):
        return "HAS_THRESHOLDS", layer.output.lowest, 0, 0
    if isinstance(layer.output, Shift):
        return "HAS_SHIFT", layer.output.low, layer.output.high, layer.output.shift
    return "HAS_LOGITS", 0, 0, 0


# -------------------------------------------------------------------------------------- faults.h


def _faults(profile: FaultProfile) -> dict[str, Any]:
    first, banks = _bank_faults(profile)
    return {
        "count": len(profile.faults),
        "seed": profile.seed & 0xFFFFFFFF,
        "sites": [(site, _site_rows(profile, site)) for site in _MASKED],
        "bank_first": first,
        "bank_faults": banks,
        "transients": [
            _transient(fault, entry)
            for entry, fault in enumerate(profile.faults)
            if fault.kind == "transient"
        ],
    }


def _site_rows(profile: FaultProfile, site: Site) -> list[list[tuple[str, str, str]]]:
    """Masks [P][S] of one site; a site that a PE has once stands at multiplier 0."""
    masks = site_masks(profile, site)
    rows = []
    for pe in range(profile.array.pe):
        at = [(pe,) if masks.and_.ndim == 1 else (pe, s) for s in range(profile.array.simd)]
        rows.append([_mask(masks.and_[p], masks.or_[p], masks.xor[p]) for p in at])
    return rows


def _bank_faults(profile: FaultProfile) -> tuple[list[int], list[tuple[int, tuple[str, str, str]]]]:
    """Permanent faults of the weight banks, by (PE, multiplier, address), and where each starts."""
    spec = profile.array
    addresses = [f.address for f in profile.faults if f.address is not None]
    masks = site_masks(profile, "wmem", max(addresses, default=-1) + 1)
    found = np.argwhere(masks.active)  # in the order of (PE, multiplier, address)
    first = np.searchsorted(found[:, 0] * spec.simd + found[:, 1], np.arange(spec.pe * spec.simd))
    rows = []
    for pe, s, address in found.tolist():
        place = (pe, s, address)
        rows.append((address, _mask(masks.and_[place], masks.or_[place], masks.xor[place])))
    return [*first.tolist(), len(rows)], rows


def _mask(keep: int, set_: int, invert: int) -> tuple[str, str, str]:
    return f"{keep:#x}u", f"{set_:#x}u", f"{invert:#x}u"


def _transient(fault: Fault, entry: int) -> tuple[int | str, ...]:
    if fault.p is None or fault.site is None:
        raise ValueError("a checked profile gives every transient its site and its p")
    low, high = (fault.bit, fault.bit) if fault.bits is None else fault.bits
    fires = int(fault.p * 2**32)  # exact: a float64 times a power of two
    place = (f"HAS_SITE_{fault.site.upper()}", fault.pe, fault.simd or 0, fault.address or 0)
    return entry, *place, f"{fires}ull", low or 0, high or 0


# --------------------------------------------------------------------------------------- vectors


def hls_vectors(
    layer: MultiplyLayer,
    row_map: RowMap,
    spec: ArraySpec,
    data: Mapping[str, IntArray],
    *,
    weights_port: bool = False,
    map_port: bool = False,
    order: IntArray | None = None,
) -> bytes:
    """One input file of the test bench: a layer's activations and what they must give.

    Parameters
    ----------
    layer, row_map, spec : the layer, its row map, the array.
    data : ``activations`` [K, N] codes, ``acc`` [R, N] and ``codes`` [R, N] expected (in the last
        layer ``codes`` is ACC + bias), and optionally ``columns`` [N] counters, else 0..N-1:
        what a layer's file under ``vectors/`` holds.
    weights_port : the weights go in through the port, not from the memories (a layer not on chip).
    map_port : so do the weights and the row map, which may differ from that of the memories.
    order : [T, S] K index per step and multiplier, -1 for padding; the array's own by default.
    """
    order = k_order(layer.depth, spec.simd) if order is None else order
    count = data["activations"].shape[1]
    beats = step_activations(data["activations"], order).transpose(2, 0, 1)
    words: list[str] = []
    if weights_port or map_port:
        words = weight_words(layer, row_map, spec, order)
    source = 2 if map_port else int(weights_port)
    return text_file(
        f"has_vectors 1 {layer.index} {source} {row_map.passes} {count}",
        {
            "counters": data.get("columns", np.arange(count)).tolist(),
            "activations": (beats & ((1 << spec.act_bits) - 1)).ravel().tolist(),
            "weights": words,
            "row_map": _map_words(layer, row_map) if map_port else [],
            "acc": data["acc"].T.ravel().tolist(),
            "results": data["codes"].T.ravel().tolist(),
        },
    )


def _map_words(layer: MultiplyLayer, row_map: RowMap) -> list[int]:
    """Rows in the order of the port, each with its preload where preloads are built."""
    if layer.preload is None:
        return [int(row) for row in row_map.slots.ravel()]
    starts = stored_preloads(layer.preload, row_map.slots).T
    return [int(word) for word in np.stack([row_map.slots, starts], axis=-1).ravel()]


def weight_words(
    layer: MultiplyLayer, row_map: RowMap, spec: ArraySpec, order: IntArray
) -> list[str]:
    """Words in the order of the port, [passes][T][P][chunks], 64 bits each, as hex."""
    stored = stored_weights(layer.weights, order, row_map.slots).transpose(1, 2, 0, 3)
    chunks = range(weight_chunks(spec))
    return [
        f"{(word >> (64 * i)) & (2**64 - 1):x}"
        for word in pack_words(stored.reshape(-1, spec.simd), spec.weight_bits)
        for i in chunks
    ]


def text_file(head: str, blocks: Mapping[str, list[int] | list[str]]) -> bytes:
    """An input file of a test bench: its head, then the numbers of each block."""
    lines = [head]
    for name, numbers in blocks.items():
        lines.append(f"{name} {len(numbers)}")
        for first in range(0, len(numbers), _PER_LINE):
            lines.append(" ".join(map(str, numbers[first : first + _PER_LINE])))
    return ("\n".join(lines) + "\n").encode()

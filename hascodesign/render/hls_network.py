"""The HLS C++ of the whole network: the accelerator's table of stages, walked in C++.

The C++ itself, ``has_network.cpp``, is plain source in ``flows/hls``; ``has_stages.h`` is rendered
and holds what ``has_stage_table.v`` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hascodesign.common.shipped import share
from hascodesign.contract import arithmetic
from hascodesign.contract.array import k_order
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.memories import value_bits
from hascodesign.contract.types import (
    ArraySpec,
    IntArray,
    IntegerNetwork,
    MaxPool,
    MultiplyLayer,
    Schedule,
)
from hascodesign.render.core_cycles import feed_cycles, pooling_cycles
from hascodesign.render.core_stages import (
    NAMES,
    Shape,
    check_network,
    constants,
    elements,
    map_shapes,
    merged,
    read_maps,
    stage_comment,
)
from hascodesign.render.hls import (
    image_beat,
    templates,
    text_file,
    weight_beat,
    weight_chunks,
    weight_words,
    widest_beat,
)

PLAIN = ("has_network.cpp", "has_network.h", "has_network_tb.cpp", "has_streams.h")
MAX_ELEMENTS = 1 << 24  # of one feature map
MAX_BEAT = 4096  # bits of the widest ap_uint
_NAMES = (*NAMES, "reads")  # turns in which a column's codes are read, or 0


@dataclass(frozen=True, slots=True)
class _Stage:
    """One row of the table."""

    values: tuple[int, ...]
    comment: str


def render_network(
    network: IntegerNetwork, schedule: Schedule, on_chip: Sequence[bool]
) -> dict[str, bytes]:
    """The files of ``hls/`` by which the C++ runs every stage; they need those of ``render_hls``.

    Parameters
    ----------
    network : the integer network.
    schedule : one row map per multiply layer; the memories are in the array's own order of K.
    on_chip : per layer, whether its weights lie in the weight memories; the rest are streamed.

    Raises
    ------
    ConfigError
        A network that no accelerator runs by itself, or that the C++ is too small for.
    """
    shapes = _checked(network, schedule.array, on_chip)
    files = {f"hls/{name}": share("flows", "hls", name).read_bytes() for name in PLAIN}
    text = templates().get_template("has_stages.h.j2")
    values = _context(network, schedule, shapes, on_chip)
    return files | {"hls/has_stages.h": text.render(values).encode()}


def network_refusal(
    network: IntegerNetwork, array: ArraySpec, on_chip: Sequence[bool]
) -> str | None:
    """Why the C++ cannot run every stage of a network; None where it can."""
    try:
        _checked(network, array, on_chip)
    except ConfigError as error:
        return str(error)
    return None


def _checked(
    network: IntegerNetwork, array: ArraySpec, on_chip: Sequence[bool]
) -> tuple[Shape, ...]:
    """What each stage reads, of a network that the C++ runs."""
    shapes = map_shapes(network)
    check_network(network, shapes)
    for shape in shapes:
        if elements(shape) > MAX_ELEMENTS:
            raise ConfigError(f"a map must have at most {MAX_ELEMENTS} codes, not {shape}")
    bits = widest_beat(array, on_chip)
    if bits > MAX_BEAT:
        raise ConfigError(f"a beat of a stream must have at most {MAX_BEAT} bits, not {bits}")
    turns = max(_turns(stage, array) for stage in network.stages)
    if turns >= 1 << 32:
        raise ConfigError(f"a pass must take fewer than 2^32 turns, not {turns}")
    return shapes


def _context(
    network: IntegerNetwork,
    schedule: Schedule,
    shapes: Sequence[Shape],
    on_chip: Sequence[bool],
) -> dict[str, Any]:
    spec = schedule.array
    streamed = [spec.steps(layer.depth) for layer in network.layers if not on_chip[layer.index]]
    rows = zip(network.stages, shapes, constants(network, schedule, shapes), strict=True)
    return {
        "names": _NAMES,
        "stages": [
            _Stage((*row.values(), _reads(stage, spec)), stage_comment(stage, shape))
            for stage, shape, row in rows
        ],
        "image_beats": -(-elements(network.in_shape) // spec.simd),
        "image_codes": elements(network.in_shape),
        "map_words": _map_words(network, shapes, spec),
        "classes": network.layers[-1].rows,
        "streamed_steps": max(streamed, default=0),
        "image_bits": image_beat(spec),
        "weight_bits": weight_beat(spec),
        "answer_bits": 32 if value_bits(network, spec) <= 32 else 64,
        "max_count": max(_turns(stage, spec) for stage in network.stages),
    }


def _reads(stage: MultiplyLayer | MaxPool, spec: ArraySpec) -> int:
    return 0 if isinstance(stage, MaxPool) else feed_cycles(spec, stage, 1)


def _turns(stage: MultiplyLayer | MaxPool, spec: ArraySpec) -> int:
    """Turns of a pass, or of a pooling of its own."""
    if isinstance(stage, MaxPool):
        return pooling_cycles(stage, spec)
    return stage.positions * max(_reads(stage, spec), spec.pe) + spec.pe


def _map_words(
    network: IntegerNetwork, shapes: Sequence[Shape], spec: ArraySpec
) -> tuple[int, int]:
    """Words of a bank of either map. What a merged pooling reads is never kept."""
    words = [1, 1]
    without = merged(network)
    for place, (shape, held) in enumerate(zip(shapes, read_maps(network), strict=True)):
        if place not in without:
            words[held] = max(words[held], -(-elements(shape) // spec.simd))
    return words[0], words[1]


# --------------------------------------------------------------------------------------- vectors


def network_vectors(
    network: IntegerNetwork,
    schedule: Schedule,
    codes: arithmetic.Codes,
    traces: Sequence[arithmetic.LayerTrace],
    on_chip: Sequence[bool],
    *,
    every: bool = False,
    first_image: int = 0,
) -> bytes:
    """The input file of the network's test bench: images, and what they must give.

    Parameters
    ----------
    network, schedule, on_chip : as :func:`render_network` takes them.
    codes : [n, height, width, channels] input codes.
    traces : of every layer on these images.
    every : the accumulators and results of every layer too, for a bench built with HAS_PROBE 1.
    first_image : the image counter of the first.
    """
    spec, count = schedule.array, len(codes)
    blocks: dict[str, list[int] | list[str]] = {
        "codes": (np.asarray(codes) & ((1 << spec.act_bits) - 1)).ravel().tolist(),
        "weights": [
            word
            for layer in network.layers
            if not on_chip[layer.index]
            for word in weight_words(
                layer, schedule.layers[layer.index], spec, k_order(layer.depth, spec.simd)
            )
        ],
        "logits": traces[-1].codes.T.ravel().tolist(),
    }
    for trace in traces if every else ():
        for name, values in (("acc", trace.acc), ("result", trace.codes)):
            blocks[f"{name}_{trace.layer.index}"] = _by_image(values)
    chunks = len(blocks["weights"]) // (spec.pe * weight_chunks(spec))
    return text_file(f"has_images 1 {count} {first_image} {chunks} {int(every)}", blocks)


def _by_image(values: IntArray) -> list[int]:
    """[R, N] in the order image, column, row."""
    found: list[int] = np.asarray(values).T.ravel().tolist()
    return found


def compared(network: IntegerNetwork, images: int, *, every: bool) -> int:
    """Integers that the bench compares: logits, and accumulator and result of what is computed.

    Columns beyond a kept pooling's windows are not computed.
    """
    total = network.layers[-1].rows
    without = merged(network)
    for place, stage in enumerate(network.stages if every else ()):
        if isinstance(stage, MultiplyLayer):
            columns = stage.positions
            pool = network.stages[place + 1] if place + 1 in without else None
            if isinstance(pool, MaxPool):
                height, width, _ = pool.out_shape
                columns = height * width * pool.kernel[0] * pool.kernel[1]
            total += 2 * columns * stage.rows
    return total * images

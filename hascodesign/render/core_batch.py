"""Images that go through the accelerator in batches: where they lie, and how the stages run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hascodesign.contract.batches import MOST_IMAGES, batch_refusal, first_shared
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import IntegerNetwork, MultiplyLayer
from hascodesign.render.core_stages import elements, map_shapes, merged, read_maps
from hascodesign.render.rtl import count_bits, widened


@dataclass(frozen=True, slots=True)
class Batch:
    """Streamed weights come once for so many images.

    Each image runs the first ``own`` stages by itself and leaves its map beside those of the
    others; the stages behind them run once, a column for each image; the last runs for each image
    again, because an answer is one image's.
    """

    images: int  # the most of a batch
    own: int  # stages that each image runs by itself, but the last
    base: int  # first element of the map that all share, in the buffer that `own` reads
    own_step: int  # elements of an image in it
    last_step: int  # elements of an image in the map that the last stage reads


def planned(
    network: IntegerNetwork, on_chip: Sequence[bool], images: int, simd: int
) -> Batch | None:
    """How batches of so many images run; None for 1.

    Raises
    ------
    ConfigError
        A network of which no batch runs, or too many images.
    """
    if images == 1:
        return None
    refusal = batch_refusal(network, on_chip)
    if refusal is not None:
        raise ConfigError(f"a batch must be 1 image, not {images}: {refusal}")
    if not 1 < images <= MOST_IMAGES:
        raise ConfigError(f"a batch must be 1 to {MOST_IMAGES} images, not {images}")
    own, shapes, maps = first_shared(network, on_chip), map_shapes(network), read_maps(network)
    counts = [elements(shape) for shape in shapes]
    beside = [
        counts[place]
        for place in range(own)
        if maps[place] == maps[own] and place not in merged(network)
    ]
    # behind whole beats: an image's last one writes SIMD codes
    base = -(-max(beside, default=0) // simd) * simd
    return Batch(images, own, base, counts[own], counts[-1])


def map_elements(network: IntegerNetwork, simd: int, batch: Batch | None) -> list[int]:
    """Elements of the buffer that the map which each stage reads takes up to its end."""
    counts = [elements(shape) for shape in map_shapes(network)]
    if batch is None:
        return counts
    for place in range(batch.own, len(counts)):
        counts[place] *= batch.images
    # a beat of an image writes SIMD codes, those beyond its end over what comes next
    counts[batch.own] += batch.base + (simd if batch.own == 0 else 0)
    return counts


def with_batch(
    rows: Sequence[dict[str, int]], network: IntegerNetwork, batch: Batch | None
) -> list[dict[str, int]]:
    """Constants of the stages: a shared one is a line of columns, an image each."""
    if batch is None:
        return list(rows)
    found = [dict(row) | {"shared": 0, "fills_shared": 0} for row in rows]
    for place in range(batch.own, len(found) - 1):
        stage = network.stages[place]
        assert isinstance(stage, MultiplyLayer)
        found[place] |= {
            "shared": 1,
            "map_row": batch.images * stage.depth,
            "x_step": stage.depth,
            "base_first": batch.base if place == batch.own else 0,
            "windows_wide": batch.images,
        }
    before = [place for place in range(batch.own) if place not in merged(network)]
    if before:
        found[before[-1]]["fills_shared"] = 1
    return found


def batch_context(batch: Batch | None, bits: dict[str, Any]) -> dict[str, Any]:
    """What the templates of the core take; ``bits`` has the widths of elements and columns."""
    if batch is None:
        return {"batch": 1, "own": 0, "batch_fields": {}}
    image_bits = count_bits(batch.images)
    wide = {
        name: widened("images_less_1", image_bits, bits[name])
        for name in ("column_bits", "side_bits")
    }
    return {
        "batch": batch.images,
        "image_bits": image_bits,
        "own": batch.own,
        "shared_base": batch.base,
        "own_step": batch.own_step,
        "last_step": batch.last_step,
        # of a shared stage a column is an image; the last stage reads its image's part
        "batch_fields": {
            "columns": f"t_shared ? {wide['column_bits']} + 1'b1 : t_columns",
            "out_width_less_1": f"t_shared ? {wide['side_bits']} : t_out_width_less_1",
            "base_first": "t_final_layer ? own_base : t_base_first",
        },
    }

"""Small networks of every kind that the accelerator runs, and the job folders of its benches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from hascodesign.contract import array
from hascodesign.contract.build import BuildPlan, Rom
from hascodesign.contract.types import (
    ArraySpec,
    Conv,
    FaultProfile,
    InputQuant,
    IntArray,
    IntegerNetwork,
    MaxPool,
    Multipliers,
    MultiplyLayer,
    Schedule,
    frozen,
)
from hascodesign.render.core import render_core
from hascodesign.render.core_sizes import CoreOptions
from hascodesign.render.rom import build_roms, rom_files
from hascodesign.render.rtl import RtlOptions
from hascodesign.verify.core import expected
from tests import rtl_cases

Shape = tuple[int, int, int]


def conv_layer(
    rng: np.random.Generator,
    spec: ArraySpec,
    index: int,
    shape: Shape,
    rows: int,
    geometry: Conv,
    *,
    kind: str = "thresholds",
    in_signed: bool = False,
    out_signed: bool = False,
    out_bits: int | None = None,
) -> MultiplyLayer:
    depth = geometry.kernel[0] * geometry.kernel[1] * shape[2]
    bits = min(spec.act_bits, 4) if out_bits is None else out_bits
    item = rtl_cases.layer(
        rng, spec, index, rows, depth, kind=kind, in_signed=in_signed, out_bits=bits,
        out_signed=out_signed,
    )  # fmt: skip
    return replace(item, conv=geometry)


def random_network(
    rng: np.random.Generator,
    spec: ArraySpec,
    shape: Shape,
    convs: list[tuple[int, int, int, int]],
    *,
    pool: bool = True,
    beside: bool = False,
    classes: int = 5,
    hidden: int | tuple[int, ...] = 0,
) -> IntegerNetwork:
    """Convolutions (rows, kernel, stride, padding), a pooling after the first, dense layers.

    beside : the pooling's windows stand side by side, else they overlap.
    hidden : rows of the dense layers before the last, none of them as many as classes.
    """
    stages: list[MultiplyLayer | MaxPool] = []
    signed = bool(rng.integers(2))
    here, index, in_signed = shape, 0, signed
    for rows, kernel, stride, padding in convs:
        geometry = Conv(here, (kernel, kernel), (stride, stride), (padding, padding))
        out_signed = bool(rng.integers(2))
        kind = ("thresholds", "shift")[int(rng.integers(2))]
        item = conv_layer(
            rng, spec, index, here, rows, geometry, kind=kind, in_signed=in_signed,
            out_signed=out_signed,
        )  # fmt: skip
        stages.append(item)
        here, in_signed, index = (*geometry.out_size, rows), out_signed, index + 1
        if pool and index == 1:
            layer = MaxPool((2, 2), (2, 2 if beside else 1), here)
            stages.append(layer)
            here = layer.out_shape
    before = hidden if isinstance(hidden, tuple) else (hidden,) * bool(hidden)
    for rows in (*before, classes):
        kind = "last" if rows == classes else "thresholds"
        depth = here[0] * here[1] * here[2]
        item = rtl_cases.layer(
            rng, spec, index, rows, depth, kind=kind, in_signed=in_signed,
            out_bits=min(spec.act_bits, 4),
        )  # fmt: skip
        stages.append(item)
        here, in_signed, index = (1, 1, rows), False, index + 1
    low, high = codes_range(spec, signed)
    quant = InputQuant(1.0, spec.act_bits, signed, low, high - 1)
    return IntegerNetwork("case", quant, shape, tuple(stages), 1.0)


def codes_range(spec: ArraySpec, signed: bool) -> tuple[int, int]:
    high = 1 << spec.act_bits
    return (-(high >> 1), high >> 1) if signed else (0, high)


def images(rng: np.random.Generator, net: IntegerNetwork, count: int) -> IntArray:
    return rng.integers(net.input.low, net.input.high + 1, (count, *net.in_shape))


def random_schedule(rng: np.random.Generator, net: IntegerNetwork, spec: ArraySpec) -> Schedule:
    """Rows anywhere, a spare pass in every second layer."""
    maps = [rtl_cases.random_map(rng, item, spec.pe, spare=item.index % 2) for item in net.layers]
    return Schedule(spec, tuple(maps))


def build(
    net: IntegerNetwork,
    schedule: Schedule,
    profile: FaultProfile,
    on_chip: tuple[bool, ...] | None = None,
    pipeline: int = 4,
    lanes: int = 0,
    multipliers: Multipliers = "dsp",
    batch: int = 1,
    built: CoreOptions | None = None,
) -> BuildPlan:
    inside = on_chip or (True,) * len(net.layers)
    built = built or options(inside, pipeline, lanes, multipliers, batch)
    roms = build_roms(net, schedule, inside)
    return BuildPlan(render_core(net, schedule, profile, built) | rom_files(roms))


def options(
    on_chip: tuple[bool, ...],
    pipeline: int = 4,
    lanes: int = 0,
    multipliers: Multipliers = "dsp",
    batch: int = 1,
) -> CoreOptions:
    return CoreOptions(RtlOptions(pipeline, multipliers, on_chip), lanes=lanes, batch=batch)


def rewritten(
    work: Path,
    one: tuple[IntegerNetwork, Schedule],
    other: tuple[IntegerNetwork, Schedule],
    codes: IntArray,
    lanes: int = 0,
) -> tuple[BuildPlan, dict[str, dict[str, IntArray]]]:
    """A healthy build of one network, the jobs of both, and the other's memories to write.

    They lie in ``work/vectors/memories.npz``; all layers are on chip.
    """
    spec = one[1].array
    inside, healthy = (True,) * len(one[0].layers), FaultProfile(spec)
    jobs = {
        name: expected(net, schedule, healthy, codes, inside)
        for name, (net, schedule) in (("images", one), ("other", other))
    }
    (work / "vectors").mkdir()
    path = work / "vectors" / "memories.npz"
    write_memories(path, build_roms(*other, inside), build_roms(*one, inside), spec)
    return build(*one, healthy, lanes=lanes), jobs


def write_memories(
    path: Path, roms: tuple[Rom, ...], built: tuple[Rom, ...], spec: ArraySpec
) -> None:
    """Every memory as the registers take it: ``<number>_<bits>_<content>`` -> [words, bytes].

    ``built``: the memories of the design that is written to, which give the widths.
    """
    names = {"row_map": 1, "bias": 2, "descending": 3}
    widths = {rom.name: rom.width for rom in built}
    assert all(rom.width <= widths[rom.name] for rom in roms)
    tables: dict[str, IntArray] = {}
    last = 4 + sum(rom.content == "thresholds" for rom in roms)
    for content, number in (("weights", 0), ("preload", last)):
        banks = [rom for rom in roms if rom.content == content]
        mask = (1 << banks[0].width) - 1 if banks else 0
        beats = [
            sum((word & mask) << (banks[0].width * pe) for pe, word in enumerate(words))
            for words in zip(*(bank.words for bank in banks), strict=True)
        ]
        if banks:
            tables[f"{number}_{banks[0].width * spec.pe}_{content}"] = _bytes(beats)
    for rom in roms:
        if rom.content in ("weights", "preload") or (rom.name == "descending" and last == 4):
            continue  # where nothing has thresholds nothing descends: no such memory is built
        number = names.get(rom.name)
        if number is None:
            number = 4 + int(rom.name.removeprefix("thresholds_"))
        width = widths[rom.name]
        mask = (1 << width) - 1
        tables[f"{number}_{width}_{rom.content}"] = _bytes([word & mask for word in rom.words])
    np.savez(path, allow_pickle=False, **tables)


def _bytes(words: list[int]) -> IntArray:
    size = max(1, *((word.bit_length() + 7) // 8 for word in words))
    rows = [np.frombuffer(word.to_bytes(size, "little"), dtype=np.uint8) for word in words]
    return np.array(rows)


def other_weights(rng: np.random.Generator, net: IntegerNetwork) -> IntegerNetwork:
    """The same network with every weight turned round; widths stay."""
    stages = tuple(
        stage if isinstance(stage, MaxPool)
        else replace(stage, weights=frozen(stage.weights[::-1, ::-1]))
        for stage in net.stages
    )  # fmt: skip
    return replace(net, stages=stages)


def identity(net: IntegerNetwork, spec: ArraySpec) -> Schedule:
    return array.identity_schedule(net, spec)


def batched(rng: np.random.Generator, spec: ArraySpec, kind: int) -> IntegerNetwork:
    """Dense layers behind nothing, a convolution, a pooling that it keeps, one of its own, two.

    The map behind two lies in the images' buffer; an image ends within a beat. Of kind 5, behind
    two, three dense layers run once for a batch; of the others one.
    """
    convs = [
        [],
        [(spec.pe + 1, 3, 1, 1)],
        [(3, 3, 1, 1)],
        [(3, 3, 1, 0)],
        *[[(5, 2, 1, 0), (3, 1, 1, 0)]] * 2,
    ][kind]
    shape = ((1, 1, 2 * spec.simd + 3), *((5, 6, 2),) * 3, *((3, 3, 3),) * 2)[kind]
    return random_network(
        rng, spec, shape, convs, pool=kind in {2, 3}, beside=kind == 2,
        hidden=(spec.pe + 3, 2 * spec.pe + 1, 3) if kind == 5 else spec.pe + 3,
    )  # fmt: skip

"""The whole array in Icarus against a literal model: shapes, maps, streams, faults."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from hascodesign.contract import array
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.types import (
    ArraySpec,
    Fault,
    FaultProfile,
    IntegerNetwork,
    MultiplyLayer,
    Schedule,
    Shift,
    Thresholds,
    frozen,
)
from hascodesign.render.rtl import RtlOptions
from hascodesign.verify.simulate import simulate
from tests import rtl_cases


@dataclass(frozen=True, slots=True)
class Shape:
    spec: ArraySpec
    pipeline: int
    multipliers: str
    columns: int
    pauses: int | None = None
    spare: int = 0

    def options(self, layers: int) -> RtlOptions:
        on_chip = tuple(i != 1 for i in range(layers))
        return RtlOptions(self.pipeline, self.multipliers, on_chip)


SHAPES = {
    "plain": Shape(ArraySpec(4, 3, 4, 8, 24), 2, "dsp", 5),
    "back-pressure": Shape(ArraySpec(4, 3, 4, 8, 24), 2, "dsp", 5, pauses=7, spare=1),
    "one PE, one multiplier": Shape(ArraySpec(1, 1, 2, 4, 16), 0, "lut", 3),
    "one column": Shape(ArraySpec(5, 4, 8, 8, 20), 1, "dsp", 1, pauses=3),
    "more PEs than rows": Shape(ArraySpec(11, 2, 3, 5, 17), 3, "lut", 4, spare=2),
    "narrow accumulator": Shape(ArraySpec(3, 8, 8, 8, 16), 2, "dsp", 4, pauses=1),
    "halved multipliers": Shape(ArraySpec(3, 6, 7, 8, 24), 4, "lut", 4, pauses=6),
    "all registers": Shape(ArraySpec(4, 9, 4, 4, 20), 5, "dsp", 5),
    "pairs": Shape(ArraySpec(4, 3, 4, 8, 24), 4, "dsp2", 5, pauses=7),
    "pairs, one PE over, wide": Shape(ArraySpec(5, 2, 8, 8, 24), 2, "dsp2", 4, spare=1),
    "pairs, narrow, no registers": Shape(ArraySpec(2, 3, 1, 1, 16), 0, "dsp2", 3),
    "systolic": Shape(ArraySpec(4, 3, 4, 8, 24, "ws"), 2, "dsp", 5, spare=1),
    "systolic, halved multipliers": Shape(ArraySpec(3, 4, 5, 8, 20, "ws"), 4, "lut", 4, spare=1),
    "systolic, all registers": Shape(ArraySpec(4, 3, 4, 8, 24, "ws"), 5, "dsp", 5, pauses=8),
    "systolic, no registers": Shape(ArraySpec(5, 4, 3, 5, 17, "ws"), 0, "lut", 3),
    "systolic, one cell": Shape(ArraySpec(1, 1, 2, 4, 16, "ws"), 1, "lut", 3, pauses=2),
    "systolic, wide": Shape(ArraySpec(11, 2, 8, 8, 32, "ws"), 3, "dsp", 4, pauses=4, spare=2),
}


def case(shape: Shape) -> tuple[IntegerNetwork, Schedule, FaultProfile]:
    """Every output kind, both signednesses, an external layer, idle slots anywhere."""
    rng = np.random.default_rng(5)
    spec = shape.spec
    bits = min(4, spec.act_bits)
    layers = [
        rtl_cases.layer(rng, spec, 0, 7, 10, out_bits=bits),
        rtl_cases.layer(rng, spec, 1, 5, 4, in_signed=True, out_signed=True, out_bits=min(3, bits)),
        rtl_cases.layer(rng, spec, 2, 6, 7, kind="shift", out_bits=spec.act_bits),
        rtl_cases.layer(
            rng, spec, 3, 1, 3, kind="shift", in_signed=True, out_signed=True, out_bits=bits
        ),
        rtl_cases.layer(rng, spec, 4, 9, spec.simd, kind="last"),
    ]
    maps = [rtl_cases.random_map(rng, item, spec.pe, shape.spare) for item in layers]
    network, schedule = rtl_cases.network(layers), Schedule(spec, tuple(maps))
    profile = rtl_cases.any_profile(rng, spec, 24, array.wmem_words(network, spec, schedule))
    return network, schedule, profile


@pytest.mark.parametrize("name", SHAPES)
def test_the_array_equals_the_definition(tmp_path: Path, name: str) -> None:
    network, schedule, profile = case(shape := SHAPES[name])
    compared = held_to_the_definition(tmp_path, shape, network, schedule, profile)
    rows = sum(layer.rows for layer in network.layers)
    assert compared >= rows * shape.columns


def test_faults_of_one_pe_of_each_pair(tmp_path: Path) -> None:
    """PE 1 of the first pair, PE 2 of the second: the others meet none of its faults."""
    shape = replace(SHAPES["pairs"], pipeline=3)  # registers before the multiplier, none in it
    network, schedule, _ = case(shape)
    faults = (
        Fault(1, "flip", "act", 0, 7),
        Fault(1, "sa1", "product", 1, 12),
        Fault(1, "sa0", "weight", 2, 3),
        Fault(2, "flip", "act", 1, 0),
        Fault(2, "sa0", "product", 2, 12),
        Fault(2, "transient", "act", 0, 6, p=0.5),
    )
    profile = FaultProfile(shape.spec, faults)
    assert held_to_the_definition(tmp_path, shape, network, schedule, profile) >= 100


def held_to_the_definition(
    tmp_path: Path,
    shape: Shape,
    network: IntegerNetwork,
    schedule: Schedule,
    profile: FaultProfile,
) -> int:
    """Integers that were compared."""
    plan = rtl_cases.build(network, schedule, profile, shape.options(len(network.layers)))
    rng = np.random.default_rng(6)
    counters = np.sort(rng.choice(1 << 20, shape.columns, replace=False))
    expected = rtl_cases.write_job(
        tmp_path / "vectors", profile, network, schedule, shape.columns, rng, counters=counters
    )
    pauses = () if shape.pauses is None else ("--pauses", str(shape.pauses))
    done = rtl_cases.run_bench(plan, tmp_path, "--faults", *pauses)
    assert done.returncode == 0, done.stdout[-3000:]
    for stem, (acc, codes) in expected.items():  # not the bench's own word for it
        with np.load(tmp_path / "results" / f"{stem}.npz") as got:
            np.testing.assert_array_equal(got["acc"], acc)
            np.testing.assert_array_equal(got["codes"], codes)
    return sum(acc.size + codes.size for acc, codes in expected.values())


@pytest.mark.parametrize("name", ["plain", "pairs", "pairs, one PE over, wide", "systolic"])
def test_the_healthy_build_ignores_the_profile(tmp_path: Path, name: str) -> None:
    shape = SHAPES[name]
    network, schedule, profile = case(shape)
    plan = rtl_cases.build(network, schedule, profile, shape.options(len(network.layers)))
    healthy = FaultProfile(shape.spec)
    rng = np.random.default_rng(6)
    expected = rtl_cases.write_job(tmp_path / "vectors", healthy, network, schedule, 3, rng)
    results = simulate(plan, tmp_path / "vectors", tmp_path / "work", faults=False)
    for stem, (acc, codes) in expected.items():
        np.testing.assert_array_equal(results[stem].acc, acc)
        np.testing.assert_array_equal(results[stem].codes, codes)


@pytest.mark.parametrize("name", ["plain", "systolic"])
def test_reset_start_and_time(tmp_path: Path, name: str) -> None:
    shape = SHAPES[name]
    network, schedule, profile = case(shape)
    plan = rtl_cases.build(network, schedule, profile, shape.options(len(network.layers)))
    rng = np.random.default_rng(6)
    rtl_cases.write_job(tmp_path / "vectors", profile, network, schedule, 5, rng)
    done = rtl_cases.run_bench(plan, tmp_path, "--faults", "--bench", "control_tests")
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("name", ["plain", "systolic"])
def test_many_profiles_on_one_compiled_array(tmp_path: Path, name: str) -> None:
    shape = SHAPES[name]
    network, schedule, _ = case(shape)
    words = array.wmem_words(network, shape.spec, schedule)
    rng = np.random.default_rng(8)
    expected = {}
    for number in range(12):
        profile = rtl_cases.any_profile(
            rng, shape.spec, 1 + 2 * number, words, slots=rtl_cases.DRAWS
        )
        expected |= rtl_cases.write_job(
            tmp_path / "vectors",
            profile,
            network,
            schedule,
            2,
            rng,
            suffix=f"_{number:02d}",
            masks=True,
        )
    healthy = FaultProfile(shape.spec)
    plan = rtl_cases.build(network, schedule, healthy, shape.options(len(network.layers)))
    done = rtl_cases.run_bench(plan, tmp_path, "--bench-masks")
    assert done.returncode == 0, done.stdout[-3000:]
    assert len(list((tmp_path / "results").glob("*.npz"))) == len(expected) == 60


def ramp(index: int, rows: int, output: Thresholds | Shift, bits: int) -> MultiplyLayer:
    """acc = the activation code, -128..127, so that v runs over every value around an edge."""
    signed = (output.lowest if isinstance(output, Thresholds) else output.low) < 0
    ones, zeros = frozen(np.ones((rows, 1))), frozen(np.zeros(rows))
    name = f"layer{index}"
    return MultiplyLayer(name, index, ones, zeros, 2, 8, True, None, output, bits, signed)


def edge_thresholds(bits: int, lowest: int) -> Thresholds:
    levels = (1 << bits) - 1
    values = np.sort(np.random.default_rng(bits).integers(-130, 130, (6, levels)), axis=1)
    values[1] = values[1, ::-1]
    values[2] = -(1 << 24)  # always, ascending
    values[3] = 1 << 24  # never, ascending
    values[4] = 1 << 24  # always, descending
    values[5] = -(1 << 24)  # never, descending
    down = np.array([False, True, False, False, True, True])
    return Thresholds(frozen(values), frozen(down, bool), lowest)


def edges() -> tuple[ArraySpec, IntegerNetwork, Schedule]:
    """Thresholds of several depths in one search, and shifts up to beyond the width of v."""
    spec = ArraySpec(2, 1, 2, 8, 16)
    outputs: list[tuple[Thresholds | Shift, int]] = [
        (edge_thresholds(bits, lowest), bits)
        for bits, lowest in ((1, 0), (2, -1), (5, -16), (8, 0), (8, -128))
    ]
    outputs += [(Shift(shift, 0, 15), 4) for shift in (0, 1, 2, 5)]
    outputs += [(Shift(shift, -8, 7), 4) for shift in (0, 3, 6, 7, 16, 17, 40)]
    layers = [
        ramp(index, 6 if isinstance(output, Thresholds) else 2, output, bits)
        for index, (output, bits) in enumerate(outputs)
    ]
    rng = np.random.default_rng(0)
    layers.append(rtl_cases.layer(rng, spec, len(layers), 2, 1, kind="last", in_signed=True))
    network = rtl_cases.network(layers)
    maps = tuple(rtl_cases.random_map(rng, item, spec.pe) for item in layers)
    return spec, network, Schedule(spec, maps)


EDGE_FAULTS = {
    "": ("", "", ""),
    "ties go up": ("has_shift.v", "rest == half && odd", "rest == half"),
    "ties go down": ("has_shift.v", "rest == half && odd", "1'b0"),
    "no upper clamp": ("has_shift.v", "(rounded > most) ? most", "1'b0 ? most"),
    "above instead of at": ("has_threshold_stage.v", "value >= limit", "value > limit"),
    "below instead of at": ("has_threshold_stage.v", "value <= limit", "value < limit"),
}


@pytest.mark.parametrize("fault", EDGE_FAULTS)
def test_codes_at_every_edge(tmp_path: Path, fault: str) -> None:
    spec, network, schedule = edges()
    healthy, rng = FaultProfile(spec), np.random.default_rng(0)
    files = dict(rtl_cases.build(network, schedule, healthy, RtlOptions()).files)
    if fault:
        file, right, wrong = EDGE_FAULTS[fault]
        text = files[f"rtl/{file}"].decode()
        assert right in text
        files[f"rtl/{file}"] = text.replace(right, wrong).encode()
    rtl_cases.write_job(tmp_path / "vectors", healthy, network, schedule, 256, rng)
    done = rtl_cases.run_bench(BuildPlan(files), tmp_path)
    assert done.returncode == (1 if fault else 0), done.stdout[-3000:]
    assert ("code must be" in done.stdout) == bool(fault)

"""Threshold cells nest, follow their curves, and the measured list loads as it is."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hascodesign.contract.array import generator
from hascodesign.contract.errors import ConfigError, FaultProfileError
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile, frozen
from hascodesign.faults import bram, voltage
from hascodesign.faults.power import PowerModel, power
from hascodesign.faults.profile import check
from hascodesign.faults.voltage import Curve, at_voltage, draw_cells, parse_cells, write_cells

ARRAY = ArraySpec(8, 4, 4, 8, 24, "os", 64)
# a decade per 30 mV from the very top: many cells in a small array
STEEP = Curve(first=0.9, floor=0.5, rate=0.5, decade=0.1, lead=0.05, source="test")
ALL = {site: STEEP for site in ("wmem", "weight", "act", "product", "psum", "acc")}


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    volts=st.lists(st.floats(0.5, 1.0), min_size=2, max_size=5),
    dataflow=st.sampled_from(["os", "ws"]),
    shared=st.floats(0, 1),
    length=st.floats(0.1, 20),
)
def test_what_fails_fails_below(
    seed: int, volts: list[float], dataflow: str, shared: float, length: float
) -> None:
    array = ArraySpec(3, 2, 2, 2, 16, dataflow, 5)
    cells = draw_cells(array, generator(seed, "v"), curves=ALL, shared=shared, length=length)
    above: FaultProfile | None = None
    for v in sorted(volts, reverse=True):
        profile = check(at_voltage(cells, v))
        if above is not None:
            kept = set(profile.faults)
            assert all(fault in kept for fault in above.faults)
            # in the same order, too
            assert [f for f in profile.faults if f in set(above.faults)] == list(above.faults)
        above = profile
    assert len(at_voltage(cells, 0.5).faults) == len(cells.profile.faults)
    assert not at_voltage(cells, 0.95).faults


def test_a_cell_fails_at_its_threshold_and_not_above() -> None:
    profile = FaultProfile(ARRAY, (Fault(0, "sa0", "psum", bit=1), Fault(1, "sa1", "psum", bit=2)))
    cells = voltage.Cells(profile, frozen([600_000, 590_000]), 530_000)
    assert [len(at_voltage(cells, v).faults) for v in (0.600001, 0.6, 0.590001, 0.59, 0.53)] == [
        0,
        1,
        1,
        2,
        2,
    ]
    assert at_voltage(cells, 0.595).faults == profile.faults[:1]
    assert at_voltage(cells, 0.595).conditions["voltage"] == 0.595
    for bad in (0.529999, 1.000001, float("nan"), float("inf"), -0.6):
        with pytest.raises(ConfigError, match=r"the voltage must be 0\.53\.\.1 V, not"):
            at_voltage(cells, bad)


def test_the_share_follows_the_curve_whatever_is_shared() -> None:
    array = ArraySpec(64, 8, 8, 8, 32, "os", 40)
    curve = Curve(first=0.9, floor=0.5, rate=0.1, decade=0.05, lead=0.0, source="test")
    for shared in (0.0, 0.28):
        cells = draw_cells(array, generator(1, "v"), curves={"wmem": curve}, shared=shared)
        total = 64 * 8 * 8 * 40
        for v in (0.5, 0.55, 0.6):
            expected = total * 0.1 * 10 ** ((0.5 - v) / 0.05)
            found = len(at_voltage(cells, v).faults)
            assert found == pytest.approx(expected, rel=0.25 if shared else 0.08), (shared, v)
        assert {fault.kind for fault in cells.profile.faults} == {"sa0"}


def test_cells_of_a_bank_go_together_as_measured() -> None:
    array = ArraySpec(89, 10, 4, 8, 24, "os", 4096)  # 890 banks of 16 kbit
    cells = draw_cells(array, generator(2, "v"))
    banks = Counter((f.pe, f.simd) for f in cells.profile.faults if f.site == "wmem")
    total = sum(banks.values())
    assert 1700 < total < 3100  # 2,274 measured
    worst = sum(n for _, n in banks.most_common(89)) / total
    assert 0.72 < worst < 0.92  # 82 % measured
    assert 200 < len(banks) < 400  # 250 measured


def test_high_bits_of_logic_fail_first() -> None:
    array = ArraySpec(64, 8, 8, 8, 32)
    cells = draw_cells(array, generator(1, "v"), curves={"product": STEEP})
    bits = Counter(fault.bit for fault in cells.profile.faults)
    assert bits[16] > 1.5 * bits[0] > 0
    assert {fault.kind for fault in cells.profile.faults} == {"sa0", "sa1"}


def test_neighbours_correlate_over_the_length() -> None:
    field = np.array(
        [voltage._field(generator(seed, "f"), 4, 3, 2.0) for seed in range(4000)]
    )  # [seeds, pe, lane]
    assert field.var() == pytest.approx(1, abs=0.05)
    near = (field[:, 0, 0] * field[:, 1, 0]).mean()
    far = (field[:, 0, 0] * field[:, 3, 2]).mean()
    assert near == pytest.approx(np.exp(-0.5), abs=0.06)
    assert far == pytest.approx(np.exp(-2.5), abs=0.06)


def test_cells_are_the_same_from_the_same_seed_and_from_their_file() -> None:
    cells = draw_cells(ARRAY, generator(5, "v"), curves=ALL, seed=5)
    data = write_cells(cells)
    assert data == write_cells(draw_cells(ARRAY, generator(5, "v"), curves=ALL, seed=5))
    again = parse_cells(data)
    assert write_cells(again) == data
    assert at_voltage(again, 0.6) == at_voltage(cells, 0.6)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"floor_uv"', '"floor"', "unknown key 'floor'"),
        ('"version": 1,\n"floor', '"version": 2,\n"floor', "version must be 1, not 2"),
        ("600000,", "", "one threshold per entry"),
        ("600000,", "1e5,", "entry 0: thresholds_uv must be an integer, not 100000.0"),
        ("600000,", "-1,", "entry 0: thresholds_uv must be 0..10000000, not -1"),
        ('"nominal_uv": 1000000', '"nominal_uv": 5', "nominal_uv must be 530000..10000000, not 5"),
        ('"bit": 2', '"bit": 24', "entry 1: bit at site psum must be 0..23, not 24"),
        ('"bit": 2', '"bit": ', "entry 1: the text must be whole JSON"),
    ],
)
def test_a_bad_cells_file_gives_its_line(old: str, new: str, words: str, tmp_path: Path) -> None:
    profile = FaultProfile(ARRAY, (Fault(0, "sa0", "psum", bit=1), Fault(1, "sa1", "psum", bit=2)))
    text = write_cells(voltage.Cells(profile, frozen([600_000, 590_000]), 530_000)).decode()
    assert old in text
    path = tmp_path / "x.cells.json"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(FaultProfileError) as caught:
        voltage.read_cells(path)
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(path))


# ------------------------------------------------------------------------------------------ power


def test_power_is_a_model_and_says_so() -> None:
    full = power(1.0)
    assert (full.total, full.relative, full.saved) == (1.0, 1.0, 0.0)
    half = PowerModel(nominal=1.0, static_share=0.25).power(0.5)
    assert half.dynamic == 0.75 * 0.25
    assert half.static == 0.25 * 0.5
    assert half.total == half.relative == 0.3125
    assert half.saved == 0.6875
    assert half.label.startswith("model, not measured")
    assert "25% static at 1 V (assumed)" in half.label
    assert PowerModel(0.85, 0.0).power(0.425).relative == 0.25
    for bad in (1.01, -0.1, float("nan")):
        with pytest.raises(ConfigError, match="the voltage must be"):
            power(bad)
    with pytest.raises(ConfigError, match=r"the static share must be in \[0, 1\], not 2"):
        PowerModel(static_share=2)
    with pytest.raises(ConfigError, match="the nominal voltage must be above 0 V, not 0"):
        PowerModel(nominal=0)


# --------------------------------------------------------------------------------------- measured

HEAD = "vccbram_volt,bram,address,bit\n"


def measured(tmp_path: Path, rows: str) -> bram.MeasuredMap:
    path = tmp_path / "faults.csv"
    path.write_text(HEAD + rows)
    return bram.read_map(path)


def test_a_bit_of_a_block_ram_lands_on_its_bank(tmp_path: Path) -> None:
    found = measured(
        tmp_path,
        "0.54,3,7,5\n0.53,3,7,5\n0.53,0,0,0\n0.53,2,475,15\n0.53,2,476,15\n0.53,12,0,0\n0.53,5,0,4\n",
    )
    array = ArraySpec(2, 5, 4, 8, 24, "os", 1500)  # words of 20 bits: 2 columns, 2 blocks a PE
    profile = bram.onto_banks(array, found, 0.53)
    assert profile.faults == (
        Fault(0, "sa0", "wmem", 0, 0, 0),  # block RAM 0 = PE 0, block 0, column 0
        Fault(0, "sa0", "wmem", 3, 3, 1499),  # block RAM 2: block 1, column 0, bit 15
    )
    # 476 + 1024 is beyond the depth; bit 5 of a second column is bit 21 of 20; 12 is no bank's
    assert "2 of 6 faulty bits fall" in profile.source
    shifted = bram.onto_banks(array, found, 0.53, first=5)
    assert shifted.faults == (
        Fault(0, "sa0", "wmem", 1, 0, 0),  # block RAM 5, bit 4
        Fault(1, "sa0", "wmem", 4, 0, 1024),  # 12 = 5 + 7: PE 1, block 1, column 1
    )
    assert bram.onto_banks(array, found, 0.54).faults == ()
    assert bram.onto_banks(array, found, 0.6).faults == ()
    assert bram.onto_banks(array, found, 0.53).conditions["vccbram_v"] == 0.53


def test_the_places_with_the_most_faulty_bits_come_first(tmp_path: Path) -> None:
    array = ArraySpec(2, 5, 4, 8, 24, "os", 1500)  # eight blocks
    rows = "0.54,0,1,0\n0.54,0,2,0\n0.54,0,3,0\n0.53,0,0,0\n0.53,8,0,0\n0.53,8,1,0\n"
    found = measured(tmp_path, rows)
    assert bram.brams_of(array) == 8
    assert bram.worst_places(array, found) == [8, 0]  # at 0.53 V; places without one are left out


def test_nested_cells_of_a_list(tmp_path: Path) -> None:
    found = measured(tmp_path, "0.54,0,7,5\n0.54,0,8,5\n0.53,0,7,5\n0.53,0,9,5\n")
    cells = bram.nested_cells(ArraySpec(1, 4, 4, 8, 24, "os", 1024), found)
    assert [f.address for f in at_voltage(cells, 0.54).faults] == [7, 8]
    assert [f.address for f in at_voltage(cells, 0.535).faults] == [7, 8]
    assert [f.address for f in at_voltage(cells, 0.53).faults] == [7, 8, 9]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("", "the list must have one entry at least"),
        ("0.53,1,2,3\n0.53,890,2,3\n", "entry 1: bram must be 0..889, not '890'"),
        ("0.53,1,1024,3\n", "entry 0: address must be 0..1023, not '1024'"),
        ("0.53,1,2,16\n", "entry 0: bit must be 0..15, not '16'"),
        ("0.53,1,2,-1\n", "entry 0: bit must be 0..15, not '-1'"),
        ("nan,1,2,3\n", "entry 0: must be volts, block RAM, address, bit"),
        ("0.53,1,2\n", "entry 0: must be volts, block RAM, address, bit"),
        ("0.53,1,2,3\n0.53,1,2,3\n", "entry 1: the same bit must stand once"),
        ('0.53,1,2,3\n0.53,1,2,"3\n', "entry 1: the line must be CSV: unexpected end of data"),
        ("0.53,1,2," + "3" * 200_000 + "\n", "entry 0: the line must be CSV: field larger"),
        ("0.53,1,2," + "3" * 9000 + "\n", "entry 0: bit must be 0..15, not '333"),
        ("0.53,1,2,1e0\n", "entry 0: bit must be 0..15, not '1e0'"),
        ("-0.53,1,2,3\n", "entry 0: must be volts, block RAM, address, bit"),
    ],
)
def test_a_bad_list_gives_its_line(rows: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(FaultProfileError) as caught:
        measured(tmp_path, rows)
    assert words in str(caught.value)
    assert "faults.csv: " in str(caught.value)
    assert "\n" not in str(caught.value)


LIST = "vccbram_volt,bram,address,bit\n0.54,0,7,5\n0.53,0,7,5\n0.53,889,1023,15\n"
CELLS = write_cells(
    voltage.Cells(
        FaultProfile(ARRAY, (Fault(0, "sa0", "psum", bit=1), Fault(1, "sa1", "psum", bit=2))),
        frozen([600_000, 590_000]),
        530_000,
    )
)


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_lists_and_cells_are_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    of_cells = data.draw(st.booleans())
    content = bytearray(CELLS if of_cells else LIST.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        new = data.draw(
            st.one_of(st.binary(max_size=4), st.sampled_from([b",", b'"', b"\n", b"["]))
        )
        content[at : at + data.draw(st.integers(0, 4))] = new
    path = tmp_path_factory.getbasetemp() / ("damaged.cells.json" if of_cells else "damaged.csv")
    path.write_bytes(bytes(content))
    try:
        if of_cells:
            check(at_voltage(voltage.read_cells(path), 0.6))
        else:
            found = bram.read_map(path)
            assert all(bits.shape[1] == 3 for bits in found.faults.values())
    except ConfigError as error:
        assert str(error).isprintable()


def test_what_a_list_cannot_give_is_named(tmp_path: Path) -> None:
    found = measured(tmp_path, "0.53,1,2,3\n0.55,1,2,3\n")
    with pytest.raises(ConfigError, match=r"must be one that was measured \(0\.55, 0\.53 V\)"):
        bram.onto_banks(ARRAY, found, 0.54)
    with pytest.raises(ConfigError, match="must be one that was measured"):
        bram.onto_banks(ARRAY, found, 1.1)
    with pytest.raises(ConfigError, match="the array must fix wmem_depth"):
        bram.onto_banks(ArraySpec(8, 4, 4, 8, 24), found, 0.53)
    with pytest.raises(ConfigError, match="fit into the 890 block RAMs of the list, not take 891"):
        bram.onto_banks(ArraySpec(891, 4, 4, 8, 24, "os", 1024), found, 0.53)
    with pytest.raises(ConfigError, match=r"first must be 0\.\.882, not 883"):
        bram.onto_banks(ARRAY, found, 0.53, first=883)


@pytest.mark.skipif("HASCODESIGN_DATA" not in os.environ, reason="HASCODESIGN_DATA is not set")
def test_the_measured_board_loads_voltage_by_voltage() -> None:
    found = bram.read_map(Path(os.environ["HASCODESIGN_DATA"]) / bram.KC705B)
    counts = {0.53: 2274, 0.54: 690, 0.55: 252, 0.56: 62, 0.57: 26, 0.58: 8, 0.59: 2}
    assert found.voltages == tuple(sorted(counts, reverse=True))
    whole = ArraySpec(89, 8, 4, 8, 24, "os", 5120)  # its banks take all 890 block RAMs
    profiles = {v: bram.onto_banks(whole, found, v) for v in counts}
    assert {v: len(profile.faults) for v, profile in profiles.items()} == counts
    for v, n in ((0.54, 682), (0.55, 248), (0.56, 62), (0.57, 26), (0.58, 8), (0.59, 2)):
        below = set(profiles[round(v - 0.01, 2)].faults)
        assert len(below & set(profiles[v].faults)) == n
        assert n / counts[v] >= 0.98
    assert not bram.onto_banks(whole, found, 0.6).faults
    first = found.at(0.59).tolist()[0]
    assert first == [576, 238, 4]
    # block RAM 576: PE 57 of 10 each, block 3, column 0
    assert Fault(57, "sa0", "wmem", 1, 0, 3 * 1024 + 238) in profiles[0.59].faults

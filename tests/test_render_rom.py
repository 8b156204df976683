"""The memories: contents against the array contract, formats, manifest."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hascodesign.contract.array import identity_schedule, k_order
from hascodesign.contract.build import Rom
from hascodesign.contract.errors import ConfigError, ModelError, ScheduleError
from hascodesign.contract.memories import (
    bias_bits,
    row_bits,
    threshold_stages,
    value_bits,
    weights_name,
)
from hascodesign.contract.types import (
    ArraySpec,
    InputQuant,
    IntegerNetwork,
    MultiplyLayer,
    RowMap,
    Schedule,
    Shift,
    Thresholds,
    frozen,
)
from hascodesign.render.rom import (
    build_roms,
    check_rom_files,
    mem_words,
    rom_files,
    threshold_node,
)
from hascodesign.render.rom_format import coe_words, header_words

SPEC = ArraySpec(pe=3, simd=2, weight_bits=4, act_bits=4, acc_bits=16)


def layer(index, weights, bias, output, out_bits=2, name=None):
    return MultiplyLayer(
        name=name or f"layer{index}",
        index=index,
        weights=frozen(weights),
        bias=frozen(bias),
        weight_bits=4,
        in_bits=4,
        in_signed=False,
        conv=None,
        output=output,
        out_bits=out_bits,
        out_signed=False,
    )


def network(*layers):
    first = layers[0]
    return IntegerNetwork(
        "toy", InputQuant(1.0, 4, False, 0, 15), (1, 1, first.depth), tuple(layers), 1.0
    )


def toy():
    """Two layers: 4 rows of 3 with thresholds (one descending), 2 rows of 4 at the end."""
    thresholds = Thresholds(
        frozen([[1, 2, 3], [30, 20, 10], [-5, 0, 1 << 60], [-(1 << 60), -7, 9]]),
        frozen([False, True, False, False], bool),
        lowest=0,
    )
    first = [[1, -2, 3], [-4, 5, -6], [7, -8, 0], [1, 1, -1]]
    net = network(
        layer(0, first, [5, -6, 7, -8], thresholds),
        layer(1, [[1, 2, 3, 4], [-1, -2, -3, -4]], [100, -129], None, out_bits=0),
    )
    slots = ([[2, -1, 0], [3, 1, -1]], [[-1, 1, 0]])
    maps = tuple(
        RowMap(lay.name, lay.rows, frozen(s)) for lay, s in zip(net.layers, slots, strict=True)
    )
    return net, Schedule(SPEC, maps)


def by_name(roms):
    return {rom.name: rom for rom in roms}


def test_weights_are_in_map_order_multiplier_0_lowest():
    roms = by_name(build_roms(*toy(), on_chip=[True, True]))
    pe0 = roms["weights_pe00"]
    assert (pe0.width, pe0.order, pe0.layer) == (8, "layer, pass, step", None)
    # pass 0 row 2 = 7,-8,0,pad; pass 1 row 3 = 1,1,-1,pad; second layer idle for two steps
    assert pe0.words == (0x87, 0x00, 0x11, 0x0F, 0x00, 0x00)
    # idle, idle, row 1 = -4,5,-6,pad, then row 1 of the second layer = -1,-2,-3,-4
    assert roms["weights_pe01"].words == (0, 0, 0x5C, 0x0A, 0xEF, 0xCD)
    assert roms["weights_pe02"].words == (0xE1, 0x03, 0, 0, 0x21, 0x43)


def test_a_given_k_order_is_followed():
    net, schedule = toy()
    orders = [frozen([[-1, 2], [1, 0]]), k_order(4, 2)]
    pe0 = by_name(build_roms(net, schedule, [True, True], orders))["weights_pe00"]
    assert pe0.words[:4] == (0x00, 0x78, 0xF0, 0x11)


def test_external_layers_have_no_weights_on_chip():
    net, schedule = toy()
    roms = by_name(build_roms(net, schedule, on_chip=[False, True]))
    assert roms["weights_pe01"].words == (0xEF, 0xCD)
    assert roms["weights_pe01"].layer == "layer1"
    assert roms["row_map"].depth == 9
    nothing = by_name(build_roms(net, schedule, on_chip=[False, False]))
    assert not [name for name in nothing if name.startswith("weights")]
    assert nothing["row_map"] == roms["row_map"]


def test_row_map_words_and_idle_code():
    rom = by_name(build_roms(*toy(), on_chip=[True, True]))["row_map"]
    assert (rom.width, rom.idle, rom.order) == (3, 7, "layer, pass, PE")
    assert rom.words == (2, 7, 0, 3, 1, 7, 7, 1, 0)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 8, 255, 256])
def test_idle_code_is_never_a_row(rows):
    net = network(layer(0, np.ones((rows, 2)), np.zeros(rows), None, out_bits=0))
    rom = by_name(build_roms(net, identity_schedule(net, SPEC), [True]))["row_map"]
    assert rom.width == row_bits(net)
    assert rom.idle == (1 << rom.width) - 1 >= rows
    assert sorted(w for w in rom.words if w != rom.idle) == list(range(rows))


def test_bias_is_as_wide_as_the_accumulator_or_the_widest():
    net, schedule = toy()
    rom = by_name(build_roms(net, schedule, [True, True]))["bias"]
    assert (rom.width, rom.words) == (16, (5, -6, 7, -8, 100, -129))
    for bias, bits in ((0, 16), (-(1 << 15), 16), (1 << 15, 17), (-(1 << 15) - 1, 17)):
        assert bias_bits(network(layer(0, [[1]], [bias], None, out_bits=0)), SPEC) == bits
    assert value_bits(net, SPEC) == 17


def test_threshold_nodes_of_a_binary_search():
    roms = by_name(build_roms(*toy(), on_chip=[True, True]))
    assert [threshold_node(0, 0, 2), threshold_node(1, 0, 2), threshold_node(1, 1, 2)] == [1, 0, 2]
    never, low = (1 << 17) - 1, -(1 << 17)
    assert roms["thresholds_0"].width == 18
    assert roms["thresholds_0"].words == (2, 20, 0, -7, never, never)
    assert roms["thresholds_1"].words[:8] == (1, 3, 30, 10, -5, never, low, 9)
    assert roms["thresholds_1"].words[8:] == (never,) * 4
    assert roms["descending"].words == (0, 1, 0, 0, 0, 0)


def search(roms, row, v, stages):
    """The threshold unit as the hardware does it."""
    node = 0
    for stage in range(stages):
        t = roms[f"thresholds_{stage}"].words[(row << stage) + node]
        passed = v <= t if roms["descending"].words[row] else v >= t
        node = 2 * node + passed
    return node


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 6, 7])
def test_search_counts_the_thresholds_passed(levels):
    rng = np.random.default_rng(levels)
    values = np.sort(rng.integers(-40, 40, (6, levels)), axis=1)
    values[4], values[5] = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    down = np.array([False, True, False, True, False, True])
    values[down] = values[down, ::-1]
    net = network(
        layer(
            0, np.ones((6, 2)), np.zeros(6), Thresholds(frozen(values), frozen(down, bool), 0), 3
        ),
        layer(1, [[1, 1]], [0], None, out_bits=0),
    )
    roms = by_name(build_roms(net, identity_schedule(net, SPEC), [True, True]))
    assert threshold_stages(net) == 3
    for row in range(6):
        for v in (*range(-45, 46), -(1 << 16), (1 << 16) - 1):
            passed = v <= values[row] if down[row] else v >= values[row]
            assert search(roms, row, v, 3) == passed.sum()


def test_without_thresholds_there_are_no_threshold_memories():
    net = network(layer(0, [[1]], [0], Shift(2, 0, 15), 4), layer(1, [[1]], [0], None, out_bits=0))
    names = set(by_name(build_roms(net, identity_schedule(net, SPEC), [True, True])))
    assert names == {
        "weights_pe00",
        "weights_pe01",
        "weights_pe02",
        "row_map",
        "bias",
        "descending",
    }


def test_numbering_of_more_than_a_hundred_pes():
    assert weights_name(3, 16) == "weights_pe03"
    assert weights_name(99, 100) == "weights_pe99"
    assert weights_name(7, 101) == "weights_pe007"
    net, _ = toy()
    spec = replace(SPEC, pe=101)
    names = by_name(build_roms(net, identity_schedule(net, spec), [True, True]))
    assert "weights_pe100" in names
    assert "weights_pe000" in names


def wide_roms():
    net, _ = toy()
    spec = ArraySpec(pe=2, simd=19, weight_bits=7, act_bits=8, acc_bits=32)
    return build_roms(net, identity_schedule(net, spec), [True, True])


def test_mem_is_exactly_depth_lines_of_hex():
    files = rom_files(build_roms(*toy(), on_chip=[True, True]))
    assert files["roms/weights_pe00.mem"] == b"87\n00\n11\n0f\n00\n00\n"
    assert files["roms/bias.mem"] == b"0005\nfffa\n0007\nfff8\n0064\nff7f\n"
    assert files["roms/bias.coe"] == (
        b"memory_initialization_radix=16;\nmemory_initialization_vector=\n"
        b"0005,\nfffa,\n0007,\nfff8,\n0064,\nff7f;\n"
    )
    assert files["roms/row_map.mem"] == b"2\n7\n0\n3\n1\n7\n7\n1\n0\n"


@pytest.mark.parametrize("roms", [build_roms(*toy(), on_chip=[True, True]), wide_roms()])
def test_all_three_forms_read_back(roms):
    files = rom_files(roms)
    for rom in roms:
        signed = rom.content in ("bias", "thresholds")
        for suffix, read in ((".mem", mem_words), (".coe", coe_words), (".h", header_words)):
            assert read(files[f"roms/{rom.name}{suffix}"], rom.width, signed) == rom.words
    assert check_rom_files(files) == tuple(roms)


def test_manifest_names_every_file():
    roms = build_roms(*toy(), on_chip=[False, True])
    files = rom_files(roms)
    manifest = json.loads(files["roms/manifest.json"])
    assert manifest["version"] == 1
    assert {f"roms/{e['file']}" for e in manifest["files"]} == set(files) - {"roms/manifest.json"}
    for entry in manifest["files"]:
        data = files[f"roms/{entry['file']}"]
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
    entry = next(e for e in manifest["files"] if e["file"] == "row_map.mem")
    assert (entry["idle"], entry["depth"], entry["width"]) == (7, 9, 3)
    weights = next(e for e in manifest["files"] if e["file"] == "weights_pe02.coe")
    assert (weights["layer"], weights["order"]) == ("layer1", "layer, pass, step")
    assert rom_files(roms) == files


def tampered():
    def drop(files):
        del files["roms/bias.coe"]

    def flip(files):
        files["roms/bias.mem"] = files["roms/bias.mem"].replace(b"005", b"004")

    def add(files):
        files["roms/other.mem"] = b"0\n"

    def version(files):
        files["roms/manifest.json"] = files["roms/manifest.json"].replace(b": 1,", b": 2,", 1)

    def key(files):
        text = files["roms/manifest.json"]
        files["roms/manifest.json"] = text.replace(b'"version"', b'"more": 0, "version"')

    def cut(files):
        files["roms/manifest.json"] = files["roms/manifest.json"][:-20]

    def none(files):
        del files["roms/manifest.json"]

    return [
        (drop, "bias.coe, named in roms/manifest.json, is missing"),
        (flip, "the sha256 of roms/bias.mem must be that in roms/manifest.json"),
        (add, "roms/other.mem is not named in roms/manifest.json"),
        (version, "must be version 1, not 2"),
        (key, "must have the keys version and files and no other"),
        (cut, "roms/manifest.json must be JSON"),
        (none, "roms/manifest.json is missing"),
    ]


@pytest.mark.parametrize(("change", "words"), tampered())
def test_check_refuses(change, words):
    files = rom_files(build_roms(*toy(), on_chip=[True, True]))
    change(files)
    with pytest.raises(ConfigError, match=words):
        check_rom_files(files)


def test_check_sees_forms_that_disagree():
    files = rom_files(build_roms(*toy(), on_chip=[True, True]))
    old = files["roms/bias.h"]
    files["roms/bias.h"] = old.replace(b"100", b"101")
    manifest = files["roms/manifest.json"].decode()
    digests = [hashlib.sha256(data).hexdigest() for data in (old, files["roms/bias.h"])]
    files["roms/manifest.json"] = manifest.replace(*digests).encode()
    with pytest.raises(ConfigError, match=r"roms/bias.h must hold what bias.mem holds"):
        check_rom_files(files)


@pytest.mark.parametrize("data", [b"05\n", b"0005\n", b"0x5\n", b"00G\n", b"205\n", b"005", b"\n"])
def test_a_malformed_mem_is_refused(data):
    with pytest.raises(ConfigError):
        mem_words(data, 9)


def test_bad_schedules_are_refused():
    net, schedule = toy()
    twice = RowMap("layer0", 4, frozen([[2, 2, 0], [3, 1, -1]]))
    with pytest.raises(ScheduleError, match="layer0 must hold each of 4 rows once on 3 PEs"):
        build_roms(net, Schedule(SPEC, (twice, schedule.layers[1])), [True, True])
    with pytest.raises(ScheduleError, match="must be 2 each"):
        build_roms(net, schedule, [True])
    with pytest.raises(ScheduleError, match="K order of layer layer0"):
        build_roms(net, schedule, [True, True], [frozen([[0, 1], [1, 2]]), k_order(4, 2)])


def test_what_the_memories_cannot_hold_is_refused():
    narrow = replace(SPEC, weight_bits=3)
    net, schedule = toy()
    with pytest.raises(ModelError, match="weights of layer layer0 must fit 3 bits, not 4"):
        build_roms(net, Schedule(narrow, schedule.layers), [True, True])
    bad = network(layer(0, [[1]], [0], None, out_bits=0, name="a; rm"))
    with pytest.raises(ModelError, match="letters, digits and _"):
        build_roms(bad, identity_schedule(bad, SPEC), [True])
    for rom in (Rom("bias", "bias", 3, (4,), "x"), Rom("../x", "bias", 3, (1,), "x")):
        with pytest.raises(ValueError, match="must"):
            rom_files([rom])


def test_headers_compile_and_hold_the_words(tmp_path: Path):
    extremes = Rom("bias", "bias", 32, (-(1 << 31), (1 << 31) - 1, -(1 << 31) + 1, 0), "row")
    long = Rom("thresholds_0", "thresholds", 40, (-(1 << 39), (1 << 39) - 1, -(1 << 31)), "row")
    weights = Rom("weights_pe00", "weights", 133, (1 << 132 | 5, 3 << 64), "layer, pass, step")
    for path, data in rom_files([extremes, long, weights]).items():
        (tmp_path / Path(path).name).write_bytes(data)
    (tmp_path / "main.cpp").write_text(
        '#include "bias.h"\n#include "thresholds_0.h"\n#include "weights_pe00.h"\n'
        "int main() { return !(bias[0] == INT32_MIN && bias[1] == INT32_MAX && bias[3] == 0 &&"
        " bias[2] == INT32_MIN + 1 && thresholds_0[0] == -(1LL << 39) &&"
        " thresholds_0[1] == (1LL << 39) - 1 && thresholds_0[2] == -(1LL << 31) &&"
        " weights_pe00[0][0] == 5 && weights_pe00[0][1] == 0 && weights_pe00[0][2] == 16 &&"
        " weights_pe00[1][1] == 3 && BIAS_DEPTH == 4 && WEIGHTS_PE00_CHUNKS == 3); }\n"
    )
    flags = ["-std=c++14", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    built = subprocess.run(["g++", *flags, "main.cpp", "-o", "main"], cwd=tmp_path, check=False)
    assert built.returncode == 0  # its warnings are errors, and stand in the captured output
    assert subprocess.run(["./main"], cwd=tmp_path, check=False).returncode == 0

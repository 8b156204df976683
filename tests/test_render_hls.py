"""The HLS C++ compiled with g++ and held against the literal transcription of the contract."""

from __future__ import annotations

import functools
import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from hascodesign.contract.arithmetic import output_codes
from hascodesign.contract.array import (
    generator,
    identity_schedule,
    k_order,
    least_passes,
    wmem_bases,
    wmem_words,
)
from hascodesign.contract.errors import FaultProfileError, ModelError
from hascodesign.contract.types import (
    ArraySpec,
    Fault,
    FaultProfile,
    InputQuant,
    IntegerNetwork,
    MultiplyLayer,
    RowMap,
    Schedule,
    Shift,
    Thresholds,
    frozen,
)
from hascodesign.engine import reference
from hascodesign.render.hls import hls_vectors, render_hls
from hascodesign.render.rom import build_roms, rom_files

FLAGS = ("-std=c++14", "-O1", "-Wall", "-Wextra", "-Wshadow", "-pedantic", "-Werror")
COLUMNS = frozen([3, 4, 5, 9, 7, 8, 0, 4294967])  # counters with gaps, a step back, a large one


# ------------------------------------------------------------------------------ random networks


def random_map(rng, name, rows, pe, spare):
    passes = least_passes(rows, pe) + spare
    slots = np.full(passes * pe, -1)
    slots[rng.permutation(passes * pe)[:rows]] = np.arange(rows)
    return RowMap(name, rows, frozen(slots.reshape(passes, pe)))


def random_order(rng, depth, simd):
    """A K order with its padding anywhere."""
    steps = len(k_order(depth, simd))
    order = np.full(steps * simd, -1)
    order[rng.permutation(steps * simd)[:depth]] = np.arange(depth)
    return frozen(order.reshape(steps, simd))


def random_thresholds(rng, rows, bits, lowest):
    values = np.sort(rng.integers(-300, 300, (rows, (1 << bits) - 1)), axis=1)
    values[0] = 1 << 40  # never passed
    values[-1] = -(1 << 40)  # always passed
    down = rng.random(rows) < 0.5
    values[down] = values[down, ::-1]
    return Thresholds(frozen(values), frozen(down, bool), lowest)


def random_layer(rng, spec, index, shape, output, signed):
    top = 1 << (spec.weight_bits - 1)
    return MultiplyLayer(
        name=f"layer{index}",
        index=index,
        weights=frozen(rng.integers(-top, top, shape)),
        bias=frozen(rng.integers(-400, 400, shape[0])),
        weight_bits=spec.weight_bits,
        in_bits=spec.act_bits,
        in_signed=signed,
        conv=None,
        output=output,
        out_bits=0 if output is None else 3,
        out_signed=isinstance(output, Shift),
    )


@dataclass(frozen=True)
class Case:
    """A build: network, schedule, orders, faults and what is on chip."""

    network: IntegerNetwork
    schedule: Schedule
    profile: FaultProfile
    orders: tuple[np.ndarray, ...]
    on_chip: tuple[bool, ...]

    @property
    def spec(self):
        return self.schedule.array

    def files(self):
        roms = build_roms(self.network, self.schedule, self.on_chip, self.orders or None)
        hls = render_hls(self.network, self.schedule, roms, self.on_chip, self.profile)
        return rom_files(roms) | hls


SPECS = {
    "os": ArraySpec(pe=5, simd=3, weight_bits=4, act_bits=8, acc_bits=16),
    "ws": ArraySpec(pe=4, simd=3, weight_bits=3, act_bits=4, acc_bits=17, dataflow="ws"),
    "wide": ArraySpec(pe=2, simd=19, weight_bits=7, act_bits=8, acc_bits=32),
    "single": ArraySpec(pe=1, simd=1, weight_bits=1, act_bits=1, acc_bits=16),
}


@functools.cache
def case(name, thresholds=True, on_chip=(True, True, False, True)):
    spec, rng = SPECS[name], generator(5, f"hls {name}")
    outputs = (
        random_thresholds(rng, 7, 3, -4) if thresholds else Shift(3, -4, 3),
        Shift(5, -4, 3),
        random_thresholds(rng, 4, 2, 0) if thresholds else Shift(0, 0, 7),
        None,
    )
    shapes = ((7, 11), (11, 7), (4, 30), (10, 4))
    signed = (False, True, True, False)
    layers = tuple(
        random_layer(rng, spec, i, *rest)
        for i, rest in enumerate(zip(shapes, outputs, signed, strict=True))
    )
    maps = tuple(random_map(rng, la.name, la.rows, spec.pe, la.index % 2) for la in layers)
    orders = tuple(random_order(rng, la.depth, spec.simd) for la in layers)
    network = IntegerNetwork("toy", InputQuant(1.0, 4, False, 0, 15), (1, 1, 11), layers, 1.0)
    schedule = Schedule(spec, maps)
    faults = random_faults(rng, spec, wmem_words(network, spec, schedule))
    return Case(network, schedule, FaultProfile(spec, faults, seed=2**33 + 7), orders, on_chip)


def random_faults(rng, spec, words):
    """Some faults of every site and kind; PE 0 dead where there are others."""
    sites = ["wmem", "weight", "act", "product", "psum"] + ["acc"] * (spec.dataflow == "ws")
    once = {"acc"} | ({"psum"} if spec.dataflow == "os" else set())
    faults = [Fault(pe=0, kind="dead")] if spec.pe > 1 else []
    taken = set()
    for site in sites * 3:
        pe = int(rng.integers(spec.pe > 1, spec.pe))
        simd = None if site in once else int(rng.integers(spec.simd))
        bit = int(rng.integers(spec.site_bits(site)))
        address = int(rng.integers(words)) if site == "wmem" else None
        if (pe, site, simd, bit, address) in taken:
            continue
        taken.add((pe, site, simd, bit, address))
        kind = ("sa0", "sa1", "flip")[int(rng.integers(3))]
        faults.append(Fault(pe, kind, site, simd, bit, address))
        high = spec.site_bits(site) - 1
        faults.append(
            Fault(pe, "transient", site, simd, None, address, p=0.3, bits=(high // 2, high))
        )
    faults.append(Fault(spec.pe - 1, "transient", "product", 0, 0, p=1.0))
    return tuple(faults)


def expected(build, index, profile, rng):
    """Activations of one layer and what the contract makes of them."""
    layer, spec = build.network.layers[index], build.spec
    low = -(1 << (spec.act_bits - 1)) if layer.in_signed else 0
    activations = rng.integers(low, low + (1 << spec.act_bits), (layer.depth, len(COLUMNS)))
    acc = reference.accumulate(
        profile,
        layer,
        build.schedule.layers[index],
        activations,
        wmem_base=bases(build)[index],
        columns=COLUMNS,
        order=build.orders[index],
    )
    sums = acc + layer.bias[:, None]
    codes = sums if layer.output is None else output_codes(layer.output, sums)
    return {"activations": activations, "acc": acc, "codes": codes, "columns": COLUMNS}


def bases(build):
    return wmem_bases(build.network, build.schedule)


def vectors(build, index, profile=None, **ports):
    profile = FaultProfile(build.spec) if profile is None else profile
    rng = generator(index, "hls vectors")
    data = expected(build, index, profile, rng)
    external = not build.on_chip[index]
    return hls_vectors(
        build.network.layers[index],
        ports.get("row_map", build.schedule.layers[index]),
        build.spec,
        data,
        weights_port=external,
        map_port=ports.get("map_port", False),
        order=build.orders[index],
    )


# ---------------------------------------------------------------------------- compile and run


def compile_bench(folder: Path, files, *, faults=False) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(data)
    sources = ["hls/has_layer.cpp", "hls/has_layer_tb.cpp"]
    defines = ["-DHAS_FAULT_SITES=1"] if faults else []
    command = ["g++", *FLAGS, *defines, *sources, "-o", "bench"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "bench"


def run_bench(bench: Path, files: dict[str, bytes]):
    for name, data in files.items():
        (bench.parent / name).write_bytes(data)
    return subprocess.run(
        [bench, *files], cwd=bench.parent, capture_output=True, text=True, check=False
    )


def all_layers(build, profile=None):
    return {
        f"{layer.name}.txt": vectors(build, layer.index, profile) for layer in build.network.layers
    }


@pytest.mark.parametrize("name", list(SPECS))
def test_healthy_layers_equal_the_contract(tmp_path, name):
    build = case(name)
    done = run_bench(compile_bench(tmp_path, build.files()), all_layers(build))
    assert (done.stdout, done.returncode) == ("0 mismatches\n", 0)


def test_every_tie_and_every_threshold_met(tmp_path):
    """v takes every value from 0 or -128 on: each half is rounded, each threshold is hit."""
    spec, rng = replace(SPECS["os"], weight_bits=2), generator(3, "ties")
    met = Thresholds(
        frozen([[10, 20, 30], [30, 20, 10], [0, 0, 255], [255, 0, 0]]),
        frozen([False, True, False, True], bool),
        lowest=-2,
    )
    outputs = (met, Shift(2, -32, 31), Shift(4, -3, 3), None)
    layers = tuple(
        replace(
            random_layer(rng, spec, i, (4, 1), output, signed=i > 0),
            weights=frozen(np.ones((4, 1))),
            bias=frozen(np.zeros(4)),
        )
        for i, output in enumerate(outputs)
    )
    network = IntegerNetwork("ties", InputQuant(1.0, 8, False, 0, 255), (1, 1, 1), layers, 1.0)
    build = Case(network, identity_schedule(network, spec), FaultProfile(spec), (), (True,) * 4)
    files = {}
    for layer in layers:
        acc = np.repeat(np.arange(256)[None] - 128 * layer.in_signed, 4, axis=0)
        codes = acc if layer.output is None else output_codes(layer.output, acc)
        data = {"activations": acc[:1], "acc": acc, "codes": codes}
        row_map = build.schedule.layers[layer.index]
        files[f"{layer.name}.txt"] = hls_vectors(layer, row_map, spec, data)
    done = run_bench(compile_bench(tmp_path, build.files()), files)
    assert (done.stdout, done.returncode) == ("0 mismatches\n", 0)


@pytest.mark.parametrize("name", list(SPECS))
def test_faulty_layers_equal_the_contract(tmp_path, name):
    build = case(name)
    bench = compile_bench(tmp_path, build.files(), faults=True)
    done = run_bench(bench, all_layers(build, build.profile))
    assert (done.stdout, done.returncode) == ("0 mismatches\n", 0)
    # and the faults are felt: against the healthy numbers the same program fails
    assert run_bench(bench, all_layers(build)).returncode == 1


def test_a_network_without_thresholds_or_weights_on_chip(tmp_path):
    build = case("os", thresholds=False, on_chip=(False,) * 4)
    files = build.files()
    assert not [path for path in files if "weights" in path or "thresholds" in path]
    done = run_bench(compile_bench(tmp_path, files), all_layers(build))
    assert (done.stdout, done.returncode) == ("0 mismatches\n", 0)


def test_another_map_through_the_port(tmp_path):
    build = case("os")
    bench = compile_bench(tmp_path, build.files(), faults=True)
    rng = generator(9, "another map")
    other = random_map(rng, "layer1", 11, build.spec.pe, spare=2)
    maps = tuple(other if m.name == "layer1" else m for m in build.schedule.layers)
    swapped = replace(build, schedule=Schedule(build.spec, maps))
    data = vectors(swapped, 1, build.profile, row_map=other, map_port=True)
    done = run_bench(bench, {"swapped.txt": data})
    assert (done.stdout, done.returncode) == ("0 mismatches\n", 0)
    lost = re.sub(rb"row_map (\d+)\n(-?\d+)", rb"row_map \1\n11", data)
    assert "has_layer returned 3" in run_bench(bench, {"lost.txt": lost}).stdout


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    build = case("os")
    return build, compile_bench(tmp_path_factory.mktemp("healthy"), build.files())


def test_a_wrong_expectation_is_counted_and_the_first_five_named(healthy):
    build, bench = healthy
    data = vectors(build, 0).decode()
    head, results = data.split("results 56\n")
    wrong = " ".join(str(int(n) + 1) for n in results.split())
    done = run_bench(bench, {"wrong.txt": f"{head}results 56\n{wrong}\n".encode()})
    assert done.returncode == 1
    *named, last = done.stdout.splitlines()
    assert (len(named), last) == (5, "56 mismatches")
    row_1 = r"wrong.txt: row 1 column 0 result expected (-?\d+) got (-?\d+)"
    found = re.fullmatch(row_1, named[1])
    assert found
    assert int(found[1]) == int(found[2]) + 1


@pytest.mark.parametrize("change", ["has_vectors 2", "activations 3", "cut", "external"])
def test_a_file_that_does_not_fit_fails(healthy, change):
    build, bench = healthy
    data = vectors(build, 0)
    if change == "cut":
        data = data[: len(data) // 2]
    elif change == "external":
        data = data.replace(b"has_vectors 1 0 0", b"has_vectors 1 2 0")
    else:
        data = re.sub(change[:-2].encode() + rb" \d+", change.encode(), data)
    done = run_bench(bench, {"bad.txt": data})
    assert done.returncode == 1
    assert "bad.txt: not a vector file of this build" in done.stdout
    assert run_bench(bench, {}).returncode == 1


def test_a_layer_without_weights_on_chip_is_refused(healthy):
    build, bench = healthy
    data = vectors(build, 2).replace(b"has_vectors 1 2 1", b"has_vectors 1 2 0")
    data = re.sub(rb"weights \d+\n[^r]*row_map", b"weights 0\nrow_map", data)
    assert "has_layer returned 2" in run_bench(bench, {"external.txt": data}).stdout


def broken(build, name):
    """The memories with one word of one of them changed (of the map: two words exchanged)."""
    roms = {
        rom.name: rom
        for rom in build_roms(build.network, build.schedule, build.on_chip, build.orders)
    }
    words = list(roms[name].words)
    if name == "row_map":
        first, second = (words.index(row) for row in (2, 5))
        words[first], words[second] = words[second], words[first]
    elif name == "weights_pe03":
        first = next(i for i, word in enumerate(words) if word)
        words[first] ^= 1
    elif name == "thresholds_0":
        words[1] = -(1 << 17) if words[1] > 0 else (1 << 17) - 1
    else:
        words[-1] ^= 1
    return rom_files((roms | {name: replace(roms[name], words=tuple(words))}).values())


@pytest.mark.parametrize("name", ["weights_pe03", "bias", "row_map", "thresholds_0"])
def test_one_wrong_word_in_a_memory_fails(tmp_path, name):
    build = case("os")
    files = build.files() | broken(build, name)
    done = run_bench(compile_bench(tmp_path, files), all_layers(build))
    assert done.returncode == 1
    assert re.search(r"^[1-9]\d* mismatches$", done.stdout, re.MULTILINE)


def test_rendering_is_repeatable_and_names_are_checked():
    build = case("os")
    assert build.files() == build.files()
    roms = build_roms(build.network, build.schedule, build.on_chip, build.orders)
    other = FaultProfile(replace(build.spec, pe=6))
    with pytest.raises(FaultProfileError, match="the profile's array must be"):
        render_hls(build.network, build.schedule, roms, build.on_chip, other)
    first, *rest = build.network.layers
    bad = replace(build.network, stages=(replace(first, name="x;y"), *rest))
    with pytest.raises(ModelError, match="letters, digits and _"):
        render_hls(bad, build.schedule, roms, build.on_chip)

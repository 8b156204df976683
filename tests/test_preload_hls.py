"""Preloads in the HLS C++, from the memories and through the port."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hascodesign.contract.array import generator
from hascodesign.contract.types import Schedule
from hascodesign.render.rom import build_roms, rom_files
from tests.preload_cases import preloaded
from tests.test_render_hls import (
    SPECS,
    Case,
    all_layers,
    case,
    compile_bench,
    random_map,
    run_bench,
    vectors,
)


def with_words(name: str) -> Case:
    plain = case(name)
    rng = np.random.default_rng(3)
    return replace(plain, network=preloaded(rng, plain.network, plain.spec.acc_bits))


@pytest.mark.parametrize("name", list(SPECS))
def test_layers_equal_the_contract(tmp_path, name):
    build = with_words(name)
    bench = compile_bench(tmp_path, build.files(), faults=True)
    done = run_bench(bench, all_layers(build, build.profile))
    assert (done.stdout, done.returncode) == ("0 mismatches\n", 0)
    assert run_bench(bench, all_layers(case(name), build.profile)).returncode == 1


def test_another_map_through_the_port(tmp_path):
    """The port's preloads stand where its rows do, not where those of the memories did."""
    build = with_words("os")
    bench = compile_bench(tmp_path, build.files(), faults=True)
    other = random_map(generator(9, "another map"), "layer1", 11, build.spec.pe, spare=2)
    maps = tuple(other if m.name == "layer1" else m for m in build.schedule.layers)
    swapped = replace(build, schedule=Schedule(build.spec, maps))
    data = vectors(swapped, 1, build.profile, row_map=other, map_port=True)
    done = run_bench(bench, {"swapped.txt": data})
    assert (done.stdout, done.returncode) == ("0 mismatches\n", 0)


def test_one_wrong_word_fails(tmp_path):
    build = with_words("os")
    roms = {
        rom.name: rom
        for rom in build_roms(build.network, build.schedule, build.on_chip, build.orders)
    }
    rom = roms["preload_pe02"]
    slots = np.concatenate([one.slots[:, 2] for one in build.schedule.layers])
    words = list(rom.words)
    words[int(np.flatnonzero(slots >= 0)[0])] ^= 1
    roms["preload_pe02"] = replace(rom, words=tuple(words))
    bench = compile_bench(tmp_path, build.files() | rom_files(roms.values()))
    assert run_bench(bench, all_layers(build)).returncode == 1

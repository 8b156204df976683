"""The driver's very files on the simulated core."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hascodesign.contract.build import BuildPlan
from hascodesign.fleet import delta
from hascodesign.render.driver import SCHEDULE
from hascodesign.render.rom import build_roms
from tests.driver_cases import (
    SPEC,
    Case,
    another,
    batches,
    faulty,
    lay_out,
    run,
    small,
    wider,
    write,
)


def test_images_waits_and_commands(tmp_path: Path) -> None:
    case = small(faulty())
    lay_out(tmp_path, case, case.plan(), {"other": another(case)}, {})
    run(tmp_path, ["driver_tests", "driver_cli_tests"], "--faults")


def pe_of(case: Case, layer: int, row: int) -> tuple[int, int]:
    """Pass and PE of a row."""
    ((number, pe),) = np.argwhere(case.schedule.layers[layer].slots == row).tolist()
    return number, pe


def places(case: Case) -> list[tuple[int, int, int, str]]:
    """Memory, address, bit, and how the driver must name it: by the array's orders."""
    steps = [SPEC.steps(layer.depth) for layer in case.network.layers]
    conv = case.schedule.layers[0]
    row, k, bit = 3, 6, 2
    number, pe = pe_of(case, 1, row)
    weight = conv.passes * steps[0] + number * steps[1] + k // SPEC.simd
    low = (pe * SPEC.simd + k % SPEC.simd) * SPEC.weight_bits + bit
    first = pe_of(case, 0, 4)
    bias = pe_of(case, 1, 2)
    passed = f"threshold (stage 2, node 3) of layer0, PE {first[1]} (pass {first[0]}), row 4, bit 5"
    started = f"preload of layer1, PE {pe}, row {row} (pass {number}), bit 9"
    return [
        (0, weight, low, f"weight of layer1, PE {pe}, row {row}, weight {k} ("),
        (2, conv.rows + 2, 4, f"bias of layer1, PE {bias[1]} (pass {bias[0]}), row 2, bit 4"),
        (6, 4 * 4 + 3, 5, passed),
        (7, conv.passes + number, pe * SPEC.acc_bits + 9, started),
        (1, conv.slots.size + 1, 0, "row map of layer1, pass 0, PE 1, bit 0"),
    ]  # fmt: skip


def refused(vectors: Path, case: Case) -> dict[str, str]:
    """Folders that are no schedule of the build, and what is said of each."""
    said = {"none": "core.json must be there"}

    def copy(name: str, words: str) -> Path:
        shutil.copytree(vectors / "other", vectors / name)
        said[name] = words
        return vectors / name

    (copy("nothing", r"manifest\.json must be there") / "manifest.json").unlink()
    (copy("changed", "bias.mem must be the file that") / "bias.mem").write_text("0\n")
    (copy("halved", r"row_map\.mem must be there") / "row_map.mem").unlink()
    (copy("torn", "must be JSON") / "core.json").write_text("{")
    (copy("newer", "must be of format 1") / "core.json").write_text('{"format": 9}')
    folder = copy("smaller", "array must be .*, not .*pe=8")
    document = json.loads((folder / "core.json").read_text())
    document["array"]["pe"] = 8
    (folder / "core.json").write_text(json.dumps(document))
    folder = copy("shifted", "lowest of layer0 must be 0, not 1")
    document["array"]["pe"] = 4
    document["stages"][0]["lowest"] = 1
    (folder / "core.json").write_text(json.dumps(document))
    write(vectors / "wide", wider(another(case)).driver(SCHEDULE))
    said["wide"] = r"bias must have words of \d+ bits, not \d+"
    return said


def test_schedules_are_loaded_and_turned_bits_found(tmp_path: Path) -> None:
    case = small()
    other = another(case)
    vectors = lay_out(tmp_path, case, case.plan(), {"other": other}, {})
    weight, bias, threshold, preload, row_map = places(other)
    bench = {
        "refused": refused(vectors, case),
        "turned": [[weight, bias, threshold], [row_map, preload]],
    }
    (vectors / "bench.json").write_text(json.dumps(bench))
    moved = replace(case, schedule=other.schedule)
    roms = [build_roms(one.network, one.schedule, one.on_chip) for one in (case, moved)]
    (vectors / "moved.npz").write_bytes(delta.encode("moved", roms[0], roms[1], b"{}"))
    run(tmp_path, ["driver_schedule_tests"])


def test_bits_turned_in_the_roms_are_named(tmp_path: Path) -> None:
    case = small()
    (_, weight, low, weighed), _, (_, address, bit, passed), *_ = places(case)
    pe, low = divmod(low, SPEC.simd * SPEC.weight_bits)
    files = dict(case.plan().files)
    flip(files, f"weights_pe{pe:02d}", weight, low)
    flip(files, "thresholds_2", address, bit)
    lay_out(tmp_path, case, BuildPlan(files), {}, {"places": [weighed, passed]})
    run(tmp_path, ["driver_rom_tests"])


def flip(files: dict[str, bytes], name: str, address: int, bit: int) -> None:
    """Turn a bit of a memory's file round."""
    path = f"roms/{name}.mem"
    lines = files[path].decode().split()
    lines[address] = f"{int(lines[address], 16) ^ (1 << bit):0{len(lines[address])}x}"
    files[path] = ("\n".join(lines) + "\n").encode()


def test_batches(tmp_path: Path) -> None:
    case = batches()
    lay_out(tmp_path, case, case.plan(), {}, {})
    run(tmp_path, ["driver_batch_tests"], "--faults")


@pytest.mark.slow
def test_streamed_weights(tmp_path: Path) -> None:
    case = small(on_chip=(True, False))
    lay_out(tmp_path, case, case.plan(), {"other": another(case)}, {})
    run(tmp_path, ["driver_stream_tests"])

"""Every bit of the memory files counts; what holds them shares nothing with what writes them."""

from __future__ import annotations

import ast
import inspect
from dataclasses import replace

import numpy as np
import pytest

from hascodesign.contract.build import Build, BuildPlan
from hascodesign.contract.errors import VerificationMismatch
from hascodesign.contract.types import Shift, frozen
from hascodesign.flow.proof import check_rom_folder
from hascodesign.render import rom
from hascodesign.verify import memories
from hascodesign.verify.memories import check_memories
from tests import verify_cases as cases

NETWORK = cases.network()
ROWS = NETWORK.layers[0].rows  # of the layer that has thresholds; they come first
NAMES = ("weights_pe00", "weights_pe03", "row_map", "bias", "descending", "thresholds_0",
         "thresholds_1")  # fmt: skip


def build(network=NETWORK, on_chip=(True, True), **changed: bytes) -> Build:
    """The test network's build, some memory files exchanged."""
    schedule = cases.schedule(network)
    files = rom.rom_files(rom.build_roms(network, schedule, on_chip))
    files |= {f"roms/{name}.mem": content for name, content in changed.items()}
    return Build(network, schedule, cases.PROFILE, BuildPlan(files))


def test_what_is_rendered_means_the_network() -> None:
    shifted = replace(NETWORK.layers[0], output=Shift(3, 0, 3))
    for network in (NETWORK, replace(NETWORK, stages=(shifted, *NETWORK.stages[1:]))):
        for on_chip in ((True, True), (True, False), (False, False)):
            check_memories(build(network, on_chip), on_chip)


@pytest.mark.parametrize("name", NAMES)
def test_no_bit_may_turn(name: str) -> None:
    lines = build().plan.files[f"roms/{name}.mem"].decode().split()
    # behind them lie the words of a layer without thresholds, of which no value meets every one
    count = ROWS << int(name[-1]) if name.startswith("thresholds") else len(lines)
    for place, line in enumerate(lines[:count]):
        for bit in range(4 * len(line)):
            turned = f"{int(line, 16) ^ 1 << bit:0{len(line)}x}"
            content = "\n".join([*lines[:place], turned, *lines[place + 1 :]]).encode()
            with pytest.raises(VerificationMismatch):
                check_memories(build(**{name: content}), (True, True))


def test_a_fault_of_the_renderer_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    pack, node = rom.pack_words, rom.threshold_node
    with monkeypatch.context() as patch:
        patch.setattr(rom, "pack_words", lambda fields, bits: pack(fields[:, ::-1], bits))
        with pytest.raises(VerificationMismatch, match="weights_pe00"):
            check_memories(build(), (True, True))

    def mirrored(stage: int, place: int, stages: int) -> int:
        return node(stage, (1 << stage) - 1 - place, stages)

    monkeypatch.setattr(rom, "threshold_node", mirrored)
    with pytest.raises(VerificationMismatch, match="thresholds_"):
        check_memories(build(), (True, True))


def test_thresholds_beyond_every_value_are_always_or_never_passed() -> None:
    layer = NETWORK.layers[0]
    values = np.array(layer.output.values)
    values[:, 0], values[:, 2] = -(1 << 40), 1 << 40
    up = np.zeros(ROWS, np.bool_)
    output = replace(layer.output, values=frozen(values), descending=frozen(up, np.bool_))
    network = replace(NETWORK, stages=(replace(layer, output=output), *NETWORK.stages[1:]))
    check_memories(build(network), (True, True))
    never = build(network).plan.files["roms/thresholds_0.mem"].decode().split()
    never[0] = "00000"
    with pytest.raises(VerificationMismatch, match="row 0 of conv"):
        check_memories(build(network, thresholds_0="\n".join(never).encode()), (True, True))


def test_a_missing_word_and_a_missing_file() -> None:
    short = build().plan.files["roms/bias.mem"].decode().split()[:-1]
    with pytest.raises(VerificationMismatch, match=r"bias\.mem must hold 8 words, not 7"):
        check_memories(build(bias="\n".join(short).encode()), (True, True))
    files = {p: b for p, b in build().plan.files.items() if "row_map.mem" not in p}
    with pytest.raises(VerificationMismatch, match=r"row_map\.mem must hold \d+ words, not 0"):
        check_memories(replace(build(), plan=BuildPlan(files)), (True, True))


def test_the_other_forms_are_held_to_the_words() -> None:
    files = dict(build().plan.files)
    check_rom_folder(BuildPlan(files))
    for suffix in (".coe", ".h"):
        path = f"roms/bias{suffix}"
        with pytest.raises(VerificationMismatch, match=path):
            check_rom_folder(BuildPlan(files | {path: files[path].replace(b"1", b"2")}))


def test_nothing_is_shared_with_the_renderer() -> None:
    tree = ast.parse(inspect.getsource(memories))
    used = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert used and not any(module.startswith("hascodesign.render") for module in used)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not {"stored_weights", "pack_words", "threshold_node"} & names

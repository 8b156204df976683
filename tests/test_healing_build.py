"""The build that `heal` is given: its core.json, and its memories held to the network."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hascodesign.common import files
from hascodesign.contract.arithmetic import classify
from hascodesign.contract.array import identity_schedule
from hascodesign.contract.errors import ConfigError, HascodesignError
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile
from hascodesign.engine import gemm
from hascodesign.healing import build as builds
from hascodesign.healing import plan, simulated, ssh
from hascodesign.render.driver import SCHEDULE
from hascodesign.schedule import formats
from tests import core_cases, driver_cases


@pytest.fixture
def case() -> driver_cases.Case:
    """The last layer's weights are streamed."""
    return driver_cases.small(on_chip=(True, False), images=1)


@pytest.fixture
def folder(tmp_path: Path, case: driver_cases.Case) -> Path:
    """A delivery of it, as far as `heal` reads it."""
    held = {f"{SCHEDULE}/{name}": data for name, data in case.driver(SCHEDULE).items()}
    held[builds.IN_USE] = formats.to_json(case.schedule)
    files.write_tree(tmp_path / "build", held)
    return tmp_path / "build"


@pytest.fixture
def read(folder: Path, case: driver_cases.Case) -> Callable[..., builds.InUse]:
    flow: Any = SimpleNamespace(network=case.network, array=case.schedule.array)
    return lambda in_use=None: builds.read(folder, flow, in_use)


def changed(path: Path) -> None:
    text = path.read_text()
    path.write_text(("1" if text[0] == "0" else "0") + text[1:])


@pytest.mark.parametrize("name", ["weights_pe00.mem", "stream.mem", "bias.mem", "row_map.mem"])
def test_memories_of_another_network_are_refused_whatever_runs(read, folder, name: str) -> None:
    """Streamed weights as those of the banks, and under a schedule of an earlier healing."""
    assert read().network is read(folder / builds.IN_USE).network
    changed(folder / SCHEDULE / name)
    for in_use in (None, folder / builds.IN_USE):
        with pytest.raises(ConfigError, match=rf"{name} must be of the network that is loaded"):
            read(in_use)


def test_the_line_of_the_build_stays(read, folder, case) -> None:
    """What is made for it says the baud and the clock that it was built with."""
    path = folder / builds.CORE
    held = json.loads(path.read_text())
    path.write_text(json.dumps(held | {"baud": 2_000_000, "clock_mhz": 40.625}))
    made = read().schedule_files(case.network, case.schedule, case.profile)
    told = json.loads(made["core.json"])
    assert (told["baud"], told["clock_mhz"]) == (2_000_000, 40.625)
    held.pop("baud")  # of a version that knew of none
    path.write_text(json.dumps(held))
    assert read().core["baud"] is None


def test_the_banks_are_as_deep_as_the_core_has_them(read, folder) -> None:
    """Streamed layers have no words there."""
    (weights, *_) = json.loads((folder / builds.CORE).read_text())["memories"]
    assert read().bank_words == read().array.wmem_depth == weights["depth"] > 0


def test_no_row_stands_on_a_pe_of_which_nothing_is_known(case) -> None:
    """Whatever the search gives, and where there is no room for its rows nothing is searched."""
    found: Any = SimpleNamespace(unexplained=(1,))
    search: Any = SimpleNamespace(schedule=case.schedule)
    with pytest.raises(HascodesignError, match="PE 1 is not explained and must stay idle, but"):
        plan._check_idle(search, found)
    maps = tuple(
        replace(one, slots=np.where(np.arange(one.slots.shape[1]) == 1, -1, one.slots))
        for one in case.schedule.layers
    )
    idle: Any = SimpleNamespace(schedule=replace(case.schedule, layers=maps))
    plan._check_idle(idle, found)
    both: Any = SimpleNamespace(unexplained=(0, 1))
    running: Any = SimpleNamespace(array=driver_cases.SPEC, schedule=case.schedule)
    with pytest.raises(HascodesignError, match=r"slots without PEs 0, 1; nothing was made"):
        plan._check_room(running, both)


@pytest.mark.parametrize(
    "host",
    ["", "-oProxyCommand=x", "a b", "a;b", "$(a)", "`a`", "a|b", "a&b", "a\nb", "a'b", 'a"b', "a:b",
     "a/b", "a>b", "a*", "~a", "a\\b", "\u0430"],
)  # fmt: skip
def test_a_host_means_nothing_to_a_shell(host: str) -> None:
    with pytest.raises(ConfigError, match="--host must be letters, digits"):
        ssh.Board(host)


def test_faulty_words_beside_streamed_ones_are_not_guessed(read) -> None:
    """The fault model counts the words of all layers, the bank those on chip."""
    array = driver_cases.SPEC
    logic = Fault(2, "sa1", "product", 0, 3)
    for faults, refused in (((logic,), False), ((logic, *driver_cases.faulty().faults), True)):
        found: Any = SimpleNamespace(profile=FaultProfile(array, faults))
        if not refused:
            plan._check_words(read(), found)
            continue
        with pytest.raises(HascodesignError, match=r"weights are streamed .* PEs 1 have such"):
            plan._check_words(read(), found)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("format", 2, "format must be 1, not 2"),
        ("array", {"pe": 2}, "array.simd must be given"),
        ("clock_mhz", "100", "clock_mhz must be above 0"),
        ("clock_mhz", 0, "clock_mhz must be above 0"),
        ("baud", -1, "baud must be 1..100000000, not -1"),
        ("batch", 0, "batch must be 1..65536, not 0"),
        ("lanes", -1, "lanes must be 0..65536, not -1"),
        ("memories", [{"name": "weights"}], r"memories\[0\]: key 'content' must be given"),
        ("memories", {}, "memories must be a list, not an object"),
        ("layers", [3], r"layers\[0\]: an object must stand here"),
        ("classes", 9, "its classes must be 9, not 5"),
        ("classes", "x" * 5000, "its classes must be x+[.]{3}, not 5"),
        ("classes", "\x1b[2J", r"its classes must be '\\x1b\[2J', not 5"),
    ],
)
def test_a_core_json_that_is_odd(read, folder, key: str, value: Any, words: str) -> None:
    path = folder / builds.CORE
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ConfigError, match=words) as caught:
        read()
    told = str(caught.value)
    assert told.isprintable() and len(told) < 1000 and str(folder) in told


def test_memories_that_core_json_has_otherwise(read, folder) -> None:
    path = folder / builds.CORE
    whole = json.loads(path.read_text())
    for memories, words in (
        (whole["memories"][::-1], "its memories must be"),
        (whole["memories"][:-1], "its memories must be"),
        ([*whole["memories"], whole["memories"][0]], "must have a name of its own"),
        ([one | {"depth": one["depth"] + 1} for one in whole["memories"]], "must be at most"),
        ([one | {"width": 1} for one in whole["memories"]], "must be at most"),
    ):
        path.write_text(json.dumps(whole | {"memories": memories}))
        with pytest.raises(ConfigError, match=words):
            read()


def test_images_are_held_to_a_healthy_array_with_rows_as_trained(tmp_path: Path) -> None:
    """Rows written for the faults that the build was made for are no measure."""
    rng, spec = np.random.default_rng(3), ArraySpec(4, 2, 4, 4, 20)
    net = core_cases.random_network(rng, spec, (5, 5, 1), [(6, 3, 1, 0)])
    codes = core_cases.images(rng, net, 6)
    *_, last = gemm.trace(net, identity_schedule(net, spec), FaultProfile(spec), codes)
    trained = last.codes.T.astype(np.int64)
    (folder := tmp_path / "vectors" / "driver" / "schedule").mkdir(parents=True)
    np.savez(folder / "images.npz", codes=codes, healthy=np.roll(trained, 1, axis=1))
    (results := tmp_path / "results").mkdir()
    np.savez(results / "healed.npz", before=np.roll(trained[:4], 1, axis=1), after=trained[:4])
    said = {"good": True, "words": "", "phases": {"images before": [9, 1]}}
    (results / "healed.json").write_text(json.dumps(said), encoding="utf-8")
    in_use: Any = SimpleNamespace(flow=SimpleNamespace(network=net), network=net)
    chip = simulated.Chip(in_use, tmp_path, FaultProfile(spec), images=4)
    seen = simulated._seen(chip, tmp_path / "vectors", tmp_path)
    classes = [classify(one[:4], net.logit_scale) for one in (trained, np.roll(trained, 1, axis=1))]
    assert seen.wrong == int((classes[0] != classes[1]).sum()) > 0
    assert (seen.images, seen.healed_wrong) == (4, 0)

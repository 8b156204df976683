"""Real chips of the bundled network: the same bytes as the flow's, on any number of workers."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from distributed import Client, LocalCluster

from hascodesign.contract.array import identity_schedule, with_preloads
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.errors import VerificationMismatch
from hascodesign.contract.types import FaultProfile, RowMap, Schedule, Shift, frozen
from hascodesign.engine.planes import as_thresholds
from hascodesign.faults import formats
from hascodesign.fleet import chips, cluster, delta, report, run, work
from hascodesign.fleet.store import ChipRow, Store, VerifiedRow
from hascodesign.flow.config import board_config, load_config
from hascodesign.flow.flow import Flow
from hascodesign.flow.request import Request
from hascodesign.flow.store import KeepsNothing
from hascodesign.render import rom
from hascodesign.render.core import render_core
from hascodesign.render.core_sizes import CoreOptions
from hascodesign.schedule import written
from tests.schedule_stand_in import array, dense_network


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> work.Shared:
    config = load_config(board_config("pynq-z2"), {"board": "pynq-z2"})
    request = Request(config, tmp_path_factory.mktemp("none"), tmp_path_factory.mktemp("cache"))
    flow = Flow(request, KeepsNothing(), work.Silent())
    return work.Shared(flow.network, flow.integers[1], flow.dataset, config)


@pytest.fixture(scope="module")
def fleet(shared) -> tuple[chips.Chip, ...]:
    spec = replace(shared.config.array.spec(), wmem_depth=0)
    drawn = chips.draw(2, (4, 16), spec, shared.config.faults, 3)
    return (*drawn, replace(drawn[0], name="twin"))


@contextmanager
def thread(_workers: int):
    """A cluster of one worker, a thread of this process."""
    options = {"processes": False, "dashboard_address": "127.0.0.1:0", "protocol": "inproc"}
    sizes = {"n_workers": 1, "threads_per_worker": 1}
    with LocalCluster(**sizes, **options) as made, Client(made) as client:
        yield client


def lasting(folder: Path, kind: type) -> dict[str, object]:
    store = Store(folder)
    found = {
        key: replace(row, seconds=0.0, cpu_seconds=0.0, worker="", finished="")
        for key, row in store.rows(kind).items()
    }
    store.close()
    return found


def test_one_and_two_workers_make_the_same_store(
    tmp_path: Path, shared, fleet, monkeypatch
) -> None:
    stores, processes = {}, cluster.local
    for workers in (1, 2):
        monkeypatch.setattr(cluster, "local", thread if workers == 1 else processes)
        out = tmp_path / str(workers)
        asked = run.FleetRequest(
            Request(shared.config, out, out), workers=workers, verify=0.01 if workers == 1 else 0.0
        )
        with mock.patch.object(run, "_prepare", lambda *_: (shared, fleet)):
            done = run.run(asked)
        assert (done.chips, done.distinct, done.made) == (3, 2, 2)
        deltas = {p.name: p.read_bytes() for p in (out / "deltas").rglob("*.npz")}
        stores[workers] = (lasting(out, ChipRow), deltas)
    assert stores[1] == stores[2] and len(stores[1][1]) == 2
    (checked,) = lasting(tmp_path / "1", VerifiedRow).values()
    assert checked.differ == 0 and checked.integers > 30_000
    rows = stores[1][0]
    assert checked.roms_sha256 == rows[checked.key].roms_sha256
    assert {row.healthy_correct for row in rows.values()} == {535}
    assert all(row.scheduled_correct > row.plain_correct + 100 for row in rows.values())
    result = report.gather(tmp_path / "1")
    report.write(result, tmp_path / "report")
    page = (tmp_path / "report" / "fleet.html").read_text()
    assert "twin" in page and "0 differ" in page and page.count("<svg") == 2
    content = json.loads((tmp_path / "report" / "fleet.json").read_bytes())
    assert content["done"] == 3 and content["distinct"] == 2
    lines = (tmp_path / "report" / "fleet.csv").read_text().splitlines()
    assert len(lines) == 4 and lines[3].startswith("twin,")
    # what the flow makes of the same profile
    (tmp_path / "chip.json").write_bytes(formats.write_json(fleet[1].profile))
    own = Request(shared.config, tmp_path, tmp_path, faults=tmp_path / "chip.json")
    flow = Flow(own, KeepsNothing(), work.Silent())
    flow.take({"load": shared.dataset, "integerise": (shared.network, shared.equivalence)})
    row = rows[result.asked[1].key]
    files = {f"roms/{path}": content for path, content in flow.plan.under("roms").items()}
    assert BuildPlan(files).digest == row.roms_sha256
    kept = delta.decode(stores[1][1][f"{row.key}.npz"])
    assert kept.schedule == flow.plan.files["schedule.json"]
    assert flow.accuracy["scheduled"].value == 100 * row.scheduled_correct / row.heldout
    assert flow.accuracy["faulty_identity"].value == 100 * row.plain_correct / row.heldout


def test_a_delta_of_another_chip_is_a_mismatch(shared, fleet) -> None:
    """Words that are not those of the plan end the verification before anything is simulated."""
    content = shared.encode()
    work.supply("test", content)
    program, profile = work.source_digest(), formats.write_json(fleet[0].profile)
    flow = shared.flow(fleet[0].profile)
    plain = identity_schedule(shared.network, flow.profile.array)
    base = rom.build_roms(shared.network, plain, (True,) * 3)
    schedule = flow.records(plain)["schedule.json"]
    other = replace(base[0], words=(base[0].words[0] ^ 1, *base[0].words[1:]))
    wrong = delta.encode("k", base, (other, *base[1:]), schedule)
    with pytest.raises(VerificationMismatch, match="the delta of k must give the memories"):
        work.verify("test", program, "k", profile, wrong, "icarus")


@pytest.mark.parametrize("seed", range(6))
def test_a_delta_makes_the_memories_of_one_build_those_of_another(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = array(pe=3, simd=2, acc_bits=20)
    first, second = (dense_network([7, 5, 3], 6, seed) for seed in (seed, seed + 50))
    if seed % 2:  # memories of wider words
        wider = tuple(replace(layer, bias=frozen(9 * layer.bias)) for layer in second.layers)
        second = replace(second, stages=wider)
    on_chip = (True,) * len(first.layers)
    base = rom.build_roms(first, identity_schedule(first, spec), on_chip)
    roms = rom.build_roms(second, shuffled(rng, identity_schedule(second, spec)), on_chip)
    content = delta.encode("k", base, roms, b"{}")
    assert content == delta.encode("k", base, roms, b"{}")
    kept = delta.decode(content)
    assert (kept.key, kept.schedule, kept.roms) == ("k", b"{}", delta.digest(roms))
    wanted = {one.name: one.words for one in delta.memories(roms)}
    assert delta.apply(base, kept) == wanted
    assert sum(map(len, kept.words.values())) > 0
    # of the same build nothing is written
    same = delta.decode(delta.encode("k", base, base, b"{}"))
    assert not any(same.words.values())
    # a word that is left out is missed
    name = next(name for name, words in kept.words.items() if words)
    fewer = {**kept.words, name: dict(list(kept.words[name].items())[1:])}
    assert delta.apply(base, replace(kept, words=fewer)) != wanted
    # SELECT counts as the registers do, and weights take all PEs in one word
    assert [one.select for one in delta.memories(roms)] == list(range(len(wanted)))
    assert delta.memories(roms)[0].width == spec.pe * spec.simd * spec.weight_bits


@pytest.mark.parametrize("preload", [False, True])
def test_a_network_of_shifts_and_rows_written_for_one_layer(preload: bool) -> None:
    """The bitstream has thresholds for every layer, so that every memory of a plan is there."""
    spec, net = array(pe=3, simd=2, acc_bits=20), dense_network([7, 5, 3], 6, 1)
    shifts = [
        layer if layer.output is None else replace(layer, output=Shift(2, 0, 7), out_bits=3)
        for layer in net.layers
    ]
    net = replace(net, stages=tuple(shifts))
    net = with_preloads(net) if preload else net
    plain, on_chip = identity_schedule(net, spec), (True,) * 3
    trained = written.with_thresholds(net)
    assert not any(isinstance(layer.output, Shift) for layer in trained.layers)
    entry = written.WrittenRow(
        1, -1, (), 300, True, tuple(range(7, 0, -1)), preload=5 if preload else None
    )
    rows = [[entry], [], []]
    base, roms = (
        rom.build_roms(one, plain, on_chip) for one in (trained, written.apply(trained, rows))
    )
    kept = delta.decode(delta.encode("k", base, roms, b"{}"))
    wanted = {one.name: one.words for one in delta.memories(roms)}
    assert delta.apply(base, kept) == wanted
    assert [len(words) for words in wanted.values()] == [len(m.words) for m in delta.memories(base)]
    # as it was: thresholds that the bitstream lacks
    lacking = rom.build_roms(net, plain, on_chip)
    assert "thresholds_0" in delta.misfit(lacking, rom.build_roms(trained, plain, on_chip))
    with pytest.raises(ValueError, match="its memories must be"):
        delta.encode("k", lacking, roms, b"{}")
    if preload:
        (one,) = [one for one in delta.memories(roms) if one.name == "preload"]
        assert one.select == len(wanted) - 1 and one.width == 3 * spec.acc_bits
        assert one.words[0] == 5 << spec.acc_bits  # row 1 is on PE 1 in the first pass
        assert one.name in kept.words and kept.words[one.name] == {0: one.words[0]}


@pytest.mark.parametrize("moves", [True, False])
def test_the_chips_of_a_fleet_take_a_network_with_thresholds(shared, moves: bool) -> None:
    """Where rows may be written, and nowhere else."""
    net = dense_network([3], 6, 1)
    net = replace(net, stages=(replace(net.layers[0], output=Shift(2, 0, 7), out_bits=3),))
    config = shared.config
    if not moves:
        schedule = config.schedule.model_copy(update={"moves": ()})
        config = config.model_copy(update={"schedule": schedule})
    fleet = replace(shared, network=net, config=run.bitstream_config(config))
    built = fleet.flow(FaultProfile(shared.config.array.spec())).network
    assert isinstance(built.layers[0].output, Shift) != moves


def test_the_bitstream_that_is_rendered_is_what_deltas_are_written_over(shared, tmp_path) -> None:
    render = shared.config.render.model_copy(update={"thresholds": True})
    whole = replace(shared, config=shared.config.model_copy(update={"render": render}))
    request = Request(shared.config, tmp_path / "out", tmp_path, to_step="render")
    run.render_bitstream(request)
    roms = {path.name: path.read_bytes() for path in (tmp_path / "out/unverified/roms").iterdir()}
    wanted = rom.rom_files(whole.bitstream().roms)
    assert roms == {Path(name).name: content for name, content in wanted.items()}
    assert json.loads((tmp_path / "out/unverified/faults.json").read_text())["faults"] == []


def test_what_a_bitstream_cannot_take_is_said() -> None:
    spec, net = array(pe=3, simd=2, acc_bits=20), dense_network([7, 5, 3], 6, 1)
    plain, on_chip = identity_schedule(net, spec), (True,) * 3
    base = rom.build_roms(net, plain, on_chip)
    wide = tuple(replace(layer, bias=frozen(layer.bias + (1 << 21))) for layer in net.layers)
    roms = rom.build_roms(replace(net, stages=wide), plain, on_chip)
    assert delta.misfit(base, roms) == "words of bias must have 20 bits, not 23"
    more = replace(plain, layers=(spare(plain.layers[0]), *plain.layers[1:]))
    assert "weights must have" in delta.misfit(base, rom.build_roms(net, more, on_chip))


def test_one_bitstream_is_that_of_every_chip() -> None:
    """The Verilog of a network as trained is that of any chip's, whatever its rows are."""
    rng, spec = np.random.default_rng(2), array(pe=3, simd=2, acc_bits=20)
    net = dense_network([7, 5, 3], 6, 1)
    shift = replace(net.layers[1], output=Shift(2, 0, 7), out_bits=3)
    net = with_preloads(replace(net, stages=(net.layers[0], shift, net.layers[2])))
    plain, healthy = identity_schedule(net, spec), FaultProfile(spec)
    most = (1 << 19) - 1
    count = as_thresholds(net.layers[0]).values.shape[1]
    far = written.WrittenRow(1, -1, (), -most, True, (most,) * count, preload=-most)
    deployed = written.apply(net, [[far], [], []])
    built = render_core(written.with_thresholds(net), plain, healthy, CoreOptions())
    chip = render_core(deployed, shuffled(rng, plain), healthy, CoreOptions())
    assert built == chip
    base, roms = (
        rom.build_roms(one, plain, (True,) * 3) for one in (written.with_thresholds(net), deployed)
    )
    assert base != roms and delta.misfit(base, roms) == ""
    assert render_core(net, plain, healthy, CoreOptions()) != chip  # with its shift it is another


def spare(row_map: RowMap) -> RowMap:
    idle = np.full((1, row_map.slots.shape[1]), -1)
    return replace(row_map, slots=frozen(np.concatenate([row_map.slots, idle])))


def shuffled(rng: np.random.Generator, schedule: Schedule) -> Schedule:
    moved = (
        replace(one, slots=frozen(rng.permutation(one.slots.ravel()).reshape(one.slots.shape)))
        for one in schedule.layers
    )
    return replace(schedule, layers=tuple(moved))

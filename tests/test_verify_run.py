"""Comparison of a simulation with the engine, on a simulation that is played."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from hascodesign.common.files import read_arrays
from hascodesign.contract import arithmetic, array
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.errors import StepFailed
from hascodesign.contract.results import Mismatch
from hascodesign.contract.types import Fault, frozen
from hascodesign.engine import gemm, reference
from hascodesign.verify import core, coverage, expect, run, simulate
from hascodesign.verify.vectors import Vectors, check_vectors
from tests import verify_cases as cases

PLAN = BuildPlan({"rtl/has_array.v": b"module has_array; endmodule\n"})
HEALTHY = replace(cases.PROFILE, faults=())


class Player:
    """Plays the simulation: what the step-by-step reference gives for the bench's input."""

    def __init__(self):
        self.calls = []
        self.change = lambda run, name, acc, codes: (acc, codes)
        self.together = threading.Barrier(2, timeout=60)  # broken unless both runs are at work

    def __call__(self, plan, vectors, work, *, faults, simulator="icarus", **_limits):
        self.together.wait()
        for folder in ("rtl", "roms", "run", "sim_build", "results"):
            (work / folder).mkdir(exist_ok=True)
            (work / folder / "file").write_bytes(b"0\n")
        assert plan is PLAN
        self.calls.append((faults, simulator, work))
        run_name = "faulty" if faults else "healthy"
        results = {}
        net = cases.network()
        assert {path.stem for path in vectors.glob("*.npz")} == {"conv", "dense"}
        for layer, row_map in zip(net.layers, cases.schedule(net).layers, strict=True):
            file = read_arrays(vectors / f"{layer.name}.npz")
            acc = reference.accumulate(
                cases.PROFILE if faults else HEALTHY,
                layer,
                row_map,
                file["activations"],
                wmem_base=int(file["wmem_base"]),
            )
            codes = acc + file["bias"][:, None]
            if layer.output is not None:
                codes = arithmetic.output_codes(layer.output, codes)
            changed = self.change(run_name, layer.name, acc, codes)
            if changed is not None:
                results[layer.name] = simulate.LayerResult(*changed, 1234, 0.5)
        return results


@pytest.fixture
def player(monkeypatch):
    played = Player()
    monkeypatch.setattr(simulate, "simulate", played)
    return played


def verify(work, codes=None, profile=cases.PROFILE, **options):
    net = cases.network()
    codes = cases.input_codes(40) if codes is None else codes
    return run.verify(net, cases.schedule(net), profile, PLAN, codes, work=work, **options)


def test_agreement(player, tmp_path):
    seen = []
    found, files = verify(tmp_path, progress=lambda *at: seen.append(at), simulator="verilator")
    assert found.mismatches == 0
    assert found.first == ()
    assert found.simulator == "verilator"
    assert [(layer.run, layer.name) for layer in found.layers] == [
        ("healthy", "conv"),
        ("healthy", "dense"),
        ("faulty", "conv"),
        ("faulty", "dense"),
    ]
    conv, dense = found.layers[2:]
    assert (conv.columns, conv.outputs, conv.ideal_cycles) == (32, 2 * 5 * 32, 2 * 6 * 32)
    assert (dense.columns, dense.outputs, dense.ideal_cycles) == (32, 2 * 3 * 32, 7 * 32)
    assert (conv.cycles, conv.seconds) == (1234, 0.5)
    assert sorted(player.calls) == [
        (False, "verilator", tmp_path / "healthy"),
        (True, "verilator", tmp_path / "faulty"),
    ]
    assert seen[0][1:] == (0, 4)
    assert seen[-1][1:] == (4, 4)
    assert set(files) == {
        "vectors/conv.npz",
        "vectors/dense.npz",
        "vectors/healthy/conv.npz",
        "vectors/healthy/dense.npz",
    }


def test_vectors_are_those_of_the_run_and_check_out(player, tmp_path):
    _, files = verify(tmp_path)
    _, again = verify(tmp_path)
    assert files == again
    for path, content in files.items():
        profile = HEALTHY if "healthy" in path else cases.PROFILE
        assert check_vectors(content, profile) == 0
    assert check_vectors(files["vectors/conv.npz"], HEALTHY) > 0


def test_activations_are_what_this_network_feeds(player, tmp_path):
    """Faults of the first layer reach the second layer's activations, in the faulty run only."""
    net = cases.network()
    schedule = cases.schedule(net)
    verify(tmp_path)
    for name, profile in (("healthy", HEALTHY), ("faulty", cases.PROFILE)):

        def accumulate(layer, activations, profile=profile):
            base = array.wmem_bases(net, schedule)[layer.index]
            row_map = schedule.layers[layer.index]
            return reference.accumulate(profile, layer, row_map, activations, wmem_base=base)

        for trace in arithmetic.walk(net, cases.input_codes(40), accumulate):
            path = tmp_path / name / "vectors" / f"{trace.layer.name}.npz"
            with np.load(path, allow_pickle=False) as file:
                at = file["columns"]
                assert np.array_equal(file["activations"], trace.activations[:, at])
                assert np.array_equal(file["acc"], trace.acc[:, at])
                assert np.array_equal(file["codes"], trace.codes[:, at])


def test_every_fault_is_touched(player, tmp_path):
    found, _ = verify(tmp_path)
    assert [fault.entry for fault in found.coverage] == [0, 1, 2, 3, 4]
    assert all(fault.exercised and fault.changed_accumulator for fault in found.coverage)


def test_coverage_is_judged_on_what_the_faulty_network_feeds(player, tmp_path, monkeypatch):
    fed = []

    def watch(profile, layer, row_map, activations, base, counters):
        fed.append(activations)
        return coverage.excitation(profile, layer, row_map, activations, base, counters)

    monkeypatch.setattr(expect, "excitation", watch)
    verify(tmp_path, cases.input_codes(20))  # 20 columns of the dense layer, all of them verified
    with np.load(tmp_path / "faulty" / "vectors" / "dense.npz", allow_pickle=False) as file:
        assert np.array_equal(fed[1], file["activations"])
    with np.load(tmp_path / "healthy" / "vectors" / "dense.npz", allow_pickle=False) as file:
        assert not np.array_equal(fed[1], file["activations"])


def test_coverage_says_what_was_not_touched(player, tmp_path, monkeypatch):
    """A dead PE that multiplies zeros only shows nothing; a flipped accumulator bit does."""
    weights = cases.network().layers[0].weights.copy()
    weights[[2, 3]] = 0  # the rows of PE 0
    changed_network(monkeypatch, "conv", weights=frozen(weights))
    faults = (Fault(0, "dead"), Fault(1, "flip", "psum", bit=4))
    found, _ = verify(tmp_path, profile=replace(cases.PROFILE, faults=faults))
    assert [(f.exercised, f.changed_accumulator) for f in found.coverage] == [
        (False, False),
        (True, True),
    ]


@pytest.mark.parametrize("name", ["healthy", "faulty"])
def test_one_wrong_bit_is_that_mismatch(player, tmp_path, name):
    def flip(run_name, layer, acc, codes):
        if (run_name, layer) == (name, "conv"):
            acc = acc.copy()
            acc[3, 7] ^= 4
        return acc, codes

    player.change = flip
    found, files = verify(tmp_path)
    assert found.mismatches == 1
    assert [layer.mismatches for layer in found.layers] == (
        [1, 0, 0, 0] if name == "healthy" else [0, 0, 1, 0]
    )
    (first,) = found.first
    with np.load(tmp_path / name / "vectors" / "conv.npz", allow_pickle=False) as file:
        expected, counter = int(file["acc"][3, 7]), int(file["columns"][7])
    # row 3 stands on PE 0 of the first pass
    assert first == Mismatch(name, "conv", 3, counter, 0, "acc", expected, expected ^ 4)
    assert counter != 7
    path = "vectors/conv.npz" if name == "faulty" else "vectors/healthy/conv.npz"
    profile = cases.PROFILE if name == "faulty" else HEALTHY
    assert check_vectors(files[path], profile) == 1  # the file holds what the simulation gave
    assert run.format_mismatch(first) == (
        f"{name} run, layer conv, row 3, column {counter}, PE 0: "
        f"acc must be {expected}, not {expected ^ 4}"
    )


def test_first_five_in_order(player, tmp_path):
    def spoil(run_name, layer, acc, codes):
        if (run_name, layer) == ("faulty", "conv"):
            return acc + 1, codes
        if layer == "dense":
            acc, codes = acc.copy(), codes.copy()
            acc[2, 1] += 5
            codes[2, 1] -= 3
            codes[1, 30] += 1
        return acc, codes

    player.change = spoil
    found, _ = verify(tmp_path)
    assert found.mismatches == 3 + 5 * 32 + 3
    got = [(m.run, m.layer, m.row, m.what, m.pe, m.got - m.expected) for m in found.first]
    assert got == [
        ("healthy", "dense", 1, "code", 2, 1),
        ("healthy", "dense", 2, "acc", 1, 5),
        ("healthy", "dense", 2, "code", 1, -3),
        ("faulty", "conv", 0, "acc", 2, 1),
        ("faulty", "conv", 0, "acc", 2, 1),
    ]
    assert found.first[3].column < found.first[4].column


def test_a_missing_layer_or_column_is_never_filled_in(player, tmp_path):
    player.change = lambda run_name, layer, acc, codes: None if layer == "dense" else (acc, codes)
    with pytest.raises(StepFailed, match="healthy simulation must give layer dense"):
        verify(tmp_path)
    player.change = lambda run_name, layer, acc, codes: (acc, codes[:, :-1])
    with pytest.raises(StepFailed, match=r"codes of layer conv .* \(5, 32\), not \(5, 31\)"):
        verify(tmp_path)


def test_a_wrong_engine_is_found(player, tmp_path, monkeypatch):
    def wrong(*args, **keys):
        return reference.accumulate(*args, **keys) ^ 1

    monkeypatch.setattr(gemm, "accumulate", wrong)
    found, _ = verify(tmp_path)
    assert all(layer.mismatches > 0 for layer in found.layers)


def test_budget_limits_the_columns(player, tmp_path):
    # conv: 2 passes of 6 steps a column, 12 words to load; dense: 1 pass of 7 steps
    found, _ = verify(tmp_path, cycle_budget=60)
    assert [layer.columns for layer in found.layers] == [5, 8, 5, 8]
    found, _ = verify(tmp_path, cycle_budget=60, on_chip=(False, True))
    assert [layer.columns for layer in found.layers] == [4, 8, 4, 8]
    found, _ = verify(tmp_path, cycle_budget=1)
    assert [layer.columns for layer in found.layers] == [2, 2, 2, 2]


def test_simulation_failure_is_passed_on(player, tmp_path):
    def fail(run_name, layer, acc, codes):
        if run_name == "healthy":
            raise StepFailed("simulate: the bench failed, see sim.log")
        return acc, codes

    player.change = fail
    with pytest.raises(StepFailed, match="the bench failed"):
        verify(tmp_path)


@pytest.mark.parametrize("good", [True, False])
def test_no_copy_of_the_build_is_left(player, tmp_path, good):
    def fail(run_name, layer, acc, codes):
        if not good:
            raise StepFailed("simulate: the bench failed, see simulation.log")
        return acc, codes

    player.change = fail
    if good:
        verify(tmp_path)
    else:
        with pytest.raises(StepFailed):
            verify(tmp_path)
    for name in ("healthy", "faulty"):
        left = {path.name for path in (tmp_path / name).iterdir()}
        assert left == {"vectors", "results"}


# --------------------------------------------------------------------------- a proof of nothing


def changed_network(monkeypatch, name, **values):
    """The cases' network with one layer changed."""
    net = cases.network()
    stages = [replace(s, **values) if getattr(s, "name", "") == name else s for s in net.stages]
    changed = replace(net, stages=tuple(stages))
    monkeypatch.setattr(cases, "network", lambda: changed)


def test_no_image_is_no_proof(player, tmp_path):
    with pytest.raises(StepFailed, match="held-out images must be there to simulate, not none"):
        verify(tmp_path, cases.input_codes(0))
    assert player.calls == []


@pytest.mark.parametrize("name", ["conv", "dense"])
def test_accumulators_that_are_all_alike_are_no_proof(player, tmp_path, monkeypatch, name):
    layer = next(layer for layer in cases.network().layers if layer.name == name)
    changed_network(monkeypatch, name, weights=frozen(0 * layer.weights))
    with pytest.raises(StepFailed, match=f"accumulators of {name} must not all be 0"):
        verify(tmp_path)
    assert player.calls == []


def test_hidden_codes_that_are_all_alike_are_no_proof(player, tmp_path, monkeypatch):
    output = cases.network().layers[0].output
    never = np.where(output.descending[:, None], -(1 << 15) - 9999, 1 << 15)
    never = np.broadcast_to(never, output.values.shape).copy()
    # a second layer with codes of its own, so that its accumulators are not all alike
    changed_network(monkeypatch, "conv", output=replace(output, values=frozen(never)))
    with pytest.raises(StepFailed, match=r"must not all be 0"):
        verify(tmp_path)
    one = cases.network().layers[0]
    vectors = [
        Vectors(one, None, None, 0, None, None, np.arange(6).reshape(2, 3), np.zeros((2, 3)))
    ]
    with pytest.raises(StepFailed, match=r"codes of conv must not all be 0.*thresholds"):
        run.require_telling({"healthy": vectors, "faulty": vectors})


def test_a_layer_without_integers_is_no_proof():
    one = cases.network().layers[0]
    none = Vectors(one, None, None, 0, None, None, np.zeros((5, 0)), np.zeros((5, 0)))
    some = Vectors(one, None, None, 0, None, None, np.eye(5), np.eye(5))
    run.require_telling({"healthy": [some], "faulty": [some]})
    with pytest.raises(StepFailed, match="faulty conv must have integers to compare"):
        run.require_telling({"healthy": [some], "faulty": [none]})


def test_whole_images_that_show_nothing_are_no_proof(tmp_path):
    net = cases.network()
    build = (net, cases.schedule(net), cases.PROFILE, PLAN)
    with pytest.raises(StepFailed, match="images must be there to run through the accelerator"):
        core.verify_core(*build, cases.input_codes(0), work=tmp_path, faults=False)
    got = {"status": 0, "logits": np.zeros((2, 3), np.int64)}
    pairs = {"logits": (got["logits"], got["logits"])}
    with pytest.raises(StepFailed, match="the healthy logits must not all be 0"):
        core._compare(net, build[1], (True, True), pairs, got, ("icarus", False, 1.0), 1)

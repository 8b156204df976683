"""Rows written for their slots: each move held to what it claims, the network to the arrays."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.isotonic import isotonic_regression

from hascodesign.contract import arithmetic
from hascodesign.contract.array import (
    identity_map,
    identity_schedule,
    with_preloads,
    wmem_bases,
    wrap,
)
from hascodesign.contract.results import MOVES
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile, frozen
from hascodesign.engine import reference
from hascodesign.engine.layer import LayerOnArray
from hascodesign.engine.network import Evaluator
from hascodesign.engine.slots import pe_faults
from hascodesign.schedule import evolve, formats, written
from hascodesign.schedule.fitting import reconstruct, staircase, told, words
from hascodesign.schedule.fitting.judge import WrittenEvaluator
from hascodesign.schedule.fitting.network import NetworkWriter, looked_at
from hascodesign.schedule.fitting.rows import written_layer
from hascodesign.schedule.fitting.search import MapSearch
from hascodesign.schedule.options import SearchOptions
from hascodesign.schedule.problem import Problem
from hascodesign.schedule.space import make_space
from tests.engine_helpers import (
    dense_layer,
    random_faults,
    random_inputs,
    random_network,
    random_schedule,
    random_spec,
)
from tests.schedule_stand_in import array, dense_network

SPEC = ArraySpec(pe=4, simd=3, weight_bits=4, act_bits=5, acc_bits=16)


def rng_of(seed):
    return np.random.default_rng(seed)


# ------------------------------------------------------------------------------------ thresholds


@pytest.mark.parametrize("seed", range(8))
def test_thresholds_are_the_rounded_isotonic_regression(seed):
    rng = rng_of(seed)
    lowest, levels = int(rng.integers(-3, 2)), int(rng.integers(1, 8))
    sums = rng.integers(-20, 20, (5, 60)) * int(rng.integers(1, 1000))
    wanted = rng.integers(lowest, lowest + levels + 1, (5, 60))
    wanted[0] = np.clip(lowest + sums[0] // 500, lowest, lowest + levels)  # one that is a staircase
    trained = np.sort(rng.integers(-9000, 9000, (5, levels)), axis=1)
    values, left = staircase.fit(sums, wanted, trained, lowest)
    assert (np.diff(values, axis=1) >= 0).all()
    codes = lowest + (sums[:, :, None] >= values[:, None, :]).sum(axis=2)
    for row in range(5):
        _, inverse = np.unique(sums[row], return_inverse=True)
        count = np.bincount(inverse)
        mean = np.bincount(inverse, wanted[row]) / count
        best = isotonic_regression(mean, sample_weight=count)[inverse]
        assert np.array_equal(codes[row], np.floor(best + 0.5 + 1e-9))
        assert left[row] == ((codes[row] - wanted[row]) ** 2).mean()
    assert np.array_equal(staircase.error(sums, wanted, values, lowest), left)


def test_codes_that_no_column_asks_for_keep_their_distance():
    sums, wanted = np.arange(100, 150)[None], np.repeat([3, 4], 25)[None]
    values, _ = staircase.fit(sums, wanted, np.array([[0, 10, 20, 30, 50, 90]]), 0)
    # 1 to 3 lie at or below the least sum, 5 and 6 beyond the greatest, as far apart as trained
    assert values.tolist() == [[80, 90, 100, 125, 150, 190]]


# ----------------------------------------------------------------------------------------- words


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_words_are_the_nearest_of_all(seed, signed):
    rng = rng_of(seed)
    layer = replace(dense_layer(rng, SPEC, 4, 8), in_signed=signed, in_bits=5)
    faults = (
        Fault(0, "sa1", "product", 1, int(rng.integers(10))),
        Fault(0, "flip", "act", 1, int(rng.integers(5))),
        Fault(0, "sa0", "weight", 2, int(rng.integers(4))),
        Fault(0, "sa1", "wmem", 1, 2, 1),
    )
    profile = FaultProfile(replace(SPEC, wmem_depth=9), faults)
    made = pe_faults(profile)
    on_array = LayerOnArray(profile, made, layer, passes=1, base=0, layer_index=0)
    slot = on_array.classes[1]
    x = rng.integers(-16 if signed else 0, 16 if signed else 32, (8, 50))
    seen = words.histograms(x, SPEC, signed)
    new, left = words.choose(on_array, slot, layer.weights, seen)
    assert words.touched(slot) == (1, 2)
    row_map = identity_map(layer, SPEC.pe)
    best = np.zeros(4)
    for row, k in np.ndindex(4, 8):
        simd = k % 3
        if simd == 0:
            assert new[row, k] == layer.weights[row, k]
            continue
        alone = np.zeros((16, 8), dtype=np.int64)
        alone[:, k] = np.arange(-8, 8)
        only = np.zeros_like(x)
        only[k] = x[k]  # all else adds a constant
        struck = struck_sums(profile, layer, alone, only, row_map)
        variances = (struck - layer.weights[row, k] * x[k]).var(axis=1)
        chosen = variances[new[row, k] + 8]
        assert chosen <= variances.min() + 1e-3
        best[row] += chosen
    assert np.allclose(left, best, atol=1e-2)


def struck_sums(profile, layer, weights, x, row_map):
    """What each row of weights, alone on PE 0, gives by the reference; only one word is not 0."""
    out = []
    for row in weights:
        one = replace(layer, weights=frozen(np.tile(row, (layer.rows, 1))))
        out.append(reference.accumulate(profile, one, row_map, x, wmem_base=0)[0])
    return np.array(out)


@pytest.mark.parametrize("seed", range(3))
def test_stuck_bits_of_a_bank_hold_what_is_wanted_where_they_can(seed):
    rng = rng_of(seed)
    layer = replace(dense_layer(rng, SPEC, 6, 9), in_signed=False, in_bits=5)
    spec = replace(SPEC, wmem_depth=6)
    places = {(int(rng.integers(3)), int(rng.integers(3)), bit) for bit in (0, 1, 2, 3)}
    faults = [
        Fault(0, "sa1" if bit % 2 else "sa0", "wmem", simd, bit, address=address)
        for simd, address, bit in sorted(places)
    ]
    on_array = LayerOnArray(
        FaultProfile(spec, tuple(faults)), pe_faults(FaultProfile(spec, tuple(faults))), layer,
        passes=2, base=0, layer_index=0,
    )  # fmt: skip
    slot = on_array.classes[1]
    x = rng.integers(0, 32, (9, 200))
    chosen, left = words.choose(on_array, slot, layer.weights.astype(np.int16), seen_of(x))
    half, met = 8, 0
    for step, simd, keep, flip in slot.words.tolist():
        k = on_array.order[step, simd]
        if k < 0:
            continue
        met += 1
        able = np.unique(wrap((np.arange(-half, half) & keep) ^ flip, 4))
        held = wrap((chosen[:, k].astype(np.int64) & keep) ^ flip, 4)
        wanted = layer.weights[:, k]
        nearest = np.abs(able - wanted[:, None]).min(axis=1)
        assert np.array_equal(np.abs(held - wanted), nearest)
    assert met and (left >= 0).all()
    touched = {int(on_array.order[step, simd]) for step, simd, *_ in slot.words.tolist()}
    others = [k for k in range(9) if k not in touched]
    assert np.array_equal(chosen[:, others], layer.weights[:, others])


def seen_of(x):
    return words.histograms(x, SPEC, False)


# -------------------------------------------------------------------------------- reconstruction


@pytest.mark.parametrize("seed", range(4))
def test_reconstruction_takes_error_away_and_keeps_to_what_is_free(seed):
    rng = rng_of(seed)
    x, weights = rng.integers(0, 16, (12, 300)), rng.integers(-4, 5, (5, 12))
    lacking = weights.copy()
    lacking[:, :3] = 0
    x[3] = np.clip(x[0] + rng.integers(-1, 2, 300), 0, 15)  # one that can make up for another
    free = np.ones((5, 12), dtype=bool)
    free[:, :3] = False
    wrong = (lacking - weights) @ x
    new = reconstruct.improve(lacking, wrong, x, free, (-8, 7))
    assert np.array_equal(new[:, :3], lacking[:, :3]) and new.min() >= -8 and new.max() <= 7
    before, after = wrong.var(axis=1), ((new - weights) @ x).var(axis=1)
    assert (after <= before).all() and after.sum() < 0.95 * before.sum()


# ----------------------------------------------------------------------------------- the network


def case(seed, dataflow="os", transient=False):
    rng = rng_of(seed)
    spec = replace(random_spec(rng, dataflow), acc_bits=24)
    network = random_network(rng, spec)
    spec = replace(spec, wmem_depth=400)
    faults = random_faults(rng, spec, 12)
    if not transient:
        faults = tuple(fault for fault in faults if fault.kind != "transient")
    return rng, network, FaultProfile(spec, faults, seed=seed)


def logits_by_reference(network, profile, codes, schedule):
    return trace(network, profile, codes, schedule)[-1].T


def writer_of(network, profile, codes, labels, schedule, moves=MOVES):
    space = make_space(network, profile, passes=evolve.passes_of(schedule))
    return NetworkWriter(Problem(network, profile, space, codes, labels), moves, 1)


def write(network, profile, codes, labels, schedule, moves=MOVES):
    return writer_of(network, profile, codes, labels, schedule, moves).on_map(schedule)


@pytest.mark.parametrize("dataflow", ["os", "ws"])
@pytest.mark.parametrize("seed", range(4))
def test_the_network_as_written_is_one_that_every_engine_runs(seed, dataflow):
    rng, network, profile = case(seed, dataflow, transient=seed == 3)
    codes, labels = random_inputs(rng, network, 24)
    schedule = random_schedule(rng, network, profile.array)
    made = write(network, profile, codes, labels, schedule)
    assert made.schedule == schedule
    fast = Evaluator(made.network, profile, codes, labels).logits(schedule)
    assert np.array_equal(fast, logits_by_reference(made.network, profile, codes, schedule))
    assert np.array_equal(fast, made.logits)
    assert any(written.rows_of(network, made.network))


@pytest.mark.parametrize("seed", range(4))
def test_maps_are_judged_with_the_rows_written_for_their_classes(seed):
    rng, network, profile = case(seed)
    codes, labels = random_inputs(rng, network, 24)
    schedule = random_schedule(rng, network, profile.array)
    writer = writer_of(network, profile, codes, labels, schedule)
    _, layers = writer.assigned(lambda index, _error: schedule.layers[index])
    judge = WrittenEvaluator(writer.problem, layers)
    judge.healthy_judgement()  # of the least passes: leaves nothing behind
    slots = [one.slots.reshape(-1) for one in schedule.layers]
    maps = [replace(m, slots=frozen(rng.permutation(s).reshape(m.slots.shape)))
            for m, s in zip(schedule.layers, slots, strict=True)]  # fmt: skip
    other = replace(schedule, layers=tuple(maps))
    stages = list(network.stages)
    assignments = Evaluator(network, profile, codes, labels).assignments(other)
    for layer, on_kinds, one in zip(network.layers, layers, assignments, strict=True):
        places = on_kinds.of(np.arange(layer.rows), one.classes)
        rows = on_kinds.rows.at(places)
        assert np.array_equal(rows.row, np.arange(layer.rows))
        kinds = on_kinds.kinds
        assert np.array_equal(kinds[rows.slot], kinds[one.classes])
        stages[network.stages.index(layer)] = written_layer(layer, rows)
    wanted = Evaluator(replace(network, stages=tuple(stages)), profile, codes, labels)
    assert np.array_equal(judge.logits(other), wanted.logits(other))


def test_too_many_kinds_of_slots_leave_rows_as_trained_to_the_search(monkeypatch):
    rng, network, profile = case(1)
    codes, labels = random_inputs(rng, network, 24)
    schedule = random_schedule(rng, network, profile.array)
    monkeypatch.setattr("hascodesign.schedule.fitting.layer.MOST_BYTES", 0)
    writer = writer_of(network, profile, codes, labels, schedule)
    _, layers = writer.assigned(lambda index, _error: schedule.layers[index])
    for layer, one in zip(network.layers, layers, strict=True):
        assert len(one.rows) == layer.rows == len(one.error)
        assert (one.error[:, 0] == 0).all() and (one.error[:, 1:].sum(axis=0) > 0).all()
    judge = WrittenEvaluator(writer.problem, layers)
    assert np.array_equal(judge.logits(schedule), writer.problem.evaluator().logits(schedule))
    # the map that is chosen has its rows written none the less
    assert any(written.rows_of(network, writer.on_map(schedule).network))


def test_a_row_negated_computes_the_same_on_a_healthy_slot():
    rng, network, profile = case(5)
    codes, labels = random_inputs(rng, network, 10)
    clean = replace(profile, faults=())
    stages = list(network.stages)
    for place, stage in enumerate(stages):
        if stage not in network.layers or stage.output is None:
            continue
        one = written.as_thresholds(stage)
        whole = replace(stage, weights=frozen(np.maximum(stage.weights, -7)))
        network = replace(
            network, stages=(*network.stages[:place], whole, *network.stages[place + 1 :])
        )
        turned = replace(
            whole,
            weights=frozen(-whole.weights),
            bias=frozen(-whole.bias),
            output=replace(
                one, values=frozen(-one.values), descending=frozen(~one.descending, bool)
            ),
        )
        stages[place] = turned
    schedule = identity_schedule(network, profile.array)
    two = replace(network, stages=tuple(stages))
    first, second = (Evaluator(n, clean, codes, labels).logits(schedule) for n in (network, two))
    assert np.array_equal(first, second)


def test_a_row_is_kept_as_trained_where_nothing_is_wrong():
    rng, network, profile = case(6)
    codes, labels = random_inputs(rng, network, 24)
    clean = replace(profile, faults=())
    schedule = random_schedule(rng, network, profile.array)
    made = write(network, clean, codes, labels, schedule)
    assert not any(written.rows_of(network, made.network))


@pytest.mark.parametrize("dataflow", ["os", "ws"])
def test_what_is_told_of_faulty_slots_is_what_the_array_does(dataflow):
    compared = 0
    for seed in range(3):
        rng, network, profile = case(seed, dataflow)
        network = with_preloads(network)
        codes, labels = random_inputs(rng, network, 40)
        schedule = random_schedule(rng, network, profile.array)
        after = write(network, profile, codes, labels, schedule).network
        judge = Evaluator(network, profile, codes, labels)
        found = told.faulty_slots(judge, schedule, after, 1)
        rows = written.rows_of(network, after)
        _, held = looked_at(len(labels), 1)
        for index, layer in enumerate(network.layers):
            own = [one for one in found if one.layer == layer.name]
            classes = judge.assignments(schedule)[index].classes
            assert [one.row for one in own] == np.flatnonzero(classes).tolist()
            for one in own:
                assert schedule.layers[index].slots[one.place, one.pe] == one.row
                entry = next((e for e in rows[index] if e.row == one.row), None)
                assert bool(one.moves) == (entry is not None)
                if entry is not None:
                    assert ("sign" in one.moves) == (entry.sign < 0)
                    counts = [m.split() for m in one.moves if m.startswith(("words", "recon"))]
                    assert sum(int(count) for _, count in counts) == len(entry.words)
                    start = [int(m.split()[1]) for m in one.moves if m.startswith("preload")]
                    assert start == ([entry.preload] if entry.preload else [])
            place = network.stages.index(layer)
            if layer.output is not None and network.stages[place + 1] not in network.layers:
                continue  # its codes are pooled
            mixed = list(after.stages)
            mixed[place] = layer  # this layer as trained behind others as written
            wanted = trace(network, replace(profile, faults=()), codes[held], schedule)[index]
            for net, name in ((replace(after, stages=tuple(mixed)), "before"), (after, "after")):
                off = np.abs(trace(net, profile, codes[held], schedule)[index] - wanted)
                told_of = [getattr(one, name) for one in own]
                assert told_of == off.mean(axis=1)[[one.row for one in own]].tolist()
                compared += len(own)
    assert compared > 30


def test_the_moves_of_a_row_are_told_by_where_its_words_are():
    before = dense_layer(rng_of(1), SPEC, 4, 9)
    profile = FaultProfile(SPEC, (Fault(0, "sa1", "product", 1, 4),))
    made = pe_faults(profile)
    on_array = LayerOnArray(profile, made, before, passes=1, base=0, layer_index=0)
    slot = on_array.classes[-1]  # multiplier 1 meets K 1, 4 and 7
    old = replace(before, weights=frozen(np.full_like(before.weights, 3)))
    new = replace(
        old, weights=frozen(np.full_like(before.weights, -3)), preload=frozen([0, 0, 5, 0])
    )
    changed = new.weights.copy()
    changed[2, [1, 4]], changed[2, [0]] = 7, -8
    new = replace(new, weights=frozen(changed))
    told_of = told._moves(on_array, slot, old, new, 2)
    assert told_of[:3] == ("sign", "words 2", "reconstruction 1") and told_of[-1] == "preload 5"


def trace(network, profile, codes, schedule):
    """Codes [R, N] of every layer, by the reference."""
    bases = wmem_bases(network, schedule)

    def accumulate(layer, x):
        row_map, base = schedule.layers[layer.index], bases[layer.index]
        return reference.accumulate(profile, layer, row_map, x, wmem_base=base)

    return [one.codes for one in arithmetic.walk(network, codes, accumulate)]


@pytest.mark.parametrize("move", MOVES)
def test_each_move_can_be_switched(move):
    rng, network, profile = case(2)
    codes, labels = random_inputs(rng, network, 24)
    schedule = random_schedule(rng, network, profile.array)
    made = write(network, profile, codes, labels, schedule, (move,))
    rows = [row for layer in written.rows_of(network, made.network) for row in layer]
    if move in ("constant", "thresholds"):
        assert rows and all(row.sign == 1 and not row.words for row in rows)
    if move not in ("sign",):
        assert all(row.sign == 1 for row in rows if not row.words)


@pytest.mark.parametrize("moves", [("constant",), ("thresholds",), MOVES])
def test_a_fit_of_fitted_rows_changes_nothing(moves):
    rng, network, profile = case(2)
    codes, labels = random_inputs(rng, network, 24)
    schedule = random_schedule(rng, network, profile.array)
    whole = writer_of(network, profile, codes, labels, schedule, moves)
    sample = whole._sample(whole._blocks[0], whole._clean[0], ~whole.held)
    layer = whole.layers[0]
    once = layer.written(layer.on_array.classes_of(schedule.layers[0]), sample)
    assert (once.values != layer.trained(once.slot).values).any()
    again = layer.fit(once, sample)
    assert np.array_equal(once.values, again.values) and np.array_equal(once.bias, again.bias)


# -------------------------------------------------------------------------------------- the search


def searched(network, profile, codes, labels, **options):
    evaluator = Evaluator(network, profile, codes, labels)
    few = {"population": 6, "generations": 1, "evaluations": 16, "random_maps": 1}
    chosen = SearchOptions(**few, polish=False, **options)
    return evolve.search(evaluator, chosen, seed=3)


@pytest.mark.parametrize(("seed", "wins"), [(2, False), (3, True)])
def test_rows_are_written_only_where_moves_are_given_and_they_win(seed, wins):
    network = dense_network((12, 12, 6), 12, seed)
    faults = tuple(Fault(pe, "sa1", "product", pe % 3, 9 - pe) for pe in range(3))
    profile = FaultProfile(array(acc_bits=24), faults)
    codes, _ = random_inputs(rng_of(1), network, 200)
    healthy = Evaluator(network, replace(profile, faults=()), codes, np.zeros(200, dtype=np.int64))
    labels = healthy.logits(identity_schedule(network, profile.array)).argmax(axis=1)
    plain = searched(network, profile, codes, labels)
    fitted = searched(network, profile, codes, labels, moves=MOVES)
    assert plain.written is None and (fitted.written is not None) == wins
    if wins:
        assert "fitted to 141 calibration images; 59 others" in fitted.notes[0]
        judged = Evaluator(fitted.written, profile, codes, labels).judge(fitted.schedule)
        assert fitted.loss == pytest.approx(judged.loss, abs=1e-12)
        assert fitted.loss < min(b.loss for b in fitted.baselines if b.name == "assignment")
    else:
        assert fitted.notes[0].startswith("Rows stay as trained: on images that no fit saw")
        assert formats.to_json(plain.schedule) == formats.to_json(fitted.schedule)


def test_why_a_search_ended_is_said_where_its_rows_lose_too(monkeypatch):
    network = dense_network((12, 12, 6), 12, 2)
    faults = tuple(Fault(pe, "sa1", "product", pe % 3, 9 - pe) for pe in range(3))
    profile = FaultProfile(array(acc_bits=24), faults)
    codes, labels = random_inputs(rng_of(1), network, 200)
    ended, limits = "Stopped early: the clock; this is the best schedule so far.", []

    def bettered(_search, found, fitness, options, _starts):
        limits.append(options.seconds)
        return replace(found, notes=(ended,))

    deployed = evolve._Search._deployed

    def worse(search, one):  # so that the map with rows as trained is taken
        judged = deployed(search, one)
        return replace(judged, losses=judged.losses + 10.0)

    monkeypatch.setattr(evolve._Search, "_deployed", worse)
    monkeypatch.setattr(MapSearch, "_bettered", bettered)
    monkeypatch.setattr(MapSearch, "harmed", lambda *_, **__: True)
    notes = searched(network, profile, codes, labels, moves=MOVES, seconds=300.0).notes
    stay = next(n for n, note in enumerate(notes) if note.startswith("Rows stay as trained"))
    assert ended in notes[:stay]
    assert limits[0] == 300.0 and 0 < limits[1] < 300.0  # the clock runs on

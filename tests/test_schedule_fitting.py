"""Rows written for their slots: the network to the arrays, and the search."""

from dataclasses import replace

import numpy as np
import pytest

from hascodesign.contract.array import (
    identity_schedule,
)
from hascodesign.contract.results import MOVES
from hascodesign.contract.types import Fault, FaultProfile, frozen
from hascodesign.engine.network import Evaluator
from hascodesign.schedule import evolve, formats, written
from hascodesign.schedule.fitting.judge import WrittenEvaluator
from hascodesign.schedule.fitting.rows import written_layer
from hascodesign.schedule.fitting.search import MapSearch
from hascodesign.schedule.options import SearchOptions
from tests.engine_helpers import (
    random_inputs,
    random_schedule,
)
from tests.schedule_stand_in import array, dense_network
from tests.written_cases import case, logits_by_reference, rng_of, write, writer_of


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

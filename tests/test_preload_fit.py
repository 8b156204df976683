"""The move `preload`: sums held where a stuck bit of the accumulator does not change."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from hascodesign.contract.array import with_preloads
from hascodesign.contract.errors import ScheduleError
from hascodesign.contract.results import MOVES
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile, RowMap, frozen
from hascodesign.engine import reference
from hascodesign.engine.layer import LayerOnArray
from hascodesign.engine.network import Evaluator
from hascodesign.engine.slots import pe_faults
from hascodesign.schedule import formats, written
from hascodesign.schedule.fitting import preload
from tests.engine_helpers import (
    dense_layer,
    random_codes,
    random_faults,
    random_inputs,
    random_network,
    random_schedule,
)
from tests.preload_cases import preloaded
from tests.written_cases import case, logits_by_reference, write


def stuck_everywhere(dataflow: str, kind: str, bits: tuple[int, ...]):
    """A network without preloads of its own, and an accumulator fault or more on every PE."""
    rng = np.random.default_rng(4)
    spec = ArraySpec(4, 3, 4, 5, 24, dataflow)
    network = random_network(rng, spec)
    site = "acc" if dataflow == "ws" else "psum"
    faults = tuple(
        Fault(pe, kind, site, None, bits[(pe + i) % len(bits)])
        for pe in range(4)
        for i in range(1 + pe % 2)
    )
    codes, labels = random_inputs(rng, network, 60)
    return network, FaultProfile(spec, faults), codes, labels, random_schedule(rng, network, spec)


@pytest.mark.parametrize("dataflow", ["os", "ws"])
@pytest.mark.parametrize("kind", ["sa0", "sa1", "flip"])
def test_a_bit_above_the_range_of_the_sums_does_no_harm(dataflow, kind):
    """On images that no fit has seen, the top bit and two at a time included, to the last bit."""
    network, profile, codes, labels, schedule = stuck_everywhere(dataflow, kind, (14, 17, 23))
    # what an inverted bit adds at every step is a constant, the other move's
    moves = ("preload", "constant") if kind == "flip" else ("preload",)
    clean = outputs(network, replace(profile, faults=()), codes, labels, schedule)
    made = write(with_preloads(network), profile, codes[:40], labels[:40], schedule, moves).network
    got = outputs(made, profile, codes, labels, schedule)
    by_reference = logits_by_reference(made, profile, codes[:3], schedule)
    np.testing.assert_array_equal(by_reference, got[-1].T[:3])
    without = write(network, profile, codes[:40], labels[:40], schedule, moves).network
    worse = outputs(without, profile, codes, labels, schedule)
    differ, before = (
        sum(int((one != other).sum()) for one, other in zip(outs[:-1], clean[:-1], strict=True))
        for outs in (got, worse)
    )
    assert before > 100
    if kind == "flip":  # a row stays as trained whose few columns of the fit meet no flip
        assert differ < before / 20
    else:
        assert differ == 0
        np.testing.assert_array_equal(got[-1], clean[-1])


def outputs(network, profile, codes, labels, schedule):
    """Codes of every layer, ACC + bias of the last."""
    return [one.codes for one in Evaluator(network, profile, codes, labels).trace(schedule)]


def test_no_preload_where_none_is_built_or_the_move_is_off():
    network, profile, codes, labels, schedule = stuck_everywhere("os", "sa1", (15,))
    plain = write(network, profile, codes, labels, schedule, MOVES).network
    assert not plain.preloaded
    off = tuple(move for move in MOVES if move != "preload")
    still = write(with_preloads(network), profile, codes, labels, schedule, off).network
    assert all((layer.preload == 0).all() for layer in still.layers)
    for one, other in zip(plain.layers, still.layers, strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)
        np.testing.assert_array_equal(one.bias, other.bias)


@pytest.mark.parametrize("dataflow", ["os", "ws"])
@pytest.mark.parametrize("seed", range(4))
def test_the_network_as_written_is_one_that_every_engine_runs(seed, dataflow):
    """With every move, any fault of any site."""
    rng, network, profile = case(seed, dataflow, transient=seed == 3)
    site = "acc" if dataflow == "ws" else "psum"
    more = tuple(Fault(pe, "sa0", site, None, 15 + pe) for pe in range(profile.array.pe))
    busy = {fault.pe for fault in profile.faults if fault.kind == "dead"}
    faults = tuple(f for f in profile.faults if f.site != site or f.kind == "transient")
    profile = replace(profile, faults=(*faults, *(f for f in more if f.pe not in busy)))
    codes, labels = random_inputs(rng, network, 24)
    schedule = random_schedule(rng, network, profile.array)
    made = write(with_preloads(network), profile, codes, labels, schedule)
    fast = Evaluator(made.network, profile, codes, labels).logits(schedule)
    np.testing.assert_array_equal(fast, logits_by_reference(made.network, profile, codes, schedule))
    np.testing.assert_array_equal(fast, made.logits)


@pytest.mark.parametrize("dataflow", ["os", "ws"])
@pytest.mark.parametrize("seed", range(6))
def test_partial_sums_are_those_of_the_reference(seed, dataflow):
    rng = np.random.default_rng([seed, 2])
    spec = ArraySpec(2, 3, 4, 4, 24, dataflow, wmem_depth=8)
    layer = dense_layer(rng, spec, 5, 10)
    sites = ("weight", "act", "product", "wmem")
    faults = random_faults(rng, spec, 5, kinds=("sa0", "sa1", "flip"), sites=sites, words=4)
    foot = Fault(1, "sa1", "acc" if dataflow == "ws" else "psum", None, 20)
    profile = FaultProfile(spec, (*faults, foot))
    on_array = LayerOnArray(profile, pe_faults(profile), layer, passes=3, base=0, layer_index=0)
    slot = on_array.classes[on_array.slot_classes[0, 1]]  # PE 1, pass 0
    x = random_codes(rng, (10, 7), layer.in_bits, layer.in_signed)
    low, high = preload.partial_sums(on_array, slot, x)
    healthy_foot = replace(profile, faults=faults)
    for row in range(5):
        slots = np.full((3, 2), -1)
        slots[0, 1] = row  # the others are not looked at
        parts = [
            reference.accumulate(
                healthy_foot, layer, RowMap("l", 5, frozen(slots)), x, wmem_base=0,
                order=on_array.order[: step + 1],
            )[row]
            for step in range(len(on_array.order))
        ]  # fmt: skip
        assert (np.min(parts), np.max(parts)) == (low[row], high[row])


# ------------------------------------------------------------------------- the file of a schedule


def record_of(network, other, schedule):
    rows = [[row.text() for row in layer] for layer in written.rows_of(network, other)]
    return formats.to_json(schedule, rows)


def test_the_file_keeps_preloads_by_row():
    rng = np.random.default_rng(8)
    spec = ArraySpec(4, 3, 4, 5, 24)
    plain = random_network(rng, spec)
    network, other = with_preloads(plain), preloaded(rng, plain, 24)
    schedule = random_schedule(rng, network, spec)
    content = record_of(network, other, schedule)
    formats.from_json(content, network, spec)
    back = written.from_json(content, network, spec)
    assert back is not None
    for one, two in zip(back.layers, other.layers, strict=True):
        np.testing.assert_array_equal(one.preload, two.preload)
    with pytest.raises(ScheduleError, match="must be 0 on an array without preloads"):
        written.from_json(content, plain, spec)


def test_files_from_before_preloads_are_read():
    """Their rows start from 0; what a build without preloads writes has no word of them."""
    rng = np.random.default_rng(8)
    spec = ArraySpec(4, 3, 4, 5, 24)
    plain = random_network(rng, spec)
    first = plain.layers[0]
    turned = replace(first, bias=frozen(first.bias + 1))
    other = replace(plain, stages=(turned, *plain.stages[1:]))
    schedule = random_schedule(rng, plain, spec)
    content = record_of(plain, other, schedule)
    assert b"preload" not in content
    back = written.from_json(content, with_preloads(plain), spec)
    assert back is not None and back.preloaded
    np.testing.assert_array_equal(back.layers[0].bias, turned.bias)
    assert all((layer.preload == 0).all() for layer in back.layers)


@pytest.mark.parametrize("word", [1 << 23, -(1 << 23) - 1, 1.0, True, "1", None])
def test_a_word_that_no_accumulator_holds_is_refused(word):
    rng = np.random.default_rng(8)
    spec = ArraySpec(4, 3, 4, 5, 24)
    plain = random_network(rng, spec)
    network = with_preloads(plain)
    content = record_of(network, preloaded(rng, plain, 24), random_schedule(rng, plain, spec))
    record = json.loads(content)
    record["layers"][0]["written"][0]["preload"] = word
    with pytest.raises(ScheduleError, match=r"layers\[0\]\.written\[0\]\.preload must be a whole"):
        written.from_json(json.dumps(record).encode(), network, spec)

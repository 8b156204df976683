"""What the report tells of the rows on faulty slots is what the array does."""

from dataclasses import replace

import numpy as np
import pytest

from hascodesign.contract.array import (
    with_preloads,
)
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile, frozen
from hascodesign.engine.layer import LayerOnArray
from hascodesign.engine.network import Evaluator
from hascodesign.engine.slots import pe_faults
from hascodesign.schedule import written
from hascodesign.schedule.fitting import told
from hascodesign.schedule.fitting.network import looked_at
from tests.engine_helpers import (
    dense_layer,
    random_inputs,
    random_schedule,
)
from tests.written_cases import case, rng_of, trace, write

SPEC = ArraySpec(pe=4, simd=3, weight_bits=4, act_bits=5, acc_bits=16)


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
        _, held = looked_at(network.macs, len(labels), 1)
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
    changed = np.full_like(before.weights, -3)
    changed[2, [1, 4]], changed[2, [0]] = 7, -8
    new = replace(old, weights=frozen(changed), preload=frozen([0, 0, 5, 0]))
    told_of = told._moves(on_array, slot, old, new, 2)
    assert told_of[:3] == ("sign", "words 2", "reconstruction 1") and told_of[-1] == "preload 5"

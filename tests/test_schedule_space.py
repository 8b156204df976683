"""What counts as the same schedule, checked on the step-by-step engine."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from hascodesign.contract.array import identity_schedule
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile
from hascodesign.engine.classes import HEALTHY
from hascodesign.schedule.space import make_space
from tests.schedule_stand_in import Reference, array, dense_network

NETWORK = dense_network([6, 9, 3], 5, seed=3)
PSUM = Fault(pe=1, kind="sa1", site="psum", bit=6)
SPARE = 1


def profile(*faults: Fault, spec: ArraySpec | None = None) -> FaultProfile:
    return FaultProfile(array() if spec is None else spec, faults, seed=5)


def weight(pe: int, simd: int, bit: int) -> Fault:
    return Fault(pe=pe, kind="sa0", site="weight", simd=simd, bit=bit)


def test_equal_faults_share_a_class_and_others_do_not() -> None:
    faults = profile(weight(0, 1, 2), weight(2, 1, 2), weight(3, 1, 3))
    first = make_space(NETWORK, faults).layers[0]
    assert first.classes.reshape(2, 4).tolist() == [[1, 0, 1, 2], [1, 0, 1, 2]]
    assert [members.tolist() for members in first.members] == [[1, 5], [0, 2, 4, 6], [3, 7]]


def test_dead_is_every_product_bit_stuck() -> None:
    spec = array(simd=1)
    stuck = tuple(Fault(pe=2, kind="sa0", site="product", simd=0, bit=b) for b in range(8))
    space = make_space(NETWORK, profile(Fault(pe=0, kind="dead"), *stuck, spec=spec))
    assert space.layers[0].classes[:4].tolist() == [1, 0, 1, 0]


def test_all_alike_without_faults_and_with_the_same_faults_everywhere() -> None:
    assert make_space(NETWORK, profile()).alike
    assert make_space(NETWORK, profile(*(weight(pe, 0, 1) for pe in range(4)))).alike
    assert not make_space(NETWORK, profile(*(weight(pe, 0, 1) for pe in range(3)))).alike


def test_a_stuck_word_marks_its_pass_alone() -> None:
    # dense0 has 2 passes of 2 steps (words 0-3), dense1 3 passes of 2 steps (words 4-9)
    stuck = Fault(pe=1, kind="sa1", site="wmem", simd=0, bit=3, address=7)
    space = make_space(NETWORK, profile(stuck))
    assert not space.layers[0].free
    assert space.layers[1].classes.reshape(3, 4).tolist() == [[0] * 4, [0, 1, 0, 0], [0] * 4]
    assert not space.layers[2].free
    # a PE that is faulty in one pass only is not a healthy one there
    assert [layer.healthy_pes.tolist() for layer in space.layers] == [
        [0, 1, 2, 3],
        [0, 2, 3],
        [0, 1, 2, 3],
    ]


def test_transients_make_every_pass_its_own_class() -> None:
    drawn = Fault(pe=1, kind="transient", site="psum", bit=4, p=0.3)
    space = make_space(NETWORK, profile(drawn))
    assert space.layers[0].classes.tolist() == [0, 1, 0, 0, 0, 2, 0, 0]
    assert space.layers[0].kinds.tolist() == [0, 1, 1]
    stuck = Fault(pe=3, kind="sa1", site="psum", bit=4)
    both = make_space(NETWORK, profile(drawn, stuck)).layers[0]
    assert both.classes.tolist() == [0, 1, 0, 2, 0, 3, 0, 2]
    assert both.kinds.tolist() == [0, 1, 2, 1]
    never = Fault(pe=1, kind="transient", site="psum", bit=4, p=0.0)
    assert make_space(NETWORK, profile(never)).alike


def test_ws_hands_an_activation_fault_on() -> None:
    spec = array(dataflow="ws")
    stuck = Fault(pe=1, kind="sa1", site="act", simd=0, bit=2)
    again = Fault(pe=3, kind="sa1", site="act", simd=0, bit=2)
    assert make_space(NETWORK, profile(stuck, spec=spec)).layers[2].classes.tolist() == [0, 1, 1, 1]
    # stuck at the same value once more changes nothing, inverted once more does
    space = make_space(NETWORK, profile(stuck, again, spec=spec))
    assert space.layers[2].classes.tolist() == [0, 1, 1, 1]
    flip = Fault(pe=3, kind="flip", site="act", simd=0, bit=2)
    space = make_space(NETWORK, profile(stuck, flip, spec=spec))
    assert space.layers[2].classes.tolist() == [0, 1, 1, 2]


PROFILES = {
    "os": profile(PSUM, weight(2, 0, 2), weight(3, 0, 2), Fault(pe=0, kind="dead")),
    "wmem": profile(
        Fault(pe=1, kind="flip", site="wmem", simd=0, bit=2, address=1),
        Fault(pe=1, kind="flip", site="wmem", simd=1, bit=3, address=9),
        Fault(pe=3, kind="flip", site="wmem", simd=2, bit=3, address=16),
    ),
    "transient": profile(Fault(pe=2, kind="transient", site="psum", bits=(4, 9), p=0.2), PSUM),
    "ws": profile(
        Fault(pe=1, kind="flip", site="act", simd=2, bit=1),
        Fault(pe=2, kind="flip", site="act", simd=2, bit=1),
        Fault(pe=3, kind="transient", site="act", simd=0, bit=2, p=0.4),
        Fault(pe=0, kind="sa1", site="acc", bit=5),
        Fault(pe=1, kind="sa1", site="psum", simd=1, bit=4),
        spec=array(dataflow="ws"),
    ),
    # PE 2 holds what PE 1 does, but lets nothing through of what is drawn behind PE 1
    "ws, drawn and held": profile(
        Fault(pe=1, kind="sa1", site="act", simd=0, bit=2),
        Fault(pe=1, kind="transient", site="act", simd=0, bit=2, p=0.4),
        Fault(pe=2, kind="sa1", site="act", simd=0, bit=2),
        spec=array(dataflow="ws"),
    ),
}


@pytest.mark.parametrize("name", PROFILES)
def test_the_canonical_map_computes_the_same(name: str) -> None:
    faults = PROFILES[name]
    space = make_space(NETWORK, faults, SPARE)
    evaluator = Reference(NETWORK, faults, images=25)
    rng = np.random.default_rng(0)
    keys, results = set(), set()
    for _ in range(12):
        chromosome = space.random(rng)
        canonical = space.canonical(chromosome)
        logits = evaluator.logits(space.decode(chromosome))
        assert np.array_equal(logits, evaluator.logits(space.decode(canonical)))
        keys.add(canonical.tobytes())
        results.add(logits.tobytes())
    # and different canonical maps do differ here, so classes are not split in vain
    assert len(results) == len(keys) > 1


def test_canonical_is_ascending_in_each_class_and_a_permutation() -> None:
    space = make_space(NETWORK, PROFILES["os"], SPARE)
    chromosome = space.canonical(space.random(np.random.default_rng(1)))
    assert np.array_equal(chromosome, space.canonical(chromosome))
    for layer in space.layers:
        genes = layer.genes(chromosome)
        assert sorted(genes.tolist()) == list(range(layer.slots))
        for members in layer.members:
            assert all(a < b for a, b in pairwise(genes[members].tolist()))


def test_encode_undoes_decode_and_knows_the_plain_order() -> None:
    space = make_space(NETWORK, PROFILES["os"])
    chromosome = space.canonical(space.random(np.random.default_rng(2)))
    assert np.array_equal(space.encode(space.decode(chromosome)), chromosome)
    plain = identity_schedule(NETWORK, space.array)
    assert np.array_equal(space.encode(plain), space.canonical(space.identity()))
    for mine, theirs in zip(space.decode(space.identity()).layers, plain.layers, strict=True):
        assert np.array_equal(mine.slots, theirs.slots)


def test_healthy_slots_are_class_0_even_where_the_first_pe_is_faulty() -> None:
    layer = make_space(NETWORK, profile(Fault(pe=0, kind="dead"))).layers[0]
    assert layer.classes[0] != HEALTHY
    assert set(layer.classes[[1, 2, 3]].tolist()) == {HEALTHY}

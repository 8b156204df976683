"""Random networks written for faulty arrays, and what the reference makes of them."""

from dataclasses import replace

import numpy as np

from hascodesign.contract import arithmetic
from hascodesign.contract.array import (
    wmem_bases,
)
from hascodesign.contract.results import MOVES
from hascodesign.contract.types import FaultProfile
from hascodesign.engine import reference
from hascodesign.schedule import evolve
from hascodesign.schedule.fitting.network import NetworkWriter
from hascodesign.schedule.problem import Problem
from hascodesign.schedule.space import make_space
from tests.engine_helpers import (
    random_faults,
    random_network,
    random_spec,
)


def rng_of(seed):
    return np.random.default_rng(seed)


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


def trace(network, profile, codes, schedule):
    """Codes [R, N] of every layer, by the reference."""
    bases = wmem_bases(network, schedule)

    def accumulate(layer, x):
        row_map, base = schedule.layers[layer.index], bases[layer.index]
        return reference.accumulate(profile, layer, row_map, x, wmem_base=base)

    return [one.codes for one in arithmetic.walk(network, codes, accumulate)]

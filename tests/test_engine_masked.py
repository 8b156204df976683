"""The share of faults without effect."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hascodesign.contract import arithmetic
from hascodesign.contract.types import Fault, FaultProfile, Schedule
from hascodesign.engine import reference
from hascodesign.engine.masked import masked
from tests import rtl_cases
from tests import verify_cases as cases


def test_no_faults_are_all_masked():
    net = cases.network()
    plain = FaultProfile(cases.ARRAY)
    assert masked(net, plain, cases.schedule(net), cases.input_codes(2)) == (1.0, 1.0)


def test_by_hand():
    net = cases.network()
    faults = (
        Fault(0, "transient", "product", 1, 3, p=0.0),  # never
        Fault(1, "flip", "wmem", 0, 0, 10_000),  # a word that no slot uses
        Fault(2, "flip", "psum", bit=0),  # changes sums, hardly a class
        Fault(3, "flip", "psum", bit=15),  # turns every sign
    )
    shares = masked(
        net, FaultProfile(cases.ARRAY, faults), cases.schedule(net), cases.input_codes(6)
    )
    assert shares[0] == 0.5
    assert 0.5 <= shares[1] < 1.0


@pytest.mark.parametrize("dataflow", ["os", "ws"])
def test_equals_the_reference(dataflow):
    """Each fault alone, the step-by-step engine, and a draw that knows its entry."""
    net, codes = cases.network(), cases.input_codes(2)
    spec = replace(cases.ARRAY, dataflow=dataflow)
    schedule = Schedule(spec, cases.schedule(net).layers)
    drawn = rtl_cases.any_profile(np.random.default_rng(3), spec, 10, 40)
    silent = kept = 0
    healthy = traced(net, FaultProfile(spec), schedule, codes)
    for entry in range(len(drawn.faults)):
        others = (
            Fault(0, "transient", "product", 0, 0, p=0.0) if i != entry else fault
            for i, fault in enumerate(drawn.faults)
        )
        struck = traced(net, replace(drawn, faults=tuple(others)), schedule, codes)
        silent += all(np.array_equal(a, b) for a, b in zip(struck[0], healthy[0], strict=True))
        kept += np.array_equal(struck[1], healthy[1])
    count = len(drawn.faults)
    assert masked(net, drawn, schedule, codes) == (silent / count, kept / count)
    assert 0 < silent < count


def traced(net, profile, schedule, codes):
    bases = [0, schedule.layers[0].passes * 6]  # 18 products of 3 a step

    def accumulate(layer, activations):
        return reference.accumulate(
            profile, layer, schedule.layers[layer.index], activations, wmem_base=bases[layer.index]
        )

    traces = list(arithmetic.walk(net, codes, accumulate))
    return [trace.acc for trace in traces], traces[-1].codes.argmax(axis=0)

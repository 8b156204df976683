"""The driver holds a running core to its self-test, and names the PE that has become faulty."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np

from hascodesign.contract.types import ArraySpec, Fault, FaultProfile
from tests import rtl_cases
from tests.driver_cases import SPEC, another, faulty, lay_out, run, small, write


def masks(*faults: Fault, spec: ArraySpec = SPEC) -> bytes:
    """Registers of tb_fault_masks."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **rtl_cases.fault_arrays(FaultProfile(spec, faults)))
    return buffer.getvalue()


def test_a_fault_that_comes_is_noticed(tmp_path: Path) -> None:
    case = replace(small(), watch=True)
    folder = lay_out(tmp_path, case, case.plan(), {}, {"pe": 2})
    write(
        folder / "masks", {"none.npz": masks(), "one.npz": masks(Fault(2, "sa1", "product", 1, 5))}
    )
    assert run(tmp_path, ["driver_check_tests"], "--bench-masks") == 2


def test_known_faults_are_no_news(tmp_path: Path) -> None:
    """Of a PE with a transient fault nothing is predicted."""
    profile = faulty()
    transient = Fault(0, "transient", "act", 1, 3, p=0.25)
    case = small(replace(profile, faults=(transient, *profile.faults)))
    folder = lay_out(tmp_path, case, case.plan(), {"other": another(case)}, {"known": [1, 2, 3]})
    assert (folder / "driver" / "schedule" / "selftest.npz").is_file()
    assert run(tmp_path, ["driver_check_tests"], "--faults") == 1

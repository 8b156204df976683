"""The driver changes a chip over to a schedule that was made of its answers, and proves it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.array import wmem_words
from hascodesign.diagnose import files
from hascodesign.diagnose.simulate import simulate
from hascodesign.diagnose.vectors import TestSet, vectors
from hascodesign.faults.profile import check
from hascodesign.render.driver import SCHEDULE
from tests.driver_cases import SPEC, another, faulty, lay_out, run, small, write
from tests.test_driver_diagnosis import part


def predicted(
    test_set: TestSet,
    acc: NDArray[np.int32],
    idle: Sequence[int] = (),
    varying: Sequence[int] = (),
) -> bytes:
    """predicted.npz."""
    explained, varies = np.ones(len(acc), np.bool_), np.zeros(len(acc), np.bool_)
    explained[list(idle)] = False
    varies[list(varying)] = True
    digest = np.frombuffer(bytes.fromhex(test_set.digest), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, acc=acc, explained=explained, varies=varies, digest=digest)
    return buffer.getvalue()


def test_the_driver_heals(tmp_path: Path) -> None:
    case = small(faulty())
    other = another(case)
    depth = wmem_words(case.network, SPEC, case.schedule)
    array = replace(SPEC, wmem_depth=depth)
    whole = part(vectors(array))
    test_set = replace(whole, logic=whole.logic[1:], memory=())
    acc = simulate(test_set, check(replace(case.profile, array=array)))[0]
    folder = lay_out(tmp_path, case, case.plan(), {}, {})
    lied = acc.copy()
    lied[2, -1] += 1
    lied[1] = 0
    lied[3, ::7] ^= 1
    spoiled = other.driver(SCHEDULE)
    with np.load(io.BytesIO(spoiled["images.npz"])) as file:
        images = {name: file[name] for name in file.files}
    images["logits"][0, 2] += 1
    buffer = io.BytesIO()
    np.savez(buffer, **images)
    for name, says, schedule in (
        ("board", predicted(test_set, acc), None),
        ("wrong", predicted(test_set, lied, [1], [3]), spoiled | {"images.npz": buffer.getvalue()}),
        ("others", predicted(whole, acc), None),
    ):
        write(folder / name, {"predicted.npz": says})
        write(folder / name / "schedule", schedule or other.driver(SCHEDULE))
        write(folder / name / "tests", files.write_tests(test_set))
    run(tmp_path, ["driver_healed_tests"], "--faults")

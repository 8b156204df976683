"""The driver plays test vectors on the simulated array with faults: answers are the model's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from hascodesign.contract.array import wmem_words
from hascodesign.diagnose import files
from hascodesign.diagnose.simulate import simulate
from hascodesign.diagnose.vectors import TestSet, vectors
from hascodesign.faults.profile import check
from tests.driver_cases import SPEC, faulty, lay_out, run, small, write


def part(test_set: TestSet) -> TestSet:
    """Blocks of 1, 3 and 4 steps, signed and not, one of the memory."""
    kinds = {(block.steps, block.signed): block for block in test_set.logic}
    logic = (kinds[1, False], kinds[1, True], kinds[3, False], kinds[4, True])
    return replace(test_set, logic=logic, memory=test_set.memory[1:])


def test_the_array_answers_as_the_fault_model(tmp_path: Path) -> None:
    case = small(faulty())
    depth = wmem_words(case.network, SPEC, case.schedule)
    array = replace(SPEC, wmem_depth=depth)
    test_set = part(vectors(array))
    profile = check(replace(case.profile, array=array))
    few = replace(test_set, logic=test_set.logic[2:3], memory=())
    acc = simulate(test_set, profile)
    healthy = simulate(test_set, replace(profile, faults=()))
    assert np.count_nonzero(acc[0] != healthy[0]) > 50
    folder = lay_out(tmp_path, case, case.plan(), {}, {})
    write(folder / "tests", files.write_tests(test_set))
    write(folder / "few", files.write_tests(few))
    write(folder / "wrong", files.write_tests(vectors(replace(array, pe=8))))
    write(folder / "deep", files.write_tests(vectors(replace(array, wmem_depth=depth + 8))))
    (folder / "answers.npz").write_bytes(files.write_responses(test_set, acc))
    run(tmp_path, ["driver_diagnosis_tests"], "--faults")
    got = files.read_responses(folder / "acc.npz", few)
    assert np.array_equal(got, simulate(few, profile, runs=2)) and len(got) == 2

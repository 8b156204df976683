"""A test set, answers and what they tell as files."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.common import inputs
from hascodesign.common.arrays import read_npz
from hascodesign.common.inputs import printable
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec
from hascodesign.diagnose.infer import Diagnosis
from hascodesign.diagnose.model import PeModel
from hascodesign.diagnose.vectors import TestSet, vectors
from hascodesign.faults.formats import (
    array_object,
    fault_object,
    json_document,
    object_of,
    text_of,
)
from hascodesign.faults.profile import ARRAY_FIELDS, check_array, shown

VERSION = 1
TESTS = "tests.json"
VECTORS = "vectors.npz"
_KEYS = ("version", "array", "seed", "digest", "answers", "blocks")
_KNOWN = (*_KEYS, "transients")


def write_tests(test_set: TestSet) -> dict[str, bytes]:
    """Name -> content: ``tests.json`` for `infer`, ``vectors.npz`` for who plays them.

    ``vectors.npz`` holds for block i `words_i` [V, T, S] and `codes_i` [C, T, S] as int16, what a
    healthy PE answers as `expected` [answers] int32, and `digest` [32] uint8, which the file of
    answers has to carry. Which block is signed, paired and where it lies stands in ``tests.json``.
    """
    blocks = [
        {
            "passes": len(block.words),
            "columns": len(block.codes),
            "steps": block.steps,
            "signed": block.signed,
            "base": block.base,
            "paired": block.paired,
        }
        for block in test_set.blocks
    ]
    head = {
        "version": VERSION,
        "array": array_object(test_set.array),
        "seed": test_set.seed,
        "digest": test_set.digest,
        "answers": test_set.answers,
    }
    if test_set.transients is not None:
        head["transients"] = test_set.transients
    lines = [f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in head.items()]
    listed = ",\n".join("  " + json.dumps(block) for block in blocks)
    text = "{\n" + "".join(lines) + f' "blocks": [\n{listed}\n ]\n}}\n'
    held: dict[str, NDArray[Any]] = {}
    for number, block in enumerate(test_set.blocks):
        held[f"words_{number}"] = block.words.astype(np.int16)
        held[f"codes_{number}"] = block.codes.astype(np.int16)
    expected = PeModel(test_set.array, ()).answers(test_set.blocks)
    held["expected"] = expected.astype(np.int32)
    held["digest"] = _digest_array(test_set)
    return {TESTS: text.encode(), VECTORS: _npz(held)}


def read_tests(folder: Path) -> TestSet:
    """The test set of a folder, made anew from its array and seed.

    Raises
    ------
    ConfigError
        One line: no such file, or one that this version does not write.
    """
    path = folder / TESTS
    data = inputs.read(path, inputs.TESTS)
    try:
        return _tests(json_document(text_of(data)))
    except ConfigError as error:
        raise ConfigError(f"{printable(path)}: {error}") from None


def write_responses(test_set: TestSet, acc: NDArray[np.int32]) -> bytes:
    """Answers [runs, P, answers] as the file that `infer` reads."""
    return _npz({"acc": acc, "digest": _digest_array(test_set)})


def read_responses(path: Path, test_set: TestSet) -> NDArray[Any]:
    """Answers of a file; they must say that they are of these very vectors."""
    held = read_npz(path, inputs.RESPONSES, ("acc", "digest"))
    if not np.array_equal(held["digest"], _digest_array(test_set)):
        raise ConfigError(
            f"{printable(path)}: the answers must be to the vectors of the folder, not to others: "
            f"their `digest` must be that of {VECTORS}"
        )
    return held["acc"]


def write_report(test_set: TestSet, diagnosis: Diagnosis, runs: int) -> bytes:
    """The report: what is known of each PE, one a line."""
    entries: dict[int, list[Any]] = {pe: [] for pe in range(test_set.array.pe)}
    for fault in diagnosis.profile.faults:
        entries[fault.pe].append(fault_object(fault))
    unexplained = set(diagnosis.unexplained)
    lines = []
    for pe, faults in entries.items():
        state = "faulty" if faults else "healthy"
        others = diagnosis.equivalents.get(pe, ())
        line = {
            "pe": pe,
            "state": "unexplained" if pe in unexplained else state,
            "residual": int(diagnosis.residual[pe]),
            "unstable": int(diagnosis.unstable[pe]),
            "faults": faults,
            "equivalents": [[fault_object(fault) for fault in other] for other in others],
        }
        if (varying := diagnosis.transients.get(pe)) is not None:
            line["transient"] = {
                "p": varying.fault.p,
                "sigma": varying.sigma,
                "uses": varying.uses,
            }
        lines.append("  " + json.dumps(line))
    head: Mapping[str, Any] = {
        "version": VERSION,
        "array": array_object(test_set.array),
        "digest": test_set.digest,
        "answers": test_set.answers,
        "runs": runs,
        "memory_tested": bool(test_set.memory),
        "transients": test_set.transients,
        "explained": len(entries) - len(unexplained),
        "unexplained": sorted(unexplained),
    }
    first = "".join(f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in head.items())
    return ("{\n" + first + ' "pes": [\n' + ",\n".join(lines) + "\n ]\n}\n").encode()


def _tests(document: Any) -> TestSet:
    held = object_of(document, "the file", _KNOWN, _KEYS)
    if type(held["version"]) is not int or held["version"] != VERSION:
        raise ConfigError(f"version must be {VERSION}, not {shown(held['version'])}")
    array = check_array(ArraySpec(**object_of(held["array"], "array", ARRAY_FIELDS, ARRAY_FIELDS)))
    found = vectors(array, held["seed"], _transients(held))
    if held["digest"] != found.digest:
        raise ConfigError(
            "digest must be that of the vectors which its array and seed give: write them anew "
            "with `hascodesign diagnose vectors`"
        )
    return found


def _transients(held: Mapping[str, Any]) -> float | None:
    p = held.get("transients")
    if p is not None and (isinstance(p, bool) or not isinstance(p, int | float)):
        raise ConfigError(f"transients must be a probability, not {shown(p)}")
    return p


def _digest_array(test_set: TestSet) -> NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex(test_set.digest), dtype=np.uint8)


def _npz(held: Mapping[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **held)
    return buffer.getvalue()

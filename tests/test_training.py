"""The training script that comes with the flow: what it writes is what the flow takes."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hascodesign.contract.types import Split, frozen
from hascodesign.models import load
from hascodesign.models.integer import compare, integerise
from tests.model_cases import settle

FOLDER = Path(__file__).parent.parent / "flows" / "training"


def script(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FOLDER / "train.py"), *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_trained_digits_are_taken_as_they_are_written(tmp_path: Path) -> None:
    done = script("digits", "--epochs", "3", "--calibration", "120", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    said, command = done.stdout.splitlines()[-2:]
    words = command.split()
    spec, checkpoint, data = (
        words[words.index(option) + 1] for option in ("--model", "--checkpoint", "--data")
    )
    loaded = load.load_user(spec, Path(checkpoint), Path(data))
    found = compare(
        loaded.model, integerise(loaded.model, "digits", (1, 8, 8)), loaded.dataset.heldout
    )
    assert (found.total, found.images) == (0, 599)
    assert len(loaded.dataset.calibration.labels) == 120
    assert said == f"digits: {100 * found.brevitas_correct / 599:.2f} % of 599 test images"
    assert found.integer_correct > 450


def test_what_cannot_be_trained_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "resnet8", "--out", str(tmp_path / "never")])
    monkeypatch.syspath_prepend(str(FOLDER))
    words = "resnet8 must have --data, an .npz of 32 x 32 colour images"
    with pytest.raises(SystemExit, match=words):
        runpy.run_path(str(FOLDER / "train.py"), run_name="__main__")
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("name", ["resnet8", "separable"])
def test_networks_to_train_are_equal_code_for_code(name: str) -> None:
    torch.manual_seed(0)
    model = load._factory_model(f"{FOLDER / 'networks.py'}:{name}")
    settle(model, (3, 32, 32))
    rng = np.random.default_rng(1)
    held = Split(frozen(rng.random((2, 3, 32, 32)), np.float32), frozen([0] * 2))
    found = compare(model, integerise(model, name, (3, 32, 32)), held)
    assert found.total == 0 and all(count > 1 for count in found.values)
    assert (found.branch_rows > 0) == (name == "resnet8")

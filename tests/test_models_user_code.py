"""A user's own code: whatever it does ends in one line, and what it made is never served stale."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from hascodesign.cli import main as cli
from hascodesign.common import records
from hascodesign.contract.errors import ModelError
from hascodesign.models import load

NETWORK = """
import torch
from torch import nn
from brevitas import nn as qnn

WIDTH = 4

def network():
    torch.manual_seed(0)
    return nn.Sequential(
        qnn.QuantIdentity(return_quant_tensor=True),
        nn.Flatten(),
        qnn.QuantLinear(12, WIDTH, bias=False, weight_bit_width=4),
        qnn.QuantReLU(bit_width=3, return_quant_tensor=True),
        qnn.QuantLinear(WIDTH, 3, bias=False, weight_bit_width=4),
    )

"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, size=(60, 4, 3)).astype(np.float32)
    np.savez(tmp_path / "data.npz", images=images, labels=np.arange(60) % 3)
    return tmp_path


def written(folder: Path, code: str) -> str:
    (folder / "mine.py").write_text(NETWORK + code)
    return f"{folder / 'mine.py'}:network"


def refusal(folder: Path, code: str, checkpoint: Path | None = None) -> str:
    spec = written(folder, code)
    with pytest.raises(ModelError) as caught:
        load.load_user(spec, checkpoint, folder / "data.npz")
    text = str(caught.value)
    assert text.isprintable()
    return text


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("raise EOFError", "EOFError"),
        ("input()", "EOFError"),
        ("class Odd(BaseException): pass\n{0}raise Odd('no\\nmore')", "Odd: no"),
        ("class Odd(Exception):\n{0} def __str__(s): raise ValueError\n{0}raise Odd", "Odd at"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("import warnings; warnings.warn('x', RuntimeWarning); 1/0", "ZeroDivisionError"),
        (
            "import argparse; p = argparse.ArgumentParser(); p.add_argument('--lr', required=True)"
            "; p.parse_args()",
            "the following arguments are required: --lr",
        ),
    ],
)
@pytest.mark.parametrize("where", ["import", "factory", "forward", "load_state_dict"])
def test_whatever_user_code_does(folder: Path, body: str, words: str, where: str) -> None:
    indent = {"import": "", "factory": " "}.get(where, "  ")
    body = f"{indent}{body.format(indent)}\n"
    checkpoint = None
    if where == "import":
        code = body
    elif where == "factory":
        code = f"def network():\n{body}"
    else:
        code = f"class Net(nn.Sequential):\n def {where}(self, *a, **k):\n{body}"
        code += "def network(plain=network):\n return Net(*plain())\n"
    if where == "load_state_dict":
        checkpoint = folder / "w.pt"
        torch.save({}, checkpoint)
    text = refusal(folder, code, checkpoint)
    assert words in text
    assert f"at {folder / 'mine.py'} line " in text
    line = int(text.rpartition(" line ")[2].split(";")[0])
    assert line > NETWORK.count("\n")


def test_user_code_changes_nothing_here_and_says_nothing(folder: Path, capfd, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["hascodesign", "flow", "--model", "x"])
    code = """
import argparse, os, sys, warnings
import numpy as np
argparse.ArgumentParser().parse_args()  # the program's own options are not the script's
os.chdir("/")
np.seterr(all="raise")
torch.set_default_dtype(torch.float64)
torch.set_grad_enabled(False)
warnings.warn("odd")
warnings.warn("odd", RuntimeWarning)
print("hello")
"""
    before = (Path.cwd(), np.geterr(), torch.get_default_dtype(), sys.path[:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load.load_user(written(folder, code), None, folder / "data.npz")
    assert (Path.cwd(), np.geterr(), torch.get_default_dtype(), sys.path[:]) == before
    assert torch.is_grad_enabled()
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "hello\n")


def test_a_factory_may_import_what_lies_beside_its_file(folder: Path) -> None:
    (folder / "beside_mine.py").write_text("BITS = 4\n")
    code = "def network(plain=network):\n from beside_mine import BITS\n return plain()\n"
    assert load.load_user(written(folder, code), None, folder / "data.npz").name == "mine"


# ------------------------------------------------------------------------------ stale networks


def flow(folder: Path, *more: str) -> int:
    arguments = ["flow", "--model", f"{folder / 'mine.py'}:network", "--pe", "4", "--simd", "4"]
    arguments += ["--data", str(folder / "data.npz"), "--to", "integerise"]
    sys.argv = ["hascodesign", *arguments, "--out", str(folder / "out"), *more]
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def rows(folder: Path) -> list[int]:
    network, _ = records.decode((folder / "out/steps/integerise.npz").read_bytes())
    return [layer.rows for layer in network.layers]


@pytest.mark.parametrize("source", ["module", "file", "variable"])
def test_a_network_that_changed_is_not_served_stale(
    folder: Path, source: str, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    reads = {
        "module": "from sizes_of_mine import WIDTH",
        "file": f"WIDTH = int(open({str(folder / 'width')!r}).read())",
        "variable": "import os; WIDTH = int(os.environ['MINE_WIDTH'])",
    }[source]
    written(folder, reads + "\n")
    for width in (5, 7):
        (folder / "sizes_of_mine.py").write_text(f"WIDTH = {width}\n")  # same size, same second
        (folder / "width").write_text(str(width))
        monkeypatch.setenv("MINE_WIDTH", str(width))
        assert flow(folder) == 0
        assert rows(folder) == [width, 3]
        assert "integerise done" in capsys.readouterr().err
    assert flow(folder) == 0
    said = capsys.readouterr().err
    assert "integerise stored" in said  # and what is the same is not computed again
    assert "healthy: " in said and "of 21 held-out images" in said
    assert "warning: no --checkpoint was given" in said
    assert "whether the network was trained on them is not known here" in said


def test_a_forward_that_changed_is_compared_again(folder: Path, monkeypatch, capsys) -> None:
    """The layers are the same, and images that are not tried first take another way."""
    monkeypatch.setattr(sys, "argv", [])
    code = """
class Net(nn.Sequential):
    def forward(self, x):
        if {}:
            self[4].weight.data.mul_(-1)
        return super().forward(x)

def network(plain=network):
    return Net(*plain())
"""
    written(folder, code.format("False"))
    assert flow(folder) == 0
    written(folder, code.format("bool((x != 0).any())"))
    assert flow(folder) == 1
    assert "must equal Brevitas code for code" in capsys.readouterr().err


def test_exit_code_of_a_script_without_a_guard(folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", [])
    written(folder, "import sys\nsys.exit(0)\n")
    assert flow(folder) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("hascodesign: ") and "must import: SystemExit: 0" in last
    assert not (folder / "out").exists()
    assert "mine.py line " in last

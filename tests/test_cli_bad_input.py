"""Every bad input gives one line and its exit code, and leaves nothing behind."""

import json
import sys

import numpy as np
import pytest
import torch

from hascodesign.board import tools
from hascodesign.cli import main as cli
from hascodesign.common import records
from hascodesign.contract.array import identity_schedule
from hascodesign.faults import formats
from hascodesign.flow import run as delivery
from hascodesign.flow.flow import Flow
from hascodesign.schedule.formats import to_json

FACTORY = """
import brevitas.nn as qnn
import torch.nn as nn
from brevitas.quant import Int8WeightPerTensorFloat, Int32Bias, Uint8ActPerTensorFloat


def net():
    return nn.Sequential(
        qnn.QuantIdentity(bit_width=8, return_quant_tensor=True),
        nn.Flatten(),
        qnn.QuantLinear(16, 3, bias=False, weight_bit_width=4, return_quant_tensor=True),
    )


def odd():
    return nn.Sequential(
        qnn.QuantIdentity(bit_width=8, return_quant_tensor=True),
        nn.Flatten(),
        nn.Softplus(),
        qnn.QuantLinear(16, 3, bias=False, weight_bit_width=4, return_quant_tensor=True),
    )
"""


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run the command line in an empty folder; gives (exit code, stderr lines)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HASCODESIGN_DATA", raising=False)
    (tmp_path / "net.py").write_text(FACTORY)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["hascodesign", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code, capsys.readouterr().err.strip().splitlines()

    return run


def refused(result, *words, code=2):
    """Whether the last line says what was wrong; only progress lines may stand before it."""
    assert result[0] == code, result
    assert "Traceback" not in "\n".join(result[1])
    return all(word in result[1][-1] for word in words)


def profile(tmp_path, faults, **array):
    size = dict(pe=16, simd=8, weight_bits=4, act_bits=8, acc_bits=24, dataflow="os", wmem_depth=0)
    content = {
        "version": 1,
        "array": size | array,
        "seed": 0,
        "source": "test",
        "conditions": {},
        "faults": faults,
    }
    path = tmp_path / "faults.json"
    path.write_text(json.dumps(content))
    return path


PRODUCT = {"pe": 0, "simd": 0, "site": "product", "bit": 3, "kind": "sa1"}


def test_unknown_board_names_the_nearest(call):
    assert refused(call("flow", "--board", "pynq-z3"), "pynq-z3", "pynq-z2")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["flow", "--pe", "abc"], ["--pe", "integer"]),
        (["flow", "--voltage"], ["--voltage", "requires"]),
        (["flow", "--speed", "9"], ["--speed"]),
        (["flows"], ["flows"]),
    ],
)
def test_wrong_usage_is_one_line(call, arguments, words):
    result = call(*arguments)
    assert len(result[1]) == 1 and refused(result, *words)


def test_help_is_no_error(call):
    assert call("flow", "--help") == (0, [])


def test_array_larger_than_the_board(call, tmp_path):
    assert refused(call("flow", "--pe", 64, "--simd", 8), "220", "512", "--multipliers lut")
    assert not (tmp_path / "build").exists() or not any((tmp_path / "build").iterdir())


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ([PRODUCT, PRODUCT | {"pe": 16}], ["1", "16"]),
        ([PRODUCT | {"bit": 13}], ["0", "13"]),
        ([PRODUCT, PRODUCT | {"kind": "sa0"}], ["1"]),
        ([PRODUCT | {"colour": "red"}], ["colour"]),
        ([{"pe": 0, "kind": "dead"}, PRODUCT], ["dead"]),
    ],
    ids=["outside the array", "outside the bits", "two on one bit", "unknown key", "beside dead"],
)
def test_bad_faults(call, tmp_path, faults, words):
    assert refused(call("flow", "--faults", profile(tmp_path, faults)), "entry", *words)
    assert not (tmp_path / "build" / "pynq-z2").exists()


def test_profile_cut_short(call, tmp_path):
    path = profile(tmp_path, [PRODUCT])
    path.write_text(path.read_text()[:-20])
    assert refused(call("flow", "--faults", path), "faults.json")


def test_profile_of_another_array(call, tmp_path):
    path = profile(tmp_path, [], pe=8)
    assert refused(call("flow", "--faults", path), "16 PEs", "8 PEs")


def test_missing_files(call, tmp_path):
    assert refused(call("flow", "--faults", tmp_path / "none.json"), "none.json")
    assert refused(call("flow", "--schedule", tmp_path / "none.json"), "none.json")
    assert refused(call("flow", "--model", "none.py:net", "--data", tmp_path), "none.py")


BAD_SCHEDULES = {
    "cut short": (lambda text: text[:-30], "schedule.json must be JSON"),
    "version": (lambda text: text.replace('"version": 1', '"version": 7'), "must be 1 or 2, not 7"),
    "another array": (lambda text: text.replace('"pe": 16', '"pe": 8'), "must be the array's 16"),
    "a row twice": (lambda text: text.replace("[0, 1,", "[0, 0,", 1), "row 0 must stand once"),
    "no text": (lambda _: "\x00", "schedule.json must be JSON"),
}


def test_a_schedule_that_is_none(call, tmp_path):
    out = tmp_path / "o"
    assert call("render", "--to", "faults", "--out", out)[0] == 0
    network = records.decode((out / "steps" / "integerise.npz").read_bytes())[0]
    plain = identity_schedule(network, formats.read(out / "faults.json").array)
    path = tmp_path / "schedule.json"
    for change, words in BAD_SCHEDULES.values():
        path.write_text(change(to_json(plain).decode()))
        result = call("render", "--out", out, "--schedule", path)
        assert refused(result, words)
        said = [line for line in result[1] if not ("stored" in line or line.startswith("healthy"))]
        assert len(said) == 2  # the refusal, and what a schedule without its chip is judged on
        assert f"{path} is judged on faults that are drawn, seed 1" in said[0]
    assert not (out / "unverified").exists()


def data(tmp_path, images=None, labels=None):
    rng = np.random.default_rng(0)
    images = rng.random((60, 1, 4, 4), dtype=np.float32) if images is None else images
    labels = np.arange(60) % 3 if labels is None else labels
    np.savez(tmp_path / "d.npz", images=images, labels=labels)
    return tmp_path / "d.npz"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("net.py:nett", ["nett", "net"]),
        ("net.py:odd", ["Softplus", "2"]),
        ("best-cnn", ["digits-cnn"]),
    ],
)
def test_bad_models(call, tmp_path, model, words):
    assert refused(call("flow", "--model", model, "--data", data(tmp_path)), *words)
    assert not (tmp_path / "build" / "pynq-z2").exists()


def test_model_without_data(call):
    assert refused(call("flow", "--model", "net.py:net"), "--data")


def test_checkpoint_that_does_not_fit(call, tmp_path):
    torch.save({"1.weight": torch.zeros(2, 2)}, tmp_path / "c.pth")
    options = ("--checkpoint", tmp_path / "c.pth", "--data", data(tmp_path))
    assert refused(call("flow", "--model", "net.py:net", *options), "c.pth")


def test_checkpoint_that_would_run_code(call, tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    torch.save({"x": Payload()}, tmp_path / "c.pth")
    options = ("--checkpoint", tmp_path / "c.pth", "--data", data(tmp_path))
    assert refused(call("flow", "--model", "net.py:net", *options), "c.pth")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (None, np.zeros(59, np.int64), ["60", "59"]),
        (np.zeros((60, 4), np.float32), None, ["shape"]),
        (np.full((60, 1, 4, 4), np.nan, np.float32), None, ["NaN"]),
        (np.zeros((60, 1, 5, 5), np.float32), None, []),
    ],
    ids=["lengths", "shape", "nan", "other size"],
)
def test_bad_data(call, tmp_path, images, labels, words):
    path = data(tmp_path, images, labels)
    assert refused(call("flow", "--model", "net.py:net", "--data", path), *words)
    assert not (tmp_path / "build" / "pynq-z2").exists()


def schedule(tmp_path, change):
    layers = [
        {"name": "conv0", "rows": 16, "slots": [list(range(16))]},
        {"name": "conv1", "rows": 32, "slots": [list(range(16)), list(range(16, 32))]},
        {"name": "dense2", "rows": 10, "slots": [[*range(10), *[-1] * 6]]},
    ]
    change(layers)
    size = dict(
        pe=16, simd=8, weight_bits=4, act_bits=8, acc_bits=24, dataflow="os", wmem_depth=102
    )
    path = tmp_path / "schedule.json"
    path.write_text(json.dumps({"version": 1, "array": size, "layers": layers}))
    return path


def twice(layers):
    layers[0]["slots"][0][3] = 2


def missing(layers):
    layers[2]["slots"][0][9] = -1


@pytest.mark.parametrize(
    ("change", "words"), [(twice, ["layers[0]", "row 2"]), (missing, ["layers[2]", "row 9"])]
)
def test_bad_maps(call, tmp_path, change, words):
    assert refused(call("flow", "--schedule", schedule(tmp_path, change)), *words)
    assert not (tmp_path / "build" / "pynq-z2").exists()


def test_output_folder_that_cannot_be_written(call, tmp_path):
    (tmp_path / "taken").write_text("")
    assert refused(
        call("flow", "--out", tmp_path / "taken" / "x"), "output folder must be writable"
    )


def test_output_folder_in_use(call, tmp_path):
    (tmp_path / "o").mkdir()
    with delivery.locked(tmp_path / "o"):
        assert refused(call("flow", "--out", tmp_path / "o"), "in use")


def test_unknown_step_and_option(call):
    assert call("flow", "--from", "nowhere")[0] == 2
    assert call("flow", "--speed", "9")[0] == 2


@pytest.mark.parametrize("command", ["verify", "flow"])
def test_missing_simulator_is_exit_3_before_anything(call, tmp_path, monkeypatch, command):
    def never(_flow):
        raise AssertionError("no step may run for nothing")

    monkeypatch.setattr(Flow, "_load", never)
    monkeypatch.setattr(Flow, "_schedule", never)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refused(call(command), "iverilog", "apt-get install", code=3)
    assert not (tmp_path / "build").exists()


def test_missing_yosys_is_exit_3_before_anything(call, tmp_path, monkeypatch):
    monkeypatch.setattr(Flow, "_load", lambda _flow: pytest.fail("no step may run for nothing"))
    find = tools.find
    monkeypatch.setattr(tools, "find", lambda name: None if name == "yosys" else find(name))
    assert refused(call("flow"), "yosys", "apt-get install -y yosys", code=3)
    assert not (tmp_path / "build").exists()


def test_more_whole_images_than_are_held_out_are_refused_before_the_search(call, monkeypatch):
    monkeypatch.setattr(Flow, "_faults", lambda _flow: pytest.fail("no step may run for nothing"))
    words = "--core-images must be at most 539, the images held out, not 540"
    assert refused(call("flow", "--core-images", 540), words)

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hascodesign.contract.errors import ConfigError, ModelError
from hascodesign.contract.types import Split, frozen
from hascodesign.models import load, zoo
from hascodesign.models.data import digits, mnist
from hascodesign.models.integer import accumulator_bits, compare, integerise

DATA = os.environ.get("HASCODESIGN_DATA")
needs_mnist = pytest.mark.skipif(
    DATA is None or not (Path(DATA) / "mnist-t10k").is_dir(),
    reason="HASCODESIGN_DATA does not name a folder with mnist-t10k",
)


def silent(what: str, done: int, total: int) -> None:
    pass


def test_bundled_digits_equal_their_integer_graph_on_every_held_out_image(tmp_path):
    loaded = load.load_bundled("digits-cnn", None, tmp_path, silent)
    network = integerise(loaded.model, loaded.name, loaded.in_shape)
    held = loaded.dataset.heldout
    found = compare(loaded.model, network, held)
    assert found.layers == ("input", "conv0", "conv1", "dense2")
    assert found.differences == (0, 0, 0, 0)
    n = len(held.labels)
    assert found.compared == (n * 64, n * 64 * 16, n * 64 * 32, n * 10)
    assert found.logit_residual < 1e-6
    assert found.brevitas_correct / n >= 0.98
    assert [layer.weights.shape for layer in network.layers] == [(16, 9), (32, 144), (10, 512)]
    assert [layer.weight_bits for layer in network.layers] == [4, 4, 4]
    assert [layer.in_bits for layer in network.layers] == [8, 4, 4]
    assert max(accumulator_bits(network)) <= 16
    assert network.layers[-1].bias.any()


def test_bundled_digits_do_without_some_rows(tmp_path):
    """Rows that a faulty PE silences can be chosen so that next to nothing is lost."""
    loaded = load.load_bundled("digits-cnn", None, tmp_path, silent)
    model, held = loaded.model, loaded.dataset.heldout
    whole = zoo.accuracy(model, held)

    def without(layer: int, rows: list[int]) -> float:
        def silence(_module, _args, out):
            value = out.value.clone()
            value[:, rows] = 0
            return out._replace(value=value)

        handle = model[layer].register_forward_hook(silence)
        try:
            return zoo.accuracy(model, loaded.dataset.calibration)
        finally:
            handle.remove()

    chosen = sorted(range(16), key=lambda row: -without(3, [row]))[:4]
    handle = model[3].register_forward_hook(
        lambda _m, _a, out: out._replace(
            value=out.value
            * torch.tensor([r not in chosen for r in range(16)])[None, :, None, None]
        )
    )
    assert zoo.accuracy(model, held) >= whole - 0.015
    handle.remove()


def subset(count: int) -> Split:
    whole = digits().calibration
    return Split(frozen(whole.images[:count], np.float32), frozen(whole.labels[:count]))


def test_training_follows_its_seed_alone(monkeypatch):
    short = replace(zoo.RECIPES["digits-cnn"], epochs=2)
    monkeypatch.setitem(zoo.RECIPES, "digits-cnn", short)
    data, said = subset(100), []
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    first = zoo.train("digits-cnn", data, lambda *step: said.append(step))
    assert said == [("train digits-cnn", 1, 2), ("train digits-cnn", 2, 2)]
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))  # the caller's generator is left alone
    torch.manual_seed(77)
    torch.set_num_threads(2)
    try:
        second = zoo.train("digits-cnn", data, silent)
    finally:
        torch.set_num_threads(threads)
    other = zoo.train("digits-cnn", data, silent, seed=1)
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first[1].weight, other[1].weight)
    assert not first.training


def test_fingerprint_covers_all_that_goes_in():
    data = subset(20)
    images = np.array(data.images)
    images[3, 0, 2, 2] += 1
    labels = np.array(data.labels)
    labels[0] += 1
    marks = {
        zoo.fingerprint("mnist-mlp", data),
        zoo.fingerprint("mnist-cnn", data),
        zoo.fingerprint("mnist-mlp", data, seed=1),
        zoo.fingerprint("mnist-mlp", Split(frozen(images, np.float32), data.labels)),
        zoo.fingerprint("mnist-mlp", Split(data.images, frozen(labels))),
    }
    assert len(marks) == 5
    assert zoo.fingerprint("mnist-mlp", data) in marks


def test_mnist_without_its_files(monkeypatch, tmp_path):
    monkeypatch.delenv("HASCODESIGN_DATA", raising=False)
    with pytest.raises(ModelError, match="mnist-mlp needs the MNIST IDX files"):
        load.load_bundled("mnist-mlp", None, tmp_path, silent)
    with pytest.raises(ModelError, match="must hold the MNIST IDX files"):
        load.load_bundled("mnist-mlp", tmp_path, tmp_path, silent)


def test_trained_networks_are_kept_and_found_again(monkeypatch, tmp_path):
    folder, cache = tmp_path / "data" / "mnist-t10k", tmp_path / "cache"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    head = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (100, 28, 28))
    (folder / "t10k-images-idx3-ubyte").write_bytes(head + rng.bytes(100 * 28 * 28))
    labels = bytes(i % 10 for i in range(100))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(b"\0\0\x08\1\0\0\0\x64" + labels)
    monkeypatch.setenv("HASCODESIGN_DATA", str(tmp_path / "data"))
    monkeypatch.setitem(
        zoo.RECIPES, "mnist-mlp", replace(zoo.RECIPES["mnist-mlp"], epochs=1, batch=16)
    )
    said = []
    first = load.load_bundled("mnist-mlp", None, cache, lambda *step: said.append(step))
    (kept,) = (cache / "models").iterdir()
    assert kept.name.startswith("mnist-mlp-")
    assert said == [("train mnist-mlp", 1, 1)]
    again = load.load_bundled("mnist-mlp", None, cache, lambda *step: said.append(step))
    assert len(said) == 1
    assert torch.equal(first.model[2].weight, again.model[2].weight)
    network = integerise(again.model, again.name, again.in_shape)
    assert compare(again.model, network, again.dataset.heldout).total == 0
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ConfigError, match="folder of trained models must be writable"):
        load.load_bundled("mnist-mlp", None, blocked, silent)


@pytest.mark.slow
def test_training_the_digits_again_gets_there(tmp_path, capsys):
    out = tmp_path / "again.pt"
    zoo.main(["digits-cnn", "--out", str(out)])
    assert "train digits-cnn 60 60" in capsys.readouterr().out
    with load.quiet():
        model = zoo.recipe("digits-cnn").build()
    load.load_checkpoint(model, out)
    assert zoo.accuracy(model.eval(), digits().heldout) >= 0.98


@needs_mnist
def test_mnist_files_at_hand():
    data = mnist(Path(DATA or "") / "mnist-t10k")
    assert data.calibration.images.shape[0] + data.heldout.images.shape[0] == 10_000
    assert abs(len(data.heldout.labels) - 2000) <= 5
    assert data.heldout.images.max() == 1.0


@needs_mnist
@pytest.mark.slow
def test_mnist_mlp_trains_and_equals_its_integer_graph(tmp_path):
    loaded = load.load_bundled("mnist-mlp", None, tmp_path, silent)
    network = integerise(loaded.model, loaded.name, loaded.in_shape)
    found = compare(loaded.model, network, loaded.dataset.heldout)
    assert found.total == 0
    assert found.brevitas_correct / len(loaded.dataset.heldout.labels) >= 0.94
    assert [layer.weight_bits for layer in network.layers] == [2, 2, 2, 2]

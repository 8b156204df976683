import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from hascodesign.contract.errors import ConfigError, ModelError
from hascodesign.models import load
from hascodesign.models.integer import compare, integerise
from tests.model_cases import settled

FACTORY = """
import torch
from torch import nn
from brevitas import nn as qnn
from brevitas.quant import Int16Bias

HELPER = 3

def network():
    return nn.Sequential(
        qnn.QuantIdentity(return_quant_tensor=True),
        nn.Flatten(),
        qnn.QuantLinear(12, 6, bias=False, weight_bit_width=4),
        qnn.QuantReLU(bit_width=3, return_quant_tensor=True),
        qnn.QuantLinear(6, 3, bias=True, weight_bit_width=4, bias_quant=Int16Bias),
    )

def unsupported():
    return nn.Sequential(qnn.QuantIdentity(), nn.Flatten(), nn.Linear(12, 3))

def unquantised():
    return nn.Sequential(*list(network())[1:])

def nothing():
    return None

def sized(width, depth, bits=3, *others, **options):
    return network()

def free(*others, bits=3, **options):
    return network()

def failing():
    raise ValueError("no weights here\\nsecond line")
"""


@pytest.fixture
def user(tmp_path) -> Path:
    """Folder with a model file, its checkpoint and data that fit."""
    (tmp_path / "mine.py").write_text(FACTORY)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(60, 4, 3)).astype(np.float32)
    np.savez(tmp_path / "data.npz", images=images, labels=np.arange(60) % 3)
    model = load._factory_model(f"{tmp_path / 'mine.py'}:network")
    model = settled(*model, shape=(1, 4, 3))
    torch.save(model.state_dict(), tmp_path / "good.pt")
    return tmp_path


def refused(user: Path, words: str, factory="mine.py:network", checkpoint="good.pt", data=None):
    with pytest.raises(ModelError, match=re.escape(words)) as caught:
        load.load_user(
            f"{user}/{factory}",
            user / checkpoint if checkpoint else None,
            data or user / "data.npz",
        )
    return "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_a_factory_that_needs_arguments_is_refused_by_them(user):
    words = "'sized' must be called without arguments, and needs width, depth: give each a default"
    assert refused(user, words, factory="mine.py:sized")
    assert load.load_user(f"{user}/mine.py:free", None, user / "data.npz").name == "mine"


def test_user_model_with_its_checkpoint(user):
    loaded = load.load_user(f"{user}/mine.py:network", user / "good.pt", user / "data.npz")
    assert (loaded.name, loaded.in_shape, loaded.model.training) == ("mine", (1, 4, 3), False)
    network = integerise(loaded.model, loaded.name, loaded.in_shape)
    assert compare(loaded.model, network, loaded.dataset.heldout).total == 0
    state = torch.load(user / "good.pt", weights_only=True)
    assert torch.equal(loaded.model[2].weight, state["2.weight"])
    # the ways that training loops save it
    buffers = {f"{k[:-5]}buffer": torch.ones(()) for k in state if k.endswith("scaling_impl.value")}
    assert buffers
    for saved in (
        {"state_dict": state, "epoch": 3},
        {"model_state_dict": state, "epoch": 3},
        {f"module.{key}": value for key, value in state.items()},  # nn.DataParallel
        state | buffers,  # what the scales were gathered from, beside the scales
    ):
        torch.save(saved, user / "wrapped.pt")
        again = load.load_user(f"{user}/mine.py:network", user / "wrapped.pt", user / "data.npz")
        assert torch.equal(again.model[2].weight, state["2.weight"])


def test_model_file_and_factory(user):
    defined = "failing, free, network, nothing, sized, unquantised, unsupported"
    assert refused(user, f"mine.py must define 'net'; it defines: {defined}", "mine.py:net")
    assert refused(user, "must define 'HELPER'; it defines", "mine.py:HELPER")
    assert refused(user, "must return a torch.nn.Module, not NoneType", "mine.py:nothing")
    assert refused(user, "must run: ValueError: no weights here", "mine.py:failing")
    assert refused(user, "absent.py: model file must be readable: No such", "absent.py:network")
    assert refused(user, "model must be file.py:factory, not", "mine.py")
    assert refused(user, "model must be file.py:factory, not", "mine.txt:network")
    (user / "broken.py").write_text("def f(:\n")
    assert refused(user, "broken.py must import: SyntaxError", "broken.py:f")
    (user / "needs.py").write_text("import no_such_module_at_all\n")
    assert refused(user, "needs.py must import: ModuleNotFoundError: No module named", "needs.py:f")


def test_model_file_may_import_its_neighbours(user):
    (user / "neighbour.py").write_text("WIDTH = 1\n")
    (user / "importer.py").write_text("from neighbour import WIDTH\n" + FACTORY)
    loaded = load.load_user(f"{user}/importer.py:network", user / "good.pt", user / "data.npz")
    assert loaded.name == "importer"


def test_checkpoint_that_does_not_fit(user):
    state = torch.load(user / "good.pt", weights_only=True)
    assert refused(user, "none.pt: checkpoint must be readable: No such", checkpoint="none.pt")
    torch.save({k: v for k, v in state.items() if k != "2.weight"}, user / "less.pt")
    assert refused(user, "less.pt: checkpoint must fit the model: it lacks '2.weight'",
            checkpoint="less.pt")  # fmt: skip
    extra = {"a": torch.zeros(1), "b": torch.zeros(1)}
    torch.save(state | extra, user / "more.pt")
    assert refused(user, "it has unexpected 'a', 'b';", checkpoint="more.pt")
    renamed = {("w" if k == "2.weight" else k): v for k, v in state.items()}
    torch.save(renamed, user / "renamed.pt")
    both = "it lacks '2.weight' and has unexpected 'w'"
    assert refused(user, both, checkpoint="renamed.pt")
    torch.save({"optimizer": 3}, user / "other.pt")
    assert refused(user, "not int under 'optimizer'", checkpoint="other.pt")
    torch.save(state | {"2.weight": torch.zeros(6, 11)}, user / "size.pt")
    assert refused(user, "must fit the model: size mismatch for 2.weight", checkpoint="size.pt")
    torch.save([1, 2], user / "list.pt")
    assert refused(user, "must be a state dict of tensors, not list", checkpoint="list.pt")


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_checkpoint_that_would_run_code_is_refused(user):
    done = user / "was_run"
    torch.save({"2.weight": Payload(done)}, user / "zip.pt")
    assert refused(user, "zip.pt: checkpoint must be a state dict of tensors", checkpoint="zip.pt")
    (user / "raw.pt").write_bytes(pickle.dumps(Payload(done)))
    assert refused(user, "raw.pt: checkpoint must be a state dict of tensors", checkpoint="raw.pt")
    torch.save(torch.nn.Linear(2, 2), user / "whole.pt")
    assert refused(
        user, "whole.pt: checkpoint must be a state dict of tensors", checkpoint="whole.pt"
    )
    assert not done.exists()


def test_bytes_that_are_no_checkpoint(user):
    good = (user / "good.pt").read_bytes()
    rng = np.random.default_rng(0)
    cases = [b"", b"text", good[:100], good[:-200], rng.bytes(500), b"\x80\x02}q\x00X"]
    for content in cases:
        (user / "bad.pt").write_bytes(content)
        assert refused(
            user, "bad.pt: checkpoint must be a state dict of tensors", checkpoint="bad.pt"
        )


def test_data_that_does_not_fit_the_model(user):
    images = np.zeros((60, 5, 3), np.float32)
    np.savez(user / "tall.npz", images=images, labels=np.arange(60) % 3)
    assert refused(user, "model must take images of 1x5x3 at '2':", data=user / "tall.npz")
    np.savez(user / "many.npz", images=images[:, 1:], labels=np.arange(60) % 4)
    assert refused(
        user, "labels must be below the model's 3 classes, not 3", data=user / "many.npz"
    )
    assert refused(user, "layer 2 '2' (Linear) must be one of", "mine.py:unsupported", None)


def test_bundled_digits_load_from_the_package(tmp_path):
    said = []
    loaded = load.load_bundled("digits-cnn", None, tmp_path, lambda *step: said.append(step))
    assert (loaded.name, loaded.in_shape) == ("digits-cnn", (1, 8, 8))
    assert not said
    assert not list(tmp_path.iterdir())
    assert load.BUNDLED.stat().st_size < 100_000


def test_unknown_bundled_name():
    with pytest.raises(ConfigError, match="model must be one of digits-cnn, mnist-cnn, mnist-mlp"):
        load.load_bundled("resnet", None, Path(), print)


@pytest.mark.parametrize(("most", "scale"), [(np.float32(255), 1 / 255), (np.float32(1), 1.0)])
def test_images_that_are_codes_need_no_quantiser_in_the_model(user, most, scale):
    """As torchvision's ToTensor gives them, and as bytes."""
    codes = np.random.default_rng(1).integers(0, 256, (60, 4, 3)).astype(np.float32)
    np.savez(user / "bytes.npz", images=codes / most, labels=np.arange(60) % 3)
    state = torch.load(user / "good.pt", weights_only=True)
    kept = {f"{int(key[0]) - 1}{key[1:]}": value for key, value in state.items() if key[0] != "0"}
    torch.save(kept, user / "rest.pt")
    spec = f"{user / 'mine.py'}:unquantised"
    loaded = load.load_user(spec, user / "rest.pt", user / "bytes.npz")
    network = integerise(loaded.model, "codes", (1, 4, 3))
    assert (network.input.scale, network.input.low, network.input.high) == (scale, 0, 255)
    found = compare(loaded.model, network, loaded.dataset.heldout)
    assert found.total == 0 and found.values[0] > 50
    np.savez(user / "real.npz", images=codes / most + 1e-3, labels=np.arange(60) % 3)
    words = "must have a quantiser of the images before it"
    assert refused(user, words, "mine.py:unquantised", "rest.pt", user / "real.npz")

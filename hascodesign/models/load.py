"""A model and its data: bundled, or the user's own."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from torch import nn

from hascodesign.common import inputs
from hascodesign.contract.errors import ModelError
from hascodesign.contract.types import Dataset
from hascodesign.models import zoo
from hascodesign.models.checkpoint import read_state
from hascodesign.models.data import user_data
from hascodesign.models.graph import build, quiet
from hascodesign.models.zoo import Progress

# what the user's own code can raise
USER_ERRORS = (
    *(SyntaxError, ImportError, NameError, AttributeError, TypeError, ValueError, LookupError),
    *(RuntimeError, OSError, ArithmeticError, AssertionError),
)
BUNDLED = Path(__file__).parent / "digits_cnn.pt"  # trained by zoo.py from its default seed


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in evaluation mode, with data that fits it."""

    model: nn.Module
    name: str
    dataset: Dataset

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        channels, height, width = self.dataset.heldout.images.shape[1:]
        return channels, height, width


def load_bundled(name: str, data_dir: Path | None, cache_dir: Path, progress: Progress) -> Loaded:
    """A network that comes with the package; those for MNIST are trained when first asked for.

    Parameters
    ----------
    name : digits-cnn, mnist-cnn or mnist-mlp.
    data_dir : folder of the MNIST files; None = where HASCODESIGN_DATA points.
    cache_dir : keeps trained networks under a hash of what went in.
    progress : told after each epoch of a training.
    """
    recipe = zoo.recipe(name)
    data = zoo.dataset(name, data_dir)
    path = BUNDLED
    if name != "digits-cnn":
        path = cache_dir / "models" / f"{name}-{zoo.fingerprint(name, data.calibration)}.pt"
        if not path.is_file():
            zoo.save(zoo.train(name, data.calibration, progress), path)
    with quiet():
        model = recipe.build()
    load_checkpoint(model, path)
    return Loaded(model.eval(), name, data)


def load_user(spec: str, checkpoint: Path | None, data: Path) -> Loaded:
    """The user's model and data.

    Parameters
    ----------
    spec : ``file.py:factory``; ``factory()`` returns the Brevitas model.
    checkpoint : state dict for it, or None where the factory gives a trained model.
    data : ``.npz`` or folder of IDX files; see ``data.user_data``.

    Raises
    ------
    ModelError
        Whatever does not fit, in one line.
    """
    dataset = user_data(data)
    model = _factory_model(spec)
    if checkpoint is not None:
        load_checkpoint(model, checkpoint)
    loaded = Loaded(model.eval(), Path(spec.rpartition(":")[0]).stem, dataset)
    classes = build(model, loaded.in_shape).classes
    for part in (dataset.calibration, dataset.heldout):
        if part.labels.max() >= classes:
            raise ModelError(
                f"{data}: labels must be below the model's {classes} classes,"
                f" not {part.labels.max()}"
            )
    return loaded


def load_checkpoint(model: nn.Module, path: Path) -> None:
    """Fill a model with a state dict, every key of it; nothing but tensors is unpickled."""
    state = read_state(path)
    try:
        with quiet():
            fit = model.load_state_dict(state, strict=False)
    except RuntimeError as error:  # a heading, then a line for each tensor of another size
        reason = (str(error).splitlines()[1:] or [str(error)])[0].strip()
        raise ModelError(f"{path}: checkpoint must fit the model: {reason}") from error
    for what, keys in (("lacks", fit.missing_keys), ("has unexpected", fit.unexpected_keys)):
        if keys:
            raise ModelError(
                f"{path}: checkpoint must fit the model: it {what} {keys[0]!r}"
                + (f" and {len(keys) - 1} more" if len(keys) > 1 else "")
            )


def _factory_model(spec: str) -> nn.Module:
    file, _, name = spec.rpartition(":")
    path = Path(file)
    if not file or not name or path.suffix != ".py":
        raise ModelError(f"model must be file.py:factory, not {spec}")
    inputs.digest(path, inputs.MODEL_FILE)  # Python's own reader waits for a FIFO, takes any size
    module = _imported(path)
    factory = getattr(module, name, None)
    if not callable(factory):
        there = [
            key
            for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == module.__name__
        ]
        known = ", ".join(sorted(there)) or "nothing to call"
        raise ModelError(f"{path} must define {name!r}; it defines: {known}")
    try:
        with quiet():
            model = factory()
    except USER_ERRORS as error:
        raise ModelError(f"{spec} must run: {_reason(error)}") from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"{spec} must return a torch.nn.Module, not {type(model).__name__}")
    return model


def _imported(path: Path) -> ModuleType:
    """The user's file as a module; its own folder is on the path while it is read."""
    spec = importlib.util.spec_from_file_location(f"user_model_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ModelError(f"model file must be Python source: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        with quiet():
            spec.loader.exec_module(module)
    except USER_ERRORS as error:
        raise ModelError(f"{path} must import: {_reason(error)}") from error
    finally:
        sys.path.pop(0)
    return module


def _reason(error: BaseException) -> str:
    """First line of an error, with its kind."""
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__

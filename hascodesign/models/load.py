"""A model and its data: bundled, or the user's own."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from inspect import Parameter, signature
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hascodesign.common import inputs
from hascodesign.contract.errors import ModelError
from hascodesign.contract.types import Dataset
from hascodesign.models import user_code, zoo
from hascodesign.models.checkpoint import read_state
from hascodesign.models.data import user_data
from hascodesign.models.graph import build, has_input_quantiser, quiet
from hascodesign.models.layers import LINES
from hascodesign.models.modules import Quantiser
from hascodesign.models.zoo import Progress

BUNDLED = Path(__file__).parent / "digits_cnn.pt"  # trained by zoo.py from its default seed


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in evaluation mode, with data that fits it."""

    model: nn.Module
    name: str
    dataset: Dataset
    sources: Mapping[str, bytes] = field(default_factory=dict)  # the user's own, by module

    @property
    def in_shape(self) -> tuple[int, ...]:
        """Of one image as the model takes it: (channels, height, width) or (features,)."""
        return self.dataset.heldout.images.shape[1:]


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
    file = _model_file(spec)
    dataset = user_data(data)
    user_code.forget()
    before = frozenset(sys.modules)
    sources: dict[str, bytes] = {}
    try:
        model = _factory_model(spec)
        if checkpoint is not None:
            load_checkpoint(model, checkpoint)
        # forward() runs once here, where what it imports from beside its file is found
        with user_code.running(f"{spec} must be a model that can be evaluated", file):
            model, dataset = _on_rows(model.eval(), dataset)
            model = _on_codes(model, dataset)
            classes = build(model, dataset.heldout.images.shape[1:]).classes
    finally:
        sources |= user_code.sources(before)
    _check_labels(dataset, classes, data)
    return Loaded(model, file.stem, dataset, sources)


def load_qonnx(name: str, data: Path) -> Loaded:
    """A QONNX network, held against qonnx's own execution on all held-out images.

    Parameters
    ----------
    name : path of the ``.onnx`` file.
    data : ``.npz`` or folder of IDX files; see ``data.user_data``.

    Raises
    ------
    ModelError
        Whatever does not fit, in one line; a code that qonnx gives otherwise.
    ToolNotFound
        The packages of the extra ``qonnx`` are missing.
    """
    from hascodesign.models import qonnx  # noqa: PLC0415  (its package is an extra)

    file, dataset = Path(name), user_data(data)
    network = qonnx.load(file).eval()
    swapped = tuple(network.in_shape[axis] for axis in (1, 0, 2)) if network.one_axis else ()
    if dataset.heldout.images.shape[1:] == swapped:
        dataset = _reshaped(dataset, network.in_shape)  # [n, channels, length]
    shape = dataset.heldout.images.shape[1:]
    if shape != network.in_shape:
        sizes = ("x".join(map(str, size)) for size in (network.in_shape, shape))
        raise ModelError(
            f"{data}: images must be {next(sizes)}, as {file} takes them, not {next(sizes)}"
        )
    model = quantised_images(network, dataset)
    classes = build(model, shape).classes
    network.require_equal_to_qonnx(dataset.heldout.images)
    _check_labels(dataset, classes, data)
    return Loaded(model, file.stem, dataset)


class Rows(nn.Module):
    """A network with one axis, on maps of height 1."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Any:
        """Of [n, channels, 1, length]."""
        return self.inner(x.squeeze(2))


def _on_rows(model: nn.Module, dataset: Dataset) -> tuple[nn.Module, Dataset]:
    """A network of QuantConv1d and its data [n, channels, 1, length], where it takes such rows."""
    first, *shape = dataset.heldout.images.shape[1:]
    if not any(isinstance(layer, LINES) for layer in model.modules()) or len(shape) != 2:
        return model, dataset
    with torch.no_grad():
        try:
            model(torch.zeros(2, first, *shape))
        except (
            RuntimeError
        ):  # it takes [n, channels, length]: these come as [n, 1, channels, length]
            channels = shape[0] if first == 1 else first
        else:
            return model, dataset
    return Rows(model).eval(), _reshaped(dataset, (channels, 1, shape[1]))


def _reshaped(dataset: Dataset, shape: tuple[int, ...]) -> Dataset:
    parts = [
        replace(part, images=part.images.reshape(len(part.images), *shape))
        for part in (dataset.calibration, dataset.heldout)
    ]
    return replace(dataset, calibration=parts[0], heldout=parts[1])


def _on_codes(model: nn.Module, dataset: Dataset) -> nn.Module:
    """A model without a quantiser of its images behind one, where the images are codes already."""
    try:
        return quantised_images(model, dataset)
    except ModelError:
        return model  # refused with the model's own words


def quantised_images(model: nn.Module, dataset: Dataset) -> nn.Module:
    """A network that takes real images, behind a quantiser that changes none of its images.

    Where the network's first layer has a quantiser before it, it is returned as it is.

    Raises
    ------
    ModelError
        The images are no codes of at most 8 bits times a power of two.
    """
    if has_input_quantiser(model, dataset.heldout.images.shape[1:]):
        return model
    parts = (dataset.calibration.images, dataset.heldout.images)
    ends = [float(end) for part in parts for end in (part.min(), part.max())]
    signed = min(ends) < 0
    for exponent in range(8, -25, -1):
        scale = 2.0**exponent  # a float32 divided by a power of two of this range is exact
        if all(bool((part / scale == np.rint(part / scale)).all()) for part in parts):
            low, high = (-128, 127) if signed else (0, 255)
            if min(ends) / scale >= low and max(ends) / scale <= high:
                return nn.Sequential(Quantiser(scale, 8, low, high, signed=signed), model)
            break
    if not signed and all(_of_bytes(part) for part in parts):
        return nn.Sequential(Quantiser(1 / 255, 8, 0, 255, signed=False), model)
    raise ModelError(
        "network must have a Quant of at most 8 bits on its input, or images that are such codes:"
        f" whole numbers of {'-128..127' if signed else '0..255'} times a power of two, or bytes"
        " over 255; round the images to such a grid"
    )


def _of_bytes(images: NDArray[np.float32]) -> bool:
    """Whether images are bytes over 255, as torchvision's ToTensor gives them, to float32."""
    codes = np.rint(images * 255)
    fits = bool((codes >= 0).all() and (codes <= 255).all())
    return fits and bool((codes / np.float32(255) == images).all())


def _check_labels(dataset: Dataset, classes: int, data: Path) -> None:
    for part in (dataset.calibration, dataset.heldout):
        if part.labels.max() >= classes:
            raise ModelError(
                f"{data}: labels must be below the model's {classes} classes,"
                f" not {part.labels.max()}"
            )


def load_checkpoint(model: nn.Module, path: Path) -> None:
    """Fill a model with a state dict, every key of it; nothing but tensors is unpickled."""
    state = read_state(path)
    with user_code.running(f"{path}: the model must be able to name its parameters"):
        known = set(model.state_dict())
    # what Brevitas gathers for a scale has no use beside the scale that came of it
    state = {
        key: value
        for key, value in state.items()
        if key in known or f"{key.removesuffix('buffer')}value" not in state or key[-6:] != "buffer"
    }
    strange = [key for key in state if key not in known]
    of_none = f"; of no layer of the model: {_named(strange)}" if strange else ""
    try:
        with user_code.running(f"{path}: checkpoint must fit the model"):
            fit = _filled(model, state, path)
    except ModelError as error:
        raise ModelError(f"{error}{of_none}") from error
    problems = [
        f"{what} {_named(keys)}"
        for what, keys in (("lacks", fit[0]), ("has unexpected", fit[1]))
        if keys
    ]
    if problems:
        raise ModelError(
            f"{path}: checkpoint must fit the model: it {' and '.join(problems)};"
            " it must be saved from the very network that the factory builds"
        )


def _filled(
    model: nn.Module, state: Mapping[str, Tensor], path: Path
) -> tuple[list[str], list[str]]:
    """Fill the model; keys that the state lacks, and those that it has too many."""
    try:
        fit: Any = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        lines = str(error).splitlines()  # a heading, then a line for each tensor of another size
        if len(lines) > 1 and "state_dict" in lines[0]:
            raise ModelError(
                f"{path}: checkpoint must fit the model: {lines[1].strip()}"
            ) from error
        raise
    return list(fit.missing_keys), list(fit.unexpected_keys)


def _named(keys: list[str], most: int = 5) -> str:
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(map(repr, keys[:most])) + more


def _model_file(spec: str) -> Path:
    """The file of ``file.py:factory``."""
    file, _, name = spec.rpartition(":")
    path = Path(file)
    if not file or not name or path.suffix != ".py":
        raise ModelError(f"model must be file.py:factory, not {spec}")
    inputs.digest(path, inputs.MODEL_FILE)  # Python's own reader waits for a FIFO, takes any size
    return path


def _factory_model(spec: str) -> nn.Module:
    path, name = _model_file(spec), spec.rpartition(":")[2]
    module = _imported(path)
    factory = _factory(module, path, name)
    with user_code.running(f"{spec} must run", path):
        model = factory()
    if not isinstance(model, nn.Module):
        raise ModelError(f"{spec} must return a torch.nn.Module, not {type(model).__name__}")
    return model


def _factory(module: ModuleType, path: Path, name: str) -> Callable[[], Any]:
    factory = vars(module).get(name)
    if not callable(factory):
        there = [
            key
            for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == module.__name__
        ]
        known = ", ".join(sorted(there)) or "nothing to call"
        raise ModelError(f"{path} must define {name!r}; it defines: {known}")
    if isinstance(factory, nn.Module):
        raise ModelError(
            f"{path}: {name!r} must be a function or class that returns the model,"
            f" called without arguments; write: def factory(): return {name}"
        )
    needed = _needed(factory)
    if needed:
        raise ModelError(
            f"{path}: {name!r} must be called without arguments, and needs {', '.join(needed)}:"
            " give each a default, or write a function that calls it with them"
        )
    return factory


def _needed(factory: Callable[[], Any]) -> list[str]:
    """Arguments without a default; none where Python cannot tell."""
    try:
        held = signature(factory).parameters.values()
    except (TypeError, ValueError):
        return []
    kinds = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return [p.name for p in held if p.default is Parameter.empty and p.kind not in kinds]


def _imported(path: Path) -> ModuleType:
    """The user's file as a module; its own folder is on the path while it is read."""
    spec = importlib.util.spec_from_file_location(f"user_model_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ModelError(f"model file must be Python source: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules.pop(spec.name, None)
    sys.modules[spec.name] = module
    with user_code.running(f"{path} must import", path):
        spec.loader.exec_module(module)
    return module

"""What one call of the flow asks for."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from hascodesign.common import inputs
from hascodesign.contract.types import ArraySpec
from hascodesign.flow.config import FlowConfig, Simulator
from hascodesign.flow.steps import LAST

#: The bundled network whose weights and images are part of the program and its libraries.
SHIPPED = "digits-cnn"


@dataclass(frozen=True, slots=True)
class Request:
    """One call of the flow."""

    config: FlowConfig
    out: Path
    cache: Path  # trained models
    command: str = ""
    checkpoint: Path | None = None
    data: Path | None = None
    faults: Path | None = None
    voltage: float | None = None  # V; picks from cells with thresholds, drawn where none are given
    schedule: Path | None = None
    simulator: Simulator = "icarus"
    device: str | None = None  # torch device that schedules are judged on; None = the kernels here
    post_route: bool = False  # time the array on an ECP5 too
    fresh: bool = False
    from_step: str | None = None
    to_step: str = LAST


def size(spec: ArraySpec) -> str:
    """The array in words, for a message."""
    return (
        f"{spec.pe} PEs x {spec.simd} SIMD, {spec.weight_bits}/{spec.act_bits}/{spec.acc_bits} bit"
        f" weights/activations/accumulators, {spec.dataflow}"
    )


def is_user_model(model: str) -> bool:
    """Whether a model's name is file.py:factory, or a QONNX file."""
    return ":" in model or is_qonnx(model)


def is_qonnx(model: str) -> bool:
    """Whether a model's name is that of a QONNX file."""
    return model.endswith(".onnx")


def has_own_data(model: str) -> bool:
    """Whether a model's images come with it; those of MNIST lie in a folder of the user's."""
    return model == SHIPPED


def content(path: Path | None) -> str | None:
    """Hash of a file, or of all files in a folder."""
    if path is None:
        return None
    total = hashlib.sha256()
    for file in sorted(path.rglob("*")) if inputs.is_folder(path) else [path]:
        if file == path or file.is_file():
            inner = Path(file.name) if file == path else file.relative_to(path)
            # NUL stands in no name, and a digest is always as long
            total.update(os.fsencode(inner) + b"\0")
            total.update(inputs.digest(file, inputs.ANY).encode())
    return total.hexdigest()

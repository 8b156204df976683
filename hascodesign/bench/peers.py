"""The same batch in the tools that others use: Brevitas, and pytorchfi's neuron faults."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
import torch
from torch import nn

from hascodesign.bench.result import Line
from hascodesign.bench.subject import SEED, Subject
from hascodesign.bench.timing import Compared, compare
from hascodesign.contract.array import generator

INSTALL = "pip install --no-deps pytorchfi"


def peers(subject: Subject, repeats: int, told: Callable[[Line], None]) -> list[Line]:
    """Brevitas's forward pass and pytorchfi's, each to the clean one."""
    timed = compare(subject.clean_forward, subject.brevitas_forward, repeats)
    lines = [_line("Brevitas forward", timed)]
    told(lines[0])
    if find_spec("pytorchfi") is None:
        skipped = Line("peers", "pytorchfi", note=f"not measured: {INSTALL}")
        told(skipped)
        return [*lines, skipped]
    layers = len(subject.network.layers)
    cases = {
        "pytorchfi, one neuron of one image": 1,
        f"pytorchfi, one neuron of each image in each of {layers} layers": subject.batch * layers,
    }
    for name, count in cases.items():
        with _quiet_logging():
            work = _injected(subject, count)
            timed = compare(subject.clean_forward, work, repeats)
        lines.append(_line(name, timed))
        told(lines[-1])
    return lines


def _line(name: str, timed: Compared) -> Line:
    return Line("peers", name, seconds=timed.seconds, ratio=timed.ratio, cpu_ratio=timed.cpu_ratio)


def _injected(subject: Subject, count: int) -> Callable[[], object]:
    """A pass of the clean network with neurons set to drawn values; the set-up is not timed."""
    from pytorchfi.core import fault_injection  # noqa: PLC0415  (an optional package)

    rng = generator(SEED, "bench neurons")
    shape = list(subject.pixels.shape[1:])
    injector = fault_injection(
        subject.clean,
        subject.batch,
        input_shape=shape,
        layer_types=[nn.Conv2d, nn.Linear],
        use_cuda=False,
    )
    sizes = injector.get_output_size()
    layer_of = np.arange(count) % len(sizes)
    places = [[int(rng.integers(n)) for n in sizes[layer][1:]] for layer in layer_of.tolist()]
    padded = [[*place, None, None][:3] for place in places]
    model = injector.declare_neuron_fi(
        layer_num=layer_of.tolist(),
        batch=(np.arange(count) // len(sizes)).tolist(),
        dim1=[place[0] for place in padded],
        dim2=[place[1] for place in padded],
        dim3=[place[2] for place in padded],
        value=rng.normal(size=count).tolist(),
    )

    def work() -> object:
        injector.reset_current_layer()
        with torch.inference_mode():
            return model(subject.pixels)

    return work


@contextmanager
def _quiet_logging() -> Iterator[None]:
    """Put back the root logger, to which pytorchfi adds a handler that later messages break."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)

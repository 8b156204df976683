"""Fault-aware co-design: quantised networks on imperfect FPGA PE arrays, proven bit by bit.

A notebook needs this face only; each name is loaded when it is first asked for::

    import hascodesign as has

    loaded = has.load("digits-cnn")
    network = has.integerise(loaded)
    chip = has.draw_faults(has.Array(16, 8, 4, 8, 24), seed=3, faulty_pes=8, bits="upper")
    found = has.search(network, chip, loaded.dataset.calibration)
    heldout = has.evaluator(found.written or network, chip, loaded.dataset.heldout)
    print(heldout.judge(found.schedule).accuracy)
    plan = has.build(network, found, chip, board="pynq-z2")

Errors are exceptions of one tree under ``has.HascodesignError``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Array",
    "Evaluator",
    "HascodesignError",
    "build",
    "draw_faults",
    "evaluator",
    "heal",
    "integerise",
    "load",
    "read_faults",
    "run",
    "search",
    "torch",
    "verify",
]

if TYPE_CHECKING:
    from hascodesign import torch
    from hascodesign.contract.errors import HascodesignError
    from hascodesign.contract.types import ArraySpec as Array
    from hascodesign.engine.network import Evaluator
    from hascodesign.flow.notebook import (
        build,
        draw_faults,
        evaluator,
        integerise,
        load,
        read_faults,
        search,
        verify,
    )
    from hascodesign.flow.notebook import flow as run
    from hascodesign.healing.run import heal

_NOTEBOOK = "hascodesign.flow.notebook"
#: Name of the face -> module and name there.
_FACE = {
    "Array": ("hascodesign.contract.types", "ArraySpec"),
    "Evaluator": ("hascodesign.engine.network", "Evaluator"),
    "HascodesignError": ("hascodesign.contract.errors", "HascodesignError"),
    "heal": ("hascodesign.healing.run", "heal"),
    "run": (_NOTEBOOK, "flow"),
} | {
    name: (_NOTEBOOK, name)
    for name in (
        *("build", "draw_faults", "evaluator", "integerise", "load", "read_faults"),
        *("search", "verify"),
    )
}


def __getattr__(name: str) -> Any:
    if name == "torch":
        return importlib.import_module("hascodesign.torch")
    if name not in _FACE:
        raise AttributeError(f"module 'hascodesign' has no attribute {name!r}")
    module, inner = _FACE[name]
    return getattr(importlib.import_module(module), inner)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

"""The networks that Brevitas ships, as their classes make them: the integer graph against Brevitas.

    python -m tests.regress_networks [NAME ...]

TFC, SFC, LFC and CNV of every width, and the ResNet-18, of random weights and settled scales.
Prints what was compared; exit code 1 where a code differs or a network is refused.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from brevitas_examples.bnn_pynq.models import model_with_cfg
from torch import nn

from hascodesign.contract.errors import HascodesignError
from hascodesign.contract.types import Dataset, Equivalence, Split, frozen
from hascodesign.models.equivalence import compare, require_equal
from hascodesign.models.integer import integerise
from hascodesign.models.load import quantised_images
from tests.model_cases import settle

NAMES = (
    *(f"{kind}_{width}" for kind in ("tfc", "sfc", "cnv") for width in ("1w1a", "1w2a", "2w2a")),
    *("lfc_1w1a", "lfc_1w2a", "resnet18_4w4a"),
)


def checked(name: str) -> Equivalence:
    """How a network's integer graph was held against it."""
    model: nn.Module = model_with_cfg(name, pretrained=False)[0]
    shape = (3, 32, 32) if name.startswith(("cnv", "resnet")) else (1, 28, 28)
    settle(model, shape)
    count = 8 if shape[0] == 3 else 60
    bytes_ = np.random.default_rng(1).integers(0, 256, (count, *shape))
    split = Split(frozen(bytes_ / 255, np.float32), frozen(np.arange(count) % 10))
    model = quantised_images(model, Dataset(name, split, split))
    found = compare(model, integerise(model, name, shape), split)
    require_equal(found)
    return found


def main() -> int:
    """Every network, or those that are named."""
    torch.manual_seed(0)
    failed = 0
    for name in sys.argv[1:] or NAMES:
        start = time.process_time()
        try:
            found = checked(name)
            said = f"{sum(found.compared):,} codes, 0 differ, {sum(found.ties)} on a step"
        except HascodesignError as error:
            failed, said = 1, str(error)
        print(f"{name}: {said}, {time.process_time() - start:.0f} s CPU", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())

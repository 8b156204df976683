"""A faulty array as a PyTorch module: what the hardware answers, from a user's own script."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hascodesign.contract import array
from hascodesign.contract.errors import HascodesignError
from hascodesign.contract.results import SearchResult
from hascodesign.contract.types import FaultProfile, IntegerNetwork, Schedule, Split
from hascodesign.flow import notebook
from hascodesign.models.load import Loaded

__all__ = ["FaultyNetwork"]


class FaultyNetwork(nn.Module):
    """Answers, to the bit, as a network does on a faulty array; images in, logits out.

    Parameters
    ----------
    model : what ``hascodesign.load`` gave, or an integer network.
    faults : the array's profile.
    schedule : a search's result, rows as written included; a schedule, rows as trained; the order
        without scheduling where None.

    Examples
    --------
    ::

        loaded = has.load("net.py:factory", data="images.npz")
        faulty = has.torch.FaultyNetwork(loaded, has.read_faults("chip.json"))
        classes = faulty(images).argmax(dim=1)
    """

    def __init__(
        self,
        model: Loaded | IntegerNetwork,
        faults: FaultProfile,
        schedule: SearchResult | Schedule | None = None,
    ) -> None:
        super().__init__()
        network = model
        if isinstance(network, Loaded):
            network = notebook.integerise(network, faults.array.acc_bits)
        if isinstance(schedule, SearchResult):
            network, schedule = schedule.written or network, schedule.schedule
        self.network: IntegerNetwork = network
        self.faults = faults
        self.schedule = schedule or array.identity_schedule(network, faults.array)

    def integers(self, images: Tensor) -> Tensor:
        """[n, classes] int64 logits, ACC + bias of the last layer.

        Transient faults draw as in a run that shows these images first.
        """
        if images.requires_grad:
            raise HascodesignError(
                "images of a FaultyNetwork must not require gradients: integers have none;"
                " call it on images.detach()"
            )
        shown = Split(images.cpu().numpy(), np.zeros(len(images), dtype=np.int64))
        judge = notebook.evaluator(self.network, self.faults, shown)
        return torch.from_numpy(np.array(judge.logits(self.schedule), dtype=np.int64))

    def forward(self, images: Tensor) -> Tensor:
        """[n, classes] float64 logits in real units: integers times the scale of their class."""
        return self.integers(images).to(torch.float64) * torch.as_tensor(self.network.logit_scale)

"""What carries registers and streams between this program and the core.

``PynqLink`` is one: memory-mapped registers and AXI DMAs; ``SerialLink`` another. Anything that
reads and writes registers, sends packets and takes one back can stand in their place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Wait = Callable[[Callable[[], bool], str], None]  # until it says so, or an error
Access = tuple[int, int | None]  # address of a register; what is written, None where it is read


class Link(Protocol):
    """A way to one core."""

    def read(self, address: int) -> int:
        """A register of 32 bits."""

    def write(self, address: int, value: int) -> None:
        """Write a register of 32 bits."""

    def transact(self, accesses: Sequence[Access]) -> list[int]:
        """Many accesses in their order; what was read."""

    @property
    def most_images(self) -> int:
        """Images of one exchange, at most."""

    @property
    def most_answer(self) -> int:
        """Bytes of an answer, at most."""

    def stream(self, passes: Sequence[Bytes]) -> None:
        """Weights that go with every batch from here on, a packet for each pass."""

    def exchange(self, images: Bytes, answer: int, wait: Wait, *, weights: bool = True) -> Bytes:
        """Send images [n, bytes], a packet each, and take one packet of ``answer`` bytes.

        Whole batches of the build, or one that is smaller, as BATCH says.
        ``weights`` : whether the streamed weights go with them.

        Raises
        ------
        DriverError
            The answer has another length, or a part of the link failed; and what ``wait`` raises.
        """

    def abandon(self, wait: Wait) -> None:
        """Forget every transfer under way, and be ready for the next."""

    def swallow(self) -> None:
        """Take a packet that may still come, and throw it away."""

    def words(self) -> str:
        """Its state for a message, on one line."""

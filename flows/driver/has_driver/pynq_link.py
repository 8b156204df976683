"""The link on a PYNQ board: registers by MMIO, images, results and streamed weights by AXI DMA."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import codes
from .description import Description
from .dma import RECEIVE, SEND, DmaChannel
from .errors import DriverError, InputError, MissingError
from .link import Access, Bytes, Wait

ALIGNED = 64  # bytes: of every packet's address, so that a DMA needs no realignment engine
TESTED = 4  # beats of the longest test vector
SCRATCH = 4096  # bytes of a packet that nobody asked for


class PynqLink:
    """One overlay, with buffers for a batch that are used again and again."""

    def __init__(self, bitstream: Path, built: Description, batch: int, *, load: bool) -> None:
        pynq = _pynq()
        if not bitstream.is_file():
            raise InputError(
                f"{bitstream} must be the overlay's bitstream, with its .hwh beside it"
            )
        self._allocate = pynq.allocate
        try:
            # it is kept, because what it names lives with it
            self._overlay = pynq.Overlay(str(bitstream), download=load)
        except (OSError, RuntimeError) as error:  # no root, no .hwh, no device
            raise MissingError(f"{bitstream} must load: {error}") from None
        blocks = built.blocks
        self._core = self._mmio(pynq, blocks.core)
        dma = self._mmio(pynq, blocks.dma)
        self._images = DmaChannel(dma, SEND, "image")
        self._results = DmaChannel(dma, RECEIVE, "result")
        self._weights: DmaChannel | None = None
        if built.streamed:
            self._weights = DmaChannel(self._mmio(pynq, blocks.weight_dma), SEND, "weight")
        self._passes: list[tuple[int, int]] = []  # offset and bytes of each streamed packet
        beat = codes.beat_bytes(built.array.simd * built.array.act_bits)
        self._image_bytes = codes.image_beats(built) * beat
        most = max(batch * built.classes * built.result_bits // 8, SCRATCH)
        largest = max(most, self._image_bytes)
        if largest >> blocks.length_bits:
            raise InputError(
                f"a packet must be below {1 << blocks.length_bits} bytes, which the DMA can move,"
                f" not {largest}; a smaller batch makes it smaller"
            )
        stride = -(-max(self._image_bytes, TESTED * beat) // ALIGNED) * ALIGNED
        self._in = self._allocate(shape=(batch, stride), dtype=np.uint8)
        self._out = self._allocate(shape=(most,), dtype=np.uint8)
        self._of_batch = built.batch
        self._stored: Any = None

    def _mmio(self, pynq: Any, name: str) -> Any:
        found = self._overlay.ip_dict.get(name)
        if found is None:
            raise MissingError(
                f"the overlay must have a block {name}, and has {', '.join(self._overlay.ip_dict)}"
            )
        return pynq.MMIO(int(found["phys_addr"]), int(found["addr_range"]))

    def read(self, address: int) -> int:
        """A register of the core."""
        return int(self._core.read(address))

    def write(self, address: int, value: int) -> None:
        """Write a register of the core."""
        self._core.write(address, int(value))

    def transact(self, accesses: Sequence[Access]) -> list[int]:
        """Many accesses in their order; what was read."""
        found = []
        for address, value in accesses:
            if value is None:
                found.append(self.read(address))
            else:
                self.write(address, value)
        return found

    def stream(self, passes: Sequence[Bytes]) -> None:
        """Keep the packets of streamed weights where the DMA reads them."""
        starts, total = [], 0
        for packet in passes:
            starts.append((total, len(packet)))
            total += -(-len(packet) // ALIGNED) * ALIGNED
        if total:
            self._stored = self._allocate(shape=(total,), dtype=np.uint8)
            for (start, size), packet in zip(starts, passes, strict=True):
                self._stored[start : start + size] = packet
            self._stored.flush()
        self._passes = starts

    @property
    def most_images(self) -> int:
        """Images of one exchange, at most."""
        return len(self._in)

    @property
    def most_answer(self) -> int:
        """Bytes of an answer, at most."""
        return int(self._out.nbytes)

    def exchange(self, images: Bytes, answer: int, wait: Wait, *, weights: bool = True) -> Bytes:
        """Send images, each batch with the streamed weights; the bytes of one answer packet."""
        count, size = images.shape
        self._in[:count, :size] = images
        self._in.flush()
        self._results.begin(self._out.physical_address, answer)
        stride = self._in.shape[1]
        for place in range(count):
            self._images.begin(self._in.physical_address + place * stride, size)
            if weights and (place + 1 == count or (place + 1) % self._of_batch == 0):
                self._send_weights(wait)
            wait(self._images.done, f"taking image {place + 1} of {count}")
        wait(self._results.done, f"answering {count} images")
        moved = self._results.moved()
        if moved != answer:
            raise DriverError(f"the answer to {count} images must be {answer} bytes, not {moved}")
        self._out.invalidate()
        return np.array(self._out[:answer])

    def _send_weights(self, wait: Wait) -> None:
        if self._weights is None:
            return
        for number, (start, size) in enumerate(self._passes, start=1):
            self._weights.begin(self._stored.physical_address + start, size)
            wait(
                self._weights.done,
                f"taking the weights of pass {number} of {len(self._passes)}",
            )

    def abandon(self, wait: Wait) -> None:
        """Reset the DMAs."""
        self._images.reset(wait)
        self._images.start(wait)
        self._results.start(wait)
        if self._weights is not None:
            self._weights.reset(wait)
            self._weights.start(wait)

    def swallow(self) -> None:
        """Have the result DMA take a packet."""
        self._results.begin(self._out.physical_address, self._out.nbytes)

    def words(self) -> str:
        """Status of every DMA."""
        channels = [self._images, self._results, *([self._weights] if self._weights else [])]
        return ", ".join(channel.words() for channel in channels)


def _pynq() -> Any:
    try:
        return importlib.import_module("pynq")
    except ImportError:
        raise MissingError(
            "the driver needs pynq: run it on a board with a PYNQ 3 image, as root, in its"
            " environment (. /etc/profile.d/pynq_venv.sh)"
        ) from None

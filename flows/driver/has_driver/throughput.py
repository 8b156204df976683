"""How fast images were classified."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Throughput:
    """How fast images were classified."""

    images: int
    seconds: float  # for all of them
    cycles: int  # of the core for the last, or its share of the last batch
    clock_mhz: float  # that the core is built for

    def __str__(self) -> str:
        return (
            f"{self.images} images in {self.seconds:.3g} s, {self.images / self.seconds:.0f} a"
            f" second; the core takes {self.cycles} cycles an image,"
            f" {self.clock_mhz * 1e6 / self.cycles:.0f} a second at {self.clock_mhz:g} MHz"
        )

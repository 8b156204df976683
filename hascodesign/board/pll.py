"""Divisors of the ECP5's PLL (EHXPLLL), its output CLKOP fed back.

    f_pfd = f_in / CLKI_DIV;  f_out = f_pfd * CLKFB_DIV;  f_vco = f_out * CLKOP_DIV

with the limits of Project Trellis's ecppll: f_pfd 3.125 to 400 MHz, f_vco 400 to 800 MHz, f_out 10
to 400 MHz, CLKI_DIV and CLKOP_DIV up to 128, CLKFB_DIV up to 80.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from hascodesign.contract.errors import ConfigError

PFD_MHZ, VCO_MHZ, OUT_MHZ = (3.125, 400.0), (400.0, 800.0), (10.0, 400.0)
MOST_REFERENCE, MOST_FEEDBACK, MOST_OUTPUT = 128, 80, 128
MIDDLE_MHZ = 600.0  # of the VCO
LOSS = 0.05  # of the clock that was asked for, at most


@dataclass(frozen=True, slots=True)
class Pll:
    """One setting."""

    input_mhz: float
    reference: int  # CLKI_DIV
    feedback: int  # CLKFB_DIV
    output: int  # CLKOP_DIV

    @property
    def mhz(self) -> float:
        """Clock that comes out."""
        return self.input_mhz * self.feedback / self.reference

    @property
    def vco_mhz(self) -> float:
        """Clock of the oscillator inside."""
        return self.mhz * self.output


def pll(mhz: float, input_mhz: float) -> Pll:
    """The setting whose clock is nearest to ``mhz``, and not above it.

    Of equal ones that with the VCO nearest to the middle of its range, then with the fastest phase
    detector.

    Raises
    ------
    ConfigError
        No setting comes within 5 % below ``mhz``.
    """
    below = [one for one in _settings(input_mhz) if one.mhz <= mhz * (1 + 1e-9)]
    best = max(
        below,
        key=lambda one: (round(one.mhz, 6), -abs(one.vco_mhz - MIDDLE_MHZ), -one.reference),
        default=None,
    )
    if best is None or best.mhz < mhz * (1 - LOSS):
        raise ConfigError(
            f"the clock must be one that the PLL makes of {input_mhz:g} MHz, from {OUT_MHZ[0]:g} to"
            f" {OUT_MHZ[1]:g} MHz, not {mhz:g} MHz"
        )
    return best


def _settings(input_mhz: float) -> Iterator[Pll]:
    for reference in range(1, MOST_REFERENCE + 1):
        if not PFD_MHZ[0] <= input_mhz / reference <= PFD_MHZ[1]:
            continue
        for feedback in range(1, MOST_FEEDBACK + 1):
            mhz = input_mhz * feedback / reference
            if not OUT_MHZ[0] <= mhz <= OUT_MHZ[1]:
                continue
            least = math.ceil(VCO_MHZ[0] / mhz - 1e-9)
            most = min(MOST_OUTPUT, math.floor(VCO_MHZ[1] / mhz + 1e-9))
            yield from (Pll(input_mhz, reference, feedback, out) for out in range(least, most + 1))

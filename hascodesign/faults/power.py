"""A model of the power that an array takes at a supply voltage; nothing here is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import FaultProfile


@dataclass(frozen=True, slots=True)
class PowerEstimate:
    """Power at one voltage by the model, as shares of the power at nominal voltage."""

    voltage: float  # V
    dynamic: float  # share of nominal total
    static: float  # share of nominal total
    total: float  # dynamic + static
    relative: float  # total / total at nominal voltage
    label: str  # says that it is a model, its constants and their source

    @property
    def saved(self) -> float:
        """Share of the nominal power that is saved."""
        return 1.0 - self.relative


@dataclass(frozen=True, slots=True)
class PowerModel:
    """Dynamic power in proportion to V^2, static power in proportion to V, clock unchanged.

    References
    ----------
    B. Salami, O. S. Unsal, A. Cristal Kestelman, "Comprehensive Evaluation of Supply Voltage
    Underscaling in FPGA on-Chip Memories", MICRO 2018, doi:10.1109/MICRO.2018.00064, for the two
    exponents. The static share is an assumption: set it from the power report of the part.
    """

    nominal: float = 1.0  # V
    static_share: float = 0.25  # of the power at nominal voltage

    def __post_init__(self) -> None:
        if not (math.isfinite(self.nominal) and self.nominal > 0):
            raise ConfigError(f"the nominal voltage must be above 0 V, not {self.nominal}")
        if not 0 <= self.static_share <= 1:
            raise ConfigError(f"the static share must be in [0, 1], not {self.static_share}")

    @property
    def label(self) -> str:
        """What to print beside every number of the model."""
        return (
            f"model, not measured: dynamic ~ V^2, static ~ V (Salami et al., MICRO 2018), "
            f"{self.static_share:.0%} static at {self.nominal:g} V (assumed)"
        )

    def power(self, v: float) -> PowerEstimate:
        """Power at ``v`` volts, 0 to nominal."""
        if not 0 <= v <= self.nominal:
            raise ConfigError(f"the voltage must be 0..{self.nominal:g} V, not {v}")
        ratio = v / self.nominal
        dynamic = (1 - self.static_share) * ratio * ratio
        static = self.static_share * ratio
        total = dynamic + static
        return PowerEstimate(v, dynamic, static, total, total, self.label)


def supply(profile: FaultProfile) -> float | None:
    """Volts of the whole array's supply; None where the profile is not of cells at a voltage."""
    volts = profile.conditions.get("voltage")
    # anybody may call a condition so; the cells' own is in volts of the whole array's supply
    own = profile.conditions.get("generator") == "threshold"
    return float(volts) if own and isinstance(volts, int | float) else None


def power(v: float) -> PowerEstimate:
    """Power at ``v`` volts by the default model."""
    return PowerModel().power(v)

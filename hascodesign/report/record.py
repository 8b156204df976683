"""All that a report is made of, and the words that its three forms share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from hascodesign.contract.results import (
    Accuracy,
    Masking,
    Resources,
    SearchResult,
    StepRecord,
    Verification,
    WholeImages,
    WrittenSlot,
    recovery,
)
from hascodesign.contract.types import Board, Equivalence, Fault, FaultProfile, IntegerNetwork

#: Accuracies in the order they are shown, with the words for people.
ACCURACIES: Mapping[str, str] = MappingProxyType(
    {
        "brevitas": "Brevitas, healthy",
        "integer": "Integer graph, healthy",
        "faulty_identity": "Faulty, plain order",
        "faulty_random_mean": "Faulty, random maps (mean)",
        "faulty_random_best": "Faulty, best random map",
        "assignment": "Faulty, assignment alone",
        "scheduled": "Faulty, scheduled",
    }
)

#: Prefix of the held-out accuracies of a front's points, "front_00" and on.
FRONT = "front_"

_KINDS = {"sa0": "stuck at 0", "sa1": "stuck at 1", "flip": "inverted"}


@dataclass(frozen=True, slots=True)
class FlowResult:
    """One flow that ran to its end."""

    command: str
    board: Board
    profile: FaultProfile
    origin: str  # of the profile: given, drawn, ...
    seed: int  # of the flow; the profile has its own
    network: IntegerNetwork
    dataset: str
    calibration: int  # images
    heldout: int  # images
    held: str  # what is known of the held-out images
    equivalence: Equivalence
    warnings: Sequence[str]  # what makes a result say less than it seems to
    accuracy: Mapping[str, Accuracy]  # the keys of ACCURACIES; "assignment" may be missing
    search: SearchResult
    verification: Verification
    resources: Resources
    whole: WholeImages  # through the accelerator
    masking: Masking
    slots: Sequence[WrittenSlot]  # rows written for faulty slots
    power: Mapping[str, Any] | None  # modelled, shares of nominal; None without a supply voltage
    timing: Mapping[str, Any] | None  # clock on an open stand-in; None = not asked for
    files: Mapping[str, bytes]  # path below the output folder -> content
    steps: Sequence[StepRecord]
    peak_rss_bytes: int

    @property
    def recovery(self) -> float | None:
        """Share of the lost accuracy that the schedule wins back; None below a point of loss."""
        return recovery(self.accuracy)

    @property
    def top(self) -> str:
        """What the resources are those of."""
        return "has_core, the accelerator," if self.whole.built else "has_array, the array alone,"

    @property
    def within_noise(self) -> str | None:
        """One sentence where held-out images cannot tell the schedule from the plain order."""
        plain, scheduled = self.accuracy["faulty_identity"], self.accuracy["scheduled"]
        low, high = plain.ci95
        if scheduled.value > high:
            return None
        return (
            f"On held-out images the schedule wins {scheduled.value - plain.value:+.2f} points over"
            f" the plain order, within the plain order's own 95 % interval, {low:.1f} to"
            f" {high:.1f} %: these images show no win."
        )

    @property
    def percent(self) -> dict[str, float | None]:
        """Of each resource what the top module takes, percent; None where the board has none."""
        used, available = self.resources.used, self.resources.available
        return {
            name: 100 * used[name] / total if total else None for name, total in available.items()
        }


def ties_words(equivalence: Equivalence) -> str:
    """What hangs on the last bit of Brevitas's float sums, and how it is decided; or nothing."""
    said = []
    if sum(equivalence.ties):
        said.append(
            f"{sum(equivalence.ties):,} of {sum(equivalence.compared):,} codes come of sums exactly"
            " on a step of their quantiser, in rational numbers, and of float sums beside it, by"
            " whose last bit Brevitas takes another: they are no differences, and count by the"
            " quantiser's own rule here, in Brevitas's later layers and accuracy, too."
        )
    if equivalence.tied:
        said.append(
            f"In {equivalence.tied:,} of {equivalence.images:,} images classes share the largest"
            " logit and Brevitas, by the last bit of its float sums, names another than the lowest,"
            " which counts here: accuracies that differ by these are of the same integers."
        )
    return " ".join(said)


def lowered_words(network: IntegerNetwork, equivalence: Equivalence) -> str:
    """What the array multiplies beyond the model itself, in one sentence; or nothing."""
    own = equivalence.own_macs
    if not own or own == network.macs:
        return ""
    rows = sum(layer.rows for layer in network.layers)
    branches = ""
    if equivalence.branch_rows:
        branches = f"; {equivalence.branch_rows:,} of its {rows:,} rows carry, add or average maps"
    return (
        f"The array multiplies {network.macs:,} times for an image, the model itself {own:,} times:"
        " zeros stand where groups, dilation, averages and layers that share a map have no weight"
        f"{branches}."
    )


def factor_words(network: IntegerNetwork) -> str:
    """That each class has a factor of its own, and who applies it; or nothing."""
    if np.ndim(network.logit_scale) == 0:
        return ""
    return (
        "Each class has a factor of its own (model.logit_scale in report.json, rounded to 24 bits):"
        " the class is that of the greatest integer logit times its factor, which the host decides;"
        " the class that the accelerator names by itself (tuser, CLASS_ONLY) is that of the"
        " greatest integer alone, which is another."
    )


def faulty_words(verification: Verification) -> str:
    """That the faulty runs show nothing of the faults, where they do not; else empty."""
    if not verification.coverage:
        return "The profile holds no fault: the faulty runs repeat the healthy ones."
    if any(fault.exercised for fault in verification.coverage):
        return ""
    return (
        f"None of {len(verification.coverage)} faults changed a value at the verified columns: that"
        " the faulty runs equal the fault model shows nothing of the faults."
    )


def masking_words(masking: Masking) -> str:
    """How many faults change nothing, in one sentence; empty where there is no fault."""
    if not masking.tried:
        return ""
    tried = (
        f"{masking.tried}"
        if masking.tried == masking.faults
        else (f"{masking.tried} drawn of {masking.faults}")
    )
    return (
        f"Each alone, {100 * masking.accumulators:.1f} % of the faults ({tried}) change no"
        f" accumulator and {100 * masking.classes:.1f} % no class of {masking.images} calibration"
        " images."
    )


def power_words(power: Mapping[str, Any]) -> str:
    """What the supply voltage saves by the model, in one sentence that says it is one."""
    return (
        f"At {power['voltage']:g} V the array takes {100 * power['relative']:.1f} % of its power at"
        f" nominal voltage; {power['label']}."
    )


def profile_words(result: FlowResult) -> str:
    """Where the profile comes from, and what it says of itself."""
    profile = result.profile
    said = [f"The profile was {result.origin}, seed {profile.seed}."]
    if profile.source:
        said.append(f"Its source: {profile.source}.")
    if profile.conditions:
        told = ", ".join(f"{name} {value}" for name, value in profile.conditions.items())
        said.append(f"Its conditions: {told}.")
    return " ".join(said)


def timing_words(timing: Mapping[str, Any]) -> str:
    """The post-route clock, in one sentence that says what it is not."""
    top = timing["top"]
    what = "The array alone" if top == "has_array" else f"The whole design, {top},"
    return f"{what} reaches {timing['mhz']:.1f} MHz on {timing['device']}: {timing['note']}."


def describe(fault: Fault) -> str:
    """One fault in words, e.g. ``PE 3, multiplier 5: product bit 11 stuck at 1``."""
    place = f"PE {fault.pe}"
    if fault.kind == "dead":
        return f"{place}: dead, every product reads 0"
    if fault.simd is not None:
        place += f", multiplier {fault.simd}"
    where = str(fault.site)
    if fault.address is not None:
        where += f" word {fault.address}"
    if fault.kind == "transient":
        low_high = (fault.bit, fault.bit) if fault.bits is None else fault.bits
        span = (
            f"bit {low_high[0]}"
            if low_high[0] == low_high[1]
            else f"bits {low_high[0]} to {low_high[1]}"
        )
        return f"{place}: {where} {span} inverted with probability {fault.p:g} at each use"
    return f"{place}: {where} bit {fault.bit} {_KINDS[fault.kind]}"

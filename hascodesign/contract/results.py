"""What the steps of the flow find: searches, simulations, resources; frozen, with units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hascodesign.contract.types import IntegerNetwork, Schedule

# ------------------------------------------------------------------------------------------- search


@dataclass(frozen=True, slots=True)
class Baseline:
    """What one way of choosing the map gives on calibration data."""

    name: str
    schedule: Schedule
    loss: float  # mean cross-entropy, nats
    accuracy: float  # 0..1


OBJECTIVES = ("accuracy", "passes", "power")
Objective = Literal["accuracy", "passes", "power"]

Move = Literal["sign", "words", "constant", "thresholds", "reconstruction", "preload"]
#: What may be done to a row so that it suits its slot.
MOVES: tuple[Move, ...] = (
    *("sign", "words", "constant", "thresholds", "reconstruction"),
    "preload",  # where the array is built with preloads
)


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """A schedule that no other found one beats in one objective and equals in the rest."""

    schedule: Schedule
    loss: float  # mean cross-entropy on calibration data, nats
    accuracy: float  # on the same, 0..1
    passes: int  # of all layers
    power: float  # by the model, share of that of the least passes at nominal voltage
    written: IntegerNetwork | None = None  # rows as written for their slots; None = as trained


@dataclass(frozen=True, slots=True)
class Front:
    """What several objectives leave to choose from."""

    objectives: tuple[Objective, ...]
    points: tuple[FrontPoint, ...]  # in order of passes, then power, then loss
    pick: int  # place of the point that is rendered
    rule: str  # in words, how it was picked
    power_model: str  # in words

    @property
    def picked(self) -> FrontPoint:
        """The point that is rendered."""
        return self.points[self.pick]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What the search found, and how."""

    schedule: Schedule
    algorithm: str
    evaluations: int  # candidate schedules judged through the whole faulty network
    seconds: float
    loss: float  # calibration loss of the schedule, nats
    history: tuple[float, ...]  # best calibration loss after each generation
    baselines: tuple[Baseline, ...]  # identity, random maps ("random_00".."random_19"), assignment
    notes: tuple[str, ...] = ()  # one sentence each: all PEs alike, win below noise, stopped early
    interrupted: bool = False  # by Ctrl-C: the best so far
    front: Front | None = None  # where there is more than one objective
    healthy_loss: float | None = None  # calibration loss on an array without faults, nats
    written: IntegerNetwork | None = None  # rows as written for their slots; None = as trained


# ------------------------------------------------------------------------- simulation and synthesis


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One integer that the simulated RTL and the engine disagree on."""

    run: str  # "healthy" or "faulty"
    layer: str
    row: int
    column: int
    pe: int
    what: str  # "acc" or "code"
    expected: int
    got: int


@dataclass(frozen=True, slots=True)
class LayerVerification:
    """One layer of one simulated run."""

    run: str  # "healthy" or "faulty"
    name: str
    columns: int  # N simulated
    outputs: int  # integers compared: accumulators and codes
    mismatches: int
    cycles: int  # clock cycles from the first beat in to the last result out
    ideal_cycles: int  # passes * T * N
    seconds: float


@dataclass(frozen=True, slots=True)
class FaultCoverage:
    """Whether the verified columns touched one fault."""

    entry: int  # place in the profile's faults
    exercised: bool  # some value at the site differed from the value with this fault healthy
    changed_accumulator: bool  # some accumulator differs from the run without this fault


@dataclass(frozen=True, slots=True)
class Verification:
    """What the simulation of the plan's RTL showed."""

    simulator: str
    layers: tuple[LayerVerification, ...]
    coverage: tuple[FaultCoverage, ...]
    first: tuple[Mismatch, ...]  # the first five
    seconds: float

    @property
    def mismatches(self) -> int:
        """All mismatches together; must be 0."""
        return sum(layer.mismatches for layer in self.layers)


@dataclass(frozen=True, slots=True)
class CoreStage:
    """What one stage of the network takes in the simulated accelerator, for one image."""

    name: str
    cycles: int  # from the stage's start to its last result
    ideal_cycles: int  # passes * T * N; 0 for a pooling
    load_cycles: int  # in which an external layer waits for its weights; 0 on chip
    busy: float  # share of the cycles in which the multipliers work


@dataclass(frozen=True, slots=True)
class Masking:
    """Faults without effect, each alone on the healthy array, on calibration images."""

    faults: int  # of the profile
    tried: int  # of these, drawn evenly where they are many
    images: int
    accumulators: float  # share of the tried that change no accumulator, 0..1
    classes: float  # share of the tried that change no class, 0..1


@dataclass(frozen=True, slots=True)
class WrittenSlot:
    """A row on a faulty slot, what was done to it, and the error of its codes."""

    layer: str
    pe: int
    place: int  # pass
    row: int
    moves: tuple[str, ...]  # names, with the number of words or the word
    before: float  # as trained: mean absolute error in steps of the code, or of the logit
    after: float  # as written


@dataclass(frozen=True, slots=True)
class CoreRun:
    """Whole images in the simulated accelerator, every integer compared."""

    run: str  # "healthy" or "faulty"
    images: int
    outputs: int  # integers compared: accumulators, codes, pooled codes, logits
    image_cycles: int  # of the last image, or its share of the last batch
    stages: tuple[CoreStage, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class HlsRun:
    """Whole images in the compiled HLS C++, every integer compared."""

    run: str  # "healthy" or "faulty"
    images: int
    outputs: int  # integers compared: accumulators, codes, logits
    seconds: float  # of compiling and running


@dataclass(frozen=True, slots=True)
class WholeImages:
    """What the verification did with the whole accelerator, in Verilog and in C++."""

    built: bool  # False: the array alone is rendered, simulated and synthesised
    runs: tuple[CoreRun, ...]  # healthy and faulty, or none
    notes: tuple[str, ...]  # sentences: what did not run and why, and what took too long
    hls: tuple[HlsRun, ...] = ()  # healthy and faulty, or none


@dataclass(frozen=True, slots=True)
class Resources:
    """What the array takes of a board, from synthesis."""

    tool: str  # program and version
    used: Mapping[str, int]  # LUT, FF, BRAM36, URAM, DSP
    available: Mapping[str, int]
    guideline: Mapping[str, float]  # percent that still closes timing
    weights: Mapping[str, str]  # per layer: "on chip" or "external"
    notes: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)  # synth/: log and statistics


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A share of correctly classified images, with its confidence interval."""

    value: float  # percent
    n: int  # images
    ci95: tuple[float, float]  # percent, Wilson score interval


@dataclass(frozen=True, slots=True)
class StepRecord:
    """How one step went in this run."""

    name: str
    seconds: float  # of the run that computed it
    cached: bool


#: Below this loss, in points, a ratio of losses says nothing.
LEAST_POINTS = 1.0


def recovery(accuracy: Mapping[str, Accuracy]) -> float | None:
    """(scheduled - faulty_identity) / (integer - faulty_identity), None below one point of loss."""
    plain = accuracy["faulty_identity"].value
    loss = accuracy["integer"].value - plain
    if loss < LEAST_POINTS:
        return None
    return (accuracy["scheduled"].value - plain) / loss

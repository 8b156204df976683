"""The frozen records of what the flow is about: array, faults, network, row maps, board.

Shapes and units stand on each field. What the steps find is in results.py, the files of the build
in build.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
Dataflow = Literal["os", "ws"]
Site = Literal["wmem", "weight", "act", "product", "psum", "acc"]
Kind = Literal["sa0", "sa1", "flip", "transient", "dead"]
Scalar = str | int | float | bool


def frozen(values: Any, dtype: Any = np.int64) -> NDArray[Any]:
    """Copy of ``values`` as a C-contiguous array that cannot be written to."""
    array = np.array(values, dtype=dtype, order="C")
    array.setflags(write=False)
    return array


# ---------------------------------------------------------------------------------------- array


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """The PE array: its size and the width of each of its words."""

    pe: int  # P, processing elements
    simd: int  # S, multipliers in each PE
    weight_bits: int  # WB, bits, two's complement
    act_bits: int  # AB, bits, signedness per layer
    acc_bits: int  # CB, bits, two's complement, wraps
    dataflow: Dataflow = "os"
    wmem_depth: int = 0  # words of each weight bank; 0 = as many as the network takes

    @property
    def product_bits(self) -> int:
        """PB, bits of one product: WB + AB + 1, two's complement."""
        return self.weight_bits + self.act_bits + 1

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites of one PE, in the order of the mask module's ports; ``acc`` only in `ws`."""
        every: tuple[Site, ...] = ("wmem", "weight", "act", "product", "psum", "acc")
        return every if self.dataflow == "ws" else every[:-1]

    def has_lane(self, site: Site) -> bool:
        """Whether a site stands at each multiplier; else it is the PE's one register."""
        return not (site == "acc" or (site == "psum" and self.dataflow == "os"))

    def steps(self, depth: int) -> int:
        """T = ceil(K / S), steps of one column of ``depth`` products."""
        return -(-depth // self.simd)

    def site_bits(self, site: Site) -> int:
        """Bits that a fault at ``site`` can sit on."""
        return {
            "wmem": self.weight_bits,
            "weight": self.weight_bits,
            "act": self.act_bits,
            "product": self.product_bits,
            "psum": self.acc_bits,
            "acc": self.acc_bits,
        }[site]


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry of a fault profile; fields that its kind and site do not take are None."""

    pe: int
    kind: Kind
    site: Site | None = None  # None only for kind "dead"
    simd: int | None = None  # None for psum in `os`, for acc and for dead
    bit: int | None = None  # 0 = least significant; None for dead and for transient with `bits`
    address: int | None = None  # word of the weight bank, site wmem only
    p: float | None = None  # probability at each use, kind transient only
    bits: tuple[int, int] | None = None  # [lo, hi] both included, kind transient only


@dataclass(frozen=True, slots=True)
class FaultProfile:
    """The faults of one array."""

    array: ArraySpec
    faults: tuple[Fault, ...] = ()
    seed: int = 0  # seeds the transient draws
    source: str = ""  # where the profile comes from
    conditions: Mapping[str, Scalar] = field(default_factory=dict)  # voltage, temperature, ...


# -------------------------------------------------------------------------------------- network


@dataclass(frozen=True, slots=True)
class InputQuant:
    """Quantiser of the network's input, of y = gain * x + offset in float64, rounded twice.

    code = clamp(round_half_even(y / scale), low, high), or where ``binary`` high for y >= 0, else
    low.
    """

    scale: float
    bits: int
    signed: bool
    low: int
    high: int
    gain: float = 1.0
    offset: float = 0.0
    binary: bool = False


@dataclass(frozen=True, slots=True)
class Conv:
    """Geometry of a convolution; K runs (ky, kx, channel), channel fastest."""

    in_shape: tuple[int, int, int]  # (height, width, channels)
    kernel: tuple[int, int]  # (ky, kx)
    stride: tuple[int, int]
    padding: tuple[int, int]  # rows and columns of code 0 on each side

    @property
    def out_size(self) -> tuple[int, int]:
        """(height, width) of the output map."""
        (h, w, _), (ky, kx) = self.in_shape, self.kernel
        return (
            (h + 2 * self.padding[0] - ky) // self.stride[0] + 1,
            (w + 2 * self.padding[1] - kx) // self.stride[1] + 1,
        )


@dataclass(frozen=True, slots=True)
class Thresholds:
    """code = lowest + number of thresholds passed by v = ACC + bias, per output channel.

    A channel passes threshold t where v >= t, or where ``descending`` v <= t. Thresholds stand in
    the order in which they are passed: ascending where not descending, else descending.
    """

    values: IntArray  # [R, L]
    descending: BoolArray  # [R]
    lowest: int  # code where no threshold is passed


@dataclass(frozen=True, slots=True)
class Shift:
    """code = clamp(round_half_even(v / 2^shift), low, high) of v = ACC + bias, all integer."""

    shift: int  # bits, 0 or more
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class MultiplyLayer:
    """One layer on the array: W [R, K] and what turns ACC [R, N] into codes."""

    name: str  # identifier: letters, digits and _, unique in the network
    index: int  # layer_index, counts multiply layers from 0
    weights: IntArray  # [R, K] codes
    bias: IntArray  # [R] in units of the accumulator
    weight_bits: int  # bits of the weight codes as trained, at most the array's
    in_bits: int  # bits of the activation codes as trained, at most the array's
    in_signed: bool
    conv: Conv | None  # None = dense
    output: Thresholds | Shift | None  # None = last layer, logits
    out_bits: int  # bits of the output codes; 0 for the last layer
    out_signed: bool
    # [R] words that the accumulators start from; None = the array is built without preloads
    preload: IntArray | None = None

    @property
    def rows(self) -> int:
        """R, output channels."""
        return int(self.weights.shape[0])

    @property
    def depth(self) -> int:
        """K, products summed for one output."""
        return int(self.weights.shape[1])

    @property
    def positions(self) -> int:
        """Columns of X per image: output positions."""
        return 1 if self.conv is None else self.conv.out_size[0] * self.conv.out_size[1]


@dataclass(frozen=True, slots=True)
class MaxPool:
    """Maximum over windows of a feature map of codes; no padding."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    in_shape: tuple[int, int, int]  # (height, width, channels)

    @property
    def out_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the pooled map."""
        h, w, c = self.in_shape
        return (
            (h - self.kernel[0]) // self.stride[0] + 1,
            (w - self.kernel[1]) // self.stride[1] + 1,
            c,
        )


@dataclass(frozen=True, slots=True)
class IntegerNetwork:
    """A quantised network as integers only; feature maps are [images, height, width, channels]."""

    name: str
    input: InputQuant
    in_shape: tuple[int, int, int]  # (height, width, channels) of one image's codes
    stages: tuple[MultiplyLayer | MaxPool, ...]  # ends with the layer whose output is None
    #: logit as a real number = logit_scale * (ACC + bias); [classes] where each has its own factor
    logit_scale: float | FloatArray
    acc_bits: int | None = None  # of the accumulators that its thresholds hold for; None: of any

    @property
    def layers(self) -> tuple[MultiplyLayer, ...]:
        """The multiply layers, in order of their index."""
        return tuple(s for s in self.stages if isinstance(s, MultiplyLayer))

    @property
    def preloaded(self) -> bool:
        """Whether the array that it is for is built with preloads."""
        return any(layer.preload is not None for layer in self.layers)

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return sum(layer.weights.size + layer.bias.size for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return sum(layer.weights.size * layer.positions for layer in self.layers)


@dataclass(frozen=True, slots=True)
class Split:
    """Images and their labels."""

    images: NDArray[
        np.float32
    ]  # [n, channels, height, width] or [n, features], as the model has it
    labels: IntArray  # [n]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Data cut once, by a fixed rule: calibration for every choice, held-out for every result."""

    name: str
    calibration: Split
    heldout: Split
    held: str = ""  # what is known of the held-out images, in words
    warnings: tuple[str, ...] = ()  # what is odd about the images, a sentence each


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Brevitas (float64) held against the integer graph on the whole held-out set."""

    layers: tuple[str, ...]
    differences: tuple[int, ...]  # per layer: codes (last: logits) that differ
    compared: tuple[int, ...]  # per layer: codes compared
    values: tuple[int, ...]  # per layer: distinct codes among those compared
    logit_residual: float  # max |logit / scale - integer|, below 1e-6
    images: int  # held-out images compared
    brevitas_correct: int  # of them, those that Brevitas classifies correctly by its own logits
    integer_correct: int  # and those that the integer graph does
    clipped: float  # share of input values far outside the range of the images' quantiser
    tied: int = 0  # images of equal largest logits, of which Brevitas took another than the lowest
    rounded: int | None = None  # images whose class rounding at the logits changes; None: exact
    own_macs: int = 0  # multiply-accumulates of the model itself, an image; 0: not counted
    branch_rows: int = 0  # rows of the array's layers that carry maps or add them
    #: Per layer: of sums exactly on a step, codes that float64 took otherwise; no differences.
    ties: tuple[int, ...] = ()

    @property
    def total(self) -> int:
        """All differences together; must be 0."""
        return sum(self.differences)

    @property
    def first(self) -> str:
        """The first layer that differs; empty where none does."""
        pairs = zip(self.layers, self.differences, strict=True)
        return next((name for name, count in pairs if count), "")


# ------------------------------------------------------------------------------------- schedule


@dataclass(frozen=True, slots=True)
class RowMap:
    """Which row each PE computes in each pass of one layer."""

    name: str
    rows: int  # R
    slots: IntArray  # [passes, P] row, or -1 for idle; every row stands exactly once

    @property
    def passes(self) -> int:
        """Passes over the array that the layer takes."""
        return int(self.slots.shape[0])


@dataclass(frozen=True, slots=True)
class Schedule:
    """One row map per multiply layer."""

    array: ArraySpec
    layers: tuple[RowMap, ...]


# -------------------------------------------------------------------------------------------- board


@dataclass(frozen=True, slots=True)
class Board:
    """One FPGA board: its part and what the part holds."""

    name: str
    part: str  # the vendor's part number
    board_part: str | None  # Vivado board_part, None where none is published
    family: Literal["xc7", "xcup", "ecp5"]  # yosys synth_xilinx -family, or synth_ecp5
    lut: int
    ff: int
    bram36: int  # blocks of 36 kbit
    uram: int  # blocks of 288 kbit
    dsp: int
    axi_hp_bits: int  # width of one AXI high-performance port; 0 = a serial line in its place
    clock_mhz: float  # default clock of the generated project


#: How the multipliers are built: a DSP block each, one for two PEs' products, logic.
MULTIPLIERS = ("dsp", "dsp2", "lut")
Multipliers = Literal["dsp", "dsp2", "lut"]

"""What the command line's `faults` group does: plain arguments in, bytes or text back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.text import Text

from hascodesign.common.inputs import printable
from hascodesign.contract.array import generator
from hascodesign.contract.errors import ConfigError, FaultProfileError
from hascodesign.contract.types import ArraySpec, FaultProfile
from hascodesign.faults import bram, formats, generate, masks, show, transient, voltage
from hascodesign.faults.places import Half, check_amount
from hascodesign.faults.profile import MAX_SEED, one_of, shown
from hascodesign.faults.sources import CELLS_SUFFIX, kind_of

Method = Literal["by-area", "uniform", "clustered", "dead", "lim", "inf", "threshold"]


@dataclass(frozen=True, slots=True)
class DrawOptions:
    """Options of ``draw``; each method takes its own and passes over the others."""

    faulty_pes: int = 4  # by-area
    faults_per_pe: int = 1  # by-area
    bits: Half = "all"  # by-area
    count: int = 8  # uniform, clustered: faults; dead: PEs
    clusters: int = 2  # clustered
    radius: int = 2  # clustered, in multipliers
    pmax: float = 0.005  # lim, inf
    block: str = "0"  # lim: a number, mean or all
    transient_bits: tuple[int, int] = transient.BITS  # lim, inf: accumulator bits
    volts: float | None = None  # threshold; None = all cells with their thresholds
    shared: float = 0.28  # threshold
    length: float = 0.5  # threshold, in multipliers


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What a source that is no profile needs to become one."""

    array: ArraySpec | None = None  # .npy and measured lists
    volts: float | None = None  # measured lists and .cells.json
    block: str = "0"  # .npy: a number, mean or all
    first_bram: int = 0  # measured lists: block RAM of the first bank
    seed: int = 0
    transient_bits: tuple[int, int] = transient.BITS  # .npy: accumulator bits


_NO_DRAW_OPTIONS = DrawOptions()
_NO_LOAD_OPTIONS = LoadOptions()


def draw(
    array: ArraySpec,
    seed: int,
    method: str = "by-area",
    form: str = "json",
    options: DrawOptions = _NO_DRAW_OPTIONS,
) -> bytes:
    """File of a profile drawn from ``seed``.

    ``threshold`` without a voltage gives a ``.cells.json`` file, whatever ``form`` is.
    """
    check_amount("seed", seed, MAX_SEED)
    if method == "threshold":
        rng = generator(seed, "faults")
        cells = voltage.draw_cells(
            array, rng, shared=options.shared, length=options.length, seed=seed
        )
        if options.volts is None:
            return voltage.write_cells(cells)
        return formats.write(voltage.at_voltage(cells, options.volts), form)
    return formats.write(_drawn(array, seed, method, options), form)


def load(source: Path, options: LoadOptions = _NO_LOAD_OPTIONS) -> FaultProfile:
    """Profile out of any source: a profile, cells, probabilities or a measured list.

    Parameters
    ----------
    source : ``.json`` or ``.csv`` profile; ``.cells.json`` with thresholds; ``.npy`` of
        probabilities [blocks, threads]; folder or CSV of the measured block RAM list.
    options : what that source needs besides.
    """
    kind = kind_of(source)
    if kind == "cells":
        cells = voltage.read_cells(source)
        return voltage.at_voltage(cells, _volts(source, options))
    if kind == "probabilities":
        array = _array(source, options)
        probabilities = transient.read_probabilities(source)
        return transient.from_probabilities(
            array,
            probabilities,
            block=_block(options.block),
            bits=options.transient_bits,
            seed=options.seed,
            source=f"probabilities of {source.name}",
        )
    if kind == "measured":
        array, volts = _array(source, options), _volts(source, options)
        measured = bram.read_map(source)
        return bram.onto_banks(array, measured, volts, first=options.first_bram, seed=options.seed)
    return formats.read(source)


def convert(source: Path, form: str, options: LoadOptions = _NO_LOAD_OPTIONS) -> bytes:
    """The profile of any source as bytes of form ``json``, ``csv`` or ``npy``."""
    profile = load(source, options)
    if form == "npy":
        try:
            return transient.write_probabilities(profile)
        except FaultProfileError as error:
            raise FaultProfileError(f"{printable(source)}: {error}") from None
    return formats.write(profile, form)


def form_of(path: Path) -> str:
    """Form of the file that a name asks for."""
    return path.suffix.lower().removeprefix(".")


def check_output(path: Path, *, cells: bool) -> None:
    """Refuse a name that would be read back as something else."""
    if path.name.endswith(CELLS_SUFFIX) != cells:
        what = "a name that ends in" if cells else "no name that ends in"
        raise ConfigError(
            f"the file must have {what} {CELLS_SUFFIX}, not {printable(path)}: method "
            "threshold without a voltage writes cells, all else a profile"
        )


def mask_files(source: Path, options: LoadOptions = _NO_LOAD_OPTIONS) -> dict[str, bytes]:
    """The profile of any source as memory files for the RTL, file name -> bytes."""
    return masks.mask_files(load(source, options))


def show_text(source: Path, options: LoadOptions = _NO_LOAD_OPTIONS) -> Text:
    """Map of the array of any source for a terminal."""
    return show.render_text(load(source, options))


def show_svg(source: Path, options: LoadOptions = _NO_LOAD_OPTIONS) -> bytes:
    """Map of the array of any source as SVG."""
    return show.render_svg(load(source, options))


def _drawn(array: ArraySpec, seed: int, method: str, options: DrawOptions) -> FaultProfile:
    rng, o = generator(seed, "faults"), options
    methods = {
        "by-area": lambda: generate.by_area(
            array,
            rng,
            faulty_pes=o.faulty_pes,
            faults_per_pe=o.faults_per_pe,
            bits=o.bits,
            seed=seed,
        ),
        "uniform": lambda: generate.uniform(array, rng, count=o.count, seed=seed),
        "clustered": lambda: generate.clustered(
            array, rng, count=o.count, clusters=o.clusters, radius=o.radius, seed=seed
        ),
        "dead": lambda: generate.dead(array, rng, count=o.count, seed=seed),
        "lim": lambda: transient.lim(
            array, rng, pmax=o.pmax, block=_block(o.block), bits=o.transient_bits, seed=seed
        ),
        "inf": lambda: transient.inf(array, rng, pmax=o.pmax, bits=o.transient_bits, seed=seed),
    }
    if method not in methods:
        known = (*methods, "threshold")
        raise ConfigError(f"the method must be {one_of(known)}, not {shown(method)}")
    return methods[method]()


def _block(text: str) -> transient.Block:
    if text == "mean":
        return "mean"
    if text == "all":
        return "all"
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ConfigError(f"block must be a number, mean or all, not {shown(text)}")
    return int(text)


def _array(source: Path, options: LoadOptions) -> ArraySpec:
    if options.array is None:
        raise ConfigError(
            f"{printable(source)}: the array must be given, the file does not hold it"
        )
    return options.array


def _volts(source: Path, options: LoadOptions) -> float:
    if options.volts is None:
        raise ConfigError(
            f"{printable(source)}: the voltage must be given to choose among its faults"
        )
    return options.volts

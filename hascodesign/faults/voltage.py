"""Profiles by supply voltage: every cell has a threshold, below which it fails.

What fails at one voltage so fails at every lower one, as 98 to 100 % of the faults measured in
block RAM do. The share of cells that fail falls by a decade in every so many volts; the
thresholds of cells of one multiplier, and of multipliers near each other, go together.

References
----------
B. Salami, O. S. Unsal, A. Cristal Kestelman, "Comprehensive Evaluation of Supply Voltage
Underscaling in FPGA on-Chip Memories", MICRO 2018, doi:10.1109/MICRO.2018.00064.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.special import log_ndtr

from hascodesign.common import inputs
from hascodesign.common.inputs import printable
from hascodesign.contract.errors import ConfigError, FaultProfileError
from hascodesign.contract.types import (
    ArraySpec,
    Fault,
    FaultProfile,
    FloatArray,
    IntArray,
    Scalar,
    Site,
    frozen,
)
from hascodesign.faults.formats import (
    from_document,
    json_document,
    object_of,
    text_of,
    write_json,
)
from hascodesign.faults.places import Places, weighted_sites
from hascodesign.faults.profile import (
    MAX_ENTRIES,
    check,
    check_array,
    range_problem,
    shown,
)

NOMINAL_UV = 1_000_000
_CELL_KEYS = ("version", "floor_uv", "nominal_uv", "thresholds_uv", "profile")


@dataclass(frozen=True, slots=True)
class Curve:
    """Share of a site's cells that fail at v: rate * 10^((floor - v) / decade), 0 above first."""

    first: float  # V, the highest at which a cell may fail
    floor: float  # V, the lowest at which the part still answers
    rate: float  # share of cells that fail at the floor
    decade: float  # V per decade of the share
    lead: float  # V by which a word's highest bit fails before its lowest, evenly in between
    source: str


BRAM_CURVE = Curve(
    first=0.60,
    floor=0.53,
    rate=1.6e-4,
    decade=0.0196,
    lead=0.0,
    source="rates as measured in the block RAM of board KC705-B (Salami et al., MICRO 2018)",
)
LOGIC_CURVE = Curve(
    first=0.64,
    floor=0.53,
    rate=1e-2,
    decade=0.030,
    lead=0.020,
    source="a model, not measured: no curve is published for the logic of these parts",
)
CURVES: Mapping[Site, Curve] = {
    "wmem": BRAM_CURVE,
    "weight": LOGIC_CURVE,
    "act": LOGIC_CURVE,
    "product": LOGIC_CURVE,
    "psum": LOGIC_CURVE,
    "acc": LOGIC_CURVE,
}


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of an array that fail at or above the floor voltage, with their thresholds."""

    profile: FaultProfile  # every such cell as an entry
    thresholds_uv: IntArray  # [entries] microvolts; the cell fails at this voltage and below
    floor_uv: int  # microvolts, the lowest voltage that may be asked for
    nominal_uv: int = NOMINAL_UV  # microvolts, the highest


def at_voltage(cells: Cells, v: float) -> FaultProfile:
    """Profile of the cells that fail at ``v`` volts; a lower voltage keeps all of them.

    Raises
    ------
    ConfigError
        A voltage below the floor, where the part no longer answers, or above nominal.
    """
    uv = round(v * 1e6) if math.isfinite(v) else -1
    if not cells.floor_uv <= uv <= cells.nominal_uv:
        low, high = cells.floor_uv / 1e6, cells.nominal_uv / 1e6
        raise ConfigError(f"the voltage must be {low:g}..{high:g} V, not {v}")
    pairs = zip(cells.profile.faults, cells.thresholds_uv.tolist(), strict=True)
    faults = tuple(fault for fault, threshold in pairs if threshold >= uv)
    conditions = {**cells.profile.conditions, "voltage": uv / 1e6}
    return replace(cells.profile, faults=faults, conditions=conditions)


def draw_cells(
    array: ArraySpec,
    rng: np.random.Generator,
    *,
    curves: Mapping[Site, Curve] = CURVES,
    shared: float = 0.28,
    length: float = 0.5,
    seed: int = 0,
) -> Cells:
    """Draw a threshold voltage for every cell of the array.

    A cell's score is sqrt(shared) * g + sqrt(1 - shared) * e, with e its own normal deviate and g
    that of its multiplier: a normal field on the P x S grid whose correlation is
    exp(-distance / length) along each axis. The score's quantile is put through the site's curve,
    so each curve holds exactly whatever ``shared`` and ``length`` are.

    Parameters
    ----------
    array : the array; `wmem` cells are drawn where it fixes ``wmem_depth``.
    rng : generator of every draw.
    curves : curve of each site; a site without one never
        fails, and one that the array does not have is passed over.
    shared : share of the variance that the cells of a multiplier have in common. 0.28 puts 82 % of
        the block RAM's faults into the worst 10 % of the banks, as measured.
    length : distance, in multipliers, over which the correlation falls by e. Measured block RAMs
        correlate by less than 0.1 with their neighbours.
    seed : seed of the transient draws, kept in the profile.

    Returns
    -------
    The cells, thresholds rounded to the microvolt. `wmem` cells read 0 where 1 was written, others
    are stuck at 0 or 1 evenly.
    """
    check_array(array)
    if not (0 <= shared <= 1 and length > 0):
        raise ConfigError("shared must be in [0, 1] and length above 0")
    present = [s for s in array.sites if s in curves and (s != "wmem" or array.wmem_depth)]
    chosen = weighted_sites(array, dict.fromkeys(present, 1.0))
    floor = max(curves[site].floor for site in chosen)
    field = _field(rng, array.pe, array.simd, length)
    places = Places(array, rng)
    found: list[tuple[Fault, int]] = []
    for pe in range(array.pe):
        for site in chosen:
            lanes = field[pe] if array.has_lane(site) else field[pe, :1]
            found += _cells_of(places, pe, site, curves[site], (lanes, shared, floor))
            if len(found) > MAX_ENTRIES:
                raise ConfigError(f"the curves must leave at most {MAX_ENTRIES} cells to fail")
    by_curve: dict[str, list[str]] = {}
    for site in chosen:
        by_curve.setdefault(curves[site].source, []).append(site)
    names = [f"{', '.join(sites)}: {curve}" for curve, sites in by_curve.items()]
    source = "drawn, a threshold voltage per cell; " + "; ".join(names)
    conditions: dict[str, Scalar] = {"generator": "threshold", "shared": shared, "length": length}
    faults = tuple(fault for fault, _ in found)
    profile = check(FaultProfile(array, faults, seed, source, conditions))
    return Cells(profile, frozen([uv for _, uv in found]), round(floor * 1e6))


def write_cells(cells: Cells) -> bytes:
    """Bytes of the JSON file of the cells: their profile with ``thresholds_uv`` beside it."""
    thresholds = ", ".join(map(str, cells.thresholds_uv.tolist()))
    return (
        (
            f'{{\n"version": 1,\n"floor_uv": {cells.floor_uv},\n"nominal_uv": {cells.nominal_uv},\n'
            f'"thresholds_uv": [{thresholds}],\n"profile": '
        ).encode()
        + write_json(cells.profile).rstrip()
        + b"\n}\n"
    )


def read_cells(path: Path) -> Cells:
    """Cells of such a file, checked; an error names the file and the entry."""
    data = inputs.read(path, inputs.PROFILE)
    try:
        return parse_cells(data)
    except FaultProfileError as error:
        raise FaultProfileError(f"{printable(path)}: {error}") from None


def parse_cells(data: bytes) -> Cells:
    """Cells in the bytes of such a file, checked."""
    document = object_of(json_document(text_of(data)), "the file", _CELL_KEYS, _CELL_KEYS)
    if type(document["version"]) is not int or document["version"] != 1:
        raise FaultProfileError(f"version must be 1, not {shown(document['version'])}")
    profile = check(from_document(document["profile"]))
    values = document["thresholds_uv"]
    if not isinstance(values, list) or len(values) != len(profile.faults):
        raise FaultProfileError("thresholds_uv must be a list of one threshold per entry")
    high = 10 * NOMINAL_UV
    problem = range_problem("floor_uv", document["floor_uv"], 0, high)
    problem = problem or range_problem(
        "nominal_uv", document["nominal_uv"], document["floor_uv"], high
    )
    for entry, value in enumerate(values):
        problem = problem or range_problem(f"entry {entry}: thresholds_uv", value, 0, high)
    if problem is not None:
        raise FaultProfileError(problem)
    return Cells(profile, frozen(values), document["floor_uv"], document["nominal_uv"])


def _field(rng: np.random.Generator, pes: int, lanes: int, length: float) -> FloatArray:
    """Normal field [pes, lanes], variance 1, correlation exp(-distance / length) on each axis."""
    field = rng.standard_normal((pes, lanes))
    a = math.exp(-1 / length)
    own = math.sqrt(1 - a * a)
    for pe in range(1, pes):  # a first-order autoregression along each axis is exactly that
        field[pe] = a * field[pe - 1] + own * field[pe]
    for lane in range(1, lanes):
        field[:, lane] = a * field[:, lane - 1] + own * field[:, lane]
    return field


def _cells_of(
    places: Places, pe: int, site: Site, curve: Curve, common: tuple[FloatArray, float, float]
) -> list[tuple[Fault, int]]:
    """The cells of one site of one PE that fail at the floor or above, in order of place."""
    lanes, shared, floor = common
    bits = len(places.bits(site))
    scores = places.rng.standard_normal((len(lanes), places.count(site) // len(lanes)))
    scores = math.sqrt(1 - shared) * scores + math.sqrt(shared) * lanes[:, None]
    decades = math.log10(curve.rate) - log_ndtr(-scores) / math.log(10)
    later = curve.lead * (1 - np.arange(bits) / max(bits - 1, 1))  # V
    volts = curve.floor + curve.decade * decades - np.resize(later, scores.shape[1])
    uv = np.rint(np.minimum(volts, curve.first) * 1e6).astype(np.int64).ravel()
    failing = np.flatnonzero(uv >= round(floor * 1e6)).tolist()
    if site == "wmem":
        return [(places.at(pe, site, "sa0", n), int(uv[n])) for n in failing]
    stuck = places.rng.integers(2, size=uv.size)  # of every cell: the curve moves no other draw
    return [(places.at(pe, site, "sa1" if stuck[n] else "sa0", n), int(uv[n])) for n in failing]

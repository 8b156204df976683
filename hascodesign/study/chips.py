"""The chips of `study benchmark`: kinds of faults, each drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from hascodesign.contract.array import generator
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, FaultProfile, Site
from hascodesign.faults import bram, generate

#: Shares of products and partial sums, of AREA_WEIGHTS; what `--bits upper` strikes.
COMPUTE: Mapping[Site, float] = MappingProxyType({"product": 81.0, "psum": 11.0})
SUMS: Mapping[Site, float] = MappingProxyType({"psum": 1.0})
CLUSTERED, CLUSTERS = 24, 2  # faults, and clusters of radius 2 in which they lie


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of chips."""

    words: str
    draw: Callable[[ArraySpec, int, Path | None], FaultProfile]


def _by_area(
    faulty: int, each: int, weights: Mapping[Site, float] = COMPUTE
) -> Callable[[ArraySpec, int, Path | None], FaultProfile]:
    def draw(spec: ArraySpec, seed: int, _measured: Path | None) -> FaultProfile:
        rng = generator(seed, "faults")  # the very chips of `study seeds` and of the flow
        return generate.by_area(
            spec,
            rng,
            faulty_pes=faulty,
            faults_per_pe=each,
            weights=weights,
            bits="upper",
            seed=seed,
        )

    return draw


def _clustered(spec: ArraySpec, seed: int, _measured: Path | None) -> FaultProfile:
    rng = generator(seed, "clusters")
    return generate.clustered(spec, rng, count=CLUSTERED, clusters=CLUSTERS, seed=seed)


def _measured(spec: ArraySpec, seed: int, measured: Path | None) -> FaultProfile:
    if measured is None:
        raise ConfigError(
            "chips of kind measured must have the measured list: HASCODESIGN_DATA must name a"
            f" folder with {bram.KC705B}; leave the kind out, or name the folder"
        )
    listed = bram.read_map(measured)
    worst = bram.worst_places(spec, listed)
    if seed > len(worst):
        raise ConfigError(f"chips of kind measured must have seeds up to {len(worst)}, not {seed}")
    return bram.onto_banks(spec, listed, min(listed.voltages), first=worst[seed - 1], seed=seed)


#: Kinds of the small benchmark.
FEW = ("8x1", "16x3", "sums", "clustered")
#: By name, in the order they are shown. Numbers: faulty PEs of the array's, and faults on each.
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "4x1": Kind("4 PEs with one stuck bit, upper half of a product or sum", _by_area(4, 1)),
        "8x1": Kind("8 PEs with one", _by_area(8, 1)),
        "16x1": Kind("16 PEs with one", _by_area(16, 1)),
        "16x3": Kind("16 PEs with three", _by_area(16, 3)),
        "16x6": Kind("16 PEs with six", _by_area(16, 6)),
        "sums": Kind("8 PEs with a stuck bit in the upper half of the sum", _by_area(8, 1, SUMS)),
        "clustered": Kind(
            f"{CLUSTERED} stuck bits of any place in {CLUSTERS} clusters of multipliers", _clustered
        ),
        "measured": Kind(
            "block RAM faults as measured at the lowest voltage, worst places first", _measured
        ),
    }
)

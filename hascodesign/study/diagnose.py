"""`study diagnose`: drawn chips, the engine as the chip, and what their answers tell of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from rich.table import Table

from hascodesign.common.display import ProgressCall, silent
from hascodesign.common.stats import wilson
from hascodesign.contract.array import generator
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import (
    ArraySpec,
    Dataflow,
    Fault,
    FaultProfile,
    MultiplyLayer,
    RowMap,
    Site,
    frozen,
)
from hascodesign.diagnose.infer import infer
from hascodesign.diagnose.simulate import simulate
from hascodesign.diagnose.vectors import TestSet, vectors
from hascodesign.engine import gemm
from hascodesign.faults.generate import AREA_WEIGHTS
from hascodesign.faults.places import PERMANENT, Places, in_order, pick, sample
from hascodesign.faults.profile import MAX_SEED, check, range_problem

if TYPE_CHECKING:
    from hascodesign.fleet.cluster import Where

ARRAY = ArraySpec(16, 8, 4, 8, 24, wmem_depth=512)
EVENLY: Mapping[Site, float] = {"weight": 8 * 4, "act": 8 * 8, "product": 8 * 13, "psum": 24}
DRAWS: Mapping[Dataflow, Mapping[str, Mapping[Site, float]]] = {
    "os": {"by area": AREA_WEIGHTS, "by bit": EVENLY},
    "ws": {"by area": AREA_WEIGHTS, "by bit": {**EVENLY, "psum": 8 * 24, "acc": 24}},
}
FAULTY = (4, 8, 16)
MOST_FAULTS = 5  # of the logic of one PE
MOST_WORDS = 500  # faulty words of one chip; every fourth chip has some
MOST_CHIPS = 100_000
STEPS = (1, 9, 32)
COLUMNS = 24
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class ChipRow:
    """One drawn chip, and how its diagnosis compares."""

    seed: int
    draw: str  # of those of DRAWS
    faulty: int  # PEs with faulty logic
    words: int  # faulty words
    unexplained: int  # PEs that the diagnosis names as such
    differ: int  # accumulators of explained PEs on fresh layers that differ from the true ones
    compared: int
    seconds: float  # processor time of the inference


def chip(seed: int, dataflow: Dataflow = "os") -> tuple[str, FaultProfile]:
    """The chip of one seed, and how it is drawn: alternately by area and by bit."""
    rng, array, draws = generator(seed, "study diagnose"), _array(dataflow), DRAWS[dataflow]
    draw, faulty = tuple(draws)[seed % 2], FAULTY[seed // 2 % len(FAULTY)]
    words = int(rng.integers(1, MOST_WORDS + 1)) if seed // 6 % 4 == 0 else 0
    places = Places(array, rng)
    faults: list[Fault] = []
    for pe in sample(rng, array.pe, faulty):
        for _ in range(int(rng.integers(1, MOST_FAULTS + 1))):
            kind = PERMANENT[int(rng.integers(len(PERMANENT)))]
            faults.append(places.fault(pe, pick(rng, draws[draw]), kind))
    for _ in range(words):
        kind = PERMANENT[int(rng.integers(len(PERMANENT)))]
        faults.append(places.fault(int(rng.integers(array.pe)), "wmem", kind))
    return draw, check(FaultProfile(array, in_order(faults)))


def _array(dataflow: Dataflow) -> ArraySpec:
    return replace(ARRAY, dataflow=dataflow)


def run(
    n: int,
    first: int = 1,
    progress: ProgressCall = silent,
    where: Where | None = None,
    dataflow: Dataflow = "os",
) -> list[ChipRow]:
    """Draw, play, infer and compare chips of a dataflow, as ``each`` has it."""
    return each(partial(one, dataflow=dataflow), n, first, progress, where)


def each(
    one: Callable[[int], Row], n: int, first: int, progress: ProgressCall, where: Where | None
) -> list[Row]:
    """The rows of the chips of seeds ``first`` to ``first + n - 1``.

    Parameters
    ----------
    one : the row of a seed.
    n, first : which chips.
    progress : told of every chip that is done.
    where : a cluster that does the chips, None for this process: rows are the same but for times.

    Raises
    ------
    ConfigError
        Seeds that are not 0 to 4294967295, or too many.
    """
    check_seeds(n, first)
    rows: dict[int, Row] = {}
    for seed, row in spread(one, range(first, first + n), where):
        progress("chips", len(rows), n)
        rows[seed] = row
    return [rows[seed] for seed in sorted(rows)]


def check_seeds(n: int, first: int) -> None:
    """Refuse seeds ``first`` to ``first + n - 1`` that are none, or too many."""
    if not 1 <= n <= MOST_CHIPS:
        raise ConfigError(f"--n must be 1..{MOST_CHIPS}, not {n}")
    for seed in (first, first + n - 1):
        if (problem := range_problem("a seed", seed, 0, MAX_SEED)) is not None:
            raise ConfigError(problem)


def spread(
    one: Callable[[int], Row], seeds: Sequence[int], where: Where | None
) -> Iterator[tuple[int, Row]]:
    """Seed and row of each chip, as they come."""
    if where is None:
        yield from ((seed, one(seed)) for seed in seeds)
        return
    from hascodesign.fleet import cluster  # noqa: PLC0415  (dask, of an extra)

    for place, row in cluster.spread(where, None, one, [(seed,) for seed in seeds]):
        yield seeds[place], row


@lru_cache(maxsize=1)
def _test_set(array: ArraySpec) -> TestSet:
    return vectors(array)


def one(seed: int, dataflow: Dataflow = "os") -> ChipRow:
    """The chip of one seed, diagnosed."""
    test_set = _test_set(_array(dataflow))
    draw, true = chip(seed, dataflow)
    answers = simulate(test_set, true)
    start = time.process_time()
    try:
        found = infer(test_set, answers)
    except ConfigError:  # not one PE is explained
        told, idle = true, set(range(ARRAY.pe))
    else:
        told, idle = found.profile, set(found.unexplained)
    seconds = time.process_time() - start
    differ, compared = sums_that_differ(true, told, seed, idle)
    words = sum(fault.site == "wmem" for fault in true.faults)
    faulty = len({fault.pe for fault in true.faults if fault.site != "wmem"})
    return ChipRow(seed, draw, faulty, words, len(idle), differ, compared, seconds)


def sums_that_differ(
    one: FaultProfile, other: FaultProfile, seed: int, idle: set[int] | None = None
) -> tuple[int, int]:
    """Accumulators of fresh random layers that two profiles make different, and of how many.

    Parameters
    ----------
    one, other : profiles of one array.
    seed : draws the layers: signed and unsigned, T of STEPS, every word of the banks used.
    idle : PEs that are left out.
    """
    array, rng = one.array, generator(seed, "fresh layers")
    counted = np.isin(np.arange(array.pe), list(idle or ()), invert=True)
    differ = total = 0
    for signed, steps in product((False, True), STEPS):
        passes = max(1, array.wmem_depth // steps)
        rows, depth = passes * array.pe, steps * array.simd
        low = -(1 << array.act_bits - 1) if signed else 0
        codes = rng.integers(low, low + (1 << array.act_bits), (depth, COLUMNS))
        half = 1 << array.weight_bits - 1
        layer = MultiplyLayer(
            name="fresh",
            index=0,
            weights=frozen(rng.integers(-half, half, (rows, depth))),
            bias=frozen(np.zeros(rows)),
            weight_bits=array.weight_bits,
            in_bits=array.act_bits,
            in_signed=signed,
            conv=None,
            output=None,
            out_bits=0,
            out_signed=True,
        )
        row_map = RowMap("fresh", rows, frozen(np.arange(rows).reshape(passes, -1)))
        acc = [gemm.accumulate(p, layer, row_map, codes, wmem_base=0) for p in (one, other)]
        unlike = (acc[0] != acc[1]).reshape(passes, array.pe, -1)[:, counted]
        differ, total = differ + int(unlike.sum()), total + unlike.size
    return differ, total


def table(rows: Sequence[ChipRow]) -> Table:
    """The chips by how they are drawn."""
    shown = Table(title="diagnosed chips")
    heads = ("drawn", "faulty PEs", "faulty words", "chips", "equal, %", "PEs named", "lies")
    for head in (*heads, "sums that differ", "CPU s, median"):
        shown.add_column(head, justify="right")
    for draw, faulty, memory in product(DRAWS["os"], FAULTY, (False, True)):
        held = [r for r in rows if (r.draw, r.faulty, r.words > 0) == (draw, faulty, memory)]
        if held:
            words = f"up to {MOST_WORDS}" if memory else "0"
            shown.add_row(draw, str(faulty), words, *_cells(held))
    shown.add_row("all", "", "", *_cells(rows))
    return shown


def equal(row: ChipRow) -> bool:
    """Whether the whole chip is explained, and rightly."""
    return not row.unexplained and not row.differ


def _cells(rows: Sequence[ChipRow]) -> list[str]:
    good, named = sum(map(equal, rows)), sum(r.unexplained for r in rows)
    low, high = wilson(good, len(rows))
    return [
        str(len(rows)),
        f"{100 * good / len(rows):.1f} ({low:.1f}..{high:.1f})",
        f"{named} of {ARRAY.pe * len(rows)}",
        str(sum(r.differ > 0 for r in rows)),
        f"{sum(r.differ for r in rows)} of {sum(r.compared for r in rows):,}",
        f"{np.median([r.seconds for r in rows]):.2f}",
    ]

"""`study diagnose --transient`: drawn chips with transient faults, and how well each is found."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from hascodesign.common.display import ProgressCall, silent
from hascodesign.common.stats import wilson
from hascodesign.contract.array import generator
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile, Site
from hascodesign.diagnose.infer import Diagnosis, infer
from hascodesign.diagnose.simulate import simulate
from hascodesign.diagnose.vectors import TestSet, vectors
from hascodesign.faults.places import PERMANENT, Places, in_order
from hascodesign.faults.profile import check
from hascodesign.study.diagnose import each, sums_that_differ

if TYPE_CHECKING:
    from hascodesign.fleet.cluster import Where

ARRAY = ArraySpec(16, 8, 4, 8, 24)
SITES: tuple[Site, ...] = ("weight", "act", "product", "psum")
CHANCES = (1e-1, 1e-2, 1e-3)  # p, by the seed
LEAST = min(CHANCES)  # what the vectors are made for; whoever plays them does not know p
CASES = tuple(product(SITES, (0, 1)))  # PE k has case k, the PEs after them have no transient


@dataclass(frozen=True, slots=True)
class Case:
    """One PE with a transient fault."""

    pe: int
    site: Site
    permanent: int  # permanent faults beside it
    p: float
    explained: bool
    right: bool  # wire
    told: float  # p that was found
    sigma: float


@dataclass(frozen=True, slots=True)
class TransientRow:
    """One drawn chip, and how its diagnosis compares."""

    seed: int
    cases: tuple[Case, ...]
    wrong: tuple[int, ...]  # explained PEs with another wire, a transient too many, or other sums
    compared: int  # sums of fresh layers, of the permanent faults alone
    named: int  # PEs without a transient fault that are not explained
    seconds: float  # processor time of the inference


def chip(seed: int) -> FaultProfile:
    """The chip of one seed: a transient fault on each of half its PEs, p by the seed."""
    rng = generator(seed, "study transients")
    places = Places(ARRAY, rng)
    faults: list[Fault] = []
    for pe, (site, permanent) in enumerate(CASES):
        struck = places.fault(pe, site, "flip")
        faults.append(replace(struck, kind="transient", p=CHANCES[seed % len(CHANCES)]))
        faults += _permanent(places, rng, pe, permanent)
    for pe in range(len(CASES), ARRAY.pe):
        faults += _permanent(places, rng, pe, pe % 2)
    return check(FaultProfile(ARRAY, in_order(faults), seed))


def _permanent(places: Places, rng: np.random.Generator, pe: int, count: int) -> list[Fault]:
    return [
        places.fault(
            pe,
            SITES[int(rng.integers(len(SITES)))],
            PERMANENT[int(rng.integers(len(PERMANENT)))],
        )
        for _ in range(count)
    ]


def run(
    n: int, first: int = 1, progress: ProgressCall = silent, where: Where | None = None
) -> list[TransientRow]:
    """Draw, play, infer and compare chips, as ``study.diagnose.each`` has it."""
    return each(one, n, first, progress, where)


@lru_cache(maxsize=1)
def _test_set(array: ArraySpec) -> TestSet:
    return vectors(array, transients=LEAST)


def one(seed: int) -> TransientRow:
    """The chip of one seed, diagnosed."""
    test_set, true = _test_set(ARRAY), chip(seed)
    answers = simulate(test_set, true)
    start = time.process_time()
    try:
        found: Diagnosis | None = infer(test_set, answers)
    except ConfigError:  # not one PE is explained
        found = None
    return judged(true, found, seed, time.process_time() - start)


def judged(true: FaultProfile, found: Diagnosis | None, seed: int, seconds: float) -> TransientRow:
    """What was found, held against the chip that answered; None: no PE was explained."""
    every = set(range(true.array.pe))
    told = true if found is None else found.profile
    idle = every if found is None else set(found.unexplained)
    struck = {fault.pe: fault for fault in true.faults if fault.kind == "transient"}
    known = {} if found is None else found.transients
    right = {pe for pe in known if pe in struck and _same_wire(known[pe].fault, struck[pe])}
    wrong = (set(struck) ^ set(known) | set(known) - right) - idle
    differ, compared = sums_that_differ(_steady(true), _steady(told), seed, idle)
    for pe in every - idle if differ else ():
        if sums_that_differ(_steady(true), _steady(told), seed, every - {pe})[0]:
            wrong.add(pe)
    cases = tuple(
        Case(
            pe=pe,
            site=fault.site or "psum",
            permanent=sum(f.pe == pe for f in true.faults) - 1,
            p=fault.p or 0.0,
            explained=pe not in idle,
            right=pe in right,
            told=(known[pe].fault.p or 0.0) if pe in known else 0.0,
            sigma=known[pe].sigma if pe in known else 0.0,
        )
        for pe, fault in struck.items()
    )
    named = len(idle - set(struck))
    return TransientRow(seed, cases, tuple(sorted(wrong)), compared, named, seconds)


def _same_wire(one: Fault, other: Fault) -> bool:
    return replace(one, p=other.p) == other


def _steady(profile: FaultProfile) -> FaultProfile:
    """The permanent faults alone."""
    kept = tuple(fault for fault in profile.faults if fault.kind != "transient")
    return replace(profile, faults=kept)


def table(rows: Sequence[TransientRow]) -> Table:
    """The PEs with transient faults by probability, site and what else they have."""
    shown = Table(title="diagnosed transient faults")
    heads = ("p", "site", "permanent", "PEs", "explained, %", "wire right", "p off, % (rms)")
    for head in (*heads, "p off, sigmas (rms)", "sigma, % (median)"):
        shown.add_column(head, justify="right")
    every = [case for row in rows for case in row.cases]
    for p, (site, permanent) in product(CHANCES, CASES):
        held = [c for c in every if (c.p, c.site, c.permanent) == (p, site, permanent)]
        if held:
            shown.add_row(f"{p:g}", site, str(permanent), *_cells(held))
    shown.add_row("all", "", "", *_cells(every))
    named, seconds = sum(r.named for r in rows), np.median([r.seconds for r in rows])
    others = len(rows) * (ARRAY.pe - len(CASES))
    shown.caption = (
        f"{len(rows)} chips, {others} PEs without a transient, {named} of them named; "
        f"{sum(len(r.wrong) for r in rows)} PEs wrong; "
        f"{sum(r.compared for r in rows):,} sums compared; CPU s a chip, median {seconds:.2f}"
    )
    return shown


def _cells(cases: Sequence[Case]) -> list[str]:
    explained = [case for case in cases if case.explained]
    low, high = wilson(len(explained), len(cases))
    cells = [str(len(cases)), f"{100 * len(explained) / len(cases):.1f} ({low:.1f}..{high:.1f})"]
    cells += [f"{sum(case.right for case in explained)} of {len(explained)}"]
    good = [case for case in explained if case.sigma]
    if not good:
        return [*cells, "", "", ""]
    off = np.array([case.told / case.p - 1 for case in good])
    sigmas = np.array([(case.told - case.p) / case.sigma for case in good])
    return [
        *cells,
        f"{100 * np.sqrt((off**2).mean()):.1f}",
        f"{np.sqrt((sigmas**2).mean()):.2f}",
        f"{np.median([100 * case.sigma / case.p for case in good]):.1f}",
    ]

"""One pass of the faulty network beside one clean pass: by site and share of faulty PEs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from hascodesign.bench.result import Line
from hascodesign.bench.subject import ARRAY, Subject
from hascodesign.bench.timing import compare
from hascodesign.contract.array import identity_schedule
from hascodesign.contract.types import ArraySpec, Dataflow, Fault, FaultProfile, Schedule, Site
from hascodesign.engine.matrix import float_only
from hascodesign.engine.network import Evaluator

SHARES = (25, 50, 100)  # percent of the PEs that are faulty
#: Greatest ratio to the clean pass, by name and share, one faulty multiplier per PE.
TARGETS = {
    ("weight (os)", 25): 1.2, ("weight (os)", 50): 1.2, ("weight (os)", 100): 1.2,
    ("wmem (os)", 25): 1.2, ("wmem (os)", 50): 1.2, ("wmem (os)", 100): 1.2,
    ("act (os)", 25): 2.0, ("product (os)", 25): 3.0,
    ("psum (os)", 25): 5.0, ("psum (os)", 100): 15.0, ("transient psum (os)", 25): 8.0,
}  # fmt: skip
HEALTHY_TARGET = 1.2
TRANSIENT_P = 1e-3


@dataclass(frozen=True, slots=True)
class Case:
    """Where the faults of one line are."""

    site: Site
    dataflow: Dataflow
    share: int  # percent of the PEs
    everywhere: bool = False  # every multiplier of a faulty PE, else one
    transient: bool = False  # else stuck at 1

    @property
    def name(self) -> str:
        """Its line's name."""
        kind = "transient " if self.transient else ""
        return f"{kind}{self.site} ({self.dataflow})"

    @property
    def target(self) -> float | None:
        """Greatest ratio that is wanted, None where nothing was set."""
        if self.everywhere:
            return None
        return TARGETS.get((self.name, self.share))

    def profile(self, spec: ArraySpec = ARRAY) -> FaultProfile:
        """The faulty array."""
        array = replace(spec, dataflow=self.dataflow)
        return FaultProfile(array, tuple(self._faults(array)))

    def _faults(self, array: ArraySpec) -> Iterator[Fault]:
        for pe in range(self.share * array.pe // 100):
            for simd in range(array.simd) if self.everywhere else (pe % array.simd,):
                yield self._fault(pe, simd)

    def _fault(self, pe: int, simd: int) -> Fault:
        place = None if self.at_foot else simd
        if self.transient:
            return Fault(pe, "transient", self.site, place, None, None, TRANSIENT_P, (6, 14))
        bits = {"weight": 2, "wmem": 2, "act": 2}
        address = 40 + pe if self.site == "wmem" else None
        return Fault(pe, "sa1", self.site, place, bits.get(self.site, 9), address)

    @property
    def at_foot(self) -> bool:
        """Whether the site is the accumulator's register, of which a PE has one."""
        return not replace(ARRAY, dataflow=self.dataflow).has_lane(self.site)


def cases(shares: tuple[int, ...] = SHARES) -> list[Case]:
    """Every line: sites of the output-stationary array, then what only `ws` has."""
    first = [
        Case("weight", "os", 0),
        Case("wmem", "os", 0),
        Case("act", "os", 0),
        Case("product", "os", 0),
        Case("psum", "os", 0),
        Case("psum", "os", 0, transient=True),
        Case("psum", "ws", 0),
        Case("acc", "ws", 0),
    ]
    found = []
    for case in first:
        for share in shares:
            found.append(replace(case, share=share))
            if not case.at_foot:
                found.append(replace(case, share=share, everywhere=True))
    return found


def by_site(
    subject: Subject,
    repeats: int,
    told: Callable[[Line], None],
    shares: tuple[int, ...] = SHARES,
    device: str | None = None,
) -> list[Line]:
    """Ratio of one uncached pass of the batch to the clean one, for every case.

    The same again with float products only, as on a processor without 8-bit ones; and on a torch
    device where one is given.
    """
    lines = []
    plain = identity_schedule(subject.network, ARRAY)
    for case in (None, *cases(shares)):
        profile = FaultProfile(ARRAY, ()) if case is None else case.profile()
        line = _measured(subject, profile, replace(plain, array=profile.array), repeats)
        if case is not None:
            line = replace(
                line,
                name=case.name,
                share=case.share,
                multipliers="all" if case.everywhere else "one",
                target=case.target,
            )
        made = (
            [line]
            if device is None
            else [line, _on(device, line, subject, profile, plain, repeats)]
        )
        for one in made:
            told(one)
        lines += made
    return lines


def _on(
    device: str, line: Line, subject: Subject, profile: FaultProfile, plain: Schedule, repeats: int
) -> Line:
    """The line on a torch device, to the same clean pass; planes go there and back each layer."""
    schedule = replace(plain, array=profile.array)
    evaluator = Evaluator(
        subject.network, profile, subject.codes, subject.labels, cache_bytes=0, device=device
    )
    timed = compare(subject.clean_forward, partial(evaluator.logits, schedule), repeats)
    return replace(
        line,
        name=f"{line.name} on {device}",
        seconds=timed.seconds,
        ratio=timed.ratio,
        cpu_ratio=timed.cpu_ratio,
        float_ratio=None,
        target=None,
    )


def _measured(subject: Subject, profile: FaultProfile, schedule: Schedule, repeats: int) -> Line:
    """The line of the healthy array, with the times of this profile."""
    evaluator = Evaluator(subject.network, profile, subject.codes, subject.labels, cache_bytes=0)
    work = partial(evaluator.logits, schedule)
    timed = compare(subject.clean_forward, work, repeats)
    with float_only():
        floats = compare(subject.clean_forward, work, repeats)
    return Line(
        "passes",
        "healthy",
        share=0,
        seconds=timed.seconds,
        ratio=timed.ratio,
        cpu_ratio=timed.cpu_ratio,
        float_ratio=floats.ratio,
        target=HEALTHY_TARGET,
    )

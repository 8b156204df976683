"""What is known of each mutant, and the file that keeps it from run to run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(slots=True)
class Mutant:
    """One mutation and its fate."""

    suite: str
    command: str  # of yosys
    module: str  # as yosys names it
    place: str  # of the source that it mutates
    fate: str = ""  # killed, alive, equivalent
    by: str = ""  # the test that killed it; the proof
    against: str = ""  # digest of the bench that killed it; of all where it lives
    seconds: float = 0.0


class Record:
    """``mutants.json``: designs by suite with the limits of their benches, and judged mutants.

    A fate stands as long as what it rests on: an equivalence on the design, a kill on the bench
    that killed too, a life on all benches.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        held = json.loads(path.read_bytes()) if path.is_file() else {"suites": {}, "mutants": []}
        self.suites: dict[str, dict[str, object]] = held["suites"]
        self.mutants = [Mutant(**entry) for entry in held["mutants"]]

    def enter(self, suite: str, design: str) -> dict[str, float]:
        """Limits of a suite's benches, by digest; what another design left is forgotten."""
        held = self.suites.get(suite)
        if held is None or held["design"] != design:
            self.mutants = [m for m in self.mutants if m.suite != suite]
            held = self.suites[suite] = {"design": design, "limits": {}}
        limits = held["limits"]
        assert isinstance(limits, dict)
        return limits

    def find(self, mutant: Mutant, digests: set[str]) -> Mutant | None:
        """The same mutation, if it was judged before and its fate stands."""
        for m in self.mutants:
            if (m.suite, m.command) == (mutant.suite, mutant.command):
                return m if m.fate == "equivalent" or m.against in digests else None
        return None

    def add(self, mutant: Mutant) -> None:
        """Keep a mutant that is judged, in place of what was known of it."""
        same = (mutant.suite, mutant.command)
        self.mutants = [m for m in self.mutants if (m.suite, m.command) != same]
        self.mutants.append(mutant)
        self.save()

    def save(self) -> None:
        """Write the file."""
        held = {"suites": self.suites, "mutants": [asdict(m) for m in self.mutants]}
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
        part.replace(self._path)

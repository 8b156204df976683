"""The files of a build, in memory: ROMs, and the plan that holds every file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hascodesign.contract.types import FaultProfile, IntegerNetwork, Schedule


@dataclass(frozen=True, slots=True)
class Rom:
    """One memory: what each word is, and the words themselves."""

    name: str  # file stem
    content: str  # weights | row_map | bias | descending | thresholds | ...
    width: int  # bits of a word
    words: tuple[int, ...]  # signed or unsigned; masked to `width` where written
    order: str  # what the address counts, most significant first, e.g. "layer, pass, step"
    layer: str | None = None  # None = all layers
    idle: int | None = None  # code of an idle slot, row maps only

    @property
    def depth(self) -> int:
        """Words."""
        return len(self.words)


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """Every file of the build as bytes, nothing on disk yet."""

    files: Mapping[str, bytes]  # POSIX path relative to the output folder -> content

    @property
    def digest(self) -> str:
        """sha256 over paths and contents in path order."""
        total = hashlib.sha256()
        for path in sorted(self.files):
            for part in (path.encode(), self.files[path]):
                total.update(len(part).to_bytes(8, "little"))
                total.update(part)
        return total.hexdigest()

    def under(self, folder: str) -> dict[str, bytes]:
        """Files below ``folder``, keyed by the path inside it."""
        prefix = folder.rstrip("/") + "/"
        return {p[len(prefix) :]: b for p, b in self.files.items() if p.startswith(prefix)}

    @staticmethod
    def merge(plans: Iterable[BuildPlan]) -> BuildPlan:
        """One plan of several; a path that two of them hold is an error of ours."""
        files: dict[str, bytes] = {}
        for plan in plans:
            twice = files.keys() & plan.files.keys()
            if twice:
                raise ValueError(f"two parts of the build write {sorted(twice)[0]}")
            files.update(plan.files)
        return BuildPlan(files)


@dataclass(frozen=True, slots=True)
class Build:
    """One build: what runs, on what, and every file that was rendered for it."""

    network: IntegerNetwork  # with its rows as written
    schedule: Schedule
    profile: FaultProfile
    plan: BuildPlan

"""What this machine has of what the flow needs."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from packaging.requirements import Requirement
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from hascodesign.board import tools
from hascodesign.contract.errors import ToolNotFound

_PYTHON = (3, 11)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked for."""

    name: str
    kind: str  # "python", "package" or "program"
    found: str  # version, or "" where it is missing
    required: bool  # False: only some flows take it
    ok: bool  # there, and new enough
    purpose: str
    fix: str  # what to do where not ok, "" otherwise


def check_all() -> tuple[Check, ...]:
    """Python, the packages that this one requires, and the external programs."""
    return (_python(), *_packages(), *(_program(tool) for tool in tools.TOOLS.values()))


def healthy(checks: Sequence[Check]) -> bool:
    """True where nothing that every flow needs is missing."""
    return all(check.ok for check in checks if check.required)


def report(console: Console) -> int:
    """Print the checks as a table, and give the exit code: 0, or 3 where a needed one fails."""
    checks = check_all()
    table = Table("", "what", "found", "needed", Column("to do", overflow="fold"), box=None)
    for check in checks:
        mark = "[green]ok[/]" if check.ok else "[red]missing[/]" if check.required else "-"
        # the found text is a program's own and may hold brackets
        table.add_row(mark, check.name, escape(check.found), check.purpose, escape(check.fix))
    console.print(table)
    return 0 if healthy(checks) else ToolNotFound.exit_code


def _python() -> Check:
    ok = sys.version_info[:2] >= _PYTHON
    wanted = ".".join(map(str, _PYTHON))
    fix = "" if ok else f"Python must be {wanted} or newer"
    return Check("python", "python", platform.python_version(), True, ok, "all", fix)


def _packages(distribution: str = "hascodesign") -> tuple[Check, ...]:
    try:
        lines = importlib.metadata.requires(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return (Check(distribution, "package", "", True, False, "all", "pip install ."),)
    wanted = (Requirement(line) for line in lines)
    return tuple(
        _package(requirement)
        for requirement in sorted(wanted, key=lambda r: r.name.lower())
        # an extra's requirement carries a marker that is false without the extra
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    )


def _package(requirement: Requirement) -> Check:
    try:
        found = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        found = ""
    # local builds such as 2.13.0+cpu count as 2.13.0
    ok = bool(found) and requirement.specifier.contains(found, prereleases=True)
    wanted = f"{requirement.name}{requirement.specifier}"
    fix = "" if ok else f"pip install '{wanted}'"
    return Check(requirement.name, "package", found, True, ok, str(requirement.specifier), fix)


def _program(tool: tools.Tool) -> Check:
    path = tools.find(tool.name)
    if path is None:
        fix = tool.install
        return Check(tool.name, "program", "", tool.required, False, tool.purpose, fix)
    found = tools.version(tool.name, path) or f"{path} (no version)"
    return Check(tool.name, "program", found, tool.required, True, tool.purpose, "")

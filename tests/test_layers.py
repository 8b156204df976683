"""Imports go down the layers only, and the wheel's data folders are where the code looks."""

import ast
from pathlib import Path

import pytest

from hascodesign.resources import share

PACKAGE = Path(__file__).parent.parent / "hascodesign"
BOTTOM = {
    "errors",
    "types",
    "plan",
    "results",
    "array",
    "ops",
    "resources",
    "stats",
    "codec",
    "files",
    "recovery",
    "interrupt",
    "memory",
}
TOOLS = {"tools", "doctor", "boards", "config", "fit", "ui", "steps", "request"}
WORK = {
    "models",
    "faults",
    "engine",
    "schedule",
    "render",
    "verify",
    "estimate",
    "report",
    "timing",
}
TOP = {
    "handover": 3,
    "judging": 3,
    "cli_options": 3,
    "faults_cli": 3,
    "pipeline": 4,
    "masking": 5,
    "routing": 5,
    "delivery": 5,
    "study": 6,
    "bench": 6,
    "study_cli": 7,
    "cli": 8,
    "__main__": 9,
}
MAY_USE_ENGINE = {"schedule", "verify"}


def level(part: str) -> int:
    for number, parts in enumerate((BOTTOM | {""}, TOOLS, WORK)):
        if part in parts:
            return number
    return TOP[part]


def imports(path: Path) -> set[str]:
    """Parts of the package that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            parts = node.module.split(".")
            if parts[0] == "hascodesign":
                names = [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
                found.update(names)
        elif isinstance(node, ast.Import):
            found.update(
                alias.name.split(".")[1]
                for alias in node.names
                if alias.name.startswith("hascodesign.")
            )
    return found - {"__version__"}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py").replace("__init__", "")


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_go_down(path):
    own = part_of(path)
    for used in imports(path) - {own}:
        assert level(used) <= level(own), f"{own} must not import {used}"
        if level(own) == level(used) == 2:
            assert own in MAY_USE_ENGINE and used == "engine", f"{own} must not import {used}"


def test_a_breach_is_seen(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from hascodesign.render import rom\n    return rom\n")
    assert imports(bad) == {"render"}
    assert level("render") > level("types") and level("cli") > level("pipeline")


@pytest.mark.parametrize("folder", ["rtl_templates", "sim", "flows"])
def test_shared_folders_are_found(folder):
    assert any(share(folder).iterdir())

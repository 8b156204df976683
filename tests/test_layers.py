"""Imports go down the layers only, and the wheel's data folders are where the code looks."""

import ast
from pathlib import Path

import pytest

from hascodesign.common.shipped import share

PACKAGE = Path(__file__).parent.parent / "hascodesign"
#: What may use what: a room uses the rows below its own.
ROWS = (
    {"__main__"},
    {"cli"},
    {"study", "bench", "healing"},
    {"fleet", "torch"},
    {"flow"},
    {"report"},
    {"schedule", "render", "verify", "diagnose"},
    {"models", "faults", "board", "engine"},
    {"common"},
    {"contract"},
)


def level(part: str) -> int:
    (number,) = (i for i, parts in enumerate(reversed(ROWS)) if part in parts)
    return number


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
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_go_down(path):
    own = part_of(path)
    for used in imports(path) - {own}:
        assert level(used) < level(own), f"{own} must not import {used}"


def test_a_breach_is_seen(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from hascodesign.render import rom\n    return rom\n")
    assert imports(bad) == {"render"}
    assert level("render") > level("contract") and level("cli") > level("flow")


def test_nothing_is_loose_at_the_root():
    names = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    assert names == {"__init__.py", "__main__.py", "py.typed"}
    assert {part_of(path) for path in FILES} == set().union(*ROWS)


@pytest.mark.parametrize("folder", ["rtl_templates", "sim", "flows"])
def test_shared_folders_are_found(folder):
    assert any(share(folder).iterdir())

"""Sphinx: the pages of this folder, the command line and the Python API from their docstrings.

``make docs`` builds them without a network; every warning is an error.
"""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent.parent))

from hascodesign import __version__
from hascodesign.contract import registers

project = "hascodesign"
author = "the hascodesign contributors"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"hascodesign {release}"
html_show_sphinx = False
html_copy_source = False
#: Schemas are published as files of their own.
html_extra_path = ["../hascodesign/schemas"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "fieldlist"]
autodoc_typehints = "none"  # they stand in the signature, units and shapes in the text
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False
suppress_warnings = ["misc.highlighting_failure"]  # profiles.md shows JSON with an ellipsis

_HERE = Path(__file__).parent


def _command_line(_app: Sphinx) -> None:
    """reference/cli.md, from the commands themselves."""
    command = [sys.executable, "-m", "typer", "hascodesign.cli.main", "utils", "docs"]
    done = subprocess.run(
        [*command, "--name", "hascodesign", "--title", "The command line"],
        cwd=_HERE.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    _write("cli.md", done.stdout)
    _write("registers.md", f"# Registers\n\n{registers.__doc__}\n{registers.table()}")


def _write(name: str, text: str) -> None:
    path = _HERE / "reference" / name
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def _parameters(*event: object) -> None:
    """``name : text`` is a parameter and its text, which numpydoc would take for a type."""
    lines = event[-1]
    assert isinstance(lines, list)
    inside, found = False, []
    for here, after in pairwise([*lines, ""]):
        if set(after) == {"-"}:
            inside = here.strip() == "Parameters"
        name, mark, text = here.partition(" : ")
        split = inside and mark and re.fullmatch(r"[*\w, ]+", name) and not name.startswith(" ")
        found += [name, f"    {text}"] if split else [here]
    lines[:] = found


def setup(app: Sphinx) -> None:
    """Make the generated pages before any is read."""
    app.connect("builder-inited", _command_line)
    app.connect("autodoc-process-docstring", _parameters, priority=1)  # before napoleon

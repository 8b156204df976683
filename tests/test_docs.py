"""The documentation: it builds, links lead somewhere, commands are ones, notebooks run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import jupytext
import pytest
import typer.main
from nbclient import NotebookClient

from hascodesign.cli.main import app

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/tutorials/*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-q"]
    # no name can be resolved there: what is asked of the network fails
    isolated = {**os.environ, "https_proxy": "http://127.0.0.1:9", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "-b", "html", "-d", out / "trees", ROOT / "docs", out / "html"],
        env=isolated, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out / "html"


def test_the_site_builds_without_a_warning_and_has_every_page(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).is_file(), page
    assert {"faults.schema.json", "schedule.schema.json"} <= {path.name for path in site.iterdir()}


def test_the_reference_is_that_of_the_program(site: Path) -> None:
    commands = re.sub("<[^>]+>", "", (site / "reference" / "cli.html").read_text())
    for words in ("hascodesign flow", "hascodesign fleet run", "hascodesign study has"):
        assert words in commands
    assert "--verify-below" in commands
    api = re.sub("<[^>]+>", "", (site / "reference" / "api.html").read_text())
    assert "hascodesign.flow.notebook.search" in api and "ScheduleError" in api
    assert "bits of the array" in api  # a parameter's text


def test_every_link_of_the_site_leads_to_a_page_and_a_place_on_it(site: Path) -> None:
    pages = {path: path.read_text() for path in site.rglob("*.html")}
    places = {path: set(re.findall(r'id="([^"]+)"', text)) for path, text in pages.items()}
    count = 0
    for path, text in pages.items():
        for target, place in re.findall(r'href="([^"#:?]*)(?:#([^"]*))?"', text):
            where = (path.parent / target).resolve() if target else path
            assert where.is_file(), f"{path.name}: {target}"
            if place and where in places and not where.name.startswith(("genindex", "py-mod")):
                assert place in places[where], f"{path.name}: {target}#{place}"
                count += 1
    assert count > 100


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_between_files_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), target


def commands() -> list[tuple[str, str]]:
    """Every call of the program in the pages: page, command."""
    found = []
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        for line in re.findall(r"^(?: {4}|)(?:DASK_CONFIG=\S+ )?(hascodesign .+)$", text, re.M):
            call = re.sub(r"[][]", "", re.split(r"\s+#|\s*\|", line)[0])  # [options] are ones, too
            if page.name != "CHANGELOG.md" and re.match(r"hascodesign [a-z]+($| )", call):
                found.append((page.name, call))
    return found


def test_every_command_of_the_pages_is_one_that_the_program_takes() -> None:
    root, count = typer.main.get_command(app), 0
    for page, call in commands():
        part: Any = root
        arguments = shlex.split(call)[1:]
        if arguments[0] not in part.commands:  # a sentence that begins with the program's name
            continue
        while getattr(part, "commands", None):
            if part.name == "fleet" and arguments[0] not in part.commands:
                arguments.insert(0, "run")
            part = part.commands[arguments.pop(0)]
        try:
            part.make_context(call, arguments)
        except click.ClickException as error:
            pytest.fail(f"{page}: {call}: {error}")
        count += 1
    assert count > 30


def test_a_notebook_runs(tmp_path: Path) -> None:
    run("your-network", tmp_path)


def run(name: str, folder: Path) -> None:
    """Every cell of a tutorial, in an empty folder."""
    notebook = jupytext.read(ROOT / "docs" / "tutorials" / f"{name}.md")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 3
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path}
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}})
    client.execute(env=env)


if __name__ == "__main__":  # `make regress`: those that search and render in processes of their own
    import tempfile

    for name in ("first-rom", "your-chip"):
        with tempfile.TemporaryDirectory() as place:
            run(name, Path(place))
        print(f"docs/tutorials/{name}.md ran")

"""The driver as files: what they may import, the notebook, and how they get to a board."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from hascodesign.common.shipped import share
from hascodesign.contract.registers import REGISTERS
from hascodesign.render import cells
from hascodesign.render.driver import FOLDER
from tests import driver_cases

SOURCES = sorted(share("flows", "driver", "has_driver").glob("*.py"))
ON_THE_BOARD = {"numpy", "pynq", "has_driver"}  # and what Python 3.10 brings


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_the_board_has_all_that_a_file_needs(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 10))
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [str(node.module)]
        for name in names:
            top = name.partition(".")[0]
            assert top in ON_THE_BOARD or top in sys.stdlib_module_names, f"{path.name}: {name}"
            assert top not in {"tomllib"}, "not in Python 3.10"


def test_it_is_imported_without_pynq_and_without_the_package(tmp_path: Path) -> None:
    driver_cases.write(tmp_path, driver_cases.small().driver(FOLDER))
    code = (
        "import sys, has_driver, has_driver.__main__;"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    environment = {"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not {"hascodesign", "torch", "pynq"} & set(done.stdout.split())


def test_addresses_are_those_of_the_table() -> None:
    files = driver_cases.small().driver(FOLDER)
    described = json.loads(files["schedule/core.json"])
    addresses = {one.name: one.address for one in REGISTERS}
    batch = addresses.pop("BATCH")  # of a build with batches alone
    for name in ("WATCH", "EXPECTED", "SIGNATURE"):  # of one that watches
        del addresses[name]
    assert described["registers"] == addresses
    assert batch not in addresses.values()
    used = {
        node.value
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isupper()
    }
    assert used & described["registers"].keys() >= {"CONTROL", "PACKET", "FETCH", "VALUE"}


def test_the_notebook_is_one_and_holds_no_outputs() -> None:
    made = driver_cases.small().driver(FOLDER)["accelerator.ipynb"]
    found = nbformat.reads(made.decode(), as_version=4)
    nbformat.validate(found)
    code = [cell for cell in found.cells if cell.cell_type == "code"]
    text = [cell for cell in found.cells if cell.cell_type == "markdown"]
    assert len(code) >= 5 and len(text) >= 5
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert text[0].source.startswith("# The accelerator on this board\n\nRun the cells")
    joined = "\n".join(cell.source for cell in code)
    for name in ("Accelerator()", "verify", "throughput", "stage_cycles", "classify", "load_sch"):
        assert name in joined, name


def test_cells_of_text_and_code() -> None:
    made = json.loads(
        cells.notebook('"""Left out."""\n# %% [markdown]\n# # A\n#\n# b\n\n# %%\nx = 1\n')
    )
    sources = [(cell["cell_type"], cell["source"]) for cell in made["cells"]]
    assert sources == [("markdown", ["# A\n", "\n", "b"]), ("code", ["x = 1"])]


# ------------------------------------------------------------------------------------- deploy.sh

FAKES = {
    "ssh": 'test "$1" = -- && shift\necho "ssh $1" >>"$LOG"\ncd "$BOARD" && sh -c "$2"\n',
    "scp": (
        'for last; do :; done\nwhile [ "$1" != -- ]; do shift; done\n'
        'echo "scp $2 $last" >>"$LOG"\n[ -z "${FAIL:-}" ] || exit 1\n'
        'cp -r -- "$2" "$BOARD/${last#*:}"\n'
    ),
}


def deploy(tmp_path: Path, *arguments: str, programs: bool = True, **more: str) -> tuple[int, str]:
    """Exit code and words of deploy.sh with an ssh and an scp that stay on this machine."""
    folder = tmp_path / "deploy of mine" / "driver"
    if not folder.is_dir():
        driver_cases.write(folder, driver_cases.small().driver(FOLDER))
    tools, board = tmp_path / "bin", tmp_path / "board"
    tools.mkdir(exist_ok=True)
    board.mkdir(exist_ok=True)
    for name, text in FAKES.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}")
        (tools / name).chmod(0o755)
    path = f"{tools}:/usr/bin:/bin" if programs else str(tmp_path / "none")
    environment = {"PATH": path, "LOG": str(tmp_path / "log"), "BOARD": str(board), **more}
    done = subprocess.run(
        ["/bin/sh", str(folder / "deploy.sh"), *arguments],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_deploy_copies_the_driver_and_the_overlay(tmp_path: Path) -> None:
    code, said = deploy(tmp_path, "xilinx@192.168.2.99")
    assert code == 0 and "note: there is no" in said, said
    target = tmp_path / "board" / "hascodesign"
    source = tmp_path / "deploy of mine"
    files = sorted(p.relative_to(source) for p in source.rglob("*") if p.is_file())
    assert sorted(p.relative_to(target) for p in target.rglob("*") if p.is_file()) == files
    (target / "driver" / "stale").touch()
    for name in ("has_core.bit", "has_core.hwh"):
        (source / name).write_bytes(name.encode())
    code, said = deploy(tmp_path, "pynq", "a/b")
    assert code == 0 and "note" not in said, said
    assert (tmp_path / "board" / "a/b/has_core.bit").read_bytes() == b"has_core.bit"
    assert deploy(tmp_path, "pynq")[0] == 0
    assert not (target / "driver" / "stale").exists()
    assert sorted(p.name for p in target.iterdir()) == ["driver", "has_core.bit", "has_core.hwh"]


def test_a_broken_copy_leaves_the_old_driver(tmp_path: Path) -> None:
    assert deploy(tmp_path, "pynq")[0] == 0
    (tmp_path / "board/hascodesign/driver/mine").touch()
    code, said = deploy(tmp_path, "pynq", FAIL="1")
    assert code == 1 and "did not; the driver there is as it was" in said
    assert (tmp_path / "board/hascodesign/driver/mine").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "usage: sh deploy.sh"),
        (("--help",), 0, "usage: sh deploy.sh"),
        (("a", "b", "c"), 2, "usage"),
        (("-oProxyCommand=touch x",), 2, "host must be"),
        (("pynq; touch x",), 2, "host must be"),
        (("pynq", "a'; touch x; '"), 2, "folder must be"),
        (("pynq", "/etc"), 2, "folder must be"),
        (("pynq", "../up"), 2, "folder must be"),
        (("pynq", "-x"), 2, "folder must be"),
    ],
)
def test_deploy_copies_nothing(
    tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    got, said = deploy(tmp_path, *arguments)
    assert got == code and words in said and not (tmp_path / "log").exists()


def test_deploy_without_ssh(tmp_path: Path) -> None:
    code, said = deploy(tmp_path, "pynq", programs=False)
    assert code == 3 and "apt-get install openssh-client" in said


def test_deploy_is_clean_under_shellcheck() -> None:
    script = share("flows", "driver", "deploy.sh")
    done = subprocess.run(
        [Path(sys.executable).parent / "shellcheck", script],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout

"""The wheel carries the templates, the benches and the flow files, and finds them."""

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
CHECK = """
from hascodesign.common.shipped import share
from hascodesign.flow.config import board_config, load_config
from hascodesign.render import rtl
assert "_share" in share("sim").parts, share("sim")
assert load_config(board_config("pynq-z2"), {}).board == "pynq-z2"
for path in ("rtl_templates/has_pe.v", "sim/layer_tests.py", "sim/Makefile", "flows/vivado"):
    assert share(path).exists(), path
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    # the source distribution, and the wheel out of it
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    (sources,) = folder.glob("*.tar.gz")
    with tarfile.open(sources) as archive:
        inner = {name.partition("/")[2] for name in archive.getnames()}
    wanted = (
        "pyproject.toml",
        "conda/recipe.yaml",
        "tests/test_wheel.py",
        "docs/index.md",
        "LICENSE",
    )
    assert inner >= set(wanted)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_finds_its_files_from_another_folder(unpacked, tmp_path):
    environment = {"PYTHONPATH": str(unpacked), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", CHECK]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_all_that_the_checkout_does(unpacked):
    tracked = subprocess.run(
        ["git", "ls-files", "hascodesign", "rtl_templates", "sim", "flows"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if tracked.returncode:
        pytest.skip("not a git checkout: nothing tells which files belong to the package")
    package = unpacked / "hascodesign"
    for name in tracked.stdout.split():
        inner = name.removeprefix("hascodesign/")
        path = package / inner if name.startswith("hascodesign/") else package / "_share" / name
        assert path.exists(), name


def test_the_conda_recipe_asks_for_what_the_wheel_does():
    recipe = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {"torch": "pytorch", "matplotlib": "matplotlib-base"}  # on conda-forge
    wanted = set()
    for requirement in project["dependencies"]:
        name, mark, version = requirement.partition(">=")
        wanted.add(f"{names.get(name, name)} {mark}{version}")
    tools = {f"python {project['requires-python']}", "iverilog", "yosys"}
    assert set(recipe["requirements"]["run"]) == wanted | tools
    assert recipe["context"]["version"] in (ROOT / "hascodesign" / "__init__.py").read_text()

"""The HLS C++ as synthesis takes it: with exact-width words, and with its pragmas."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import test_render_hls as layers
from tests.test_render_hls_network import Case, plain, streamed, systolic

HEADERS = Path(__file__).parent / "fake_tools/include"
COUNT = re.compile(r"^(\d+) integers compared, 0 mismatches\n\Z", re.MULTILINE)
PRAGMAS = (
    r"inline|UNROLL|PIPELINE( II=1)?|LOOP_TRIPCOUNT min=\d+ max=\d+"
    r"|ARRAY_PARTITION variable=\w+( dim=[12])? complete|DEPENDENCE variable=map_[01] inter false"
    r"|INTERFACE (axis|s_axilite) port=\w+"
    r"|INTERFACE m_axi port=(\w+) offset=slave bundle=\4 depth=\d+"
)


def compiled(folder: Path, top: str, *flags: str) -> Path:
    """The bench of one function with the words of the synthesis; undefined behaviour ends it."""
    sources = [f"hls/{top}.cpp", f"hls/{top}_tb.cpp"]
    undefined = ["-fsanitize=undefined", "-fno-sanitize-recover=all"]
    command = ["g++", "-std=c++14", "-O0", *undefined, "-DHAS_AP_INT=1", f"-I{HEADERS}", *flags]
    subprocess.run([*command, *sources, "-o", "bench"], cwd=folder, check=True)
    return folder / "bench"


def write(folder: Path, files: dict[str, bytes]) -> None:
    for path, data in files.items():
        if path.endswith((".h", ".cpp")):
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(data)


@pytest.mark.parametrize(("make", "faults"), [(streamed, False), (systolic, True)])
def test_a_network_of_exact_width_words(
    tmp_path: Path, make: Callable[[], Case], faults: bool
) -> None:
    held = make()
    write(tmp_path, held.files)
    flags = ["-DHAS_PROBE=1", f"-DHAS_FAULT_SITES={int(faults)}"]
    bench = compiled(tmp_path, "has_network", *flags)
    (tmp_path / "images.txt").write_bytes(held.vectors(faults=faults))
    done = subprocess.run(
        [bench, "images.txt"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    found = COUNT.fullmatch(done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert int(found[1]) > 100


def test_layers_of_exact_width_words(tmp_path: Path) -> None:
    build = layers.case("os")
    write(tmp_path, build.files())
    bench = compiled(tmp_path, "has_layer", "-DHAS_FAULT_SITES=1")
    done = layers.run_bench(bench, layers.all_layers(build, build.profile))
    assert (done.stdout, done.returncode) == ("0 mismatches\n", 0), done.stderr


@pytest.mark.parametrize("top", ["has_network", "has_layer"])
def test_every_pragma_reaches_synthesis_as_written(tmp_path: Path, top: str) -> None:
    """Past the macros of the vendor's headers."""
    write(tmp_path, plain().files)
    command = ["g++", "-std=c++14", "-E", "-P", "-D__SYNTHESIS__", f"-I{HEADERS}"]
    done = subprocess.run(
        [*command, f"hls/{top}.cpp"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    found = re.findall(r"#pragma HLS (.*)|_Pragma\(\"HLS (.*?)\"\)", done.stdout)
    pragmas = [one or other for one, other in found]
    assert len(pragmas) > 30
    assert [text for text in pragmas if not re.fullmatch(PRAGMAS, text)] == []

"""The HLS C++ as synthesis takes it: with exact-width words, and with its pragmas."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hascodesign.contract.types import ArraySpec
from hascodesign.render.hls_network import compared, network_refusal
from tests import core_cases
from tests import test_render_hls as layers
from tests.test_render_hls_network import Case, case, plain, streamed, systolic

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
    for first in (0, 2):  # the draws of an image depend on its number
        (tmp_path / "images.txt").write_bytes(held.vectors(faults=faults, first=first))
        done = subprocess.run(
            [bench, "images.txt"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        found = COUNT.fullmatch(done.stdout)
        assert found is not None, done.stdout + done.stderr
        images = len(held.codes) - first
        assert int(found[1]) == compared(held.network, images, every=True)


def test_layers_of_exact_width_words(tmp_path: Path) -> None:
    build = layers.case("os")
    write(tmp_path, build.files())
    bench = compiled(tmp_path, "has_layer", "-DHAS_FAULT_SITES=1")
    done = layers.run_bench(bench, layers.all_layers(build, build.profile))
    assert (done.stdout, done.returncode) == ("0 mismatches\n", 0), done.stderr


WRAPPED = """
#define has_layer computed
#include "computed.h"
#undef has_layer
template <typename T>
static void all(T *port, uint32_t &sum) {
  for (int i = 0; i < HAS_PORT_DEPTH; i++) sum += uint32_t(port[i]);
}
int has_layer(uint32_t layer, uint32_t columns, uint32_t first_column, uint32_t source,
              uint32_t passes, const uint8_t *activations, const uint64_t *weights,
              const int32_t *map, int32_t *acc, has_result_t *results) {
  static volatile uint32_t kept;
  uint32_t sum = 0;
  all(activations, sum), all(weights, sum), all(map, sum), all(acc, sum), all(results, sum);
  kept = sum;
  return computed(layer, columns, first_column, source, passes, activations, weights, map, acc,
                  results);
}
"""


def test_ports_are_as_long_as_a_cosimulation_takes_them(tmp_path: Path) -> None:
    """Its wrapper reads `depth` elements from each pointer, whatever the function does."""
    build = layers.case("os")
    files = build.files()
    files["hls/computed.h"] = files["hls/has_layer.cpp"]
    write(tmp_path, files | {"hls/has_layer.cpp": WRAPPED.encode()})
    bench = compiled(tmp_path, "has_layer", "-fsanitize=address")
    done = layers.run_bench(bench, layers.all_layers(build))
    assert (done.stdout, done.returncode) == ("0 mismatches\n", 0), done.stderr
    assert files["hls/has_layer.cpp"].count(b"depth=HAS_PORT_DEPTH") == 5


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


def wide(pe: int) -> Case:
    """Streamed weights of 17 multipliers, 8 bits each, for so many PEs."""
    rng, spec = np.random.default_rng(5), ArraySpec(pe, 17, 8, 4, 24)
    net = core_cases.random_network(rng, spec, (3, 3, 2), [(3, 2, 1, 0)], pool=False)
    return case(rng, spec, net, streamed=(0,))


def test_beats_wider_than_ap_int_takes_by_default(tmp_path: Path) -> None:
    """Up to 1,024 bits; what is wider must say so before ap_int.h."""
    held = wide(16)
    write(tmp_path, held.files)
    assert b"#define HAS_STREAM_BITS 2176\n" in held.files["hls/has_stages.h"]
    command = ["g++", "-std=c++14", "-fsyntax-only", "-DHAS_AP_INT=1", f"-I{HEADERS}"]
    subprocess.run([*command, "hls/has_network.cpp"], cwd=tmp_path, check=True)
    assert b"AP_INT_MAX_W" not in plain().files["hls/has_config.h"]


def test_beats_wider_than_ap_int_can_be_are_refused() -> None:
    held = wide(32)
    assert "hls/has_layer.cpp" in held.files
    assert "hls/has_network.cpp" not in held.files
    refused = network_refusal(held.network, held.schedule.array, held.on_chip)
    assert refused == "a beat of a stream must have at most 4096 bits, not 4352"
    inside = (True,) * len(held.on_chip)
    assert network_refusal(held.network, held.schedule.array, inside) is None

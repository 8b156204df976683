"""The mutants' machinery: designs pass their benches unmutated, kills, proofs, what stands."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mutation.aiger import Graph
from mutation.benches import Limits, digest, passes
from mutation.invariants import prove
from mutation.record import Mutant, Record
from mutation.suites import SUITES, Bench, Suite
from mutation.yosys import draw, elaborate, module_netlist, modules

# n counts 0 to 9; held is seen only where shown is 1, and then it is 2 or more
TINY = """
module tiny (input clk, input rst, input go, output [3:0] out, output [1:0] seen);
  reg [3:0] n;
  reg [1:0] held;
  reg shown;
  always @(posedge clk) begin
    if (rst) n <= 4'd0;
    else if (go) n <= n == 4'd9 ? 4'd0 : n + 4'd1;
    if (rst) shown <= 1'b0;
    else shown <= n[1];
    held <= n[1:0];
  end
  assign out = n;
  assign seen = shown ? held : 2'd0;
endmodule
"""


@pytest.mark.parametrize("name", sorted(SUITES))
def test_a_design_without_a_mutation_passes(tmp_path: Path, name: str) -> None:
    suite = SUITES[name](tmp_path)
    elaborate(suite)
    held: dict[str, float] = {}
    limits = Limits(suite, held)
    for bench in suite.benches:
        limits.of(bench)  # ends the test where it fails
    alone = {base: name for name, base in modules(suite).items() if base in suite.modules}
    for base, name in alone.items():
        limits.of(suite.modules[base], name)
    assert len(held) == len(suite.benches) + len(suite.modules)


@pytest.fixture
def tiny(tmp_path: Path) -> Suite:
    (tmp_path / "rtl").mkdir()
    (tmp_path / "roms").mkdir()
    (tmp_path / "rtl/tiny.v").write_text(TINY, encoding="ascii")
    suite = Suite("tiny", tmp_path, "tiny", {}, ("*",), ())
    elaborate(suite)
    return suite


def mutated(suite: Suite, connection: str, port: str, bit: int, mode: str) -> Mutant:
    """A mutation of a bit of the cell that is connected so."""
    design = (suite.folder / "design.il").read_text("utf-8")
    cells = re.findall(r"^  cell \S+ (\S+)\n((?:    .*\n)*)", design, re.MULTILINE)
    (cell,) = (name for name, body in cells if f"connect {connection}\n" in body)
    place = f"-module tiny -cell {cell} -port {port} -portbit {bit}"
    return Mutant("tiny", f"mutate -mode {mode} {place}", "tiny", "tiny.v", "alive")


@pytest.mark.parametrize(
    ("name", "port", "bit", "mode", "by"),
    [
        ("n", "Q", 3, "inv", "no proof"),
        ("held", "Q", 1, "const1", "no state lets it matter"),
        ("held", "D", 1, "const1", "no output ever differs"),
        ("held", "D", 1, "const0", "no proof"),
        ("held", "Q", 0, "const0", "no proof"),
    ],
)
def test_only_what_never_shows_is_proved(
    tiny: Suite, name: str, port: str, bit: int, mode: str, by: str
) -> None:
    (found,) = prove(tiny, [mutated(tiny, rf"\Q \{name}", port, bit, mode)])
    assert (found.by, found.fate) == (by, "alive" if by == "no proof" else "equivalent")


def test_a_state_that_is_never_reached_proves(tiny: Suite) -> None:
    # n == 9 without bit 1 is also true at 11, which is never reached
    (found,) = prove(tiny, [mutated(tiny, r"\B 4'1001", "A", 1, "const0")])
    assert found.by == "no state lets it matter"


def test_a_mutated_module_fails_its_bench(tmp_path: Path) -> None:
    suite = SUITES["core"](tmp_path)
    elaborate(suite)
    names = modules(suite)
    mutants = [m for m in draw(suite, 300, 3) if names[m.module] == "has_lane_range"]
    assert mutants
    killed = 0
    for number, mutant in enumerate(mutants[:3]):
        work = tmp_path / f"mutant{number}"
        module_netlist(suite, mutant.module, mutant.command, work)
        passed, how = passes(suite, Bench("lane_range_tests", (), ""), work, 60, "has_dut")
        killed += how == "lane_range_tests.lanes_meant_and_inside" and not passed
    assert killed


def test_a_bench_is_the_same_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = set()
    for name in ("!jobs", "jobs"):  # sorted before and after the absolute paths of the benches
        (tmp_path / name / "vectors").mkdir(parents=True)
        (tmp_path / name / "vectors/images.npz").write_bytes(b"1")
        suite = Suite("core", Path(name), "has_core", {}, ("*",), ())
        found.add(digest(suite, Bench("core_tests")))
    assert len(found) == 1


@pytest.mark.parametrize(
    ("fate", "against", "stands"),
    [
        ("killed", "bench", True),
        ("killed", "older bench", False),
        ("alive", "older benches", False),
        ("equivalent", "", True),
    ],
)
def test_a_fate_stands_as_long_as_what_it_rests_on(
    tmp_path: Path, fate: str, against: str, stands: bool
) -> None:
    record = Record(tmp_path / "mutants.json")
    record.enter("pe", "design")
    record.add(Mutant("pe", "mutate", "has_pe", "has_pe.v:1", fate, "", against))
    again = Record(tmp_path / "mutants.json")
    again.enter("pe", "design")
    asked = Mutant("pe", "mutate", "has_pe", "has_pe.v:1")
    assert (again.find(asked, {"bench"}) is not None) is stands
    again.enter("pe", "another design")
    assert again.find(asked, {"bench", against}) is None


@pytest.mark.parametrize(
    ("gate", "wanted"),
    [
        (Graph.both, lambda a, b: a and b),
        (Graph.either, lambda a, b: a or b),
        (Graph.differ, lambda a, b: a != b),
    ],
)
def test_gates_of_constants(
    gate: Callable[[Graph, int, int], int], wanted: Callable[[bool, bool], bool]
) -> None:
    assert all(gate(Graph(), a, b) == int(wanted(bool(a), bool(b))) for a in (0, 1) for b in (0, 1))

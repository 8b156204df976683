"""What yosys does for the mutants: the elaborated design, its mutations, and their Verilog."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hascodesign.board import tools
from hascodesign.common import processes
from mutation.record import Mutant
from mutation.suites import Suite

_PARAMETER = re.compile(
    r"^\s*(?:parameter|localparam)\s+(?:\[[^\]]*\]\s*|integer\s+)?(\w+)\s*=\s*([^;/]+?)\s*[,;]?\s*(?://.*)?$",
    re.MULTILINE,
)


def yosys(suite: Suite, script: str, work: Path, timeout: float = tools.SYNTHESIS_S) -> bool:
    """Run commands where the memory files are; whether they succeeded."""
    work.mkdir(parents=True, exist_ok=True)
    path = (work / "script.ys").resolve()
    path.write_text(script, encoding="utf-8")
    command = ["yosys", "-q", "-Q", "-T", "-s", str(path)]
    log = work / "yosys.log"
    run = processes.run(command, cwd=suite.folder / "roms", log=log, limit_s=timeout)
    return run.status == 0


def must(suite: Suite, script: str, work: Path) -> None:
    """Run commands that have no reason to fail."""
    if not yosys(suite, script, work):
        raise SystemExit(f"yosys failed: {work / 'yosys.log'}")


def elaborate(suite: Suite) -> str:
    """The design as modules of fixed sizes, in ``design.il``; a hash of it."""
    read = [f"read_verilog -defer ../rtl/{p.name}" for p in sorted(suite.folder.glob("rtl/*.v"))]
    given = " ".join(f"-chparam {name} {value}" for name, value in suite.parameters.items())
    script = [*read, f"hierarchy -check -top {suite.top} {given}", "proc", "opt_clean"]
    must(suite, "\n".join([*script, "write_rtlil ../design.il"]), suite.folder)
    design = (suite.folder / "design.il").read_bytes()
    return hashlib.sha256(re.sub(rb"^#.*$", b"", design, flags=re.MULTILINE)).hexdigest()


def draw(suite: Suite, count: int, seed: int) -> Iterator[Mutant]:
    """Mutations spread evenly over modules, cells and wires."""
    chosen = " ".join(suite.select)
    listing = f"mutate -list {2 * count} -seed {seed} -o ../list.txt {chosen}"
    must(suite, f"read_rtlil ../design.il\n{listing}", suite.folder)
    lines = (suite.folder / "list.txt").read_text("utf-8").splitlines()
    # the contents of a memory must stay constants: no mutation there is Verilog
    drawn = [line for line in lines if line.startswith("mutate") and "$meminit" not in line]
    order = np.random.default_rng(seed).permutation(len(drawn))[:count]
    for line in (drawn[place] for place in order):
        words = line.split()
        module = words[words.index("-module") + 1]
        sources = [words[i + 1] for i, word in enumerate(words[:-1]) if word == "-src"]
        place = sources[-1].removeprefix("../rtl/") if sources else ""
        yield Mutant(suite.name, line, module, place)


def netlist(suite: Suite, command: str, work: Path) -> None:
    """The design with one mutation as Verilog; the top keeps its parameters, which benches read."""
    (work / "rtl").mkdir(parents=True)
    verilog = work.resolve() / "rtl/all.v"
    must(suite, f"read_rtlil ../design.il\n{command}\nwrite_verilog -noattr {verilog}", work)
    source = (suite.folder / "rtl" / f"{suite.top}.v").read_text("ascii")
    values = {name: text for name, text in _PARAMETER.findall(source) if text.strip()}
    values |= {name: str(value) for name, value in suite.parameters.items()}
    insert(verilog, suite.top, values)


def module_netlist(suite: Suite, module: str, command: str, work: Path) -> None:
    """One module alone, with one mutation, as the top ``has_dut`` with its parameters."""
    (work / "rtl").mkdir(parents=True)
    verilog = work.resolve() / "rtl/all.v"
    script = f"read_rtlil ../design.il\n{command}\nrename {module} has_dut\n"
    must(suite, f"{script}hierarchy -top has_dut\nwrite_verilog -noattr {verilog}", work)
    design = (suite.folder / "design.il").read_text("utf-8")
    start = re.search(rf"^module \\?{re.escape(module)}$", design, re.MULTILINE)
    assert start is not None, f"{module} must be a module of the design"
    header = design[start.end() :].split("  wire ", 1)[0]
    found = re.findall(r"^  parameter (?:signed )?\\(\w+) ([\d']+)$", header, re.MULTILINE)
    insert(verilog, "has_dut", {name: text.replace("'", "'b") for name, text in found})


def modules(suite: Suite) -> dict[str, str]:
    """Names of the design's modules as mutations have them, and as their sources do."""
    design = (suite.folder / "design.il").read_text("utf-8")
    names = re.findall(r"^module \\?(\S+)$", design, re.MULTILINE)
    # has_core, $paramod$<digest>\has_rom or $paramod\has_rom\WIDTH=...
    return {name: re.sub(r"^\$paramod[^\\]*\\", "", name).split("\\")[0] for name in names}


def insert(verilog: Path, top: str, values: dict[str, str]) -> None:
    """Parameters into a module that yosys wrote without, for benches to read."""
    inserted = "".join(f"\n  parameter {name} = {text};" for name, text in values.items())
    text = verilog.read_text("ascii")
    text = re.sub(rf"^(module {top}\([^;]*;)", rf"\1{inserted}", text, flags=re.MULTILINE)
    verilog.write_text(text, encoding="ascii")

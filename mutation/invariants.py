"""Proofs about the whole design, from what its registers can hold after power-up.

A mutant is equivalent where

* no reachable state lets the mutated bit change what any register, memory or output is given next
  (``step``): states then stay the same for ever; or where
* the design and the mutant, side by side on the same inputs, never give different outputs
  (``pair``).

Both are statements about a circuit, an and-inverter graph, and ABC proves them for every sequence
of inputs: registers that always agree are found first (``lcorr``), then PDR. Registers and memories
power up at 0 where their source says nothing, as an FPGA's do. First memories give any words at any
time and what is written to them counts as an output (all that is so proved holds of the true ones),
then they are registers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from hascodesign.common import processes
from mutation.aiger import Aig, Copy, Cut, Graph, LoopError, read
from mutation.record import Mutant
from mutation.suites import Suite
from mutation.yosys import must

SECONDS = 20  # of the processor for one question
WALL = 30  # times that, of the clock: the machine may be busy
MARKER = "chtype -set has_{kind}_{number} c:*mutate.cc* t:has_marker_* t:has_tap_* %u %d"
FLAT = """
setattr -set keep 1 t:has_marker_* t:has_tap_*
hierarchy -top {top}
flatten
opt_clean
write_rtlil {path}
"""
GRAPH = """
read_rtlil {path}
opt
memory -nomap
memory_map
opt
techmap
dffunmap
simplemap
setundef -undriven -zero
setundef -zero
aigmap
opt_clean
write_aiger -symbols {out}
"""
MODES: dict[str, Callable[..., int]] = {
    "const0": lambda _graph, _bit: 0,
    "const1": lambda _graph, _bit: 1,
    "inv": lambda _graph, bit: bit ^ 1,
    "cnot0": lambda graph, bit, control: graph.differ(bit, control) ^ 1,
    "cnot1": lambda graph, bit, control: graph.differ(bit, control),
}
_CELL = re.compile(
    r"(?:^  attribute .*\n)*^  cell (\S+) (\S+)\n((?:    .*\n)*?)  end\n", re.MULTILINE
)
_MEMORY = re.compile(r"(?:^  attribute .*\n)*^  memory .*\n", re.MULTILINE)


def prove(suite: Suite, living: list[Mutant]) -> Iterator[Mutant]:
    """The mutants with what came of the proofs: equivalent, or alive without one.

    First the mutated module alone, with anything at all on its inputs, then the whole design.
    """
    work = suite.folder / "proofs"
    for mutant in living:
        mutant.by = "no proof"
        if mutant.module != suite.top:
            circuit = Circuit.of(suite, [mutant], mutant.module, work, free=False)
            if circuit.proves(mutant, 0, "in its module ", work):
                yield mutant
    for free in (True, False):
        left = [mutant for mutant in living if mutant.fate == "alive"]
        if left:
            circuit = Circuit.of(suite, left, suite.top, work, free)
            for number, mutant in enumerate(left):
                if circuit.proves(mutant, number, "" if free else "with memories ", work):
                    yield mutant
    yield from (mutant for mutant in living if mutant.fate == "alive")


def marked(living: list[Mutant]) -> str:
    """A cell of no known kind where each mutation is, and one at the bit that controls it."""
    script = ["read_rtlil ../design.il"]
    for number, mutant in enumerate(living):
        inverted = re.sub(r"-mode \w+", "-mode inv", mutant.command)
        inverted = re.sub(r" -ctrlbit \d+", "", inverted)
        script += [inverted, MARKER.format(kind="marker", number=number)]
        control = re.search(r" -ctrlbit (\d+)", mutant.command)
        if control:
            tapped = re.sub(r"-portbit \d+", f"-portbit {control[1]}", inverted)
            script += [tapped, MARKER.format(kind="tap", number=number)]
    return "\n".join(script)


def opened(text: str, free: bool) -> str:
    """The flat design with its marks, and where ``free`` its memories, as ports of the top."""
    numbers, places = count(100_000), dict[str, int]()

    def port(way: str, name: str, signal: str, width: str = "1") -> str:
        wire = f"  wire width {width} {way} {next(numbers)} \\{name}\n"
        pair = (f"\\{name}", signal) if way == "output" else (signal, f"\\{name}")
        return wire + f"  connect {pair[0]} {pair[1]}\n"

    def changed(cell: re.Match[str]) -> str:
        kind, body = cell[1].lstrip("\\"), cell[3]
        signals = dict(re.findall(r"connect \\(\w+) (.*)", body))
        if kind.startswith(("has_marker_", "has_tap_")):
            instance = cell[2].split("$auto$mutate.cc")[0]
            name = f"{kind}.{places.setdefault(instance, len(places))}."
            kept = port("output", name + "in", signals["A"])
            return kept + port("input", name + "out", signals["Y"])
        if not free or "$mem" not in kind:
            return cell[0]
        if "$meminit" in kind:
            return ""
        size = dict(re.findall(r"parameter (?:signed )?\\(ABITS|WIDTH) (\d+)", body))
        name = f"memory.{next(numbers)}."
        kept = port("output", name + "address", signals["ADDR"], size["ABITS"])
        if "$memrd" in kind:
            return kept + port("input", name + "word", signals["DATA"], size["WIDTH"])
        kept += port("output", name + "enable", signals["EN"], size["WIDTH"])
        return kept + port("output", name + "word", signals["DATA"], size["WIDTH"])

    text = _CELL.sub(changed, text)
    return _MEMORY.sub("", text) if free else text


@dataclass(frozen=True, slots=True)
class Circuit:
    """A design with a cut at every mutated bit."""

    aig: Aig

    @staticmethod
    def of(suite: Suite, mutants: list[Mutant], top: str, work: Path, free: bool) -> Circuit:
        """A module and all below it, cut where the mutants are."""
        work.mkdir(exist_ok=True)
        flat, path, out = (work / name for name in ("flat.il", "opened.il", "graph.aig"))
        must(suite, marked(mutants) + FLAT.format(top=top, path=flat), work)
        path.write_text(opened(flat.read_text("utf-8"), free), encoding="utf-8")
        must(suite, GRAPH.format(path=path, out=out), work)
        return Circuit(read(out))

    def proves(self, mutant: Mutant, number: int, where: str, work: Path) -> bool:
        """Whether the mutant is equivalent; it then says how."""
        for pair, how in ((False, "no state lets it matter"), (True, "no output ever differs")):
            if self.holds(mutant, number, pair, work):
                mutant.fate, mutant.by, mutant.against = "equivalent", where + how, ""
                return True
        return False

    def cuts(self, number: int | None, mode: str = "") -> dict[int, Cut]:
        """What drives each cut: what stood there, or its mutation where it has that number."""
        found = {}
        for name, variable in self.aig.inputs.items():
            mark = re.fullmatch(r"(has_(?:marker|tap)_(\d+))\.(\d+)\.out", name)
            if mark is None:
                continue
            before = self.aig.outputs[f"{mark[1]}.{mark[3]}.in"]
            found[variable] = Cut((before,), lambda _, a: a)
            if mark[1] == f"has_marker_{number}":
                control = self.aig.outputs.get(f"has_tap_{number}.{mark[3]}.in")
                needs = (before,) if control is None else (before, control)
                found[variable] = Cut(needs, MODES[mode])
        return found

    def question(self, number: int, mode: str, pair: bool) -> tuple[Graph, int]:
        """A circuit, and its output that must stay 0 for ever."""
        graph, aig = Graph(), self.aig
        cuts = self.cuts(None)
        shared = {v: graph.input() for v in aig.inputs.values() if v not in cuts}
        states = {latch.variable: graph.latch(latch.initial) for latch in aig.latches}
        design = Copy(graph, aig, shared | states, cuts)
        for latch in aig.latches:
            graph.set_next(states[latch.variable], design(latch.next))
        own: dict[int, int] = {}  # registers of the mutant that may hold something else
        while True:
            mutant = Copy(graph, aig, shared | states | own, self.cuts(number, mode))
            apart = [x for x in aig.latches if mutant(x.next) != design(x.next)]
            new = [x for x in apart if pair and x.variable not in own]
            own |= {x.variable: graph.latch(x.initial) for x in new}
            if not new:
                break
        for latch in aig.latches:
            if latch.variable in own:
                graph.set_next(own[latch.variable], mutant(latch.next))
        seen = [literal for name, literal in aig.outputs.items() if not name.startswith("has_")]
        seen += [] if pair else [x.next for x in apart]
        return graph, graph.any([graph.differ(design(x), mutant(x)) for x in seen])

    def holds(self, mutant: Mutant, number: int, pair: bool, work: Path) -> bool:
        """Whether ABC proves it."""
        mode = re.search(r"-mode (\w+)", mutant.command)
        assert mode is not None
        try:
            graph, bad = self.question(number, mode[1], pair)
        except LoopError:
            return False
        if bad in (0, 1):
            return bad == 0
        path = work / "question.aig"
        graph.write(path, bad)
        asked = f"read_aiger {path}; scleanup; lcorr; pdr -T {SECONDS}"
        # lcorr knows no limit of its own
        command = ["sh", "-c", f'ulimit -t {2 * SECONDS}; exec yosys-abc -c "$0"', asked]
        return b"Property proved" in processes.run(command, limit_s=WALL * SECONDS).output

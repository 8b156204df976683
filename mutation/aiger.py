"""And-inverter graphs: the AIGER files of yosys and for ABC, and copies of a circuit in a graph.

A literal is 2 * variable + inverted; 0 is false, 1 is true.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Latch:
    """One register."""

    variable: int
    next: int  # literal
    initial: int  # 0 or 1; what the source does not say reads as 0


@dataclass(frozen=True, slots=True)
class Aig:
    """A circuit as yosys writes it."""

    inputs: dict[str, int]  # variables by name
    latches: list[Latch]
    outputs: dict[str, int]  # literals by name
    gates: dict[int, tuple[int, int]]  # literals by variable


class _Bytes:
    """The two kinds of number of a binary AIGER file."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def line(self) -> list[bytes]:
        """Words up to the end of the line."""
        end = self._data.index(b"\n", self._place)
        words = self._data[self._place : end].split()
        self._place = end + 1
        return words

    def delta(self) -> int:
        """Seven bits a byte, the lowest first."""
        value = shift = 0
        while True:
            byte = self._data[self._place]
            self._place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value


def read(path: Path) -> Aig:
    """A binary AIGER file as ``write_aiger -symbols`` makes it: equal outputs share a line."""
    data = _Bytes(path.read_bytes())
    inputs, registers, outputs, gates = (int(word) for word in data.line()[2:6])
    lines = [[int(word) for word in data.line()] for _ in range(registers)]
    latches = [Latch(inputs + 1 + i, n, int(rest == [1])) for i, (n, *rest) in enumerate(lines)]
    given = [int(data.line()[0]) for _ in range(outputs)]
    found = {}
    for variable in range(inputs + registers + 1, inputs + registers + gates + 1):
        first = 2 * variable - data.delta()
        found[variable] = (first, first - data.delta())
    named: dict[str, dict[str, int]] = {"i": {}, "o": {}}
    while (line := data.line())[0] != b"c":
        kind, place = chr(line[0][0]), int(line[0][1:])
        for name in line[1:] if kind in named else ():
            named[kind][name.decode()] = place + 1 if kind == "i" else given[place]
    return Aig(named["i"], latches, named["o"], found)


class Graph:
    """A circuit that grows; equal gates are one, and every register begins at 0."""

    def __init__(self) -> None:
        self._nodes: list[tuple[int, int] | None] = [None]  # of inputs and registers: None
        self._nexts: dict[int, int] = {}
        self._known: dict[tuple[int, int], int] = {}

    def input(self) -> int:
        """A new input."""
        self._nodes.append(None)
        return 2 * (len(self._nodes) - 1)

    def latch(self, initial: int) -> int:
        """A new register, held inverted where it begins at 1."""
        literal = self.input()
        self._nexts[literal // 2] = 0
        return literal ^ initial

    def set_next(self, latch: int, literal: int) -> None:
        """What a register takes at the clock's edge."""
        self._nexts[latch // 2] = literal ^ (latch & 1)

    def both(self, a: int, b: int) -> int:
        """Whether both are true."""
        a, b = min(a, b), max(a, b)
        if a == 0 or a == b ^ 1:
            return 0
        if a in (1, b):
            return b
        if (a, b) not in self._known:
            self._nodes.append((b, a))
            self._known[a, b] = 2 * (len(self._nodes) - 1)
        return self._known[a, b]

    def either(self, a: int, b: int) -> int:
        """Whether at least one is true."""
        return self.both(a ^ 1, b ^ 1) ^ 1

    def differ(self, a: int, b: int) -> int:
        """Whether one alone is true."""
        return self.either(self.both(a, b ^ 1), self.both(a ^ 1, b))

    def any(self, literals: list[int]) -> int:
        """Whether one is true."""
        result = 0
        for literal in literals:
            result = self.either(result, literal)
        return result

    def write(self, path: Path, output: int) -> None:
        """All that one output depends on, as a binary AIGER file."""
        needed, left = {0}, [output // 2]
        while left:
            variable = left.pop()
            if variable not in needed:
                needed.add(variable)
                gate = self._nodes[variable]
                left += [literal // 2 for literal in gate or ()]
                left += [self._nexts[variable] // 2] if variable in self._nexts else []
        order = sorted(needed - {0})
        latches = [v for v in order if v in self._nexts]
        inputs = [v for v in order if self._nodes[v] is None and v not in self._nexts]
        gates = [v for v in order if self._nodes[v] is not None]
        new = {0: 0} | {v: i + 1 for i, v in enumerate((*inputs, *latches, *gates))}

        def moved(literal: int) -> int:
            return 2 * new[literal // 2] + (literal & 1)

        sizes = (len(inputs), len(latches), 1, len(gates))
        text = f"aig {len(order)} {' '.join(map(str, sizes))}\n"
        text += "".join(f"{moved(self._nexts[v])}\n" for v in latches) + f"{moved(output)}\n"
        packed = bytearray(text.encode())
        for variable in gates:
            a, b = sorted(map(moved, self._nodes[variable] or ()), reverse=True)
            for delta in (2 * new[variable] - a, a - b):
                value = delta
                while value >= 0x80:
                    packed.append(value & 0x7F | 0x80)
                    value >>= 7
                packed.append(value)
        path.write_bytes(packed)


@dataclass(frozen=True, slots=True)
class Cut:
    """What drives an input of the circuit: a function of a graph and other literals of it."""

    needs: tuple[int, ...]
    value: Callable[..., int]


class Copy:
    """A circuit's literals in a graph, made as they are asked for."""

    def __init__(
        self, graph: Graph, aig: Aig, leaves: dict[int, int], cuts: dict[int, Cut]
    ) -> None:
        self._graph, self._aig, self._cuts = graph, aig, cuts
        self._known = {0: 0, **leaves}

    def __call__(self, literal: int) -> int:
        """The graph's literal for one of the circuit's."""
        left, open_ = [literal // 2], set[int]()
        while left:
            variable = left[-1]
            cut = self._cuts.get(variable)
            needs = cut.needs if cut else self._aig.gates.get(variable, ())
            missing = [n // 2 for n in needs if n // 2 not in self._known]
            if variable in self._known or not missing:
                left.pop()
                if variable not in self._known:
                    values = [self._known[n // 2] ^ (n & 1) for n in needs]
                    made = cut.value(self._graph, *values) if cut else self._graph.both(*values)
                    self._known[variable] = made
            else:
                if open_.intersection(missing):
                    raise LoopError
                open_.add(variable)
                left += missing
        return self._known[literal // 2] ^ (literal & 1)


class LoopError(Exception):
    """The circuit has a loop without a register."""

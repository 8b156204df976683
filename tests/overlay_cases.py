"""Builds with their overlay, a stand-in for the vendor's Vivado, and the design it was told."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from hascodesign.board.boards import find
from hascodesign.common.files import write_tree
from hascodesign.contract.types import Multipliers
from hascodesign.render.overlay import render_overlay
from tests import driver_cases

FAKES = Path(__file__).parent / "fake_tools"
#: Placed cells of the core, one of another block, and one of the core that no map is kept of.
CELLS = """
{d_i/has_core_0/inst/core/pe[0].mac DSP48E1 DSP48_X0Y1}
{d_i/has_core_0/inst/core/pe[1].mac DSP48E1 DSP48_X0Y2}
{d_i/has_core_0/inst/core/pe[1].adder/DSP_ALU_INST DSP_ALU DSP48E2_X1Y1}
{d_i/has_core_0/inst/core/bank RAMB36E1 RAMB36_X0Y1}
{d_i/has_core_0/inst/core/lut LUT6 SLICE_X0Y0}
{d_i/axi_dma_0/inst/fifo RAMB36E1 RAMB36_X0Y2}
"""


@functools.cache
def files(
    board: str, on_chip: tuple[bool, ...] = (True, True), multipliers: Multipliers = "dsp"
) -> dict[str, bytes]:
    """RTL, memories and overlay of a small core."""
    case = driver_cases.small(on_chip=on_chip)
    plan = dict(case.plan().files)
    return plan | render_overlay(
        case.network, case.schedule, find(board), plan, on_chip,
        clock_mhz=125.0, multipliers=multipliers,
    )  # fmt: skip


def fake_tool(path: Path, script: str) -> None:
    """A program that runs one of the stand-ins' scripts."""
    if shutil.which("tclsh"):
        tcl = ["tclsh"]
    elif importlib.util.find_spec("_tkinter"):
        tcl = [sys.executable, str(FAKES / "tclsh.py")]
    else:
        pytest.skip("neither tclsh nor Python's tkinter is here to run Tcl")
    path.write_text(f"#!/bin/sh\nexec {' '.join(tcl)} '{FAKES}/{script}.tcl' \"$@\"\n")
    path.chmod(0o755)


class Vivado:
    """A folder of a build, and a vivado on PATH that checks what it is told."""

    def __init__(self, root: Path) -> None:
        self.build = root / "a build"  # a space, as a user's folder may have
        self.log, self.bin = root / "log", root / "bin"
        self.bin.mkdir()
        fake_tool(self.bin / "vivado", "vivado_overlay")

    def lay(self, content: dict[str, bytes]) -> None:
        """The build's folder, with nothing of an earlier one."""
        shutil.rmtree(self.build, ignore_errors=True)
        write_tree(self.build, content)

    def run(
        self, *options: str, command: Sequence[str] = (), **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """What a user runs; build.sh where no command is given."""
        self.log.write_text("")
        (self.log.parent / "design").unlink(missing_ok=True)
        values = {
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "FAKE_TOOL_LOG": str(self.log), "FAKE_BOARD_PARTS": "", "FAKE_LACKS": "",
            "FAKE_DDR_HIGH": "0", "FAKE_PROGRESS_SYNTH": "100%", "FAKE_PROGRESS_IMPL": "100%",
            "FAKE_SETUP": "0.125", "FAKE_HOLD": "0.010", "FAKE_CELLS": CELLS, "FAKE_GEN": "gen",
        }  # fmt: skip
        return subprocess.run(
            command or ["sh", str(self.build / "deploy/overlay/build.sh"), *options],
            env=os.environ | values | settings,
            cwd=self.bin,
            capture_output=True,
            text=True,
            check=False,
        )

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    def design(self) -> Design:
        """The block design as it was when it was validated."""
        return read_design(self.log.parent / "design")


@dataclass
class Design:
    """Cells, pins, nets and addresses."""

    cells: dict[str, str] = field(default_factory=dict)  # name -> VLNV
    values: dict[tuple[str, str], str] = field(default_factory=dict)  # of cell and property
    pins: dict[str, list[str]] = field(default_factory=dict)  # path -> class, direction, more
    nets: list[tuple[str, str]] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    addresses: list[tuple[str, str, str, str]] = field(default_factory=list)
    excluded: list[tuple[str, str]] = field(default_factory=list)

    def driver_of(self, pin: str) -> str:
        """What drives an input."""
        (found,) = [start for start, end in self.nets if end == pin]
        return found

    def complaints(self) -> list[str]:
        """What a design that works on a board must not have, a line each."""
        return [*self._open_pins(), *self._clocks(), *self._open_buses(), *self._addressing()]

    def _open_pins(self) -> list[str]:
        ends = [end for _, end in self.nets]
        starts = {start for start, _ in self.nets}
        found = []
        for pin, (kind, direction, *_) in self.pins.items():
            if kind in ("clock", "reset", "signal", "interrupt"):
                if direction == "in" and ends.count(pin) != 1:
                    found.append(f"{kind} {pin} is driven {ends.count(pin)} times")
                if direction == "out" and pin not in starts:
                    found.append(f"{kind} {pin} goes nowhere")
        return found

    def _clocks(self) -> list[str]:
        """Both ends of every bus have one clock, and every reset is of it."""
        clocks = {end: start for start, end in self.nets if self.pins[end][0] == "clock"}
        (source,) = set(clocks.values()) or {"none"}
        return [] if source.startswith("/ps/") else [f"the clock is {source}"]

    def _open_buses(self) -> list[str]:
        used = [end for link in self.links for end in link] + self.outside
        buses = [pin for pin, what in self.pins.items() if what[0].strip("?") in BUSES]
        return [f"{pin} is connected {used.count(pin)} times" for pin in buses if
                used.count(pin) != 1]  # fmt: skip

    def _addressing(self) -> list[str]:
        """Every segment of a slave that a master can reach is addressed or excluded, once."""
        found = []
        for space, segments in self.reachable().items():
            placed = [one for one in self.addresses if one[0] == space]
            for segment in segments:
                count = [one[1] for one in placed].count(segment)
                count += self.excluded.count((space, segment))
                if count != 1:
                    found.append(f"{segment} is {count} times in {space}")
            spans = sorted((int(a), int(a) + int(b)) for _, _, a, b in placed if a != "auto")
            for (_, end), (start, _) in pairwise(spans):
                if end > start:
                    found.append(f"addresses of {space} overlap at {start:#x}")
        return found

    def reachable(self) -> dict[str, list[str]]:
        """Address space of each master -> segments of the slaves behind its interconnect."""
        to = dict(self.links)
        found: dict[str, list[str]] = {}
        for master, what in self.pins.items():
            if what[:2] != ["aximm", "master"] or not what[4]:
                continue
            cell = "/".join(to[master].split("/")[:2])
            slaves = [end for start, end in self.links if start.startswith(f"{cell}/M")]
            space = "/".join([*master.split("/")[:2], what[4]])
            found[space] = [
                "/".join([*slave.split("/")[:2], segment])
                for slave in slaves
                for segment in self.pins[slave][4].split()
            ]
        return found


BUSES = ("aximm", "axis", "board")


def read_design(path: Path) -> Design:
    """What the stand-in wrote of a validated design."""
    made = Design()
    for line in path.read_text().splitlines():
        kind, *words = line.split("\t")
        if kind == "cell":
            made.cells[words[0]] = words[1]
        elif kind == "set":
            made.values[words[0], words[1]] = words[2]
        elif kind == "pin":
            made.pins[words[0]] = [*words[1:], ""]
        elif kind == "net":
            made.nets.append((words[0], words[1]))
        elif kind == "link":
            made.links.append((words[0], words[1]))
        elif kind == "outside":
            made.outside.append(words[0])
        elif kind == "address":
            made.addresses.append((words[0], words[1], words[2], words[3]))
        else:
            made.excluded.append((words[0], words[1]))
    return made

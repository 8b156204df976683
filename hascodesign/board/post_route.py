"""Post-route clock of a rendered array on an ECP5, with open tools.

An open stand-in for a vendor's timing: another FPGA family, other tools. It shows whether the
pipeline holds, not which clock the board's own part reaches.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hascodesign.board import tools
from hascodesign.board.netlist import synthesise
from hascodesign.common.files import write_tree
from hascodesign.common.shipped import share
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.errors import ConfigError, StepFailed
from hascodesign.contract.types import Board, Multipliers

DEVICE = "LFE5UM-85F-6"  # the slowest speed grade
NOTE = (
    "post-route on an ECP5 with nextpnr, one seed, through a registered wrapper: an open stand-in"
    " for a vendor's timing, not the clock of the board's part"
)
#: nextpnr's options for a board's own part, where that is one that it routes. router2 does not come
#: to an end on a whole core: some hundreds of wires stay overused.
PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "LFE5U-85F-6BG381C": (
            *("--85k", "--speed", "6", "--package", "CABGA381"),
            *("--router", "router1"),
        )
    }
)
BOARD_NOTE = "post-route with nextpnr, one seed, all of the board's design on its own part"
_CLOCK_MHZ = 125  # what nextpnr aims at; beyond the goal, so that it does not stop at it
_DEVICE_OPTIONS = ("--um-85k", "--speed", "6", "--package", "CABGA756")
_LOG, _REPORT = "nextpnr.log", "timing.json"


@dataclass(frozen=True, slots=True)
class Hop:
    """One step of a path: through a cell, or along a wire."""

    ns: float
    kind: str  # "clk-to-q", "logic", "routing" or "setup", as nextpnr names them
    cell: str  # the cell it leads to
    net: str  # the wire of a routing hop, else empty


@dataclass(frozen=True, slots=True)
class Timing:
    """Highest clock of a placed and routed array."""

    mhz: float
    tool: str
    device: str
    note: str
    path: tuple[Hop, ...]  # the slowest between two registers
    cells: Mapping[str, int]  # cells used, by kind


@dataclass(frozen=True, slots=True)
class _Port:
    name: str
    bits: int
    first: int  # its lowest bit in the wrapper's word


def post_route_mhz(
    files: Mapping[str, bytes],
    *,
    work: Path,
    top: str = "has_array",
    multipliers: Multipliers = "dsp",
    seed: int = 1,
    progress: Callable[[str, int, int], None],
) -> Timing:
    """Synthesise, place and route the array between registers, and read its highest clock.

    Parameters
    ----------
    files : the build, path -> content, with ``rtl/*.v`` and ``roms/*.mem``.
    work : folder for the run; keeps the logs and nextpnr's report.
    top : module of ``files`` with a clock ``clk``.
    multipliers : ``dsp`` lets yosys take the device's multipliers, ``lut`` keeps to logic.
    seed : of nextpnr's placer; the clock varies by some per cent with it.
    progress : told of each of the three runs.

    Returns
    -------
    Timing, at the device's slowest speed grade.

    Raises
    ------
    ConfigError
        ``files`` hold no Verilog.
    ToolNotFound
        yosys or nextpnr-ecp5 is missing.
    StepFailed
        A program failed, or its output lacks what is read from it.
    """
    rtl = sorted(path for path in files if path.startswith("rtl/") and path.endswith(".v"))
    if not rtl:
        raise ConfigError("a build to be timed must have rtl/*.v, not none")
    yosys, nextpnr = tools.require("yosys"), tools.require("nextpnr-ecp5")
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work, prefix=".timing-") as folder:
        build = Path(folder)
        write_tree(build, {p: b for p, b in files.items() if p.endswith((".v", ".vh", ".mem"))})
        for name in ("roms", "ecp5"):
            (build / name).mkdir(exist_ok=True)
        context: dict[str, Any] = {"rtl": rtl, "top": top, "multipliers": multipliers}
        progress("timing: ports", 0, 3)
        _yosys(yosys, build, "ports", context, work)
        inputs, outputs = _ports(build / "ecp5/ports.json", top)
        context |= {"inputs": inputs, "outputs": outputs, "wrapper": "has_timing"}
        _render(build, "has_timing.v", context)
        progress("timing: synthesis", 1, 3)
        _yosys(yosys, build, "synth", context, work)
        progress("timing: place and route", 2, 3)
        command = [str(nextpnr), *_DEVICE_OPTIONS, "--json", "netlist.json", "--report", _REPORT]
        command += ["--freq", str(_CLOCK_MHZ), "--timing-allow-fail", "--seed", str(seed)]
        tools.run(command, cwd=build / "ecp5", log=work / _LOG, timeout=tools.SYNTHESIS_S)
        report = (build / "ecp5" / _REPORT).read_bytes()
    (work / _REPORT).write_bytes(report)
    progress("timing: place and route", 3, 3)
    mhz, path, cells = read_report(report)
    return Timing(mhz, tools.version("nextpnr-ecp5", nextpnr), DEVICE, NOTE, path, cells)


def board_mhz(
    plan: BuildPlan,
    board: Board,
    *,
    pins: str,
    work: Path,
    seed: int = 1,
    progress: Callable[[str, int, int], None],
) -> Timing:
    """Place and route the design of a board's bitstream on its own part, and read its clock.

    Parameters
    ----------
    plan : the build; its ``synth/synth.ys`` makes the netlist.
    board : of a part of ``PARTS``.
    pins : file of the build that says where pins lie and what clock comes in.
    work : folder for the run; keeps the logs and nextpnr's report.
    seed, progress : as for ``post_route_mhz``.

    Raises
    ------
    ToolNotFound, StepFailed
        As for ``post_route_mhz``.
    """
    nextpnr = tools.require("nextpnr-ecp5")
    progress("timing: synthesis", 0, 2)
    recipe = plan.files["synth/synth.ys"].decode() + "write_json ../synth/netlist.json\n"
    _, made = synthesise(plan, recipe, ("synth/netlist.json",), work=work, log=work / "synth.log")
    progress("timing: place and route", 1, 2)
    with tempfile.TemporaryDirectory(dir=work, prefix=".timing-") as folder:
        place = Path(folder)
        write_tree(place, {"netlist.json": made["synth/netlist.json"], "pins": plan.files[pins]})
        command = [str(nextpnr), *PARTS[board.part], "--json", "netlist.json", "--lpf", "pins"]
        command += ["--report", _REPORT, "--timing-allow-fail", "--seed", str(seed)]
        tools.run(command, cwd=place, log=work / _LOG, timeout=tools.SYNTHESIS_S)
        report = (place / _REPORT).read_bytes()
    (work / _REPORT).write_bytes(report)
    progress("timing: place and route", 2, 2)
    mhz, path, cells = read_report(report)
    return Timing(mhz, tools.version("nextpnr-ecp5", nextpnr), board.part, BOARD_NOTE, path, cells)


def read_report(report: bytes) -> tuple[float, tuple[Hop, ...], dict[str, int]]:
    """Clock [MHz], slowest register-to-register path and cells of nextpnr's JSON report.

    Raises
    ------
    StepFailed
        The report lacks them, as for a design without a clocked path.
    """
    try:
        data = json.loads(report)
        mhz = min(float(clock["achieved"]) for clock in data["fmax"].values())
        paths = [path["path"] for path in data["critical_paths"] if _registers_only(path)]
        path = tuple(_hop(hop) for hop in (paths[0] if paths else ()))
        cells = {str(kind): int(entry["used"]) for kind, entry in data["utilization"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StepFailed(f"nextpnr's report must have fmax and paths: {error}") from error
    if not math.isfinite(mhz) or mhz <= 0:
        raise StepFailed(f"nextpnr's clock must be above 0 MHz, not {mhz}")
    return mhz, path, {kind: used for kind, used in sorted(cells.items()) if used}


def describe(path: Sequence[Hop]) -> str:
    """A path as lines: what each hop takes, and where it leads."""
    total = sum(hop.ns for hop in path)
    lines = [f"{hop.ns:6.2f} ns {hop.kind:9} {hop.net or hop.cell}" for hop in path]
    return "\n".join([*lines, f"{total:6.2f} ns in all"])


def _registers_only(path: Mapping[str, Any]) -> bool:
    """From one clock to the same: no pin at either end."""
    return bool(path["from"] == path["to"] and path["from"] != "<async>")


def _hop(hop: Mapping[str, Any]) -> Hop:
    return Hop(float(hop["delay"]), str(hop["type"]), str(hop["to"]["cell"]), hop.get("net", ""))


def _yosys(yosys: Path, build: Path, name: str, context: Mapping[str, Any], work: Path) -> None:
    _render(build, f"{name}.ys", context)
    command = [str(yosys), "-Q", "-T", "-s", f"../ecp5/{name}.ys"]
    log = work / f"{name}.log"
    tools.run(command, cwd=build / "roms", log=log, timeout=tools.SYNTHESIS_S)


def recipe(rtl: Sequence[str], *, top: str, multipliers: Multipliers = "dsp") -> str:
    """The yosys script of ``post_route_mhz``, for the array as it is, without its wrapper."""
    context = {"rtl": rtl, "top": top, "multipliers": multipliers, "wrapper": None}
    return _text("synth.ys", context)


def _render(build: Path, name: str, context: Mapping[str, Any]) -> None:
    (build / "ecp5" / name).write_text(_text(name, context), encoding="ascii")


def _text(name: str, context: Mapping[str, Any]) -> str:
    templates = Environment(  # Verilog and scripts, not HTML: nothing to escape
        loader=FileSystemLoader(share("flows", "ecp5")),
        undefined=StrictUndefined,
        block_start_string="[%",
        block_end_string="%]",
        variable_start_string="[[",
        variable_end_string="]]",
        trim_blocks=True,
        autoescape=False,
    )
    return templates.get_template(f"{name}.j2").render(context)


def _ports(path: Path, top: str) -> tuple[list[_Port], list[_Port]]:
    """Inputs but the clock, and outputs, side by side."""
    try:
        ports = json.loads(path.read_bytes())["modules"][top]["ports"]
        found: dict[str, list[_Port]] = {"input": [], "output": []}
        for name, port in ports.items():
            if name != "clk":
                side = found[port["direction"]]
                first = side[-1].first + side[-1].bits if side else 0
                side.append(_Port(name, len(port["bits"]), first))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StepFailed(f"{top} must be a module with ports: {error}") from error
    return found["input"], found["output"]

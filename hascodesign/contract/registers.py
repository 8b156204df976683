"""The register map of has_core: Verilog, benches and docs/core.md are made from this table.

``python -m hascodesign.contract.registers`` prints the table of docs/core.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

VERSION = 1  # of the register map
ADDRESS_BITS = 12


@dataclass(frozen=True, slots=True)
class Register:
    """One register of 32 bits, or a row of them."""

    name: str
    address: int  # of the first, a multiple of 4
    access: Literal["r", "w", "rw", "r, w1c"]
    contents: str
    many: bool = False  # register i of a row stands at address + 4i


REGISTERS = (
    Register(
        "CONTROL",
        0x000,
        "rw",
        "bit 0 ENABLE (1 after reset): images may begin; bit 1 CLASS_ONLY; bit 2 RESTART "
        "(write 1; reads 0): forget the image under way and leave a halt (below)",
    ),
    Register(
        "STATUS",
        0x004,
        "r, w1c",
        "bit 0 busy; bit 1 halted; errors, cleared by writing 1: bit 8 image too short, bit 9"
        " image too long, bit 10 weight stream of wrong length, bit 11 row map that is not "
        "one",
    ),
    Register(
        "CYCLES",
        0x008,
        "r",
        "of the last image, from its first beat in to its last result out",
    ),
    Register(
        "IMAGES",
        0x00C,
        "rw",
        "images answered. The column counter of transient faults is IMAGES * positions + position",
    ),
    Register(
        "SHAPE",
        0x010,
        "r",
        "PE, SIMD, WEIGHT_BITS, ACT_BITS, a byte each, PE lowest",
    ),
    Register(
        "VERSION",
        0x014,
        "r",
        "1",
    ),
    Register(
        "SELECT",
        0x020,
        "rw",
        "memory: 0 weights, 1 row map, 2 bias, 3 descending, 4 + i thresholds_i; the next, where"
        " preloads are built: those of all PEs",
    ),
    Register(
        "ADDRESS",
        0x024,
        "rw",
        "word of that memory; each COMMIT adds 1",
    ),
    Register(
        "COMMIT",
        0x028,
        "w",
        "writes the VALUE registers to the memory; the data do not matter",
    ),
    Register(
        "STAGE_CYCLES",
        0x400,
        "r",
        "cycles of stage i in the last image, from its start to its last result",
        many=True,
    ),
    Register(
        "VALUE",
        0x800,
        "w",
        "bits 32i..32i+31 of the word to be written",
        many=True,
    ),
)


def table() -> str:
    """The map as a table in Markdown."""
    lines = ["| address | name | access | contents |", "|---|---|---|---|"]
    for one in REGISTERS:
        place = f"0x{one.address:03x}" + (" + 4i" if one.many else "")
        lines.append(f"| {place} | {one.name} | {one.access} | {one.contents} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")

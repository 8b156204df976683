"""The register map of has_core: Verilog, benches and docs/core.md are made from this table.

``python -m hascodesign.contract.registers`` prints the table of docs/core.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

VERSION = 2  # of the register map
ADDRESS_BITS = 12


@dataclass(frozen=True, slots=True)
class Register:
    """One register of 32 bits, or a row of them."""

    name: str
    address: int  # of the first, a multiple of 4
    access: Literal["r", "w", "rw", "r, w1c"]
    contents: str
    many: bool = False  # register i of a row stands at address + 4i
    only: Literal["", "batch", "watch"] = ""  # builds that have it; "" = every


REGISTERS = (
    Register(
        "CONTROL",
        0x000,
        "rw",
        "bit 0 ENABLE (1 after reset): images may begin; bit 1 CLASS_ONLY; bit 2 RESTART "
        "(write 1; reads 0): forget the image under way and leave a halt (below); bit 3 STRICT: "
        "an illegal access answers SLVERR",
    ),
    Register(
        "STATUS",
        0x004,
        "r, w1c",
        "bit 0 busy; bit 1 halted; errors, cleared by writing 1: bit 8 image too short, bit 9"
        " image too long, bit 10 weight stream of wrong length, bit 11 row map that is not "
        "one, bit 12 an illegal access (below), bit 13 an array that has changed: a check's "
        "signature is not EXPECTED",
    ),
    Register(
        "CYCLES",
        0x008,
        "r",
        "of the last image, from its first beat in to its last result out; in a batch from that of"
        " the batch",
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
        f"{VERSION}",
    ),
    Register(
        "ILLEGAL",
        0x018,
        "r",
        "the first illegal access since bit 12 of STATUS was last cleared: bits 11:0 its address, "
        "bit 31 a write; stands until the next",
    ),
    Register(
        "PACKET",
        0x01C,
        "rw",
        "bits 15:0 images of a result packet (1 after reset; 0 counts as 1): `tlast` stands at the"
        " end of every so many",
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
        "word of that memory; each COMMIT and FETCH adds 1",
    ),
    Register(
        "COMMIT",
        0x028,
        "w",
        "writes the VALUE registers to the memory; the data do not matter",
    ),
    Register(
        "FETCH",
        0x02C,
        "w",
        "reads the word back, to be read at VALUE; the data are the lane whose copy is meant",
    ),
    Register(
        "IRQ_ENABLE",
        0x030,
        "rw",
        "bits of IRQ that raise the output `interrupt` (0 after reset)",
    ),
    Register(
        "IRQ",
        0x034,
        "r, w1c",
        "bit 0 a result packet has left; bit 1 an error bit of STATUS was set",
    ),
    Register(
        "LANES",
        0x038,
        "r",
        "copies of each memory but the weights and preloads, one for each lane",
    ),
    Register(
        "BATCH",
        0x03C,
        "rw",
        "bits 15:0 images of the batches to come (the most after reset; 1 to that), bits 31:16 the"
        " most; only in a build with batches (below), an illegal access in any other",
        only="batch",
    ),
    Register(
        "TEST",
        0x040,
        "rw",
        "bit 0 test mode (below), bit 1 its activations are signed, bit 2 ADVANCE: with each image"
        " TEST_BASE goes on by the words read",
    ),
    Register(
        "TEST_SHAPE",
        0x044,
        "rw",
        "bits 15:0 steps - 1, bits 31:16 passes - 1 of the test stage",
    ),
    Register(
        "TEST_BASE",
        0x048,
        "rw",
        "word of the weight banks at which it begins",
    ),
    Register(
        "TEST_LIMITS",
        0x04C,
        "r",
        "bits 15:0 most steps, bits 31:16 most passes; 0 where test mode is not built",
    ),
    Register(
        "TEST_WORDS",
        0x050,
        "r",
        "words of memory 0",
    ),
    Register(
        "WATCH",
        0x054,
        "rw",
        "bits 15:0 images between two checks of the array (below), 0 = none (after reset); writing"
        " another number asks for one before the next image; it, EXPECTED and SIGNATURE only in a"
        " build that watches, illegal accesses in any other",
        only="watch",
    ),
    Register(
        "EXPECTED",
        0x058,
        "rw",
        "signature that a check must come to",
        only="watch",
    ),
    Register(
        "SIGNATURE",
        0x05C,
        "r",
        "signature of the last check, or so far of the one under way",
        only="watch",
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
        "rw",
        "written: bits 32i..32i+31 of the word that COMMIT writes; read: those of the word that "
        "the last FETCH read (below)",
        many=True,
    ),
)


def present(*, batch: bool, watch: bool) -> tuple[Register, ...]:
    """The registers of a build with batches or without, that watches its array or does not."""
    built = {"": True, "batch": batch, "watch": watch}
    return tuple(one for one in REGISTERS if built[one.only])


def table() -> str:
    """The map as a table in Markdown."""
    lines = ["| address | name | access | contents |", "|---|---|---|---|"]
    for one in REGISTERS:
        place = f"0x{one.address:03x}" + (" + 4i" if one.many else "")
        lines.append(f"| {place} | {one.name} | {one.access} | {one.contents} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")

"""The overlay of an accelerator: Tcl for Vivado and the module that it packages, as bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hascodesign.common.shipped import share
from hascodesign.contract.memories import value_bits, weight_bits
from hascodesign.contract.types import Board, IntegerNetwork, Multipliers, Schedule
from hascodesign.render.driver import BLOCKS
from hascodesign.render.project import check_names, environment, files_in
from hascodesign.render.rtl import count_bits

FOLDER = "deploy/overlay"
TOP = "has_overlay"
#: Widest beat that AXI4-Stream width converters put together (PG085: 512 bytes).
MOST_BITS = 4096
#: First addresses of the core's registers and the DMAs', where the processing system has its ports.
ADDRESSES = {
    "xc7": (0x4000_0000, 0x4040_0000, 0x4041_0000),  # M_AXI_GP0
    "xcup": (0xA000_0000, 0xA001_0000, 0xA002_0000),  # M_AXI_HPM0_FPD
}
#: Board files by any version, where the board's record names none.
_BOARD_FILES = {
    "pynq-z1": "www.digilentinc.com:pynq-z1:part0:*",
    "ultra96-v2": "avnet.com:ultra96v2:part0:*",
    "zcu104": "xilinx.com:zcu104:part0:*",
    "zcu102": "xilinx.com:zcu102:part0:*",
}
#: Signals of AXI4-Lite as the core has them: name, direction, bits.
_LITE = (
    ("awvalid", "input", 1), ("awready", "output", 1), ("awaddr", "input", 12),
    ("wvalid", "input", 1), ("wready", "output", 1), ("wdata", "input", 32),
    ("wstrb", "input", 4), ("bvalid", "output", 1), ("bready", "input", 1),
    ("bresp", "output", 2), ("arvalid", "input", 1), ("arready", "output", 1),
    ("araddr", "input", 12), ("rvalid", "output", 1), ("rready", "input", 1),
    ("rdata", "output", 32), ("rresp", "output", 2),
)  # fmt: skip


def render_overlay(
    network: IntegerNetwork,
    schedule: Schedule,
    board: Board,
    files: Mapping[str, bytes],
    on_chip: Sequence[bool],
    *,
    clock_mhz: float,
    multipliers: Multipliers = "dsp",
) -> dict[str, bytes]:
    """Scripts that make a bitstream of the accelerator with Vivado, and the module they package.

    Parameters
    ----------
    network : with its rows as written.
    schedule : one row map per multiply layer.
    board : gives part, board files and the width of the memory port.
    files : the build so far: ``rtl/*.v``, ``roms/*.mem``; only the paths count.
    on_chip : per multiply layer, whether its weights lie in the weight memories.
    clock_mhz : of the core, MHz.
    multipliers : ``"lut"`` keeps them out of the DSP blocks.

    Returns
    -------
    ``deploy/overlay/*``: ``build.sh``, which runs it all, Tcl, ``has_overlay.v``; where a beat is
    too wide for an AXI DMA a ``build.sh`` alone, which says so.

    Raises
    ------
    ConfigError
        A name that a script must not hold, or a clock that is not a positive number.
    """
    sources = files_in(files, "rtl", ".v")
    wrapper = f"{FOLDER}/{TOP}.v"
    check_names(board, [*files, wrapper], (TOP,), clock_mhz)
    spec, streamed = schedule.array, not all(on_chip)
    image, weight = spec.simd * spec.act_bits, spec.pe * weight_bits(spec)
    widest = max(image, weight if streamed else 0)
    if widest > MOST_BITS:
        return _refused(widest, "streamed weights" if widest > image else "images")
    core_at, dma_at, weight_dma_at = ADDRESSES[board.family]
    inputs = [("s_axis_image", beat_bits(image), image)]
    if streamed:
        inputs.append(("s_axis_weight", beat_bits(weight), weight))
    values = {
        "board": board,
        "board_files": board_files(board),
        "family": {"xc7": "zynq", "xcup": "zynquplus"}[board.family],
        "clock_mhz": clock_mhz,
        "multipliers": multipliers,
        "image_bits": beat_bits(image),
        "result_bits": 32 if value_bits(network, spec) < 32 else 64,
        "weight_bits": beat_bits(weight) if streamed else 0,
        "weight_lanes": weight,
        "class_bits": count_bits(network.layers[-1].rows),
        "core_at": core_at,
        "dma_at": dma_at,
        "weight_dma_at": weight_dma_at,
        "inputs": inputs,
        "buses": ["s_axil", "m_axis_result", *(name for name, _, _ in inputs)],
        "lite": _LITE,
        "sources": [*sources, wrapper],
        "mems": files_in(files, "roms", ".mem"),
        **BLOCKS,
    }
    folder = share("flows", "overlay")
    made = {
        f"{FOLDER}/{path.name}": path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.suffix in (".tcl", ".sh")
    }
    for name in ("settings.tcl", f"{TOP}.v"):
        template = environment().get_template(f"overlay/{name}.j2")
        made[f"{FOLDER}/{name}"] = template.render(values).encode()
    return made


def _refused(bits: int, what: str) -> dict[str, bytes]:
    sizes = "SIMD x activation bits" if what == "images" else "PE x SIMD x weight bits"
    said = f"no overlay: a beat of {what} must be at most {MOST_BITS} bits ({sizes}), not {bits}"
    return {f"{FOLDER}/build.sh": f"#!/bin/sh\necho 'error: {said}' >&2\nexit 2\n".encode()}


def beat_bits(bits: int) -> int:
    """Bits of a stream's beat in memory: the next power of two of whole bytes."""
    return 8 << max(0, (-(-bits // 8) - 1).bit_length())


def board_files(board: Board) -> str:
    """Pattern of a board's files, of any version."""
    if board.board_part is None:
        return _BOARD_FILES[board.name]
    return board.board_part.rpartition(":")[0] + ":*"

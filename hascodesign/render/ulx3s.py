"""The accelerator on a ULX3S: Verilog around it, pins, and a script that makes the bitstream."""

from __future__ import annotations

from collections.abc import Sequence

from hascodesign.board.pll import pll
from hascodesign.board.post_route import PARTS
from hascodesign.common.shipped import share
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.memories import value_bits, weight_bits
from hascodesign.contract.types import Board, IntegerNetwork, Schedule
from hascodesign.render.overlay import beat_bits
from hascodesign.render.project import check_names, environment
from hascodesign.render.rtl import render_folder

FOLDER = "deploy/ulx3s"
TOP = "ulx3s_top"
PINS = f"{FOLDER}/ulx3s.lpf"
CRYSTAL_MHZ = 25.0  # of the board's oscillator
#: Bits a second of the serial line: one that the board's FT231X divides its 3 MHz to exactly.
BAUD = 2_000_000
#: Share by which the line's bits may be longer or shorter than the host's: the stop bit, the tenth,
#: is to be met in its middle, and the host's clock is not exact either.
BAUD_ERROR = 0.02
LEAST_DIVISOR = 4


def render_ulx3s(
    network: IntegerNetwork,
    schedule: Schedule,
    board: Board,
    on_chip: Sequence[bool],
    *,
    clock_mhz: float,
) -> dict[str, bytes]:
    """What stands around ``has_core`` on the board, and what makes a bitstream of it all.

    Parameters
    ----------
    network : with its rows as written.
    schedule : one row map per multiply layer.
    board : its part is named to the programs.
    on_chip : per multiply layer, whether its weights lie in the weight memories.
    clock_mhz : of the core, MHz; the nearest below that the PLL makes is taken.

    Returns
    -------
    ``deploy/ulx3s/*``: Verilog with the top module ``ulx3s_top``, ``ulx3s.lpf``, ``build.sh``.

    Raises
    ------
    ConfigError
        A clock that the PLL does not make, or from which the line's baud cannot be divided.
    """
    check_names(board, (), (TOP,), clock_mhz)
    spec, clock = schedule.array, pll(clock_mhz, CRYSTAL_MHZ)
    image = spec.simd * spec.act_bits
    weight = spec.pe * weight_bits(spec)
    values = {
        "board": board,
        "device": PARTS[board.part],
        "pll": clock,
        "divisor": divisor(clock.mhz),
        "image_bits": image,
        "image_bytes": beat_bits(image) // 8,
        "weight_bits": weight,
        "weight_bytes": 0 if all(on_chip) else beat_bits(weight) // 8,
        "result_bits": 32 if value_bits(network, spec) < 32 else 64,
    }
    made = render_folder(share("rtl_templates", "uart"), values)
    for name in (f"{TOP}.v", "build.sh"):
        made[name] = environment().get_template(f"ulx3s/{name}.j2").render(values)
    files = {f"{FOLDER}/{name}": text.encode("ascii") for name, text in made.items()}
    return files | {PINS: share("flows", "ulx3s", "ulx3s.lpf").read_bytes()}


def divisor(clock_mhz: float, baud: int = BAUD) -> int:
    """Clock cycles of a bit of the line.

    Raises
    ------
    ConfigError
        No whole number of cycles, 4 or more, comes within 2 % of a bit.
    """
    exact = clock_mhz * 1e6 / baud
    cycles = round(exact)
    if cycles < LEAST_DIVISOR or abs(cycles / exact - 1) > BAUD_ERROR:
        raise ConfigError(
            f"the clock must be near a multiple of {baud / 1e6:g} MHz, the baud of the serial line,"
            f" {LEAST_DIVISOR * baud / 1e6:g} MHz or more, not {clock_mhz:g} MHz"
        )
    return cycles


def line_cycles(bits: int, clock_mhz: float) -> int:
    """Clock cycles in which a beat of so many bits comes by the line: ten bits for each byte."""
    return beat_bits(bits) // 8 * 10 * divisor(clock_made(clock_mhz))


def clock_made(clock_mhz: float) -> float:
    """Clock of the core on the board, MHz, where ``clock_mhz`` is asked for."""
    return pll(clock_mhz, CRYSTAL_MHZ).mhz

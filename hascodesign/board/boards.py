"""The boards that a flow can aim at: one table of frozen records."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import Board

#: Percent of each resource up to which timing still closes without a fight.
GUIDELINE: Mapping[str, float] = MappingProxyType(
    {"LUT": 70.0, "FF": 50.0, "BRAM36": 80.0, "URAM": 80.0, "DSP": 80.0}
)


def _zynq7020(name: str, board_part: str | None) -> Board:
    return Board(
        name=name,
        part="xc7z020clg400-1",
        board_part=board_part,
        family="xc7",
        lut=53_200,
        ff=106_400,
        bram36=140,
        uram=0,
        dsp=220,
        axi_hp_bits=64,
        clock_mhz=100.0,
    )


_RECORDS = (
    _zynq7020("pynq-z1", None),
    _zynq7020("pynq-z2", "tul.com.tw:pynq-z2:part0:1.0"),
    Board(
        name="ultra96-v2",
        part="xczu3eg-sbva484-1-i",
        board_part=None,
        family="xcup",
        lut=70_560,
        ff=141_120,
        bram36=216,
        uram=0,
        dsp=360,
        axi_hp_bits=128,
        clock_mhz=200.0,
    ),
    Board(
        name="zcu104",
        part="xczu7ev-ffvc1156-2-e",
        board_part=None,
        family="xcup",
        lut=230_400,
        ff=460_800,
        bram36=312,
        uram=96,
        dsp=1_728,
        axi_hp_bits=128,
        clock_mhz=200.0,
    ),
    Board(
        name="zcu102",
        part="xczu9eg-ffvb1156-2-e",
        board_part=None,
        family="xcup",
        lut=274_080,
        ff=548_160,
        bram36=912,
        uram=0,
        dsp=2_520,
        axi_hp_bits=128,
        clock_mhz=200.0,
    ),
    Board(
        name="kv260",
        part="xck26-sfvc784-2LV-c",
        board_part="xilinx.com:kv260_som:part0:1.3",
        family="xcup",
        lut=117_120,
        ff=234_240,
        bram36=144,
        uram=64,
        dsp=1_248,
        axi_hp_bits=128,
        clock_mhz=200.0,
    ),
    Board(
        name="ulx3s-85f",
        part="LFE5U-85F-6BG381C",
        board_part=None,
        family="ecp5",
        lut=83_640,
        ff=83_640,
        bram36=104,  # 208 blocks of 18 kbit
        uram=0,
        dsp=156,
        axi_hp_bits=0,
        clock_mhz=50.0,
    ),
)


def table(records: Iterable[Board]) -> Mapping[str, Board]:
    """Read-only table of boards by their key.

    Raises
    ------
    ValueError
        Two records whose names spell the same board.
    """
    boards: dict[str, Board] = {}
    for record in records:
        if key(record.name) in boards:
            raise ValueError(f"two records for board {record.name}")
        boards[key(record.name)] = record
    return MappingProxyType(boards)


def key(name: str) -> str:
    """Spelling under which a board is found: ``Pynq_Z2`` and ``pynq-z2`` are one board."""
    return name.strip().lower().replace("_", "-").replace(" ", "-")


#: Every board, by key.
BOARDS: Mapping[str, Board] = table(_RECORDS)


def find(name: str) -> Board:
    """Board of that name, in any spelling of case, ``-`` and ``_``.

    Raises
    ------
    ConfigError
        An unknown board; the message names the nearest one.
    """
    wanted = key(name)
    if wanted in BOARDS:
        return BOARDS[wanted]
    known = ", ".join(board.name for board in BOARDS.values())
    nearest = difflib.get_close_matches(wanted, BOARDS, n=1, cutoff=0.0)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    raise ConfigError(f"board must be one of {known}, not {name!r}{hint}")


def available(board: Board) -> dict[str, int]:
    """What the board's part holds, keyed as in `Resources`."""
    return {
        "LUT": board.lut,
        "FF": board.ff,
        "BRAM36": board.bram36,
        "URAM": board.uram,
        "DSP": board.dsp,
    }

"""Scripts that take the rendered files into Vivado, Vitis HLS and yosys, as bytes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import jinja2

from hascodesign.common.shipped import share
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import Board, Multipliers

# one path component, and a whole identifier: nothing that Tcl, make or a shell reads as its own
_COMPONENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_\-]*")

_SYNTHESIS = {"synth/synth.ys": "yosys/synth.ys.j2", "synth/Makefile": "yosys/Makefile.j2"}
_SCRIPTS = {
    "vivado/create_project.tcl": "vivado/create_project.tcl.j2",
    "vivado/clock.xdc": "vivado/clock.xdc.j2",
    **_SYNTHESIS,
}
_ECP5_SCRIPTS = {
    **_SYNTHESIS,
    "synth/synth.ys": "yosys/synth_ecp5.ys.j2",
    "synth/multiply.v": "yosys/multiply_ecp5.v.j2",
}
# modules of which a build has many that are alike
_COPIED = ("has_pe", "has_pe_ws", "has_lane", "has_multiplier_pair")
_HLS_SCRIPTS = {
    "hls/run_hls.tcl": "vitis_hls/run_hls.tcl.j2",
    "hls/run_vitis.sh": "vitis_hls/run_vitis.sh.j2",
}
# where the input files of each function's bench lie, in hls/
_VECTORS = {"has_network": "images/healthy.txt"}


@dataclass(frozen=True, slots=True)
class _HlsTop:
    """A C++ function at the top, which has a bench of its name."""

    name: str
    vectors: str


def render_project(
    board: Board,
    files: Mapping[str, bytes],
    *,
    clock_mhz: float,
    top: str = "has_array",
    clock_port: str = "clk",
    multipliers: Multipliers = "dsp",
    around: Iterable[str] = (),
) -> dict[str, bytes]:
    """Project scripts for the files of a build.

    Every script finds the files relative to its own place. The order of files is that of their
    paths, so the same files give the same scripts.

    Parameters
    ----------
    board : gives part, board part and yosys family.
    files : the build so far: ``rtl/*.v``, ``roms/*.mem``, ``hls/*``; only the paths count.
    clock_mhz : clock that the project is constrained to, MHz.
    top : Verilog module at the top.
    clock_port : clock input of the module.
    multipliers : ``"lut"`` keeps the multipliers out of the DSP blocks.
    around : further Verilog, not below ``rtl/``, that is synthesised with it.

    Returns
    -------
    ``synth/synth.ys``, ``synth/Makefile``, for a part of AMD ``vivado/create_project.tcl`` and
    ``vivado/clock.xdc``, and ``hls/run_hls.tcl`` and ``run_vitis.sh`` where there are C++ sources:
    each function ``<name>.cpp`` with a bench ``<name>_tb.cpp`` is a top.

    Raises
    ------
    ConfigError
        A name with other characters than letters, digits, ``_``, ``-`` and ``.``, a build without
        Verilog, or a clock that is not a positive number.
    """
    tops = _hls_tops(files)
    names = (top, clock_port, *(one.name for one in tops))
    check_names(board, [*files, *around], names, clock_mhz)
    rtl = files_in(files, "rtl", ".v")
    if not rtl:
        raise ConfigError("a project must have Verilog sources rtl/*.v, not none")
    rtl += sorted(around)
    mems, headers = files_in(files, "roms", ".mem"), files_in(files, "rtl", ".vh")
    values = {
        "board": board,
        "clock_mhz": clock_mhz,
        "clock_port": clock_port,
        "multipliers": multipliers,
        "top": top,
        "rtl": rtl,
        "copied": [name for name in _COPIED if f"rtl/{name}.v" in files],
        "headers": headers,
        "mems": mems,
        "makefile_sources": " ".join(f"../{path}" for path in [*rtl, *headers, *mems]),
        "hls_tops": tops,
        "hls_includes": sorted({str(PurePosixPath(path).parent) for path in _headers(files)}),
    }
    scripts = _ECP5_SCRIPTS if board.family == "ecp5" else _SCRIPTS
    scripts = scripts | (_HLS_SCRIPTS if tops else {})
    templates = environment()
    return {
        path: templates.get_template(template).render(values).encode()
        for path, template in scripts.items()
    }


def environment() -> jinja2.Environment:
    """Templates below flows/ for files that Tcl, make or Verilog reads."""
    # [[ ]] and [% %], because {{ and {% are Tcl's and Verilog's
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(share("flows")),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Tcl, not HTML; every name is checked before
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="[%",
        block_end_string="%]",
        comment_start_string="[##",
        comment_end_string="##]",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def files_in(files: Iterable[str], folder: str, suffix: str) -> list[str]:
    """Files straight in ``folder`` with that suffix, in the order of their paths."""
    paths = (PurePosixPath(path) for path in files)
    return sorted(str(p) for p in paths if str(p.parent) == folder and p.suffix == suffix)


def _headers(files: Iterable[str]) -> list[str]:
    return [path for path in files if path.startswith(("hls/", "roms/")) and path.endswith(".h")]


def _hls_tops(files: Iterable[str]) -> list[_HlsTop]:
    stems = {PurePosixPath(path).stem for path in files_in(files, "hls", ".cpp")}
    return [
        _HlsTop(stem, _VECTORS.get(stem, "vectors/*.txt"))
        for stem in sorted(stems)
        if f"{stem}_tb" in stems
    ]


def check_names(
    board: Board, files: Iterable[str], identifiers: Iterable[str], clock_mhz: float
) -> None:
    """Refuse what must not reach a script (ConfigError): names, parts, a clock of no frequency."""
    for path in files:
        if not all(_COMPONENT.fullmatch(part) for part in path.split("/")):
            raise ConfigError(
                f"a file of the build must have a name of letters, digits, _, - and ., not {path!r}"
            )
    for name in identifiers:
        if not _IDENTIFIER.fullmatch(name):
            raise ConfigError(f"a top or port must be an identifier, not {name!r}")
    for part in (board.part, board.board_part or board.part):
        if not _PART.fullmatch(part):
            raise ConfigError(f"a part must have letters, digits, ., :, _ and -, not {part!r}")
    if not (math.isfinite(clock_mhz) and clock_mhz > 0):
        raise ConfigError(f"clock must be a positive number of MHz, not {clock_mhz!r}")

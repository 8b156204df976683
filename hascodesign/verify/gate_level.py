"""A netlist in the place of the RTL that it was made from, for the same benches."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hascodesign.contract.build import BuildPlan
from hascodesign.contract.errors import ConfigError

_HEADER = re.compile(r"^module (\w+) #\(.*?^\);$", re.MULTILINE | re.DOTALL)
_PORT = re.compile(r"^  (?:input|output) +(?:wire|reg) .*?(\w+),?(?: *//.*)?$", re.MULTILINE)


def gate_level_plan(
    plan: BuildPlan, top: str, netlists: Mapping[str, bytes], models: bytes
) -> BuildPlan:
    """A build whose ``top`` is a netlist, with the ports and parameters of the RTL.

    What verifies a build of RTL verifies this one. Without faults (``FAULT_SITES`` = 0) the module
    is the healthy netlist, with them (1) the faulty one.

    Parameters
    ----------
    plan : the build of RTL, with ``rtl/<top>.v``.
    top : module that the netlists were made of.
    netlists : by "healthy" and "faulty", Verilog with a module ``<top>_healthy`` or
        ``<top>_faulty``. One of the two may be left out: then the other alone elaborates.
    models : Verilog of the cells.

    Raises
    ------
    ConfigError
        The build has no such module.
    """
    source = plan.files.get(f"rtl/{top}.v", b"").decode()
    header = next((m[0] for m in _HEADER.finditer(source) if m[1] == top), None)
    if header is None:
        raise ConfigError(f"a build to be held against its netlist must have rtl/{top}.v")
    header = re.sub(r"\boutput reg \b", "output wire", header)
    ports = ", ".join(f".{name}({name})" for name in _PORT.findall(header))
    branches = [
        f"    {sites}: {top}_{run} netlist ({ports});"
        for sites, run in enumerate(("healthy", "faulty"))
        if run in netlists
    ]
    wrapper = (
        "`default_nettype none\n",
        header,
        "  generate case (FAULT_SITES)",
        *branches,
        "    default: NO_NETLIST_OF_THESE_FAULT_SITES refused ();",
        "  endcase endgenerate\n",
        "endmodule\n",
        "`default_nettype wire\n",
    )
    files = {f"rtl/{top}_{run}.v": verilog for run, verilog in netlists.items()}
    files[f"rtl/{top}.v"] = "\n".join(wrapper).encode()
    files["rtl/cells.v"] = models
    return BuildPlan(files)

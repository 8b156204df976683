"""Prove the properties of the wrappers in this folder, with yosys and z3.

    python prove.py --work build/formal                   every proof, every broken design
    python prove.py --work build/formal --only drain      one of them
    python prove.py --work build/formal --only drain --broken 0

Each proof is a base case, an induction, and cover statements that must all be reached; the broken
designs must each fail in the base case. Exit code 0: all as it should be. 1: something is not.
3: a tool is missing.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import time
from pathlib import Path

from proofs import PROOFS, Broken, Proof

HERE = Path(__file__).resolve().parent
RTL = HERE.parent.parent / "rtl_templates"
LIMIT_S = 7200.0  # of any one run; the longest takes minutes
# a wire named peek_x, and after it the inner signal that it shows
PEEK = re.compile(r"\bpeek_(\w+);\s*// (\S+)$", re.MULTILINE)
TOOLS = {
    "yosys": "apt-get install yosys",
    "yosys-smtbmc": "apt-get install yosys",
    "z3": "pip install z3-solver",
}


def call(command: list[str], log: Path, cwd: Path | None = None) -> bool:
    """Run one tool, which ends with this process; whether it exited with 0, within its limit.

    The log has what it said.
    """
    # only here: a missing tool is told in any Python
    from hascodesign.common import processes  # noqa: PLC0415

    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    env = {**os.environ, "PATH": path}
    return processes.run(command, cwd=cwd, env=env, log=log, limit_s=LIMIT_S).status == 0


def source(name: str, batch: int = 1) -> str:
    """A module of the core as it is shipped; what varies from build to build is no part of it.

    But for the images of a batch.
    """
    path = RTL / name
    if path.is_file():
        return path.read_text("ascii")
    # only here: a missing tool is told in any Python
    from hascodesign.contract.registers import present  # noqa: PLC0415
    from hascodesign.render.rtl import environment  # noqa: PLC0415

    template = environment(path.parent).get_template(f"{path.name}.j2")
    own = present(batch=batch > 1, watch=False)
    return template.render(registers=own, batch=batch, watch=False)


def model(proof: Proof, work: Path, broken: Broken | None = None) -> Path:
    """The wrapper and its design as one SMT-LIB model."""
    work.mkdir(parents=True, exist_ok=True)
    wrapper = HERE / f"{proof.top}.v"
    sources = []
    for name in proof.sources:
        text = source(name, proof.batch)
        if broken is not None and broken.file == name:
            if text.count(broken.text) != 1:
                raise SystemExit(f"{name} must have {broken.text!r} once, for: {broken.what}")
            text = text.replace(broken.text, broken.instead)
        sources.append(work / Path(name).name)
        sources[-1].write_text(text, "ascii")
    shutil.copyfile(wrapper, work / wrapper.name)
    peeks = PEEK.findall(wrapper.read_text("ascii"))
    sizes = " ".join(f"-chparam {name} {value}" for name, value in proof.parameters.items())
    # the properties of the outside alone must find out what is broken
    define = "-D OUTSIDE_ALONE" if broken is not None else ""
    define += " -D BATCHED" * (proof.batch > 1)
    script = [
        f"read_verilog -formal {define} {' '.join(file.name for file in sources)} {wrapper.name}",
        f"hierarchy -check -top {proof.top} {sizes}",
        "proc; flatten; memory_map",
        *(f"connect -nounset -set peek_{name} {inner}" for name, inner in peeks),
        "opt_clean; check; async2sync; chformal -assume -early; opt -keepdc; dffunmap",
        "write_smt2 -wires model.smt2",
    ]
    (work / "model.ys").write_text("\n".join(script) + "\n", "ascii")
    log = work / "model.log"
    done = call(["yosys", "-q", "-s", "model.ys"], log, work)
    if not done or re.search(r"peek_\w+ .*no driver", log.read_text()):
        raise SystemExit(f"yosys must take {proof.name}:\n{log.read_text()[-2000:]}")
    return work / "model.smt2"


def solve(smt: Path, mode: str, cycles: int) -> str:
    """PASSED or FAILED, as the solver says: mode base, induction or cover."""
    flags = {"base": [], "induction": ["-i"], "cover": ["-c"]}[mode]
    log = smt.parent / f"{mode}.log"
    call(["yosys-smtbmc", "-s", "z3", *flags, "-t", str(cycles), str(smt)], log)
    status = re.findall(r"Status: (\w+)", log.read_text())
    if not status:
        raise SystemExit(f"yosys-smtbmc must come to an end in {LIMIT_S:.0f} s, see {log}")
    return str(status[-1])


def reason(smt: Path, mode: str) -> str:
    """The assertion or cover statement that failed."""
    text = (smt.parent / f"{mode}.log").read_text()
    found = re.findall(r"(Assert failed in .*|Unreached cover .*)", text)
    return found[0] if found else ""


def prove(proof: Proof, work: Path) -> bool:
    """Base, induction and cover of one proof."""
    smt = model(proof, work)
    good = True
    for mode, cycles in (("base", proof.k + 1), ("induction", proof.k), ("cover", proof.reach)):
        start = time.perf_counter()
        status = solve(smt, mode, cycles)
        seconds = time.perf_counter() - start
        why = "" if status == "PASSED" else f": {reason(smt, mode)}"
        print(f"{proof.name}: {mode}, {cycles} cycles: {status}{why} ({seconds:.0f} s)", flush=True)
        good = good and status == "PASSED"
    return good


def refute(proof: Proof, broken: Broken, work: Path) -> bool:
    """A broken design must fail, and by an assertion."""
    smt = model(proof, work, broken)
    failed = solve(smt, "base", proof.reach) == "FAILED" and "Assert" in reason(smt, "base")
    told = reason(smt, "base") if failed else "NOT FOUND OUT"
    print(f"{proof.name}, {broken.what}: {told}", flush=True)
    return failed


def missing() -> str:
    """The tools that are not there, and where they come from."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return "; ".join(
        f"{tool} is missing: {source}"
        for tool, source in TOOLS.items()
        if shutil.which(tool, path=path) is None
    )


def main() -> int:
    """Prove what the command line asks for."""
    names = [proof.name for proof in PROOFS]
    parser = argparse.ArgumentParser(description="Prove the Verilog's manners with yosys and z3.")
    parser.add_argument("--work", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--only", choices=names, action="append", help="these proofs alone")
    parser.add_argument("--broken", type=int, help="only this broken design, by its number")
    parser.add_argument("--most", type=int, help="of each proof the first so many broken designs")
    options = parser.parse_args()
    if lacking := missing():
        print(lacking, file=sys.stderr)
        return 3
    good = True
    for proof in PROOFS:
        if options.only and proof.name not in options.only:
            continue
        work = options.work.resolve() / proof.name
        if options.broken is None:
            good = prove(proof, work) and good
        for number, broken in enumerate(proof.broken[: options.most]):
            if options.broken in (None, number):
                good = refute(proof, broken, work / f"broken-{number}") and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

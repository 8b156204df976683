"""Proofs by yosys alone that one mutant does what the design does."""

from __future__ import annotations

import re
from pathlib import Path

from mutation.record import Mutant
from mutation.suites import Suite
from mutation.yosys import must, yosys

PROOF_SECONDS = 20
PROOF = """
hierarchy -top {module}
flatten
opt -full
rename {module} {side}
design -stash {side}
"""
COMPARE = """
design -copy-from gold gold
design -copy-from gate gate
memory -nomap
memory_map
opt_clean
equiv_make gold gate both
hierarchy -top both
equiv_simple -seq 3
equiv_induct -seq 5
equiv_status -assert
"""
# an inverter in the mutation's place, alone left coarse, so that no pass merges it with others
DEAD = """
hierarchy -top {top}
flatten
select -assert-min 1 c:*mutate.cc*
select -set rest * c:*mutate.cc* %d
simplemap @rest
opt_clean -purge
select -assert-count 0 c:*mutate.cc*
"""
# a cell of no known kind in the mutation's place, which keeps its input for all to see
CONSTANT = """
chtype -set has_marker c:*mutate.cc*
setattr -set keep 1 c:*mutate.cc*
hierarchy -top {top}
flatten
opt -full
tee -q -o {dump} dump c:*mutate.cc*
"""


def dead(suite: Suite, mutant: Mutant, work: Path) -> bool:
    """Whether nothing that the top module gives depends on the mutated bit."""
    if re.search(r"-cell \$memrd\S* -port (CLK|EN) ", mutant.command):
        return True  # before memories are mapped reads are combinational, with idle clock inputs
    inverted = re.sub(r"-mode \w+", "-mode inv", mutant.command)
    script = f"read_rtlil ../design.il\n{inverted}\n{DEAD.format(top=suite.top)}"
    return yosys(suite, script, work)


def constant(suite: Suite, mutant: Mutant, work: Path) -> bool:
    """Whether the mutation sets a bit to what it always is in this design."""
    mode = re.search(r"-mode const(\d)", mutant.command)
    if mode is None:
        return False
    inverted = re.sub(r"-mode \w+", "-mode inv", mutant.command)
    dump = (work / "dump.txt").resolve()
    script = f"read_rtlil ../design.il\n{inverted}\n{CONSTANT.format(top=suite.top, dump=dump)}"
    must(suite, script, work)
    values = re.findall(r"connect \\A (.*)", dump.read_text("utf-8"))
    return bool(values) and set(values) == {f"1'{mode[1]}"}


def equivalent(suite: Suite, mutant: Mutant, work: Path) -> bool:
    """Whether yosys proves that the mutated module does what it did."""
    words = mutant.command.split()
    module = words[words.index("-module") + 1]
    script = "read_rtlil ../design.il\n" + PROOF.format(module=module, side="gold")
    script += f"read_rtlil ../design.il\n{mutant.command}\n"
    script += PROOF.format(module=module, side="gate") + COMPARE
    return yosys(suite, script, work, PROOF_SECONDS)

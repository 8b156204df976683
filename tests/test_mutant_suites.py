"""The designs that `make mutants` mutates pass their benches as they are, before any mutation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mutation.suites import SUITES
from hascodesign.common.shipped import share


@pytest.mark.parametrize("name", sorted(SUITES))
def test_a_design_without_a_mutation_passes(tmp_path: Path, name: str) -> None:
    suite = SUITES[name](tmp_path)
    for bench in suite.benches:
        command = [sys.executable, str(share("sim", "run_bench.py")), "--top", suite.top]
        command += ["--rtl", str(tmp_path / "rtl"), "--roms", str(tmp_path / "roms")]
        command += ["--work", str(tmp_path / "run"), "--vectors", str(tmp_path / bench.vectors)]
        command += ["--bench", bench.modules, *bench.options]
        for key, value in suite.parameters.items():
            command += ["--parameter", f"{key}={value}"]
        command += ["--faults"] if suite.parameters.get("FAULT_SITES") else []
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, (run.stdout + run.stderr)[-4000:]

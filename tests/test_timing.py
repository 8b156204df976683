"""The post-route clock: what is read of nextpnr, and the wrapper that it is measured in."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hascodesign.board import post_route, tools
from hascodesign.contract import array
from hascodesign.contract.errors import ConfigError, StepFailed
from hascodesign.contract.types import ArraySpec, FaultProfile
from hascodesign.render.rtl import RtlOptions
from tests import rtl_cases


def hop(delay: float, kind: str, cell: str, **more: str) -> dict[str, object]:
    return {"delay": delay, "type": kind, "from": {}, "to": {"cell": cell, "port": "D"}, **more}


REPORT = {
    "fmax": {"$glbnet$clk": {"achieved": 104.5, "constraint": 125.0}},
    "critical_paths": [
        {"from": "<async>", "to": "posedge $glbnet$clk", "path": [hop(9, "routing", "pin")]},
        {
            "from": "posedge $glbnet$clk",
            "to": "posedge $glbnet$clk",
            "path": [
                hop(0.5, "clk-to-q", "product"),
                hop(1.25, "routing", "adder", net="sum[3]"),
                hop(0.0, "setup", "acc"),
            ],
        },
    ],
    "utilization": {
        "TRELLIS_FF": {"available": 83640, "used": 12},
        "EHXPLLL": {"available": 4, "used": 0},
    },
}

NEXTPNR = """#!/bin/sh
if [ "$1" = --version ]; then echo "nextpnr 9.9"; exit 0; fi
echo "$@" > ../../arguments
cp ../../report.json timing.json
"""


def test_report_is_read() -> None:
    mhz, path, cells = post_route.read_report(json.dumps(REPORT).encode())
    assert mhz == 104.5
    assert [(h.ns, h.kind, h.cell, h.net) for h in path] == [
        (0.5, "clk-to-q", "product", ""),
        (1.25, "routing", "adder", "sum[3]"),
        (0.0, "setup", "acc", ""),
    ]
    assert cells == {"TRELLIS_FF": 12}
    assert post_route.describe(path).splitlines() == [
        "  0.50 ns clk-to-q  product",
        "  1.25 ns routing   sum[3]",
        "  0.00 ns setup     acc",
        "  1.75 ns in all",
    ]


@pytest.mark.parametrize(
    "broken",
    [
        {"fmax": {}},
        {"critical_paths": [{"from": "a"}]},
        {"fmax": {"clk": {"achieved": 0}}},
        {"utilization": []},
    ],
)
def test_report_without_a_clock_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(StepFailed, match="nextpnr's"):
        post_route.read_report(json.dumps(REPORT | broken).encode())
    with pytest.raises(StepFailed, match="must have fmax"):
        post_route.read_report(b"no json")


def test_build_without_verilog_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must have rtl/\*\.v, not none"):
        post_route.post_route_mhz({"roms/a.mem": b""}, work=tmp_path, progress=lambda *_: None)


@pytest.mark.skipif(shutil.which("yosys") is None, reason="yosys is not installed")
def test_the_array_is_wrapped_in_registers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """yosys for real, on a tiny array; a stand-in for nextpnr sees what it would get."""
    spec = ArraySpec(2, 2, 2, 2, 16)
    rng = np.random.default_rng(3)
    net = rtl_cases.network([rtl_cases.layer(rng, spec, 0, 2, 4, kind="last")])
    plan = rtl_cases.build(
        net, array.identity_schedule(net, spec), FaultProfile(spec), RtlOptions()
    )
    fake = tmp_path / "bin" / "nextpnr-ecp5"
    fake.parent.mkdir()
    keep = f'cp has_timing.v netlist.json "{tmp_path}"\n'
    fake.write_text(NEXTPNR + keep, encoding="ascii")
    fake.chmod(0o755)
    found = tools.find
    monkeypatch.setattr(tools, "find", lambda n: fake if n.startswith("nextpnr") else found(n))
    work = tmp_path / "work"
    work.mkdir()
    (work / "report.json").write_text(json.dumps(REPORT), encoding="ascii")

    calls: list[tuple[str, int, int]] = []
    got = post_route.post_route_mhz(
        plan.files, work=work, multipliers="lut", seed=5, progress=lambda *c: calls.append(c)
    )
    assert (got.mhz, got.tool, got.device) == (104.5, "nextpnr 9.9", "LFE5UM-85F-6")
    assert "stand-in" in got.note
    assert calls[-1][1:] == (3, 3)
    arguments = (work / "arguments").read_text().split()
    assert arguments[:3] == ["--um-85k", "--speed", "6"]
    assert arguments[arguments.index("--seed") + 1] == "5"
    assert not list(work.glob(".timing-*"))

    netlist = json.loads((tmp_path / "netlist.json").read_bytes())["modules"]["has_timing"]
    assert set(netlist["ports"]) == {"clk", "serial_in", "load", "serial_out"}
    types = {cell["type"] for cell in netlist["cells"].values()}
    assert "TRELLIS_FF" in types
    assert "MULT18X18D" not in types
    wrapper = (tmp_path / "has_timing.v").read_text()
    rtl = [p for p in plan.files if p.startswith("rtl/")]
    (tmp_path / "lint").mkdir()
    for name in rtl:
        (tmp_path / "lint" / Path(name).name).write_bytes(plan.files[name])
    (tmp_path / "lint" / "has_timing.v").write_text(wrapper, encoding="ascii")
    lint = subprocess.run(
        [
            *("iverilog", "-Wall", "-g2005-sv", "-s", "has_timing", "-t", "null"),
            *sorted(path.name for path in (tmp_path / "lint").glob("*.v")),
        ],
        capture_output=True, text=True, check=False, cwd=tmp_path / "lint",
    )  # fmt: skip
    assert lint.returncode == 0, lint.stderr
    assert "has_timing" not in lint.stderr, lint.stderr

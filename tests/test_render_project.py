"""The project scripts, run by fake vendor tools that check every file the scripts name."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest

from hascodesign.board.boards import find
from hascodesign.common.files import write_tree
from hascodesign.contract.errors import ConfigError
from hascodesign.render.project import render_project
from tests.overlay_cases import fake_tool

FAKES = Path(__file__).parent / "fake_tools"

FILES = {
    "rtl/has_array.v": b"module has_array (\n  input wire clk,\n  input wire rst\n);\nendmodule\n",
    "rtl/has_pe.v": b"module has_pe;\nendmodule\n",
    "roms/row_map.mem": b"0\n",
    "roms/weights_pe00.mem": b"0\n",
    "roms/row_map.h": b"// map\n",
    "roms/manifest.json": b"{}",
    "hls/has_layer.cpp": b'#include "has_layer.h"\nvoid has_layer(int n) {}\n',
    "hls/has_layer.h": b'#include "row_map.h"\n',
    "hls/has_layer_tb.cpp": b'#include "has_layer.h"\nint main() { return 0; }\n',
}
Z2 = find("pynq-z2")


def scripts(board: str = "pynq-z2", clock_mhz: float = 125.0, **options: str) -> dict[str, bytes]:
    return render_project(find(board), FILES, clock_mhz=clock_mhz, **options)


class FakeTool:
    """A folder of a build, and the fake vendor tools on PATH to run its scripts with."""

    def __init__(self, root: Path) -> None:
        self.build = root / "a build"  # a space, as a user's folder may have
        self.log = root / "log"
        self.bin = root / "bin"
        self.bin.mkdir()
        for name in ("vivado", "vitis_hls"):
            fake_tool(self.bin / name, name)
        for name in ("vitis-run", "v++"):
            fake_tool(self.bin / name, "vitis")

    def run(self, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        path = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
        env = {"FAKE_TOOL_LOG": str(self.log), "FAKE_BOARD_PARTS": "", "FAKE_PROGRESS": "100%"}
        return subprocess.run(
            command,
            env=os.environ | env | {"PATH": path} | settings,
            cwd=self.bin,
            capture_output=True,
            text=True,
            check=False,
        )

    def vivado(self, **settings: str) -> subprocess.CompletedProcess[str]:
        script = str(self.build / "vivado/create_project.tcl")
        return self.run("vivado", "-mode", "batch", "-source", script, **settings)

    def vitis_hls(self, **settings: str) -> subprocess.CompletedProcess[str]:
        return self.run("vitis_hls", "-f", str(self.build / "hls/run_hls.tcl"), **settings)

    def vitis(self, **settings: str) -> subprocess.CompletedProcess[str]:
        return self.run("sh", str(self.build / "hls/run_vitis.sh"), **settings)

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def tool(tmp_path: Path) -> FakeTool:
    return FakeTool(tmp_path)


def test_vivado_takes_every_file_in_order(tool: FakeTool) -> None:
    write_tree(tool.build, {**FILES, **scripts()})
    done = tool.vivado()
    assert done.returncode == 0, done.stderr
    assert "are not installed" in done.stdout
    assert tool.lines() == [
        "create_project has_array xc7z020clg400-1",
        "add_files sources_1 has_array.v",
        "add_files sources_1 has_pe.v",
        "add_files sources_1 row_map.mem",
        "add_files sources_1 weights_pe00.mem",
        "add_files constrs_1 clock.xdc",
        "set_property top has_array",
        "set_property STEPS.SYNTH_DESIGN.ARGS.MORE OPTIONS -mode out_of_context",
        "create_clock 8.000 clk",
        "report_utilization",
        "report_timing_summary",
        "close_project",
    ]
    assert (tool.build / "vivado/utilization.rpt").is_file()


def test_vivado_sets_the_board_where_it_is_installed(tool: FakeTool) -> None:
    write_tree(tool.build, {**FILES, **scripts()})
    assert tool.vivado(FAKE_BOARD_PARTS="tul.com.tw:pynq-z2:part0:1.0").returncode == 0
    assert "set_property board_part tul.com.tw:pynq-z2:part0:1.0" in tool.lines()
    write_tree(tool.build, scripts("zcu104"))
    assert tool.vivado().returncode == 0
    assert tool.lines()[0] == "create_project has_array xczu7ev-ffvc1156-2-e"


def test_vivado_multipliers_of_luts(tool: FakeTool) -> None:
    write_tree(tool.build, {**FILES, **scripts(multipliers="lut")})
    assert tool.vivado().returncode == 0
    assert "set_property STEPS.SYNTH_DESIGN.ARGS.MAX_DSP 0" in tool.lines()


@pytest.mark.parametrize(
    "missing", ["rtl/has_pe.v", "roms/row_map.mem", "vivado/clock.xdc", "rtl/has_array.v"]
)
def test_vivado_stops_at_a_missing_file(tool: FakeTool, missing: str) -> None:
    write_tree(tool.build, {**FILES, **scripts()})
    (tool.build / missing).unlink()
    done = tool.vivado()
    assert done.returncode == 1
    assert "no such file" in done.stderr
    assert Path(missing).name in done.stderr


def test_vivado_stops_at_a_failed_synthesis_and_an_absent_clock(tool: FakeTool) -> None:
    write_tree(tool.build, {**FILES, **scripts()})
    done = tool.vivado(FAKE_PROGRESS="40%")
    assert done.returncode == 1
    assert "must end at 100%, not 40%" in done.stderr
    write_tree(tool.build, scripts(clock_port="aclk"))
    done = tool.vivado()
    assert done.returncode == 1
    assert "no port aclk" in done.stderr


NETWORK = {
    "hls/has_network.cpp": b'#include "has_layer.h"\nvoid has_network(int n) {}\n',
    "hls/has_network_tb.cpp": b"int main() { return 0; }\n",
}
HLS = FILES | NETWORK


def written(tool: FakeTool, files: dict[str, bytes], board: str = "kv260") -> None:
    """A build and its scripts; a folder without a space, which C arguments have no way to hold."""
    tool.build = tool.build.with_name("build")
    write_tree(tool.build, {**files, **render_project(find(board), HLS, clock_mhz=200.0)})


def taken(top: str) -> list[str]:
    return [
        f"add_files design {top}.cpp",
        f"add_files bench {top}_tb.cpp",
        "set_part xck26-sfvc784-2LV-c",
        "create_clock 5.000",
        "csim_design",
        f"csynth_design {top}",
        "export_design ip_catalog",
        "close_project",
    ]


@pytest.mark.parametrize("newer", [False, True])
def test_vitis_hls_takes_every_design_and_its_bench(tool: FakeTool, newer: bool) -> None:
    written(tool, HLS)
    script = str(tool.build / "hls/run_hls.tcl")
    done = tool.run("vitis-run", "--mode", "hls", "--tcl", script) if newer else tool.vitis_hls()
    assert done.returncode == 0, done.stderr
    tops = ("has_layer", "has_network")
    here = tool.build / "hls"
    assert tool.lines() == [
        line for top in tops for line in (f"open_project project_{top} in {here}", *taken(top))
    ]


def test_vitis_hls_runs_each_bench_on_its_own_files_and_the_rtl_where_asked(
    tool: FakeTool,
) -> None:
    vectors = ("vectors/b.txt", "vectors/a.txt", "vectors/notes.md", "images/healthy.txt")
    written(tool, HLS | {f"hls/{name}": b"" for name in (*vectors, "images/faulty.txt")})
    assert tool.vitis_hls(HAS_TOP="has_layer").returncode == 0
    assert tool.lines()[5:8] == ["argument a.txt", "argument b.txt", "csim_design"]
    assert tool.vitis_hls(HAS_TOP="has_network", HAS_COSIM="1").returncode == 0
    assert tool.lines()[5:] == [
        "argument healthy.txt", "csim_design", "csynth_design has_network",
        "argument healthy.txt", "cosim_design", "export_design ip_catalog", "close_project",
    ]  # fmt: skip


def test_vitis_by_configuration_files(tool: FakeTool) -> None:
    written(tool, HLS | {"hls/vectors/a.txt": b"", "hls/images/healthy.txt": b""})
    done = tool.vitis()
    assert done.returncode == 0, done.stderr
    tops = {"has_layer": "a.txt", "has_network": "healthy.txt"}
    assert tool.lines() == [
        line
        for top, given in tops.items()
        for step in ("--csim", "-c", "--package")
        for line in (f"{step} {top} xck26-sfvc784-2LV-c 5.000ns", f"argument {given}")
    ]
    done = tool.vitis(HAS_TOP="has_network", HAS_COSIM="1")
    assert done.returncode == 0, done.stderr
    steps = [line.split()[0] for line in tool.lines() if line.startswith("-")]
    assert steps == ["--csim", "-c", "--cosim", "--package"]


@pytest.mark.parametrize("name", ["run_hls.tcl", "run_vitis.sh"])
def test_the_rtl_is_simulated_with_one_type_at_each_port(tool: FakeTool, name: str) -> None:
    """Words of the synthesis in the bench, too: the ports' types are its own otherwise."""
    written(tool, HLS)
    run = tool.vitis_hls if name == "run_hls.tcl" else tool.vitis
    assert run(HAS_COSIM="1").returncode == 0
    script = tool.build / "hls" / name
    script.write_text(script.read_text().replace(" -DHAS_AP_INT=1", ""))
    done = run(HAS_COSIM="1")
    assert done.returncode == 1
    assert "the bench has other types at the ports" in done.stderr


@pytest.mark.parametrize(
    ("given", "instead", "said"),
    [
        ("csim.argv", "csim.args", "unknown key csim.args"),
        ("-c --mode", "-c --moed", "unknown option --moed"),
        ("ip_catalog", "ip_catalogue", "must be one of"),
        ("syn.file=$here/$1", "syn.file=$here/x$1", "no such file"),
        ("--package", "--export", "unknown option --export"),
    ],
)
def test_vitis_refuses_what_it_does_not_know(
    tool: FakeTool, given: str, instead: str, said: str
) -> None:
    written(tool, HLS)
    script = tool.build / "hls/run_vitis.sh"
    text = script.read_text()
    assert given in text
    script.write_text(text.replace(given, instead))
    done = tool.vitis()
    assert done.returncode == 1
    assert said in done.stderr


@pytest.mark.parametrize(
    "missing",
    ["hls/has_layer.cpp", "hls/has_layer_tb.cpp", "hls/has_layer.h", "hls/has_network.cpp"],
)
def test_vitis_hls_stops_at_a_missing_file(tool: FakeTool, missing: str) -> None:
    written(tool, HLS)
    (tool.build / missing).unlink()
    done = tool.vitis_hls()
    assert done.returncode == 1
    assert Path(missing).name in done.stderr


def test_vitis_hls_stops_at_an_unknown_top(tool: FakeTool) -> None:
    written(tool, HLS)
    (tool.build / "hls/has_network.cpp").write_bytes(b"void other(int n) {}\n")
    for done in (tool.vitis_hls(), tool.vitis()):
        assert done.returncode == 1
        assert "no function has_network" in done.stderr


def test_without_cpp_there_is_no_hls_script() -> None:
    rtl = {path: data for path, data in FILES.items() if not path.startswith("hls/")}
    made = render_project(Z2, rtl, clock_mhz=100.0)
    assert sorted(made) == [
        "synth/Makefile", "synth/synth.ys", "vivado/clock.xdc", "vivado/create_project.tcl"
    ]  # fmt: skip


def test_order_of_files_does_not_depend_on_the_order_given() -> None:
    backwards = dict(reversed(list(FILES.items())))
    assert render_project(Z2, backwards, clock_mhz=125.0) == scripts()


def test_no_script_holds_a_path_of_this_machine() -> None:
    for path, data in scripts().items():
        assert b"/home" not in data and str(Path.cwd()).encode() not in data, path


def test_yosys_script_by_family_and_multipliers() -> None:
    assert b"-family xc7 -top has_array -flatten -noiopad" in scripts()["synth/synth.ys"]
    assert b"-family xcup" in scripts("zcu102")["synth/synth.ys"]
    assert b"-nodsp" not in scripts()["synth/synth.ys"]
    assert b"-nodsp" in scripts(multipliers="lut")["synth/synth.ys"]


@pytest.mark.parametrize(
    "path",
    [
        "rtl/a b.v",
        "rtl/a;b.v",
        "rtl/[exec rm].v",
        "rtl/$x.v",
        "rtl/../a.v",
        "/rtl/a.v",
        "rtl/a\n.v",
    ],
)
def test_unsafe_file_names_never_reach_a_script(path: str) -> None:
    with pytest.raises(ConfigError, match="a file of the build must have a name of letters"):
        render_project(Z2, {**FILES, path: b""}, clock_mhz=100.0)


def test_unsafe_names_and_clocks_are_refused() -> None:
    with pytest.raises(ConfigError, match="must be an identifier, not 'a b'"):
        scripts(clock_port="a b")
    with pytest.raises(ConfigError, match="must be an identifier"):
        scripts(top="a\n")
    with pytest.raises(ConfigError, match="a part must have letters"):
        render_project(dataclasses.replace(Z2, part="x [exit]"), FILES, clock_mhz=100.0)
    for clock in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="clock must be a positive number of MHz"):
            scripts(clock_mhz=clock)
    with pytest.raises(ConfigError, match="must have Verilog sources"):
        render_project(Z2, {"roms/a.mem": b""}, clock_mhz=100.0)

"""The overlay's scripts, run by a Vivado that refuses what the vendor's does not have."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from hascodesign.board.boards import BOARDS, find
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, FaultProfile, Schedule
from hascodesign.render.build import build_files
from hascodesign.render.core_sizes import CoreOptions
from hascodesign.render.driver import BLOCKS
from hascodesign.render.overlay import ADDRESSES, FOLDER, board_files, render_overlay
from tests import core_cases, driver_cases, rtl_cases
from tests.overlay_cases import Vivado, files

ROOT = Path(__file__).parent.parent
SCRIPTS = f"{FOLDER}/"
DELIVERED = [
    "block_design.tcl", "build.sh", "has_overlay.v", "implement.tcl", "overlay.tcl",
    "package_ip.tcl", "placement.tcl", "settings.tcl",
]  # fmt: skip
ON_CHIP, STREAMED = (True, True), (True, False)
CORE, DMA, WEIGHT_DMA = (str(BLOCKS[name]) for name in ("core", "dma", "weight_dma"))


@pytest.fixture
def vivado(tmp_path: Path) -> Vivado:
    return Vivado(tmp_path)


@pytest.mark.parametrize("on_chip", [ON_CHIP, STREAMED], ids=["tied", "streamed"])
@pytest.mark.parametrize("board", [name for name, one in BOARDS.items() if one.family != "ecp5"])
def test_every_board_has_a_whole_design(
    vivado: Vivado, board: str, on_chip: tuple[bool, ...]
) -> None:
    vivado.lay(files(board, on_chip))
    done = vivado.run(FAKE_DDR_HIGH="1")
    assert done.returncode == 0, done.stderr
    design, record = vivado.design(), find(board)
    assert design.complaints() == []
    blocks = [CORE, DMA] if all(on_chip) else [CORE, DMA, WEIGHT_DMA]
    at = [int(offset) for _, _, offset, _ in design.addresses if offset != "auto"]
    assert at == list(ADDRESSES[record.family])[: len(blocks)]
    assert [name for name in design.cells if name in (CORE, DMA, WEIGHT_DMA)] == blocks
    for name in blocks[1:]:
        assert design.values[name, "c_include_sg"] == "0"
        assert design.values[name, "c_sg_length_width"] == str(BLOCKS["length_bits"])
    assert design.pins[f"/{CORE}/rst"] == ["reset", "in", "high", "", ""]
    assert design.driver_of(f"/{CORE}/rst") == "/resets/peripheral_reset"
    (dout,) = [pin for pin in ("/ps/IRQ_F2P", "/ps/pl_ps_irq0") if pin in design.pins]
    assert design.driver_of(dout) == "/signals/dout"
    assert (f"/{CORE}/interrupt", "/signals/In0") in design.nets
    assert (vivado.build / "deploy/has_core.bit").is_file()
    assert (vivado.build / "deploy/has_core.hwh").is_file()
    assert (vivado.build / "deploy/utilization.rpt").is_file()
    assert (vivado.build / "deploy/timing.rpt").is_file()
    clock = {"xc7": "PCW_FPGA0_PERIPHERAL_FREQMHZ", "xcup": "PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ"}
    assert design.values["ps", clock[record.family]] == "125"
    port = {"xc7": "PCW_S_AXI_HP0_DATA_WIDTH", "xcup": "PSU__SAXIGP2__DATA_WIDTH"}
    assert design.values["ps", port[record.family]] == str(record.axi_hp_bits)
    reached = {segment.rpartition("/")[2] for _, segment, offset, _ in design.addresses
               if offset == "auto"}  # fmt: skip
    assert reached == (
        {"HP0_DDR_LOWOCM"} if record.family == "xc7" else {"HP0_DDR_LOW", "HP0_DDR_HIGH"}
    )


def test_every_source_and_memory_is_packaged(vivado: Vivado) -> None:
    build = files("pynq-z2")
    vivado.lay(build)
    assert vivado.run().returncode == 0
    for project, wanted in (("has_ip", (".v", ".mem")), ("has_design", (".mem",))):
        start = f"add_files {project} sources_1 "
        added = {line.removeprefix(start) for line in vivado.lines() if line.startswith(start)}
        expected = {Path(path).name for path in build if path.endswith(wanted)}
        assert added - {"has_design_wrapper.v"} == expected


def test_the_board_is_set_where_its_files_are_installed(vivado: Vivado) -> None:
    vivado.lay(files("zcu102"))
    parts = "xilinx.com:zcu102:part0:3.4 xilinx.com:zcu102:part0:3.10 xilinx.com:zcu104:part0:1.1"
    assert vivado.run(FAKE_BOARD_PARTS=parts).returncode == 0
    assert "board_part xilinx.com:zcu102:part0:3.10" in vivado.lines()
    assert "preset ps 1" in vivado.lines()
    done = vivado.run()
    assert "xilinx.com:zcu102:part0:*, are not installed" in done.stdout
    assert not [line for line in vivado.lines() if line.startswith(("board_part", "preset"))]
    assert board_files(find("pynq-z2")) == "tul.com.tw:pynq-z2:part0:*"
    assert board_files(find("kv260")) == "xilinx.com:kv260_som:part0:*"


def test_ports_of_a_zynq_are_external_without_its_preset(vivado: Vivado) -> None:
    vivado.lay(files("pynq-z1"))
    for parts, preset in (("", "0"), ("www.digilentinc.com:pynq-z1:part0:1.0", "1")):
        assert vivado.run(FAKE_BOARD_PARTS=parts).returncode == 0
        assert vivado.design().outside == ["/ps/FIXED_IO", "/ps/DDR"]
        assert f"preset ps {preset}" in vivado.lines()


def test_another_vivado(vivado: Vivado) -> None:
    """Without xlconcat, with the .hwh where older ones leave it; without a DMA."""
    vivado.lay(files("pynq-z2"))
    assert vivado.run(FAKE_LACKS="xilinx.com:ip:xlconcat:2.1", FAKE_GEN="srcs").returncode == 0
    assert vivado.design().cells["signals"] == "xilinx.com:inline_hdl:ilconcat:1.0"
    assert vivado.design().complaints() == []
    assert (vivado.build / "deploy/has_core.hwh").is_file()
    done = vivado.run(FAKE_LACKS="xilinx.com:ip:axi_dma:7.1")
    assert (done.returncode, done.stderr) == (
        1, "ERROR: this Vivado must have the IP axi_dma:7, and has none\n"
    )  # fmt: skip


def test_multipliers_of_luts(vivado: Vivado) -> None:
    vivado.lay(files("pynq-z2", multipliers="lut"))
    assert vivado.run().returncode == 0
    assert "MAX_DSP 0" in vivado.lines()
    vivado.lay(files("pynq-z2"))
    assert vivado.run().returncode == 0
    assert "MAX_DSP 0" not in vivado.lines()


def wide(pe: int) -> dict[str, bytes]:
    """Weights of 64 * pe bits a beat, streamed."""
    rng, spec = np.random.default_rng(4), ArraySpec(pe, 16, 4, 8, 20)
    network = core_cases.random_network(rng, spec, (1, 1, 16), [], classes=3, hidden=4)
    maps = [rtl_cases.random_map(rng, item, spec.pe) for item in network.layers]
    schedule = Schedule(spec, tuple(maps))
    plan = dict(core_cases.build(network, schedule, FaultProfile(spec), STREAMED).files)
    return plan | render_overlay(network, schedule, find("zcu104"), plan, STREAMED, clock_mhz=200.0)


def test_weights_wider_than_a_dma_are_put_together(vivado: Vivado) -> None:
    vivado.lay(wide(32))
    done = vivado.run()
    assert done.returncode == 0, done.stderr
    design = vivado.design()
    assert design.complaints() == []
    assert design.values[WEIGHT_DMA, "c_m_axis_mm2s_tdata_width"] == "1024"
    assert design.pins[f"/{CORE}/s_axis_weight"][2] == "2048"
    assert design.driver_of(f"/{WEIGHT_DMA}_wide/aresetn") == (
        f"/{WEIGHT_DMA}/mm2s_prmry_reset_out_n"
    )


def test_weights_wider_than_a_converter_have_no_overlay(vivado: Vivado) -> None:
    build = wide(128)
    assert [path for path in build if path.startswith(SCRIPTS)] == [f"{SCRIPTS}build.sh"]
    vivado.lay(build)
    done = vivado.run()
    assert done.returncode == 2
    assert done.stderr == (
        "error: no overlay: a beat of streamed weights must be at most 4096 bits"
        " (PE x SIMD x weight bits), not 8192\n"
    )


# ------------------------------------------------------------------------- runs that fail


def test_a_clock_that_is_not_met_leaves_no_bitstream(vivado: Vivado) -> None:
    vivado.lay(files("pynq-z2"))
    assert vivado.run().returncode == 0
    for setting, said in (
        ({"FAKE_SETUP": "-0.001"}, "setup slack at 125 MHz (8.000 ns) must be at least 0 ns"),
        ({"FAKE_HOLD": "-0.5"}, "hold slack at 125 MHz"),
        ({"FAKE_SETUP": ""}, "not ''"),
        ({"FAKE_PROGRESS_SYNTH": "40%"}, "synthesis must end at 100%, not 40%: see synth_1"),
        ({"FAKE_PROGRESS_IMPL": "90%"}, "implementation must end at 100%, not 90%"),
    ):
        done = vivado.run(**setting)
        assert done.returncode == 1
        assert said in done.stderr
        assert not (vivado.build / "deploy/has_core.bit").exists()
        assert not (vivado.build / "deploy/has_core.hwh").exists()


def test_usage_and_a_missing_vivado(vivado: Vivado) -> None:
    vivado.lay(files("pynq-z2"))
    for options, said in (
        (["--jobs"], "--jobs must have a number"),
        (["--jobs", "0"], "--jobs must be a number from 1, not '0'"),
        (["--jobs", "2; exit"], "not '2; exit'"),
        (["--free"], "there is no option '--free'"),
    ):
        done = vivado.run(*options)
        assert done.returncode == 2
        assert said in done.stderr and done.stderr.count("\n") == 1
    assert vivado.run("--jobs", "12").returncode == 0
    (vivado.bin / "vivado").unlink()
    done = vivado.run()
    assert done.returncode == 3
    assert "'vivado' is not on PATH" in done.stderr and "settings64.sh" in done.stderr
    done = vivado.run(VIVADO="/opt/none/vivado")
    assert done.returncode == 3
    assert "'/opt/none/vivado' is not on PATH" in done.stderr


def test_make_overlay(vivado: Vivado) -> None:
    vivado.build = vivado.build.with_name("build")
    vivado.lay(files("pynq-z2"))

    def make(**settings: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "-C", str(ROOT), "overlay", f"OUT={vivado.build}", "OVERLAY=--jobs 3"]
        return vivado.run(command=command, **settings)

    assert make().returncode == 0
    assert (vivado.build / "deploy/has_core.bit").is_file()
    done = make(VIVADO="none")
    assert "'none' is not on PATH" in done.stderr and "Error 3" in done.stderr


# ------------------------------------------------------------------------- placement

ELSEWHERE = """
{d_i/has_core_0/inst/core/pe[3].mac/DSP_ALU_INST DSP_ALU DSP48E2_X7Y6}
{d_i/has_core_0/inst/core/pe[0].mac DSP48E1 DSP48_X7Y7}
{d_i/has_core_0/inst/core/pe[1].mac DSP48E1 DSP48_X7Y8}
{d_i/has_core_0/inst/core/bank RAMB36E1 RAMB36_X7Y7}
"""
MORE = ELSEWHERE + "{d_i/has_core_0/inst/core/pe[2].mac DSP48E1 DSP48_X7Y9}"
FEWER = "\n".join(ELSEWHERE.strip().splitlines()[:3])


def test_the_first_placement_is_kept(vivado: Vivado) -> None:
    vivado.lay(files("pynq-z2"))
    kept = vivado.build / "placement.xdc"
    assert vivado.run().returncode == 0
    lines = [line for line in kept.read_text().splitlines() if not line.startswith("#")]
    assert lines == [
        f"set_property LOC {site} [get_cells {{d_i/has_core_0/inst/core/{cell}}}]"
        for site, cell in (
            ("DSP48E2_X1Y1", "pe[1].adder"),
            ("DSP48_X0Y1", "pe[0].mac"),
            ("DSP48_X0Y2", "pe[1].mac"),
            ("RAMB36_X0Y1", "bank"),
        )
    ]
    kept.unlink()
    assert vivado.run(FAKE_CELLS=ELSEWHERE).returncode == 0
    first = kept.read_text()
    assert "DSP48_X7Y7" in first
    shifted = ELSEWHERE.replace("X7", "X3")  # where they would lie if nothing held them
    assert vivado.run(FAKE_CELLS=shifted).returncode == 0
    assert kept.read_text() == first
    assert "add_files has_design constrs_1 placement.xdc" in vivado.lines()


@pytest.mark.parametrize("cells", [MORE, FEWER], ids=["more", "fewer"])
def test_a_placement_that_cannot_be_kept_is_told(vivado: Vivado, cells: str) -> None:
    vivado.lay(files("pynq-z2"))
    assert vivado.run(FAKE_CELLS=ELSEWHERE).returncode == 0
    before = (vivado.build / "placement.xdc").read_text()
    done = vivado.run(FAKE_CELLS=cells)
    assert done.returncode == 1
    assert "must lie where" in done.stderr and "remove that file" in done.stderr
    assert (vivado.build / "placement.xdc").read_text() == before
    assert not (vivado.build / "deploy/has_core.bit").exists()


def test_placement_can_be_left_free(vivado: Vivado) -> None:
    vivado.lay(files("pynq-z2"))
    assert vivado.run("--free-placement").returncode == 0
    assert not (vivado.build / "placement.xdc").exists()
    assert vivado.run(FAKE_CELLS=ELSEWHERE).returncode == 0
    assert vivado.run("--free-placement", FAKE_CELLS=MORE).returncode == 0
    assert "add_files has_design constrs_1 placement.xdc" not in vivado.lines()


# ------------------------------------------------------------------------- names


def test_only_a_build_of_the_accelerator_has_an_overlay() -> None:
    case = driver_cases.small()
    for with_core in (True, False):
        plan = build_files(
            case.network, case.schedule, case.profile, find("kv260"), CoreOptions(),
            clock_mhz=150.0, with_core=with_core,
        )  # fmt: skip
        made = sorted(plan.under(FOLDER))
        assert made == (DELIVERED if with_core else [])
        if with_core:
            assert b"clock_mhz     150 " in plan.files[f"{SCRIPTS}settings.tcl"]
        scripts = plan.files["vivado/create_project.tcl"]
        assert b"has_overlay" not in scripts and b"out_of_context" in scripts


def test_unsafe_names_never_reach_a_script() -> None:
    build = files("pynq-z2")
    rtl = {path: data for path, data in build.items() if not path.startswith(SCRIPTS)}
    with pytest.raises(ConfigError, match="must have a name of letters"):
        narrow(rtl | {"rtl/[exit].v": b""}, 100.0)
    with pytest.raises(ConfigError, match="clock must be a positive number"):
        narrow(rtl, 0.0)


def narrow(rtl: dict[str, bytes], clock_mhz: float) -> None:
    case = driver_cases.small()
    render_overlay(case.network, case.schedule, find("pynq-z2"), rtl, ON_CHIP, clock_mhz=clock_mhz)

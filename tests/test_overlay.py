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
from hascodesign.render.driver import BLOCKS
from hascodesign.render.overlay import ADDRESSES, FOLDER, board_files, render_overlay
from hascodesign.render.rtl import RtlOptions
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
@pytest.mark.parametrize("board", BOARDS)
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


# ------------------------------------------------------------------------- broken on purpose

#: Script, what it says, what it says instead, what is said of it.
BROKEN = [
    ("package_ip.tcl", "ipx::save_core", "ipx::safe_core", 'invalid command name "ipx::safe_core"'),
    ("package_ip.tcl", "-import_files", "-import", "unknown option -import"),
    ("package_ip.tcl", "usage register", "useage register", "has no property useage"),
    ("package_ip.tcl", "display_name", "dysplay_name", "a core has no property dysplay_name"),
    ("package_ip.tcl", "interrupt $buses", "interupt $buses", "have a bus interface interupt"),
    ("package_ip.tcl", "set_property range 4096 $block", "", "the address block has no range"),
    (
        "package_ip.tcl",
        "ipx::remove_bus_parameter FREQ_HZ $bus",
        "",
        "has a frequency of its own",
    ),
    ("block_design.tcl", "create_bd_cell", "create_bd_cel", "invalid command name"),
    ("block_design.tcl", "-target_address_space", "-target_space", "unknown option -target_space"),
    ("block_design.tcl", "c_include_sg 0", "c_include_gs 0", "no property CONFIG.c_include_gs"),
    ("block_design.tcl", "c_mm2s_burst_size 16", "c_mm2s_burst_size 24", "cannot be 24"),
    ("block_design.tcl", "axi_dma:7", "axi_dma:8", "must have the IP axi_dma:8, and has none"),
    ("block_design.tcl", "proc_sys_reset:5", "proc_sys_rest:5", "the IP proc_sys_rest:5"),
    ("block_design.tcl", "user:has_overlay:1.0", "user:has_overlay:1.1", "in the catalogue once"),
    ("block_design.tcl", "PCW_USE_S_AXI_HP0", "PCW_USE_S_AXI_HPO", "CONFIG.PCW_USE_S_AXI_HPO"),
    ("block_design.tcl", "ps/FCLK_CLK0", "ps/FCLK_CLKO", "no pin FCLK_CLKO of ps"),
    ("block_design.tcl", "$core/m_axis_result", "$core/m_axis_results", "no pin m_axis_results"),
    ("block_design.tcl", "resets/peripheral_reset ", "resets/peripheral_aresetn ", "active high"),
    ("block_design.tcl", "S_AXI_LITE/Reg", "S_AXI_LITE/reg", "no segment axi_dma_0/S_AXI_LITE/reg"),
    ("block_design.tcl", "/Data_MM2S ", "/Data_MMS2 ", "no space axi_dma_0/Data_MMS2"),
    ("block_design.tcl", "apply_board_preset $preset", "apply_preset $preset", "no key apply"),
    ("block_design.tcl", "bd_rule:processing", "bd_rules:processing", "no rule xilinx.com:bd_rule"),
    ("block_design.tcl", "  validate_bd_design\n", "", "not validated"),
    ("block_design.tcl", "c_s_axis_s2mm_tdata_width $result_bits",
     "c_s_axis_s2mm_tdata_width 16", "/m_axis_result has 32 bits, /axi_dma_0/S_AXIS_S2MM 16"),
    ("implement.tcl", "synth_checkpoint_mode None", "synth_checkpoint_mode Non", "cannot be Non"),
    ("implement.tcl", "  set_property synth_checkpoint_mode None $design\n", "", "out of context"),
    ("implement.tcl", "has_design.bd", "has_desing.bd", "no file has_desing.bd"),
    ("implement.tcl", "hw_handoff", "hwhandoff", "must have one has_design.hwh, not ''"),
    ("implement.tcl", "-$kind -max_paths", "-$kind -max_path", "unknown option -max_path"),
    ("implement.tcl", "PROGRESS", "PROGRES", "has no property PROGRES"),
    ("implement.tcl", "write_bitstream -force", "write_bitstream -froce", "unknown option -froce"),
    ("implement.tcl", "proc complete_run", "proc run", "proc: run is a command already"),
    ("implement.tcl", "top has_design_wrapper", "top has_design", "no has_design"),
    ("placement.tcl", "REF_NAME == DSP48E1", "REFNAME == DSP48E1", "what is the filter"),
    ("overlay.tcl", "ip_repo_paths", "ip_repo_path", "has no property ip_repo_path"),
    ("overlay.tcl", "package_ip block_design", "package block_design", "package.tcl"),
    ("settings.tcl", "image_bits    32", "image_bits    64", "/axi_dma_0/M_AXIS_MM2S has 64 bits"),
    ("settings.tcl", "core_at       0x40000000", "core_at       0x40000800", "cannot have 4096"),
    ("settings.tcl", "  rtl/has_core.v\n", "  rtl/has_cor.v\n", "no such file"),
    ("has_overlay.v", "axis:1.0", "axi_stream:1.0", "there is no bus"),
    ("has_overlay.v", "s_axis_image TVALID", "s_axis_image TVALIDS", "has no signal TVALIDS"),
    ("has_overlay.v", "TDATA_NUM_BYTES 4", "TDATA_NUM_BYTES 3", "must be 3 bytes"),
    ("has_overlay.v", "ACTIVE_HIGH", "HIGH", "POLARITY cannot be HIGH"),
    ("has_overlay.v", "ACTIVE_HIGH", "ACTIVE_LOW", "is active high, /has_core_0/rst active low"),
    ("has_overlay.v", "BUSIF s_axil:", "BUSIF ", "clk must be the clock of"),
    ("has_overlay.v", '(* X_INTERFACE_INFO = "xilinx.com:interface:axis:1.0 s_axis_image TLAST" *)',
     "", "every port must have an X_INTERFACE_INFO"),
]  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN, ids=lambda one: f"{one[0]}-{one[2].strip()[:30]}")
def test_what_is_misspelt_is_refused(vivado: Vivado, broken: tuple[str, str, str, str]) -> None:
    name, old, new, said = broken
    build = files("pynq-z2")
    text = build[SCRIPTS + name].decode()
    assert old in text
    vivado.lay(build | {SCRIPTS + name: text.replace(old, new).encode()})
    done = vivado.run()
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("ERROR: ") and said in done.stderr
    assert not (vivado.build / "deploy/has_core.bit").exists()


#: What is left out of the block design, and what a look at its nets then says.
LEFT_OUT = [
    (" {*}$ports", "", "clock /ps/M_AXI_GP0_ACLK is driven 0 times"),
    ("memory/aclk ", "", "clock /memory/aclk is driven 0 times"),
    ("  join_pins $reset resets/ext_reset_in\n", "", "reset /resets/ext_reset_in is driven 0"),
    ("  join_pins resets/peripheral_aresetn {*}$resets\n", "", "reset /axi_dma_0/axi_resetn is"),
    ("  join_pins signals/dout $interrupts\n", "", "interrupt /ps/IRQ_F2P is driven 0 times"),
    ("$core/interrupt $dma/mm2s", "$dma/mm2s", "interrupt /has_core_0/interrupt goes nowhere"),
    ("  join_buses $core/m_axis_result $dma/S_AXIS_S2MM\n", "",
     "/has_core_0/m_axis_result is connected 0 times"),
    ("  add_address $space $dma/S_AXI_LITE/Reg $dma_at 64K\n", "",
     "/axi_dma_0/S_AXI_LITE/Reg is 0 times in /ps/Data"),
    ("$dma_at 64K", "$core_at 64K", "addresses of /ps/Data overlap at 0x40000000"),
    ("[llength $slaves]", "3", "/registers/M02_AXI is connected 0 times"),
    (" $dma/Data_S2MM]", "]", "/ps/S_AXI_HP0/HP0_DDR_LOWOCM is 0 times in /axi_dma_0/Data_S2MM"),
]  # fmt: skip


@pytest.mark.parametrize("left", LEFT_OUT, ids=lambda one: one[2][:40])
def test_what_is_left_out_is_seen(vivado: Vivado, left: tuple[str, str, str]) -> None:
    old, new, said = left
    build = files("pynq-z2")
    text = build[f"{SCRIPTS}block_design.tcl"].decode()
    assert old in text
    vivado.lay(build | {f"{SCRIPTS}block_design.tcl": text.replace(old, new).encode()})
    assert vivado.run().returncode == 0
    assert said in "\n".join(vivado.design().complaints())


@pytest.mark.parametrize(
    "missing", ["rtl/has_core.v", "roms/row_map.mem", f"{FOLDER}/implement.tcl"]
)
def test_a_missing_file_is_told(vivado: Vivado, missing: str) -> None:
    vivado.lay(files("pynq-z2"))
    (vivado.build / missing).unlink()
    done = vivado.run()
    assert done.returncode == 1
    assert Path(missing).name in done.stderr


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
            case.network, case.schedule, case.profile, find("kv260"), RtlOptions(),
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

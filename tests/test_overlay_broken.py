"""The overlay's scripts broken on purpose: each word that a Vivado does not have is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from hascodesign.render.overlay import FOLDER
from tests.overlay_cases import Vivado, files

SCRIPTS = f"{FOLDER}/"


@pytest.fixture
def vivado(tmp_path: Path) -> Vivado:
    return Vivado(tmp_path)


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

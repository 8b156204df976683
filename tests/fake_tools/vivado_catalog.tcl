# The IP that a Vivado has, as the product guides name it: versions, CONFIG properties with what they
# may be, and the pins of a cell by its properties.
# PG021 axi_dma, PG247 smartconnect, PG164 proc_sys_reset, PG082 processing_system7,
# PG201 zynq_ultra_ps_e, PG085 axis_dwidth_converter.
# A property: name -> {default pattern}. A pin: name -> {class direction more}, of class
#   clock; reset with its polarity; signal; interrupt;
#   aximm or axis with bits, the pin of its clock, and of a slave its segments;
#   board: pins of the chip that are its own. A "?" before the class: may stay open.
set catalog [dict create]
proc ip {vlnv properties pins} { dict set ::catalog $vlnv [list $properties $pins] }
set switch_ {0|1}
set number {\d+(\.\d+)?}

ip xilinx.com:ip:processing_system7:5.5 [subst -nobackslashes -nocommands {
  PCW_CRYSTAL_PERIPHERAL_FREQMHZ {33.333333 {$number}}
  PCW_FPGA0_PERIPHERAL_FREQMHZ {50 {$number}}
  PCW_EN_CLK0_PORT {1 {$switch_}} PCW_EN_RST0_PORT {1 {$switch_}}
  PCW_USE_M_AXI_GP0 {1 {$switch_}} PCW_USE_S_AXI_HP0 {0 {$switch_}}
  PCW_S_AXI_HP0_DATA_WIDTH {64 {32|64}}
  PCW_USE_FABRIC_INTERRUPT {0 {$switch_}} PCW_IRQ_F2P_INTR {0 {$switch_}}
}] {
  set pins [dict create DDR {?board inout} FIXED_IO {?board inout}]
  if {[config PCW_EN_CLK0_PORT]} { dict set pins FCLK_CLK0 {clock out} }
  if {[config PCW_EN_RST0_PORT]} { dict set pins FCLK_RESET0_N {reset out low} }
  if {[config PCW_USE_M_AXI_GP0]} {
    dict set pins M_AXI_GP0 {aximm master 32 M_AXI_GP0_ACLK Data}
    dict set pins M_AXI_GP0_ACLK {clock in}
  }
  if {[config PCW_USE_S_AXI_HP0]} {
    dict set pins S_AXI_HP0 [list aximm slave [config PCW_S_AXI_HP0_DATA_WIDTH] S_AXI_HP0_ACLK \
      {S_AXI_HP0/HP0_DDR_LOWOCM}]
    dict set pins S_AXI_HP0_ACLK {clock in}
  }
  if {[config PCW_USE_FABRIC_INTERRUPT] && [config PCW_IRQ_F2P_INTR]} {
    dict set pins IRQ_F2P {interrupt in}
  }
  return $pins
}

ip xilinx.com:ip:zynq_ultra_ps_e:3.5 [subst -nobackslashes -nocommands {
  PSU__FPGA_PL0_ENABLE {1 {$switch_}} PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ {100 {$number}}
  PSU__USE__FABRIC__RST {1 {$switch_}} PSU__NUM_FABRIC_RESETS {1 {[0-4]}}
  PSU__USE__M_AXI_GP0 {1 {$switch_}} PSU__USE__M_AXI_GP1 {1 {$switch_}}
  PSU__USE__M_AXI_GP2 {0 {$switch_}} PSU__USE__S_AXI_GP2 {0 {$switch_}}
  PSU__SAXIGP2__DATA_WIDTH {128 {32|64|128}} PSU__USE__IRQ0 {1 {$switch_}}
}] {
  set pins [dict create]
  if {[config PSU__FPGA_PL0_ENABLE]} { dict set pins pl_clk0 {clock out} }
  if {[config PSU__USE__FABRIC__RST] && [config PSU__NUM_FABRIC_RESETS] > 0} {
    dict set pins pl_resetn0 {reset out low}
  }
  foreach {number name} {0 HPM0_FPD 1 HPM1_FPD 2 HPM0_LPD} {
    if {[config PSU__USE__M_AXI_GP$number]} {
      set clock maxi[string tolower $name]_aclk
      dict set pins M_AXI_$name [list aximm master 128 $clock Data]
      dict set pins $clock {clock in}
    }
  }
  if {[config PSU__USE__S_AXI_GP2]} {
    set segments {SAXIGP2/HP0_DDR_LOW SAXIGP2/HP0_QSPI SAXIGP2/HP0_LPS_OCM}
    if {$::env(FAKE_DDR_HIGH)} { lappend segments SAXIGP2/HP0_DDR_HIGH }
    dict set pins S_AXI_HP0_FPD [list aximm slave [config PSU__SAXIGP2__DATA_WIDTH] \
      saxihp0_fpd_aclk $segments]
    dict set pins saxihp0_fpd_aclk {clock in}
  }
  if {[config PSU__USE__IRQ0]} { dict set pins pl_ps_irq0 {interrupt in} }
  return $pins
}

ip xilinx.com:ip:axi_dma:7.1 [subst -nobackslashes -nocommands {
  c_include_sg {1 {$switch_}} c_sg_include_stscntrl_strm {1 {$switch_}}
  c_sg_length_width {14 {[89]|1\d|2[0-6]}} c_addr_width {32 {3[2-9]|4\d|5\d|6[0-4]}}
  c_include_mm2s {1 {$switch_}} c_include_mm2s_dre {0 {$switch_}}
  c_mm2s_burst_size {16 {2|4|8|16|32|64|128|256}}
  c_m_axis_mm2s_tdata_width {32 {8|16|32|64|128|256|512|1024}}
  c_m_axi_mm2s_data_width {32 {32|64|128|256|512|1024}}
  c_include_s2mm {1 {$switch_}} c_include_s2mm_dre {0 {$switch_}}
  c_s2mm_burst_size {16 {2|4|8|16|32|64|128|256}}
  c_s_axis_s2mm_tdata_width {32 {8|16|32|64|128|256|512|1024}}
  c_m_axi_s2mm_data_width {32 {32|64|128|256|512|1024}}
}] {
  set pins [dict create s_axi_lite_aclk {clock in} axi_resetn {reset in low} \
    S_AXI_LITE {aximm slave 32 s_axi_lite_aclk S_AXI_LITE/Reg}]
  if {[config c_include_sg]} {
    dict set pins M_AXI_SG {aximm master 32 m_axi_sg_aclk Data_SG}
    dict set pins m_axi_sg_aclk {clock in}
  }
  if {[config c_include_mm2s]} {
    set bits [config c_m_axis_mm2s_tdata_width]
    if {[config c_m_axi_mm2s_data_width] < $bits} {
      error "axi_dma: its memory side must be as wide as its stream"
    }
    dict set pins m_axi_mm2s_aclk {clock in}
    dict set pins M_AXI_MM2S \
      [list aximm master [config c_m_axi_mm2s_data_width] m_axi_mm2s_aclk Data_MM2S]
    dict set pins M_AXIS_MM2S [list axis master $bits m_axi_mm2s_aclk]
    dict set pins mm2s_introut {interrupt out}
    dict set pins mm2s_prmry_reset_out_n {?reset out low}
  }
  if {[config c_include_s2mm]} {
    set bits [config c_s_axis_s2mm_tdata_width]
    if {[config c_m_axi_s2mm_data_width] < $bits} {
      error "axi_dma: its memory side must be as wide as its stream"
    }
    dict set pins m_axi_s2mm_aclk {clock in}
    dict set pins M_AXI_S2MM \
      [list aximm master [config c_m_axi_s2mm_data_width] m_axi_s2mm_aclk Data_S2MM]
    dict set pins S_AXIS_S2MM [list axis slave $bits m_axi_s2mm_aclk {}]
    dict set pins s2mm_introut {interrupt out}
    dict set pins s2mm_prmry_reset_out_n {?reset out low}
  }
  return $pins
}

ip xilinx.com:ip:smartconnect:1.0 {NUM_SI {1 {[1-9]|1[0-6]}} NUM_MI {1 {[1-9]|1[0-6]}}} {
  set pins [dict create aclk {clock in} aresetn {reset in low}]
  for {set i 0} {$i < [config NUM_SI]} {incr i} {
    dict set pins [format S%02d_AXI $i] {aximm slave 0 aclk {}}
  }
  for {set i 0} {$i < [config NUM_MI]} {incr i} {
    dict set pins [format M%02d_AXI $i] {aximm master 0 aclk {}}
  }
  return $pins
}

ip xilinx.com:ip:proc_sys_reset:5.0 {} {
  return {
    slowest_sync_clk {clock in} ext_reset_in {reset in low} aux_reset_in {?reset in low}
    mb_debug_sys_rst {?reset in high} dcm_locked {?signal in}
    mb_reset {?reset out high} bus_struct_reset {?reset out high}
    peripheral_reset {?reset out high} interconnect_aresetn {?reset out low}
    peripheral_aresetn {?reset out low}
  }
}

ip xilinx.com:ip:axis_dwidth_converter:1.1 [subst -nobackslashes -nocommands {
  S_TDATA_NUM_BYTES {1 {[1-9]\d*}} M_TDATA_NUM_BYTES {1 {[1-9]\d*}}
  HAS_TLAST {0 {$switch_}} HAS_TKEEP {0 {$switch_}}
}] {
  foreach side {S M} {
    if {[config ${side}_TDATA_NUM_BYTES] > 512} {
      error "axis_dwidth_converter: ${side}_TDATA_NUM_BYTES must be at most 512"
    }
  }
  return [dict create aclk {clock in} aresetn {reset in low} \
    S_AXIS [list axis slave [expr {8 * [config S_TDATA_NUM_BYTES]}] aclk {}] \
    M_AXIS [list axis master [expr {8 * [config M_TDATA_NUM_BYTES]}] aclk]]
}

set concatenation {
  set pins [dict create dout {signal out}]
  for {set i 0} {$i < [config NUM_PORTS]} {incr i} { dict set pins In$i {signal in} }
  return $pins
}
ip xilinx.com:ip:xlconcat:2.1 {NUM_PORTS {2 {[1-9]\d*}}} $concatenation
ip xilinx.com:inline_hdl:ilconcat:1.0 {NUM_PORTS {2 {[1-9]\d*}}} $concatenation

foreach vlnv $::env(FAKE_LACKS) { dict unset catalog $vlnv }

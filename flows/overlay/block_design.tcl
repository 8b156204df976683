# The block design has_design: the processing system, the core, its DMAs.

# Sets the board where its files are installed; whether it did.
proc set_board {overlay} {
  set found [get_board_parts -quiet [dict get $overlay board_files]]
  if {[llength $found] == 0} {
    puts "WARNING: the board files of [dict get $overlay board],\
      [dict get $overlay board_files], are not installed: the processing system is set up without\
      the board's preset, which is enough where the board boots from a PYNQ image"
    return 0
  }
  set_property board_part [lindex [lsort -dictionary $found] end] [current_project]
  return 1
}

# A cell of the newest IP of one major version, with its properties.
proc add_ip {cell ip properties} {
  set found [get_ipdefs -quiet xilinx.com:ip:$ip.*]
  if {[llength $found] == 0} { error "this Vivado must have the IP $ip, and has none" }
  set vlnv [get_property VLNV [lindex [lsort -dictionary $found] end]]
  create_bd_cell -type ip -vlnv $vlnv $cell
  configure_cell $cell $properties
}

proc configure_cell {cell properties} {
  set pairs [list]
  dict for {name value} $properties { lappend pairs CONFIG.$name $value }
  set_property -dict $pairs [get_bd_cells $cell]
}

# One net from a pin to others.
proc join_pins {from args} {
  foreach to $args { connect_bd_net [get_bd_pins $from] [get_bd_pins $to] }
}

# One interface to another.
proc join_buses {from to} {
  connect_bd_intf_net [get_bd_intf_pins $from] [get_bd_intf_pins $to]
}

proc block_design {overlay preset} {
  dict with overlay {}
  create_bd_design has_design
  if {$family eq "zynq"} {
    set ends [zynq $overlay $preset]
  } else {
    set ends [zynquplus $overlay $preset]
  }
  dict with ends {}  ;# clock reset control ddr interrupts ports space segments address_bits

  set core_ip [get_ipdefs -quiet hascodesign:user:has_overlay:1.0]
  if {[llength $core_ip] != 1} { error "has_overlay must be in the catalogue once, as packaged" }
  create_bd_cell -type ip -vlnv [get_property VLNV $core_ip] $core
  set masters [list $dma/M_AXI_MM2S $dma/M_AXI_S2MM]
  set slaves [list $core/s_axil $dma/S_AXI_LITE]
  set signals [list $core/interrupt $dma/mm2s_introut $dma/s2mm_introut]
  set clocks [list $core/clk $dma/s_axi_lite_aclk $dma/m_axi_mm2s_aclk $dma/m_axi_s2mm_aclk]
  set resets [list $dma/axi_resetn]
  set plain [dict create c_include_sg 0 c_sg_include_stscntrl_strm 0 \
    c_sg_length_width $length_bits c_addr_width $address_bits \
    c_include_mm2s 1 c_include_mm2s_dre 0 c_mm2s_burst_size 16]
  add_ip $dma axi_dma:7 [dict merge $plain [send_widths $image_bits] [dict create \
    c_include_s2mm 1 c_include_s2mm_dre 0 c_s2mm_burst_size 16 \
    c_m_axi_s2mm_data_width $result_bits c_s_axis_s2mm_tdata_width $result_bits]]
  add_stream $dma $core/s_axis_image $image_bits $clock
  join_buses $core/m_axis_result $dma/S_AXIS_S2MM
  if {$weight_bits > 0} {
    add_ip $weight_dma axi_dma:7 [dict merge $plain [send_widths $weight_bits] {c_include_s2mm 0}]
    add_stream $weight_dma $core/s_axis_weight $weight_bits $clock
    lappend masters $weight_dma/M_AXI_MM2S
    lappend slaves $weight_dma/S_AXI_LITE
    lappend signals $weight_dma/mm2s_introut
    lappend clocks $weight_dma/s_axi_lite_aclk $weight_dma/m_axi_mm2s_aclk
    lappend resets $weight_dma/axi_resetn
  }

  # registers and memory, each behind an interconnect of its own
  add_ip registers smartconnect:1 [dict create NUM_SI 1 NUM_MI [llength $slaves]]
  join_buses $control registers/S00_AXI
  set place -1
  foreach slave $slaves { join_buses registers/[format M%02d_AXI [incr place]] $slave }
  add_ip memory smartconnect:1 [dict create NUM_SI [llength $masters] NUM_MI 1]
  set place -1
  foreach master $masters { join_buses $master memory/[format S%02d_AXI [incr place]] }
  join_buses memory/M00_AXI $ddr

  # the core's reset is active high, all others' are active low
  add_ip resets proc_sys_reset:5 {}
  join_pins $clock resets/slowest_sync_clk registers/aclk memory/aclk {*}$clocks {*}$ports
  join_pins $reset resets/ext_reset_in
  join_pins resets/interconnect_aresetn registers/aresetn memory/aresetn
  join_pins resets/peripheral_aresetn {*}$resets
  join_pins resets/peripheral_reset $core/rst

  concatenate signals [llength $signals]
  set place -1
  foreach signal $signals { join_pins $signal signals/In[incr place] }
  join_pins signals/dout $interrupts

  # where the driver finds them; and the DMAs' way to the whole memory
  add_address $space $core/s_axil/reg0 $core_at 4K
  add_address $space $dma/S_AXI_LITE/Reg $dma_at 64K
  set spaces [list $dma/Data_MM2S $dma/Data_S2MM]
  if {$weight_bits > 0} {
    add_address $space $weight_dma/S_AXI_LITE/Reg $weight_dma_at 64K
    lappend spaces $weight_dma/Data_MM2S
  }
  foreach master $spaces {
    foreach segment [get_bd_addr_segs $segments/*] {
      if {[string match *_DDR_* $segment]} {
        assign_bd_address -target_address_space [get_bd_addr_spaces $master] $segment
      } else {
        exclude_bd_addr_seg -target_address_space [get_bd_addr_spaces $master] $segment
      }
    }
  }
  validate_bd_design
  save_bd_design
}

# What the way to a stream of so many bits is set to; a DMA's streams have 1024 at most.
proc send_widths {bits} {
  set width [expr {min($bits, 1024)}]
  return [dict create c_m_axis_mm2s_tdata_width $width \
    c_m_axi_mm2s_data_width [expr {max($width, 32)}]]
}

# The stream that a DMA sends to a port of so many bits, put together from narrower beats where
# it must be; a reset of the DMA forgets a beat that is half there.
proc add_stream {dma port bits clock} {
  if {$bits <= 1024} { return [join_buses $dma/M_AXIS_MM2S $port] }
  add_ip ${dma}_wide axis_dwidth_converter:1 [dict create S_TDATA_NUM_BYTES 128 \
    M_TDATA_NUM_BYTES [expr {$bits / 8}] HAS_TLAST 1 HAS_TKEEP 1]
  join_buses $dma/M_AXIS_MM2S ${dma}_wide/S_AXIS
  join_buses ${dma}_wide/M_AXIS $port
  join_pins $clock ${dma}_wide/aclk
  join_pins $dma/mm2s_prmry_reset_out_n ${dma}_wide/aresetn
}

proc add_address {space segment offset range} {
  assign_bd_address -offset $offset -range $range \
    -target_address_space [get_bd_addr_spaces $space] [get_bd_addr_segs $segment]
}

# Concatenates interrupts; later Vivados have no xlconcat but an inline one.
proc concatenate {cell count} {
  if {[llength [get_ipdefs -quiet xilinx.com:ip:xlconcat:2.*]] > 0} {
    add_ip $cell xlconcat:2 [dict create NUM_PORTS $count]
  } else {
    create_bd_cell -type inline_hdl -vlnv xilinx.com:inline_hdl:ilconcat:1.0 $cell
    configure_cell $cell [dict create NUM_PORTS $count]
  }
}

# The processing system of a Zynq-7000, on boards with a crystal of 50 MHz; names of its ends.
proc zynq {overlay preset} {
  add_ip ps processing_system7:5 {}
  apply_bd_automation -rule xilinx.com:bd_rule:processing_system7 -config [list \
    make_external "FIXED_IO, DDR" apply_board_preset $preset Master Disable Slave Disable] \
    [get_bd_cells ps]
  configure_cell ps [dict create \
    PCW_CRYSTAL_PERIPHERAL_FREQMHZ 50 \
    PCW_FPGA0_PERIPHERAL_FREQMHZ [dict get $overlay clock_mhz] \
    PCW_EN_CLK0_PORT 1 PCW_EN_RST0_PORT 1 PCW_USE_M_AXI_GP0 1 PCW_USE_S_AXI_HP0 1 \
    PCW_S_AXI_HP0_DATA_WIDTH [dict get $overlay port_bits] \
    PCW_USE_FABRIC_INTERRUPT 1 PCW_IRQ_F2P_INTR 1]
  return [dict create clock ps/FCLK_CLK0 reset ps/FCLK_RESET0_N \
    control ps/M_AXI_GP0 ddr ps/S_AXI_HP0 interrupts ps/IRQ_F2P \
    ports {ps/M_AXI_GP0_ACLK ps/S_AXI_HP0_ACLK} \
    space ps/Data segments ps/S_AXI_HP0 address_bits 32]
}

# That of a Zynq UltraScale+.
proc zynquplus {overlay preset} {
  add_ip ps zynq_ultra_ps_e:3 {}
  if {$preset} {
    apply_bd_automation -rule xilinx.com:bd_rule:zynq_ultra_ps_e \
      -config {apply_board_preset 1} [get_bd_cells ps]
  }
  configure_cell ps [dict create \
    PSU__FPGA_PL0_ENABLE 1 PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ [dict get $overlay clock_mhz] \
    PSU__USE__FABRIC__RST 1 PSU__NUM_FABRIC_RESETS 1 \
    PSU__USE__M_AXI_GP0 1 PSU__USE__M_AXI_GP1 0 PSU__USE__M_AXI_GP2 0 \
    PSU__USE__S_AXI_GP2 1 PSU__SAXIGP2__DATA_WIDTH [dict get $overlay port_bits] \
    PSU__USE__IRQ0 1]
  return [dict create clock ps/pl_clk0 reset ps/pl_resetn0 \
    control ps/M_AXI_HPM0_FPD ddr ps/S_AXI_HP0_FPD interrupts ps/pl_ps_irq0 \
    ports {ps/maxihpm0_fpd_aclk ps/saxihp0_fpd_aclk} \
    space ps/Data segments ps/SAXIGP2 address_bits 40]
}

# Packages has_overlay, which holds has_core, as IP in FOLDER/has_overlay.
# Buses, clock and reset are named by the X_INTERFACE attributes of has_overlay.v.
proc package_ip {overlay root folder} {
  create_project -force has_ip [file join $folder project] -part [dict get $overlay part]
  foreach path [concat [dict get $overlay sources] [dict get $overlay memories]] {
    add_files -norecurse -fileset sources_1 [list [file join $root $path]]
  }
  set_property top has_overlay [get_filesets sources_1]
  update_compile_order -fileset sources_1
  ipx::package_project -root_dir [file join $folder has_overlay] -vendor hascodesign \
    -library user -taxonomy /UserIP -import_files
  set core [ipx::current_core]
  set_property name has_overlay $core
  set_property version 1.0 $core
  set_property display_name "hascodesign accelerator" $core
  set_property description "Classifies images by itself on an array of processing elements" $core
  set_property supported_families {zynq Production zynquplus Production} $core

  set buses {s_axil s_axis_image m_axis_result}
  if {[dict get $overlay weight_bits] > 0} { lappend buses s_axis_weight }
  foreach name [concat clk rst interrupt $buses] {
    if {[llength [ipx::get_bus_interfaces $name -of_objects $core]] != 1} {
      error "has_overlay must have a bus interface $name, as has_overlay.v names it"
    }
  }
  set clock [ipx::get_bus_interfaces clk -of_objects $core]
  set of_clock [get_property value [ipx::get_bus_parameters ASSOCIATED_BUSIF -of_objects $clock]]
  if {[lsort [split $of_clock :]] ne [lsort $buses]} {
    error "clk must be the clock of $buses, not of $of_clock"
  }
  # the block design says how fast it is
  foreach name [concat clk $buses] {
    set bus [ipx::get_bus_interfaces $name -of_objects $core]
    if {[llength [ipx::get_bus_parameters -quiet FREQ_HZ -of_objects $bus]] > 0} {
      ipx::remove_bus_parameter FREQ_HZ $bus
    }
  }

  # the registers: 12 address bits
  ipx::remove_all_memory_map $core
  set map [ipx::add_memory_map s_axil $core]
  set_property slave_memory_map_ref s_axil [ipx::get_bus_interfaces s_axil -of_objects $core]
  set block [ipx::add_address_block reg0 $map]
  set_property base_address 0 $block
  set_property range 4096 $block
  set_property width 32 $block
  set_property usage register $block

  ipx::create_xgui_files $core
  ipx::update_checksums $core
  ipx::check_integrity $core
  ipx::save_core $core
  close_project
}

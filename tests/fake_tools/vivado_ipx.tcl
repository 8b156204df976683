# The IP packager: reads the X_INTERFACE attributes of the top module as UG1118 has them, and writes
# a component.xml of its own kind, which update_ip_catalog reads.
set buses [dict create \
  xilinx.com:signal:clock:1.0 {CLK} xilinx.com:signal:reset:1.0 {RST} \
  xilinx.com:signal:interrupt:1.0 {INTERRUPT} \
  xilinx.com:interface:axis:1.0 {TVALID TREADY TDATA TSTRB TKEEP TLAST TID TDEST TUSER} \
  xilinx.com:interface:aximm:1.0 {AWADDR AWVALID AWREADY WDATA WSTRB WVALID WREADY BRESP BVALID
    BREADY ARADDR ARVALID ARREADY RDATA RRESP RVALID RREADY}]
set backwards {TREADY AWREADY WREADY BRESP BVALID ARREADY RDATA RRESP RVALID}  ;# against the master
set parameters [dict create \
  CLK {ASSOCIATED_BUSIF {[\w:]+} ASSOCIATED_RESET {\w+}} RST {POLARITY {ACTIVE_(HIGH|LOW)}} \
  INTERRUPT {SENSITIVITY {LEVEL_(HIGH|LOW)|EDGE_(RISING|FALLING)}} \
  TVALID {TDATA_NUM_BYTES {\d+} HAS_TREADY {[01]} HAS_TLAST {[01]} HAS_TKEEP {[01]}} \
  AWVALID {PROTOCOL {AXI4LITE} ADDR_WIDTH {\d+} DATA_WIDTH {32|64}}]

set core ""          ;# the one that is packaged
set core_values [dict create]
set interfaces [dict create]  ;# name -> dict of bus mode signals parameters
set map ""           ;# name of the memory map, and what is known of its block
set block [dict create]

proc read_interfaces {text} {
  regexp "module\\s+$::top\\M\\s*\\((.*?)\\n\\);" $text -> ports
  set attribute {\(\* X_INTERFACE_INFO = "([^"]+)"(?:, X_INTERFACE_PARAMETER = "([^"]*)")? \*\)}
  set port {\s+(input|output)\s+wire\s+(?:\[(\d+):0\]\s+)?(\w+)}
  set found [regexp -all -inline $attribute$port $ports]
  set count [regexp -all {(?:input|output)\M} $ports]
  if {[llength $found] != 6 * $count} { error "ipx: every port must have an X_INTERFACE_INFO" }
  foreach {all info more direction high name} $found {
    lassign $info vlnv interface signal
    if {![dict exists $::buses $vlnv]} { error "ipx: there is no bus $vlnv" }
    if {$signal ni [dict get $::buses $vlnv]} { error "ipx: $vlnv has no signal $signal" }
    if {![dict exists $::interfaces $interface bus]} {
      dict set ::interfaces $interface [dict create bus $vlnv signals {} parameters {} mode {}]
    }
    if {[dict get $::interfaces $interface bus] ne $vlnv} { error "ipx: $interface is of two buses" }
    if {[dict exists $::interfaces $interface signals $signal]} {
      error "ipx: $interface has $signal twice"
    }
    set bits [expr {$high eq "" ? 1 : $high + 1}]
    dict set ::interfaces $interface signals $signal [list $name $bits]
    set mode [expr {($direction eq "output") != ($signal in $::backwards) ? "master" : "slave"}]
    if {[dict get $::interfaces $interface mode] ni [list {} $mode]} {
      error "ipx: $interface must be a master or a slave, and $name goes the other way"
    }
    dict set ::interfaces $interface mode $mode
    foreach pair [split $more ,] {
      lassign $pair key value
      if {![dict exists $::parameters $signal $key]} { error "ipx: $signal has no parameter $key" }
      if {![regexp "^([dict get $::parameters $signal $key])\$" $value]} {
        error "ipx: $key cannot be $value"
      }
      dict set ::interfaces $interface parameters $key $value
    }
  }
  dict for {name one} $::interfaces { check_interface $name $one }
}

proc check_interface {name one} {
  set signals [dict get $one signals]
  set needed [dict create axis {TVALID TREADY TLAST TDATA} \
    aximm [dict get $::buses xilinx.com:interface:aximm:1.0]]
  set kind [lindex [split [dict get $one bus] :] 2]
  if {[dict exists $needed $kind]} {
    foreach signal [dict get $needed $kind] {
      if {![dict exists $signals $signal]} { error "ipx: $name lacks $signal" }
    }
  }
  if {$kind eq "axis"} {
    set bytes [dict get $one parameters TDATA_NUM_BYTES]
    if {[lindex [dict get $signals TDATA] 1] != 8 * $bytes} {
      error "ipx: TDATA of $name must be $bytes bytes"
    }
    if {[dict exists $signals TKEEP] != [dict get $one parameters HAS_TKEEP]} {
      error "ipx: TKEEP of $name is not what HAS_TKEEP says"
    }
    if {[dict exists $signals TKEEP] && [lindex [dict get $signals TKEEP] 1] != $bytes} {
      error "ipx: TKEEP of $name must be $bytes bits"
    }
  }
  if {$kind eq "reset" && ![dict exists $one parameters POLARITY]} {
    error "ipx: the reset $name has no polarity"
  }
}

proc of_core {arguments command} {
  lassign [options $command {-of_objects: -quiet} $arguments] given rest
  if {![dict exists $given -of_objects]} { error "$command: -of_objects is missing" }
  return [list [lindex $rest 0] [dict get $given -of_objects]]
}
proc must_be_core {what} { if {$what ne $::core || $what eq ""} { error "no core: $what" } }

namespace eval ipx {
  proc package_project {args} {
    set spec {-root_dir: -vendor: -library: -taxonomy: -import_files}
    lassign [options ipx::package_project $spec $args] given rest
    if {[llength $rest]} { error "ipx::package_project: what is $rest" }
    foreach name {-root_dir -vendor -library -taxonomy -import_files} {
      if {![dict exists $given $name]} { error "ipx::package_project: $name is missing" }
    }
    set text ""
    foreach path $::sources { if {[file extension $path] eq ".v"} { append text [content $path] } }
    if {![regexp "module\\s+$::top\\M" $text]} { error "ipx: no module $::top in the sources" }
    set ::core core:$::top
    set ::core_values [dict create vendor [dict get $given -vendor] \
      library [dict get $given -library] name $::top version 1.0 \
      root [dict get $given -root_dir] files $::sources]
    read_interfaces $text
    dict set ::interfaces clk parameters FREQ_HZ 100000000  ;# some versions add it by themselves
    note package_project [dict get $given -vendor] $::top
  }
  proc current_core {} { return $::core }
  proc get_bus_interfaces {args} {
    lassign [of_core $args ipx::get_bus_interfaces] name core
    must_be_core $core
    return [expr {[dict exists $::interfaces $name] ? "bus:$name" : ""}]
  }
  proc get_bus_parameters {args} {
    lassign [of_core $args ipx::get_bus_parameters] name bus
    lassign [split $bus :] kind interface
    if {![dict exists $::interfaces $interface parameters $name]} { return "" }
    return parameter:$interface:$name
  }
  proc remove_bus_parameter {name bus} {
    lassign [split $bus :] - interface
    dict unset ::interfaces $interface parameters $name
  }
  proc remove_all_memory_map {core} { must_be_core $core; set ::map "" }
  proc add_memory_map {name core} { must_be_core $core; set ::map $name; return map:$name }
  proc add_address_block {name map} {
    if {$map ne "map:$::map"} { error "ipx::add_address_block: no map $map" }
    dict set ::block name $name
    return block:$name
  }
  proc create_xgui_files {core} { must_be_core $core }
  proc update_checksums {core} { must_be_core $core }
  proc check_integrity {core} {
    must_be_core $core
    foreach key {name base_address range width usage} {
      if {![dict exists $::block $key]} { error "ipx::check_integrity: the address block has no $key" }
    }
    if {![dict exists $::interfaces s_axil map]} { error "ipx::check_integrity: no memory map" }
  }
  proc save_core {core} {
    must_be_core $core
    set root [dict get $::core_values root]
    file mkdir $root
    set channel [open [file join $root component.xml] w]
    puts $channel [dict create values $::core_values interfaces $::interfaces block $::block]
    close $channel
    note save_core [dict get $::core_values name]
  }
}

proc set_ipx_property {name value object} {
  lassign [split $object :] kind one
  switch $kind {
    core {
      if {$name ni {name version display_name description supported_families}} {
        error "set_property: a core has no property $name"
      }
      must_be_core $object
      dict set ::core_values $name $value
    }
    bus {
      if {$name ne "slave_memory_map_ref" || $value ne $::map} {
        error "set_property: a bus interface has no property $name, or no map $value"
      }
      dict set ::interfaces $one map $value
    }
    block {
      if {$name ni {base_address range width usage}} {
        error "set_property: an address block has no property $name"
      }
      dict set ::block $name $value
    }
    default { return 0 }
  }
  return 1
}

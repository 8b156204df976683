# The block design: cells, pins, nets and addresses, held to what the catalogue says of each.
set cells [dict create]    ;# cell -> {vlnv {property value ...}}
set nets [list]            ;# {from to}
set links [list]           ;# {master slave}
set outside [list]         ;# pins that leave the design
set segments [list]        ;# {space segment offset range}
set excluded [list]        ;# {space segment}
set own [dict create]      ;# ip of the user's: vlnv -> component
set repositories [list]
set valid 0

proc config {property} { return [dict get $::values $property] }

# Pins of a cell as it is set up now.
proc pins_of {cell} {
  lassign [dict get $::cells $cell] vlnv ::values
  if {[dict exists $::own $vlnv]} { return [pins_of_own [dict get $::own $vlnv]] }
  return [apply [list {} [lindex [dict get $::catalog $vlnv] 1]]]
}

proc pins_of_own {component} {
  set pins [dict create]
  set block [dict get $component block]
  dict for {name one} [dict get $component interfaces] {
    lassign [split [dict get $one bus] :] - - kind
    set mode [dict get $one mode]
    set way [expr {$mode eq "master" ? "out" : "in"}]
    switch $kind {
      clock { dict set pins $name {clock in} }
      reset {
        set low [string match *LOW [dict get $one parameters POLARITY]]
        dict set pins $name [list reset in [expr {$low ? "low" : "high"}]]
      }
      interrupt { dict set pins $name [list interrupt $way] }
      axis {
        set bits [lindex [dict get $one signals TDATA] 1]
        dict set pins $name [list axis $mode $bits clk {}]
      }
      aximm { dict set pins $name [list aximm slave 32 clk $name/[dict get $block name]] }
    }
  }
  return $pins
}

# {cell pin description} of a path, or an error.
proc pin {command path wanted} {
  lassign [split [string trimleft $path /] /] cell name
  if {![dict exists $::cells $cell]} { error "$command: no cell $cell" }
  set pins [pins_of $cell]
  if {![dict exists $pins $name]} { error "$command: no pin $name of $cell" }
  set what [dict get $pins $name]
  set bus [expr {[string trimleft [lindex $what 0] ?] in {aximm axis board}}]
  if {$bus != $wanted} { error "$command: $path is a pin of another kind" }
  return /$cell/$name
}
proc description {path} {
  lassign [split [string trimleft $path /] /] cell name
  return [dict get [pins_of $cell] $name]
}

proc create_bd_design {name} { note create_bd_design $name; set ::design $name }
proc create_bd_cell {args} {
  lassign [options create_bd_cell {-type: -vlnv:} $args] given rest
  set vlnv [dict get $given -vlnv]
  lassign [split $vlnv :] - library
  set type [expr {$library eq "inline_hdl" ? "inline_hdl" : "ip"}]
  if {[dict get $given -type] ne $type} { error "create_bd_cell: $vlnv is of type $type" }
  if {![dict exists $::catalog $vlnv] && ![dict exists $::own $vlnv]} {
    error "create_bd_cell: there is no $vlnv"
  }
  set name [lindex $rest 0]
  if {[dict exists $::cells $name]} { error "create_bd_cell: there is a cell $name" }
  set values [dict create]
  if {[dict exists $::catalog $vlnv]} {
    dict for {property one} [lindex [dict get $::catalog $vlnv] 0] {
      dict set values $property [lindex $one 0]
    }
  }
  dict set ::cells $name [list $vlnv $values]
  return /$name
}
proc get_bd_cells {path} {
  set name [string trimleft $path /]
  if {![dict exists $::cells $name]} { error "get_bd_cells: no cell $path" }
  return /$name
}
proc set_cell_property {name value path} {
  set cell [string trimleft $path /]
  if {![dict exists $::cells $cell]} { return 0 }
  lassign [dict get $::cells $cell] vlnv values
  if {![regexp {^CONFIG\.(.*)} $name -> property] || ![dict exists $values $property]} {
    error "set_property: $vlnv has no property $name"
  }
  set pattern [lindex [dict get [lindex [dict get $::catalog $vlnv] 0] $property] 1]
  if {![regexp "^($pattern)\$" $value]} { error "set_property: $name of $vlnv cannot be $value" }
  dict set values $property $value
  dict set ::cells $cell [list $vlnv $values]
  return 1
}
proc get_bd_pins {path} { return [pin get_bd_pins $path 0] }
proc get_bd_intf_pins {path} { return [pin get_bd_intf_pins $path 1] }

proc connect_bd_net {args} {
  if {[llength $args] != 2} { error "connect_bd_net: two pins, not $args" }
  lassign $args from to
  lassign [description [pin connect_bd_net $from 0]] class way polarity
  lassign [description [pin connect_bd_net $to 0]] class_to way_to polarity_to
  if {$way ne "out" || $way_to ne "in"} { error "connect_bd_net: from an output to an input" }
  lassign [list [string trimleft $class ?] [string trimleft $class_to ?]] class class_to
  if {$class ne $class_to && ($class in {clock reset} || $class_to in {clock reset})} {
    error "connect_bd_net: $from is a $class, $to a $class_to"
  }
  if {$class eq "reset" && $polarity ne $polarity_to} {
    error "connect_bd_net: $from is active $polarity, $to active $polarity_to"
  }
  foreach net $::nets {
    if {[lindex $net 1] eq $to} { error "connect_bd_net: $to is connected already" }
  }
  lappend ::nets [list $from $to]
}
proc connect_bd_intf_net {args} {
  if {[llength $args] != 2} { error "connect_bd_intf_net: two interfaces, not $args" }
  lassign $args from to
  lassign [description [pin connect_bd_intf_net $from 1]] class mode bits
  lassign [description [pin connect_bd_intf_net $to 1]] class_to mode_to bits_to
  if {$class ne $class_to} { error "connect_bd_intf_net: $from is $class, $to $class_to" }
  if {$mode ne "master" || $mode_to ne "slave"} {
    error "connect_bd_intf_net: from a master to a slave"
  }
  if {$class eq "axis" && $bits != $bits_to} {
    error "connect_bd_intf_net: $from has $bits bits, $to $bits_to"
  }
  foreach link $::links {
    foreach end $args {
      if {$end in $link} { error "connect_bd_intf_net: $end is connected already" }
    }
  }
  lappend ::links [list $from $to]
}

proc apply_bd_automation {args} {
  lassign [options apply_bd_automation {-rule: -config:} $args] given rest
  set keys [dict create \
    xilinx.com:bd_rule:processing_system7 {make_external apply_board_preset Master Slave} \
    xilinx.com:bd_rule:zynq_ultra_ps_e {apply_board_preset}]
  set rule [dict get $given -rule]
  if {![dict exists $keys $rule]} { error "apply_bd_automation: no rule $rule" }
  set cell [string trimleft [lindex $rest 0] /]
  if {[lindex [split [lindex [dict get $::cells $cell] 0] :] 2] ne [lindex [split $rule :] 2]} {
    error "apply_bd_automation: $rule is not for $cell"
  }
  dict for {key value} [dict get $given -config] {
    if {$key ni [dict get $keys $rule]} { error "apply_bd_automation: no key $key" }
    if {$key eq "apply_board_preset" && $value && $::board_part eq ""} {
      error "apply_bd_automation: no board is set that has a preset"
    }
    if {$key eq "make_external"} {
      foreach pin [split $value ", "] {
        if {$pin ne ""} { lappend ::outside [pin apply_bd_automation $cell/$pin 1] }
      }
    }
  }
  note preset $cell [dict get $given -config apply_board_preset]
}

# ---------------------------------------------------------------- addresses

proc all_segments {} {
  set found [list]
  dict for {cell -} $::cells {
    dict for {name what} [pins_of $cell] {
      if {[lrange $what 0 1] eq {aximm slave}} {
        foreach segment [lindex $what 4] { lappend found /$cell/$segment }
      }
    }
  }
  return $found
}
proc get_bd_addr_segs {path} {
  set found [lsearch -all -inline -glob [all_segments] /[string trimleft $path /]]
  if {[llength $found] == 0} { error "get_bd_addr_segs: no segment $path" }
  return $found
}
proc get_bd_addr_spaces {path} {
  set found [list]
  dict for {cell -} $::cells {
    dict for {name what} [pins_of $cell] {
      if {[lrange $what 0 1] eq {aximm master} && [lindex $what 4] ne ""} {
        lappend found /$cell/[lindex $what 4]
      }
    }
  }
  if {"/[string trimleft $path /]" ni $found} { error "get_bd_addr_spaces: no space $path" }
  return /[string trimleft $path /]
}
proc bytes {text} {
  if {[regexp {^(\d+)([KMG])$} $text -> count unit]} {
    return [expr {$count << [dict get {K 10 M 20 G 30} $unit]}]
  }
  return [expr {$text}]
}
proc assign_bd_address {args} {
  set spec {-offset: -range: -target_address_space:}
  lassign [options assign_bd_address $spec $args] given rest
  set space [get_bd_addr_spaces [dict get $given -target_address_space]]
  foreach segment $rest {
    if {$segment ni [all_segments]} { error "assign_bd_address: no segment $segment" }
    set offset auto
    set range auto
    if {[dict exists $given -offset]} {
      set offset [bytes [dict get $given -offset]]
      set range [bytes [dict get $given -range]]
      if {$range < 4096 || $range & ($range - 1) || $offset % $range} {
        error "assign_bd_address: $segment cannot have $range bytes at $offset"
      }
    } elseif {![string match *_DDR_* $segment]} {
      error "assign_bd_address: $segment has no address of its own"
    }
    lappend ::segments [list $space $segment $offset $range]
  }
}
proc exclude_bd_addr_seg {args} {
  lassign [options exclude_bd_addr_seg {-target_address_space:} $args] given rest
  set space [get_bd_addr_spaces [dict get $given -target_address_space]]
  foreach segment $rest {
    if {$segment ni [all_segments]} { error "exclude_bd_addr_seg: no segment $segment" }
    lappend ::excluded [list $space $segment]
  }
}

# ---------------------------------------------------------------- the design as it stands

proc validate_bd_design {} {
  set ::valid 1
  set channel [open [file join [file dirname $::env(FAKE_TOOL_LOG)] design] w]
  dict for {cell one} $::cells {
    lassign $one vlnv values
    puts $channel [join [list cell $cell $vlnv] \t]
    dict for {name value} $values { puts $channel [join [list set $cell $name $value] \t] }
    dict for {name what} [pins_of $cell] {
      puts $channel [join [list pin /$cell/$name {*}[lrange $what 0 3] [lindex $what 4]] \t]
    }
  }
  foreach net $::nets { puts $channel [join [list net {*}$net] \t] }
  foreach link $::links { puts $channel [join [list link {*}$link] \t] }
  foreach pin $::outside { puts $channel [join [list outside $pin] \t] }
  foreach one $::segments { puts $channel [join [list address {*}$one] \t] }
  foreach one $::excluded { puts $channel [join [list exclude {*}$one] \t] }
  close $channel
}
proc save_bd_design {} { if {!$::valid} { error "save_bd_design: not validated" } }

# ---------------------------------------------------------------- catalogue

proc get_ipdefs {args} {
  lassign [options get_ipdefs {-quiet} $args] given rest
  return [lsearch -all -inline -glob [concat [dict keys $::catalog] [dict keys $::own]] \
    [lindex $rest 0]]
}
proc update_ip_catalog {} {
  foreach folder $::repositories {
    set path [file join $folder component.xml]
    must_be_file update_ip_catalog $path
    set component [content $path]
    if {[dict exists $component interfaces clk parameters FREQ_HZ]} {
      error "update_ip_catalog: the clock of $path has a frequency of its own"
    }
    set values [dict get $component values]
    set vlnv [join [list [dict get $values vendor] [dict get $values library] \
      [dict get $values name] [dict get $values version]] :]
    dict set ::own $vlnv $component
  }
}

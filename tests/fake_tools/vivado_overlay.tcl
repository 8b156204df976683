# A Vivado that knows the commands, options, properties, IP and pins that an overlay may use, and
# refuses all else; it makes empty files for what a Vivado would have made.
#   FAKE_BOARD_PARTS, FAKE_LACKS: what is installed, what is not; FAKE_DDR_HIGH: memory above 4 GB
#   FAKE_PROGRESS_SYNTH, _IMPL: how far the runs come; FAKE_SETUP, FAKE_HOLD: slack in ns
#   FAKE_CELLS: placed cells, {name ref site} each; FAKE_GEN: where the .hwh lies, gen or srcs
set tools [file dirname [file normalize [info script]]]
source [file join $tools common.tcl]
source [file join $tools vivado_catalog.tcl]
source [file join $tools vivado_ipx.tcl]
source [file join $tools vivado_bd.tcl]

set project ""
set folder ""
set sources [list]
set constraints [list]
set top ""
set board_part ""
set design ""
set bd_file ""
set made [list]         ;# runs that have ended
set launched ""
set hierarchical 1      ;# whether the block design is synthesised out of context
set implementing [list] ;# constraints that are not for the synthesis
set opened 0

proc create_project {args} {
  lassign [options create_project {-force -part:} $args] given rest
  if {[llength $rest] != 2} { error "create_project: a name and a folder, not $rest" }
  if {$::project ne ""} { error "create_project: $::project is open" }
  lassign $rest ::project ::folder
  file mkdir $::folder
  lassign {} ::sources ::constraints ::top
  note create_project $::project [dict get $given -part]
}
proc close_project {} {
  if {$::project eq ""} { error "close_project: none is open" }
  note close_project $::project
  lassign [list "" ""] ::project ::core
}
proc current_project {} {
  if {$::project eq ""} { error "current_project: none is open" }
  return project
}
proc get_board_parts {args} {
  lassign [options get_board_parts {-quiet} $args] given rest
  return [lsearch -all -inline $::env(FAKE_BOARD_PARTS) [lindex $rest 0]]
}
proc get_filesets {name} {
  if {$name ni {sources_1 constrs_1}} { error "get_filesets: no fileset $name" }
  return $name
}
proc get_runs {name} {
  if {$name ni {synth_1 impl_1}} { error "get_runs: no run $name" }
  return $name
}
proc get_files {name} {
  if {$name eq "$::design.bd" && $::design ne ""} { return $name }
  foreach path [concat $::sources $::constraints] {
    if {[file tail $path] eq $name} { return $path }
  }
  error "get_files: no file $name"
}
proc add_files {args} {
  lassign [options add_files {-norecurse -fileset:} $args] given rest
  set fileset [get_filesets [dict get $given -fileset]]
  foreach path [lindex $rest 0] {
    must_be_file add_files $path
    if {$path in [concat $::sources $::constraints]} { error "add_files: twice: $path" }
    lappend [expr {$fileset eq "sources_1" ? "::sources" : "::constraints"}] $path
    note add_files $::project $fileset [file tail $path]
  }
}
proc update_compile_order {args} {
  lassign [options update_compile_order {-fileset:} $args] given rest
  get_filesets [dict get $given -fileset]
}

proc set_property {args} {
  lassign [options set_property {-dict:} $args] given rest
  if {[dict exists $given -dict]} {
    foreach {name value} [dict get $given -dict] { set_one $name $value [lindex $rest 0] }
  } else {
    if {[llength $rest] != 3} { error "set_property: name, value, object, not $rest" }
    set_one {*}$rest
  }
}
proc set_one {name value object} {
  if {$object eq ""} { error "set_property: no object for $name" }
  if {$object eq "nowhere"} { return [puts "CRITICAL WARNING: $name of a cell that is not there"] }
  if {[set_ipx_property $name $value $object] || [set_cell_property $name $value $object]} return
  switch $object/$name {
    sources_1/top { set ::top $value }
    project/board_part {
      if {$value ni $::env(FAKE_BOARD_PARTS)} { error "set_property: no board $value" }
      set ::board_part $value
      note board_part $value
    }
    project/ip_repo_paths { set ::repositories $value }
    synth_1/STEPS.SYNTH_DESIGN.ARGS.MAX_DSP { note MAX_DSP $value }
    default {
      if {$name eq "synth_checkpoint_mode" && $object eq "$::design.bd"} {
        if {$value ni {None Singular Hierarchical}} { error "set_property: $name cannot be $value" }
        set ::hierarchical [expr {$value ne "None"}]
      } elseif {$name eq "used_in_synthesis" && $object in $::constraints} {
        if {!$value} { lappend ::implementing $object }
      } elseif {$name eq "LOC" && [dict exists $::placement $object]} {
        dict set ::placement $object $value
      } elseif {$name eq "LOC" && [dict exists $::placement $object/DSP_ALU_INST]} {
        dict set ::placement $object/DSP_ALU_INST $value
      } else {
        error "set_property: $object has no property $name"
      }
    }
  }
}
proc get_property {name object} {
  switch -glob $name/$object {
    VLNV/*:*:*:* { return $object }
    value/parameter:* {
      lassign [split $object :] - interface parameter
      return [dict get $::interfaces $interface parameters $parameter]
    }
    DIRECTORY/project { return $::folder }
    PROGRESS/synth_1 { return $::env(FAKE_PROGRESS_SYNTH) }
    PROGRESS/impl_1 { return $::env(FAKE_PROGRESS_IMPL) }
    SLACK/setup { return $::env(FAKE_SETUP) }
    SLACK/hold { return $::env(FAKE_HOLD) }
  }
  error "get_property: $object has no property $name"
}

# ---------------------------------------------------------------- runs

proc generate_target {what files} {
  if {$what ne "all" || $files ne "$::design.bd" || !$::valid} { error "generate_target: $what $files" }
  set hwh [file join $::folder $::project.$::env(FAKE_GEN) sources_1 bd $::design hw_handoff $::design.hwh]
  file mkdir [file dirname $hwh]
  close [open $hwh w]
}
proc make_wrapper {args} {
  lassign [options make_wrapper {-files: -top} $args] given rest
  if {[dict get $given -files] ne "$::design.bd" || ![dict exists $given -top]} {
    error "make_wrapper: -files of a block design, -top"
  }
  set path [file join $::folder $::project.gen sources_1 bd $::design hdl ${::design}_wrapper.v]
  file mkdir [file dirname $path]
  set channel [open $path w]
  puts $channel "module ${::design}_wrapper; endmodule"
  close $channel
  return $path
}
proc launch_runs {args} {
  lassign [options launch_runs {-jobs:} $args] given rest
  if {![string is integer -strict [dict get $given -jobs]]} { error "launch_runs: -jobs" }
  set name [get_runs [lindex $rest 0]]
  if {$name eq "synth_1"} {
    if {$::hierarchical} { error "launch_runs: the block design would be out of context" }
    if {"${::top}.v" ni [lmap path $::sources {file tail $path}]} { error "launch_runs: no $::top" }
    if {$::constraints ne $::implementing} { error "launch_runs: constraints of no cell yet" }
  } elseif {"synth_1" ni $::made} { error "launch_runs: impl_1 before synth_1" }
  set ::launched $name
}
proc wait_on_run {name} {
  if {$::launched ne [get_runs $name]} { error "wait_on_run: $name is not launched" }
  lappend ::made $name
}
proc open_run {name} {
  if {[get_runs $name] ni $::made} { error "open_run: $name has not ended" }
  set ::opened 1
  set ::placement [dict create]
  set ::references [dict create]
  foreach cell $::env(FAKE_CELLS) {
    lassign $cell path reference site
    dict set ::references $path $reference
    dict set ::placement $path $site
  }
  foreach path $::constraints { uplevel #0 [list source $path] }
  note open_run $name
}
set placement [dict create]

# By name, as constraints have it, where one that is not there is only warned of; or by a filter.
proc get_cells {args} {
  lassign [options get_cells {-hierarchical -filter:} $args] given rest
  if {!$::opened} { error "get_cells: no design is open" }
  if {![dict exists $given -filter]} {
    set name [lindex $rest 0]
    foreach cell [list $name $name/DSP_ALU_INST] {
      if {[dict exists $::placement $cell]} { return $name }
    }
    return nowhere
  }
  set test [dict get $given -filter]
  regsub -all {\m(NAME|REF_NAME) (==|=~) ([^\s()]+)} $test {[holds \1 \3]} test
  if {[regexp {=} $test]} { error "get_cells: what is the filter $test" }
  set found [list]
  dict for {path -} $::placement {
    set ::cell $path
    if {[expr $test]} { lappend found $path }
  }
  return $found
}
proc holds {name pattern} {
  set value [expr {$name eq "NAME" ? $::cell : [dict get $::references $::cell]}]
  return [string match [string map {\[ \\\[} $pattern] $value]
}
proc get_sites {args} {
  lassign [options get_sites {-of_objects:} $args] given rest
  return [dict get $::placement [dict get $given -of_objects]]
}
proc report {command arguments} {
  lassign [options $command {-hierarchical -file:} $arguments] given rest
  if {!$::opened} { error "$command: no design is open" }
  close [open [dict get $given -file] w]
  note $command
}
proc report_utilization {args} { report report_utilization $args }
proc report_timing_summary {args} { report report_timing_summary $args }
proc get_timing_paths {args} {
  lassign [options get_timing_paths {-setup -hold -max_paths: -nworst:} $args] given rest
  return [expr {[dict exists $given -setup] ? "setup" : "hold"}]
}
proc write_bitstream {args} {
  lassign [options write_bitstream {-force} $args] given rest
  if {!$::opened} { error "write_bitstream: no design is open" }
  close [open [lindex $rest 0] w]
  note write_bitstream [file tail [lindex $rest 0]]
}

# a procedure of the scripts must not take the place of a command; Vivado has these too
foreach name {run step scope start stop restart report link place route connect write} {
  if {[info commands $name] eq ""} { proc $name {args} { error "not for an overlay" } }
}
rename proc make_proc
make_proc proc {name arguments body} {
  if {[info commands ::$name] ne ""} { error "proc: $name is a command already" }
  uplevel 1 [list make_proc $name $arguments $body]
}

set batch [lsearch -exact $argv -source]
set given [lrange $argv 0 $batch-1]
lassign [options vivado {-mode: -nojournal -log:} $given] set_up
if {[dict get $set_up -mode] ne "batch"} { error "vivado -mode batch" }
set script [lindex $argv $batch+1]
if {[lindex $argv $batch+2] ne "-tclargs"} { error "vivado -source FILE -tclargs" }
set argv [lrange $argv $batch+3 end]
finish $script

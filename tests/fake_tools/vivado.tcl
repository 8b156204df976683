# A Vivado that does nothing but check what it is told: fake vivado -mode batch -source SCRIPT.
source [file join [file dirname [file normalize [info script]]] common.tcl]

set sources [list]
set constraints [list]
set top ""
set launched 0

proc create_project {args} {
  lassign [options create_project {-force -part:} $args] given rest
  if {[llength $rest] != 2} { error "create_project: a name and a folder, not $rest" }
  note create_project [lindex $rest 0] [dict get $given -part]
}
proc get_board_parts {args} {
  lassign [options get_board_parts {-quiet} $args] given rest
  return [lsearch -all -inline $::env(FAKE_BOARD_PARTS) [lindex $rest 0]]
}
proc current_project {} { return project }
proc get_filesets {name} {
  if {$name ni {sources_1 constrs_1}} { error "get_filesets: no fileset $name" }
  return $name
}
proc get_runs {name} {
  if {$name ne "synth_1"} { error "get_runs: no run $name" }
  return $name
}
proc set_property {args} {
  lassign [options set_property {-name: -value: -objects:} $args] given rest
  if {[dict size $given] == 0} { lassign $rest name value objects } else {
    set name [dict get $given -name]
    set value [dict get $given -value]
    set objects [dict get $given -objects]
  }
  if {$objects eq ""} { error "set_property: no objects" }
  if {$name eq "top"} { set ::top $value }
  if {$name eq "include_dirs" && ![file isdirectory $value]} { error "no such folder: $value" }
  note set_property $name $value
}
proc add_files {args} {
  lassign [options add_files {-norecurse -fileset:} $args] given rest
  set fileset [get_filesets [dict get $given -fileset]]
  foreach path [lindex $rest 0] {
    must_be_file add_files $path
    if {$path in $::sources} { error "add_files: twice: $path" }
    lappend [expr {$fileset eq "sources_1" ? "::sources" : "::constraints"}] $path
    note add_files $fileset [file tail $path]
  }
}
proc update_compile_order {args} { options update_compile_order {-fileset:} $args }
proc launch_runs {args} {
  options launch_runs {-jobs:} $args
  set modules ""
  foreach path $::sources {
    if {[file extension $path] eq ".v"} { append modules [content $path] }
  }
  if {![regexp "module\\s+$::top\\M.*?endmodule" $modules ::top_text]} {
    error "launch_runs: no module $::top in the sources"
  }
  foreach path $::constraints { uplevel #0 [list source $path] }
  set ::launched 1
}
proc get_ports {name} {
  if {![regexp "input\\M\[^,;)\]*\\m$name\\M" $::top_text]} { error "get_ports: no port $name" }
  return $name
}
proc create_clock {args} {
  lassign [options create_clock {-name: -period:} $args] given rest
  note create_clock [dict get $given -period] [lindex $rest 0]
}
proc wait_on_run {name} { if {!$::launched} { error "wait_on_run: not launched" } }
proc get_property {name object} { return $::env(FAKE_PROGRESS) }
proc open_run {args} { options open_run {-name:} $args }
proc report {command arguments} {
  lassign [options $command {-hierarchical -file:} $arguments] given rest
  set channel [open [dict get $given -file] w]
  close $channel
  note $command
}
proc report_utilization {args} { report report_utilization $args }
proc report_timing_summary {args} { report report_timing_summary $args }
proc close_project {} { note close_project }

if {[lrange $argv 0 2] ne {-mode batch -source}} { error "vivado -mode batch -source FILE" }
finish [lindex $argv 3]

# A Vitis HLS that does nothing but check what it is told: fake vitis_hls -f SCRIPT, or, as newer
# versions have it, vitis-run --mode hls --tcl SCRIPT.
source [file join [file dirname [file normalize [info script]]] common.tcl]

set design [list]
set bench [list]
set top ""
set part ""
set clock ""

proc open_project {args} {
  lassign [options open_project {-reset} $args] given rest
  set ::design [list]
  set ::bench [list]
  note open_project [lindex $rest 0] in [pwd]
}
proc set_top {name} { set ::top $name }
proc add_files {args} {
  lassign [options add_files {-tb -cflags:} $args] given rest
  set path [lindex $rest 0]
  must_be_file add_files $path
  set folders [list [file dirname $path]]
  foreach flag [dict get $given -cflags] {
    if {[string match -I* $flag]} {
      set folder [string range $flag 2 end]
      if {![file isdirectory $folder]} { error "add_files: no such folder: $folder" }
      lappend folders $folder
    }
  }
  foreach {line name} [regexp -all -inline -line {^#include "([^"]+)"} [content $path]] {
    set found 0
    foreach folder $folders { if {[file isfile [file join $folder $name]]} { set found 1 } }
    if {!$found} { error "add_files: [file tail $path] includes $name, which is nowhere" }
  }
  set list [expr {[dict exists $given -tb] ? "::bench" : "::design"}]
  set ::cflags($list) [dict get $given -cflags]
  lappend $list $path
  note add_files [string range $list 2 end] [file tail $path]
}
proc open_solution {args} { options open_solution {-reset -flow_target:} $args }
proc set_part {name} { set ::part $name; note set_part $name }
proc create_clock {args} {
  lassign [options create_clock {-period: -name:} $args] given rest
  set ::clock [dict get $given -period]
  note create_clock $::clock
}
proc arguments {command given} {
  if {[dict exists $given -argv]} {
    foreach path [dict get $given -argv] {
      must_be_file $command $path
      note argument [file tail $path]
    }
  }
}
proc csim_design {args} {
  lassign [options csim_design {-argv:} $args] given rest
  arguments csim_design $given
  set text ""
  foreach path $::bench { append text [content $path] }
  if {![regexp {\mmain\s*\(} $text]} { error "csim_design: no main in the test bench" }
  note csim_design
  set ::synthesised 0
}
proc csynth_design {} {
  if {$::part eq "" || $::clock eq ""} { error "csynth_design: no part or no clock" }
  set text ""
  foreach path $::design { append text [content $path] }
  if {![regexp "\\m$::top\\s*\\(" $text]} { error "csynth_design: no function $::top" }
  note csynth_design $::top
  set ::synthesised 1
}
proc cosim_design {args} {
  lassign [options cosim_design {-argv: -rtl:} $args] given rest
  if {!$::synthesised} { error "cosim_design: not synthesised" }
  if {[dict get $given -rtl] ne "verilog"} { error "cosim_design: rtl must be verilog" }
  must_be_same_types cosim_design $::cflags(::design) $::cflags(::bench)
  arguments cosim_design $given
  note cosim_design
}
proc export_design {args} {
  lassign [options export_design {-format: -rtl:} $args] given rest
  if {!$::synthesised} { error "export_design: not synthesised" }
  if {[dict get $given -format] ni {ip_catalog xo syn_dcp sysgen rtl}} {
    error "export_design: unknown format [dict get $given -format]"
  }
  if {[dict get $given -rtl] ni {verilog vhdl}} { error "export_design: unknown rtl" }
  note export_design [dict get $given -format]
}
proc close_project {} { note close_project }

if {[lrange $argv 0 2] eq {--mode hls --tcl}} { finish [lindex $argv 3] }
if {[lindex $argv 0] ne "-f"} { error "vitis_hls -f FILE" }
finish [lindex $argv 1]

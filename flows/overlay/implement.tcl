# Synthesises has_design as a whole, implements it, and writes what the board takes.
proc implement {overlay root deploy placement jobs} {
  set design [get_files has_design.bd]
  # one synthesis for all of it, in which $readmemh finds the memories of the project
  set_property synth_checkpoint_mode None $design
  generate_target all $design
  add_files -norecurse -fileset sources_1 [list [make_wrapper -files $design -top]]
  foreach path [dict get $overlay memories] {
    add_files -norecurse -fileset sources_1 [list [file join $root $path]]
  }
  set_property top has_design_wrapper [get_filesets sources_1]
  update_compile_order -fileset sources_1
  set kept [file join $root placement.xdc]
  set held [expr {$placement eq "held" && [file exists $kept]}]
  if {$held} {
    add_files -norecurse -fileset constrs_1 [list $kept]
    set_property used_in_synthesis false [get_files placement.xdc]
  }
  if {[dict get $overlay multipliers] eq "lut"} {
    set_property STEPS.SYNTH_DESIGN.ARGS.MAX_DSP 0 [get_runs synth_1]
  }
  complete_run synth_1 synthesis $jobs
  complete_run impl_1 implementation $jobs

  open_run impl_1
  set reports [list [file join $deploy utilization.rpt] [file join $deploy timing.rpt]]
  report_utilization -hierarchical -file [lindex $reports 0]
  report_timing_summary -file [lindex $reports 1]
  set period [expr {1000.0 / [dict get $overlay clock_mhz]}]
  foreach kind {setup hold} {
    set slack [get_property SLACK [get_timing_paths -$kind -max_paths 1 -nworst 1]]
    if {![string is double -strict $slack] || $slack < 0} {
      error "$kind slack at [dict get $overlay clock_mhz] MHz ([format %.3f $period] ns) must be at\
        least 0 ns, not '$slack' ([lindex $reports 1]): give the flow a slower clock_mhz, under\
        \[render\] of its --config file"
    }
  }
  if {$placement eq "held"} {
    set lines [placed $overlay]
    if {$held} {
      check_placement $kept $lines
    } else {
      write_placement $kept $lines
    }
  }

  # the .hwh lies below has_design.gen, in older Vivados below has_design.srcs
  set made [glob -nocomplain -directory [get_property DIRECTORY [current_project]] \
    has_design.{gen,srcs}/sources_1/bd/has_design/hw_handoff/has_design.hwh]
  if {[llength $made] != 1} { error "the block design must have one has_design.hwh, not '$made'" }
  write_bitstream -force [file join $deploy has_core.bit]
  file copy -force [lindex $made 0] [file join $deploy has_core.hwh]
}

proc complete_run {name what jobs} {
  launch_runs $name -jobs $jobs
  wait_on_run $name
  set progress [get_property PROGRESS [get_runs $name]]
  if {$progress ne "100%"} { error "$what must end at 100%, not $progress: see $name/runme.log" }
}

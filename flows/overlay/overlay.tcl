# The whole way: IP, block design, implementation, deploy/has_core.bit and .hwh.
# vivado -mode batch -source overlay.tcl -tclargs held|free JOBS; build.sh runs it.
set here [file dirname [file normalize [info script]]]
set deploy [file dirname $here]
set root [file dirname $deploy]
set work [file join $root overlay]
foreach name {settings package_ip block_design placement implement} {
  source [file join $here $name.tcl]
}
lassign $argv placement jobs
if {[llength $argv] != 2 || $placement ni {held free} || ![string is integer -strict $jobs]} {
  error "overlay.tcl takes held or free, and how many jobs, not '$argv'"
}

# what an earlier run made is of another build
foreach name {has_core.bit has_core.hwh utilization.rpt timing.rpt} {
  file delete [file join $deploy $name]
}
file delete -force [file join $work ip] [file join $work project]
file mkdir $work

package_ip $overlay $root [file join $work ip]
create_project -force has_design [file join $work project] -part [dict get $overlay part]
set preset [set_board $overlay]
set_property ip_repo_paths [list [file join $work ip has_overlay]] [current_project]
update_ip_catalog
block_design $overlay $preset
implement $overlay $root $deploy $placement $jobs
close_project

# Where the multipliers and memories of the core lie. A fault profile belongs to one placement:
# the first implementation writes what it found, and later ones keep to it.

# A constraint for each, by cell; the implemented design is open.
# A DSP48E2 is several cells: the one that adds tells the site, the constraint is for them all.
proc placed {overlay} {
  set lines [list]
  set prefix *[dict get $overlay core]*
  foreach cell [get_cells -hierarchical -filter "NAME =~ $prefix && (REF_NAME == DSP48E1 ||\
    REF_NAME == DSP_ALU || REF_NAME =~ RAMB*)"] {
    set site [get_sites -of_objects $cell]
    regsub {/DSP_ALU_INST$} $cell {} whole
    lappend lines "set_property LOC $site \[get_cells {$whole}\]"
  }
  return [lsort $lines]
}

proc write_placement {path lines} {
  set channel [open $path w]
  puts $channel "# Sites of the multipliers and memories, as first placed; has_core's fault profile"
  puts $channel "# is theirs. Kept by later runs; remove this file to have all placed anew."
  foreach line $lines { puts $channel $line }
  close $channel
}

# The constraints of a file as `placed` gives them.
proc read_placement {path} {
  set channel [open $path]
  set lines [lsearch -all -inline -not -regexp [split [string trim [read $channel]] \n] {^#}]
  close $channel
  return [lsort $lines]
}

# Refuses a design whose cells lie elsewhere than the file has them.
proc check_placement {path lines} {
  set wanted [read_placement $path]
  foreach line $wanted {
    if {$line ni $lines} { error "[kept $path]: it has '$line', which the design does not" }
  }
  foreach line $lines {
    if {$line ni $wanted} { error "[kept $path]: it lacks '$line'" }
  }
}

proc kept {path} {
  return "every multiplier and memory must lie where $path has it (remove that file to have all\
    placed anew, and measure the faults anew)"
}

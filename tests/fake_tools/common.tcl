# What the fake vendor tools share: a log of the commands they were given, and strict options.
set log [open $::env(FAKE_TOOL_LOG) a]
fconfigure $log -buffering line
fconfigure stdout -buffering line
proc note {args} { puts $::log [join $args " "] }

# Values of the options in `spec` (a name ending in ":" takes a value); what is left is positional.
proc options {command spec arguments} {
  set given [dict create]
  set rest [list]
  while {[llength $arguments]} {
    set arguments [lassign $arguments word]
    if {[string match -* $word] && $word in $spec} {
      dict set given $word 1
    } elseif {[string match -* $word] && "$word:" in $spec} {
      set arguments [lassign $arguments value]
      dict set given $word $value
    } elseif {[string match -* $word]} {
      error "$command: unknown option $word"
    } else {
      lappend rest $word
    }
  }
  return [list $given $rest]
}

proc must_be_file {command path} {
  if {![file isfile $path]} { error "$command: no such file: $path" }
}

proc content {path} {
  set channel [open $path]
  set text [read $channel]
  close $channel
  return $text
}

proc finish {script} {
  if {[catch {uplevel #0 [list source $script]} message]} {
    puts stderr "ERROR: $message"
    exit 1
  }
  exit 0
}

# The wrapper of a co-simulation is made from the function as synthesis sees it, where
# __SYNTHESIS__ is defined; the bench, where it is not, must have the same types at the ports.
proc must_be_same_types {command design bench} {
  foreach flags [list $design $bench] {
    if {"-DHAS_AP_INT=1" ni $flags} { error "$command: the bench has other types at the ports" }
  }
}

# vitis-run and v++ that do nothing but check what they are told: a step, its configuration file.
source [file join [file dirname [file normalize [info script]]] common.tcl]

if {[lrange $argv 0 2] eq {--mode hls --tcl}} {
  source [file join [file dirname [file normalize [info script]]] vitis_hls.tcl]
}

# What a key of a configuration file may hold; "file": a file that must be there.
set keys {
  part word  flow_target {vivado vitis}  clock clock  syn.top word  syn.file file  syn.cflags flags
  tb.file file  tb.cflags flags  csim.argv files  cosim.argv files
  package.output.format {ip_catalog xo syn_dcp sysgen rtl}  package.output.syn {true false}
}

proc check_value {key value} {
  set kind [dict get $::keys $key]
  switch $kind {
    word - clock {
      if {$kind eq "clock" && ![regexp {^[0-9.]+ns$} $value]} { error "clock: $value" }
      if {![regexp {^\S+$} $value]} { error "$key: must be a word, not '$value'" }
    }
    file { must_be_file $key $value }
    files { foreach path $value { must_be_file $key $path } }
    flags {
      foreach flag $value {
        if {[string match -I* $flag]} {
          if {![file isdirectory [string range $flag 2 end]]} { error "$key: no folder: $flag" }
        } elseif {$flag ni {-std=c++14 -DHAS_AP_INT=1}} {
          error "$key: unknown flag $flag"
        }
      }
    }
    default { if {$value ni $kind} { error "$key: must be one of $kind, not $value" } }
  }
}

proc configuration {path} {
  set section ""
  set found [dict create]
  foreach line [split [string trim [content $path]] "\n"] {
    if {$line eq ""} { continue }
    if {[regexp {^\[(\w+)\]$} $line -> section]} {
      if {$section ne "hls"} { error "$path: unknown section $section" }
      continue
    }
    if {![regexp {^([\w.]+)=(.*)$} $line -> key value]} { error "$path: $line" }
    if {![dict exists $::keys $key] || ($key eq "part") != ($section eq "")} {
      error "$path: unknown key $key in section '$section'"
    }
    check_value $key $value
    dict set found $key $value
  }
  return $found
}

set known {--mode: --config: --work_dir: -c --csim --cosim --package}
if {[catch {
  lassign [options vitis $known $argv] given rest
  set steps [list]
  foreach step {-c --csim --cosim --package} {
    if {[dict exists $given $step]} { lappend steps $step }
  }
  if {[llength $steps] != 1 || [llength $rest]} { error "vitis: one step, not $argv" }
  if {[dict get $given --mode] ne "hls"} { error "vitis: unknown mode" }
  set found [configuration [dict get $given --config]]
  foreach key {part clock syn.top syn.file} {
    if {![dict exists $found $key]} { error "vitis: no $key" }
  }
  set top [dict get $found syn.top]
  if {![regexp "\\m$top\\s*\\(" [content [dict get $found syn.file]]]} {
    error "vitis: no function $top"
  }
  if {$steps eq "--cosim"} {
    must_be_same_types $steps [dict get $found syn.cflags] [dict get $found tb.cflags]
  }
  set work [dict get $given --work_dir]
  set done [file join $work synthesised]
  if {$steps eq "-c"} {
    file mkdir $work
    close [open $done w]
  } elseif {$steps ne "--csim" && ![file isfile $done]} {
    error "vitis: $steps before the synthesis"
  }
  note $steps $top [dict get $found part] [dict get $found clock]
  foreach path [dict get $found csim.argv] { note argument [file tail $path] }
} message]} {
  puts stderr "ERROR: $message"
  exit 1
}
exit 0

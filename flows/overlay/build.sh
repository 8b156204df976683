#!/bin/sh
# Makes has_core.bit and has_core.hwh in deploy/, with Vivado:
#   sh deploy/overlay/build.sh [--free-placement] [--jobs N]
# --free-placement: neither hold the multipliers and memories where placement.xdc has them, nor
# write it. Exit codes: 0 done; 1 Vivado failed, or the clock is not met; 2 usage; 3 no Vivado.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(dirname -- "$(dirname -- "$here")")
vivado=${VIVADO:-vivado}
placement=held
jobs=2
usage() {
  echo "error: $1; usage: sh build.sh [--free-placement] [--jobs N]" >&2
  exit 2
}
while [ $# -gt 0 ]; do
  case $1 in
    --free-placement) placement=free ;;
    --jobs)
      [ $# -gt 1 ] || usage "--jobs must have a number"
      shift
      case $1 in '' | *[!0-9]* | 0*) usage "--jobs must be a number from 1, not '$1'" ;; esac
      jobs=$1
      ;;
    *) usage "there is no option '$1'" ;;
  esac
  shift
done
if ! command -v "$vivado" >/dev/null 2>&1; then
  echo "error: the bitstream is made by Vivado 2020.2 or later, and '$vivado' is not on PATH:" \
    "run '. /tools/Xilinx/Vivado/<version>/settings64.sh' (where it is installed), or set VIVADO;" \
    "or copy this folder, $root, whole, to a machine that has it" >&2
  exit 3
fi
mkdir -p "$root/overlay"
cd "$root/overlay"
exec "$vivado" -mode batch -nojournal -log overlay.log -source "$here/overlay.tcl" \
  -tclargs "$placement" "$jobs"

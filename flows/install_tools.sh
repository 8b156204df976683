#!/bin/sh
# Install Icarus Verilog, yosys and a C++ compiler where they are missing: as root, or through sudo.
# With jemalloc, which comes too where it can, yosys takes a quarter less time; nothing needs it.
set -eu
packages=""
command -v iverilog >/dev/null 2>&1 || packages="$packages iverilog"
command -v yosys >/dev/null 2>&1 || packages="$packages yosys"
command -v g++ >/dev/null 2>&1 || packages="$packages g++"
needed="$packages"
if [ -z "$(ls /usr/lib*/libjemalloc.so.2 /usr/lib/*/libjemalloc.so.2 2>/dev/null)" ]; then
  packages="$packages libjemalloc2"
fi
[ -z "$packages" ] && exit 0
install="apt-get update && apt-get install -y --no-install-recommends$packages"
missing() {
  [ -z "$needed" ] && exit 0
  echo "missing:$needed; $1" >&2
  exit 3
}
command -v apt-get >/dev/null 2>&1 || missing "install them with your system's package manager"
if [ "$(id -u)" = 0 ]; then
  as="env"
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
  as="sudo"
else
  missing "install them with: sudo sh -c '$install'"
fi
$as DEBIAN_FRONTEND=noninteractive sh -c "$install" >/dev/null || [ -z "$needed" ]

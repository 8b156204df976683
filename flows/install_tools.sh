#!/bin/sh
# Install Icarus Verilog, yosys and a C++ compiler where they are missing: as root, or through sudo.
set -eu
packages=""
command -v iverilog >/dev/null 2>&1 || packages="$packages iverilog"
command -v yosys >/dev/null 2>&1 || packages="$packages yosys"
command -v g++ >/dev/null 2>&1 || packages="$packages g++"
[ -z "$packages" ] && exit 0
install="apt-get update && apt-get install -y --no-install-recommends$packages"
if ! command -v apt-get >/dev/null 2>&1; then
  echo "missing:$packages; install them with your system's package manager" >&2
  exit 3
fi
if [ "$(id -u)" = 0 ]; then
  DEBIAN_FRONTEND=noninteractive sh -c "$install" >/dev/null
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
  sudo DEBIAN_FRONTEND=noninteractive sh -c "$install" >/dev/null
else
  echo "missing:$packages; install them with: sudo sh -c '$install'" >&2
  exit 3
fi

#!/bin/sh
# Copies this driver, and the overlay beside it once it is built, to a board.
#
#     sh deploy.sh xilinx@pynq [folder]
#
# The folder, hascodesign by default, lies in the home directory there. Exit codes: 0 done; 1 the
# board could not be reached or written; 2 wrong usage; 3 ssh is missing.
set -eu

usage="usage: sh deploy.sh user@host [folder]"
case ${1-} in -h | --help)
    echo "$usage"
    exit 0
    ;;
esac
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "$usage" >&2
    exit 2
fi
host=$1
folder=${2:-hascodesign}

# these characters mean nothing to a shell, here or there
case $host in
-* | '' | *[!A-Za-z0-9@._-]*)
    echo "host must be letters, digits, @ . _ and -, not starting with -: '$host'" >&2
    exit 2
    ;;
esac
case $folder in
-* | '' | *[!A-Za-z0-9._/-]* | /* | *..*)
    echo "folder must be below the home directory, of letters, digits, . _ / and -: '$folder'" >&2
    exit 2
    ;;
esac
for program in ssh scp; do
    if ! command -v "$program" >/dev/null; then
        echo "deploy.sh needs $program: apt-get install openssh-client" >&2
        exit 3
    fi
done

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
new="$folder/driver.new"

copy() {
    ssh -- "$host" "rm -rf '$new' && mkdir -p '$folder'" || return 1
    scp -q -r -- "$here" "$host:$new" || return 1
    for file in has_core.bit has_core.hwh; do
        if [ -f "$here/../$file" ]; then
            scp -q -- "$here/../$file" "$host:$folder/$file" || return 1
        fi
    done
    # the old driver stays until the new one is whole
    ssh -- "$host" "rm -rf '$folder/driver' && mv '$new' '$folder/driver'" || return 1
}

if ! copy; then
    echo "$host must take the driver into $folder, and did not; the driver there is as it was" >&2
    exit 1
fi
echo "$host:$folder/driver"
if [ ! -f "$here/../has_core.bit" ]; then
    echo "note: there is no $(dirname -- "$here")/has_core.bit yet; build the overlay, then deploy again"
fi

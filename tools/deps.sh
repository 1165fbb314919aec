#!/bin/sh
# deps.sh - installs the Debian packages of a list that are not installed. Needs only sh and dpkg. A name with
# an architecture behind it (libfoo-dev:arm64) makes that architecture known to dpkg first.
#
#   tools/deps.sh [LIST]        (LIST: packages.txt beside this folder)
#
# Says what it does; says and does nothing when nothing is missing. Uses sudo when not root. On a system
# without dpkg it names the list and leaves the installing to the reader.
set -eu

list=${1:-$(dirname "$0")/../packages.txt}
[ -r "$list" ] || { echo "tools/deps.sh: $list: cannot read it" >&2; exit 1; }

wanted=$(sed 's/#.*//' "$list")

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "deps: not a Debian system: please see to it that these are installed:" $wanted >&2
    exit 0
fi

# A package can be installed for several architectures: a name without one means this machine's.
native=$(dpkg --print-architecture)
missing=
for package in $wanted; do
    case $package in
    *:*) architecture=${package#*:} ;;
    *) architecture=$native ;;
    esac
    dpkg-query -W -f '${Architecture} ${Status}\n' "$package" 2>/dev/null |
        grep -qxE "($architecture|all) install ok installed" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || {
        echo "deps: missing packages:$missing" >&2
        echo "deps: neither root nor sudo here; as root: apt-get install$missing" >&2
        exit 1
    }
    as_root=sudo
fi

echo "deps: installing the missing Debian packages:$missing"
for architecture in $(printf '%s\n' $missing | sed -n 's/.*://p' | sort -u); do
    dpkg --print-foreign-architectures | grep -qx "$architecture" && continue
    echo "deps: adding the architecture $architecture to those that dpkg knows"
    $as_root dpkg --add-architecture "$architecture"
done
# env: sudo drops the caller's environment.
install="$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# A fresh machine has no package lists yet, an old one has stale ones: then the lists are read anew.
if ! $install $missing >"$log" 2>&1; then
    echo "deps: reading the package lists first"
    $as_root apt-get update >"$log" 2>&1 && $install $missing >"$log" 2>&1 || {
        cat "$log" >&2
        echo "deps: apt-get could not install:$missing" >&2
        exit 1
    }
fi
echo "deps: done"

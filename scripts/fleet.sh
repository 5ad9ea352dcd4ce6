#!/bin/sh
# A fleet on loopback: three members of etcd and many instances (50), with live checksummed connections. Prints
# how long pushes, revocations and faults take, and what was lost, which is to be nothing.
#
#   scripts/fleet.sh [INSTANCES] [PUSHES]
#
# RESEAL is the program, target/release/reseal unless it is set.
set -eu
cd "$(dirname "$0")/.."
RESEAL=${RESEAL:-$PWD/target/release/reseal}
[ -x "$RESEAL" ] || { echo "build it: cargo build --release --locked"; exit 1; }
command -v etcd >/dev/null || { echo "etcd is missing: apt-get install etcd-server"; exit 1; }
exec python3 scripts/fleet.py "$RESEAL" "${1:-50}" "${2:-60}"

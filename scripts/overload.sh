#!/usr/bin/env bash
# Overloads Reseal on loopback and prints a table of promises; fails where one is broken. Less than 10 minutes after
# the build, and at most 17 000 connections.
#
#   scripts/overload.sh [refusals] [stalled] [flood] [readers] [descriptors] [panics] [chaos] [names] [log]
#
#   SIZE=1   multiplies every number of clients; 0.01 is over in a minute
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# Only a build with debug assertions can be asked to panic.
cargo build --locked
export RESEAL_WITH_PANICS="$PWD/target/debug/reseal"
exec cargo bench --locked --bench load -- overload "$@"

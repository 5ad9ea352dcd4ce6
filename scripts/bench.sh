#!/usr/bin/env bash
# What Reseal costs beside HAProxy and nginx, for the same work on this machine: CPU of the proxy for
# each new connection, GiB and ping-pong, and memory of an idle connection. Takes some minutes, uses
# loopback only. Peers that are not installed are left out (Debian: haproxy, nginx-light and
# libnginx-mod-stream). Prints a table and draws a plot.
#
#   ROUNDS=3        how often each proxy takes its turn
#   SIZE_MIB=1024   the length of the streams, together
#   CONNECTIONS=3000, IDLE=2000
#   PLOT=FILE.svg   where the plot goes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec cargo bench --locked --bench load

#!/usr/bin/env bash
# Compares Reseal with HAProxy and nginx for the same work on this machine: CPU of the proxy for each new
# connection, GiB and ping-pong, and memory of an idle connection. Takes some minutes, uses loopback only.
# Proxies that are not installed are left out (Debian: haproxy, nginx-light and
# libnginx-mod-stream). Prints a table and draws a plot.
#
#   ROUNDS=3        rounds, in each of which every proxy takes a turn
#   SIZE_MIB=1024   total length of the streams
#   CONNECTIONS=3000, IDLE=2000
#   CERTIFICATES=2000  of which one is renewed; `scripts/bench.sh renewal` measures nothing else
#   PLOT=FILE.svg   file of the plot
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec cargo bench --locked --bench load -- "$@"

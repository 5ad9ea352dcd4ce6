#!/usr/bin/env bash
# Compares Reseal with HAProxy and nginx for the same work on this machine: CPU of the proxy for each new
# connection, GiB and ping-pong, and memory of an idle connection. Takes less than 10 minutes after the build, uses
# loopback only. Proxies that are not installed are left out (Debian: haproxy, nginx-light and
# libnginx-mod-stream). Prints a table with the ratio to the best peer in each row, and draws a plot.
#
#   scripts/bench.sh growth [routes] [pools] [idle] [workers] [log]
#                    how the cost grows with routes and certificates, origins of a pool, idle connections, workers and
#                    an access log (all of them: 10 minutes)
#   scripts/bench.sh mixture   latencies beside bulk streams, handshakes, reloads and scrapes
#   scripts/bench.sh renewal   what the renewal of one certificate among CERTIFICATES=2000 costs
#
#   ROUNDS=3        rounds, in each of which every proxy takes a turn
#   SIZE_MIB=1024   total length of the streams
#   CONNECTIONS=3000, IDLE=2000
#   PLOT=FILE.svg   file of the plot
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec cargo bench --locked --bench load -- "$@"

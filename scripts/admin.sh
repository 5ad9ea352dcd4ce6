#!/usr/bin/env bash
# Measures the admin listener and the dashboard on loopback, prints a table, and fails where a promise is broken: what an
# open page costs beside as many connections as the limit on open files allows (15 000 at most), how it behaves in
# Chromium (where scripts/test.sh has installed it), a relay beside an attack on the listener, and the times of refused
# tokens. Five minutes after the build.
#
#   scripts/admin.sh [live] [attack] [tokens]
#
#   SIZE=1           multiplies every number of clients; 0.01 is over in two minutes
#   RESEAL=PROGRAM   measures this program, in place of the one that is built
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec cargo bench --locked --bench load -- admin "$@"

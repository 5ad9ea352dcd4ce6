#!/usr/bin/env bash
# The long form of the reload tests: 1 000 reloads (half of them broken) under 200 live connections and
# 200 new ones a second, 1 000 rotations of a certificate in every way that files are replaced, and
# 10 000 SIGHUPs. Some minutes, on loopback only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export RESEAL_RELOADS=1000 RESEAL_LIVE=200
export RESEAL_ROTATIONS=500
export RESEAL_HANGUPS=10000
export RESEAL_TEST_SECONDS=900

cargo test --release --locked --test it -- --nocapture --test-threads 1 \
    reloads_under_load never_served_however_it_is_written swap_of_symbolic_links many_hangups \
    while_draining_changes_nothing

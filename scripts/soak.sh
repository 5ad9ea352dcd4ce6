#!/usr/bin/env bash
# The long form of what the tests do briefly: 1 GiB each way through every mode at once, hashes equal,
# and 10 000 connections through each mode that leave nothing behind. A few minutes, on loopback only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export RESEAL_STREAM_BYTES=$((1 << 30))
export RESEAL_BYTES=$((256 << 20))
export RESEAL_SOAK=10000

cargo test --release --locked --test it -- --nocapture --test-threads 1 \
    every_mode_at_once large_bodies leaves_nothing_behind leave_nothing_behind

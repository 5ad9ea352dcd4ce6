#!/usr/bin/env bash
# The long form of two tests: 1 GiB each way through every mode at once, with equal hashes, and 10 000
# connections through each mode without a leak. A few minutes, on loopback only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export RESEAL_STREAM_BYTES=$((1 << 30))
export RESEAL_BYTES=$((256 << 20))
export RESEAL_SOAK=10000

cargo test --release --locked --test it -- --nocapture --test-threads 1 \
    every_mode_at_once large_bodies leaves_nothing_behind leave_nothing_behind

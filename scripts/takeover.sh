#!/usr/bin/env bash
# Upgrades without a refused connection, at full size: 20 takeovers under 500 new connections a second and 200 long
# transfers, a half of each by a unix socket, every byte compared; then new programs that fail, hang, are silent or
# have a refused configuration, which change nothing. Some minutes, on loopback only. The suite has the small form.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export RESEAL_TAKEOVERS=20 RESEAL_NEW_CONNECTIONS=500 RESEAL_TRANSFERS=200
export RESEAL_TEST_SECONDS=600

cargo test --release --locked --test it -- --nocapture --test-threads 1 --include-ignored reload::takeover

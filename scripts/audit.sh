#!/usr/bin/env bash
# Checks the dependencies against the RustSec advisory database, from a local copy of it.
# The copy is a git clone: $RESEAL_ADVISORY_DB, else ~/.cargo/advisory-db, else the one that cargo-deny
# fetched before (~/.cargo/advisory-dbs/advisory-db-*).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! cargo deny --version >/dev/null 2>&1; then
    echo 'audit: cargo-deny is not installed: cargo install --locked cargo-deny' >&2
    exit 2
fi

cargo_home=${CARGO_HOME:-$HOME/.cargo}
database=
if [[ -n ${RESEAL_ADVISORY_DB:-} ]]; then
    candidates=("$RESEAL_ADVISORY_DB")
else
    candidates=("$cargo_home"/advisory-db "$cargo_home"/advisory-dbs/advisory-db-*)
fi
for candidate in "${candidates[@]}"; do
    if [[ -d $candidate/crates ]]; then
        database=$(cd "$candidate" && pwd)
        break
    fi
done
if [[ -z $database ]]; then
    echo "audit: no copy of the advisory database, nothing was checked. Searched:" >&2
    printf '  %s\n' "${candidates[@]}" >&2
    echo 'Clone RustSec/advisory-db and name the clone: RESEAL_ADVISORY_DB=DIR scripts/audit.sh' >&2
    exit 2
fi

# cargo-deny expects a directory of databases, each with a name derived from its URL. This is the name of
# the default one.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/databases"
ln -s "$database" "$work/databases/advisory-db-3157b0e258782691"
sed "s|^\[advisories\]\$|&\ndb-path = \"$work/databases\"|" deny.toml >"$work/deny.toml"

echo "audit: with $database, last changed $(git -C "$database" log -1 --format=%cs)"
cargo deny --offline --config "$work/deny.toml" check advisories

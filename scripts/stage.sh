#!/usr/bin/env bash
# Has the program write what packages hold beside it: man pages, completions, the schema, and a list of all
# libraries in it (SBOM, CycloneDX).
# usage: scripts/stage.sh PROGRAM DIRECTORY
set -euo pipefail
program=$(realpath "$1")
mkdir -p "$2"
directory=$(realpath "$2")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

"$program" man --out "$directory/man"
for shell in bash zsh fish; do
    "$program" completions "$shell" >"$directory/reseal.$shell"
done
"$program" schema >"$directory/reseal.schema.json"
host=$(rustc -vV | sed -n 's/^host: //p')
cargo metadata --format-version 1 --locked --filter-platform "$host" |
    python3 scripts/sbom.py <(cargo tree --locked --target "$host" --edges normal,no-proc-macro \
        --prefix none --format '{p}') >"$directory/reseal.cdx.json"

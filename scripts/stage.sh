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
cargo metadata --format-version 1 --locked --filter-platform "$(rustc -vV | sed -n 's/^host: //p')" |
    python3 scripts/sbom.py >"$directory/reseal.cdx.json"

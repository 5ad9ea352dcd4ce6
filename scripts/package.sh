#!/usr/bin/env bash
# Builds the Debian package into target/package, with the symbols in a package of their own.
# usage: scripts/package.sh [--profile PROFILE] [--no-build] [--out DIRECTORY] [-- ARGUMENTS OF cargo deb]
# Needs cargo-deb: cargo install --locked cargo-deb
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

profile=release build=yes out=target/package
while (($# > 0)); do
    case $1 in
    --profile) profile=$2 && shift ;;
    --no-build) build=no ;;
    --out) out=$2 && shift ;;
    --) shift && break ;;
    *) echo "unknown argument: $1" >&2 && exit 2 ;;
    esac
    shift
done
target=${CARGO_TARGET_DIR:-target}
directory=$profile
[[ $profile != dev ]] || directory=debug
export PATH=$PATH:$PWD/target/tools/bin

if ! command -v cargo-deb >/dev/null; then
    echo 'cargo-deb is not installed: cargo install --locked --root target/tools cargo-deb' >&2
    exit 1
fi
# With cargo-auditable, the program holds the list of its crates, too.
[[ $build == no ]] || if cargo auditable --version >/dev/null 2>&1; then
    cargo auditable build --locked --profile "$profile"
else
    cargo build --locked --profile "$profile"
fi
scripts/stage.sh "$target/$directory/reseal" target/package/files
cargo deb --locked --no-build --profile "$profile" --output "$out/" "$@"

#!/usr/bin/env bash
# Makes the tree of the container image in target/package/image: the program and the libraries that it is linked
# with, from this machine. Builds the image, too, where podman or buildah is installed.
# usage: scripts/image.sh [--profile PROFILE] [--no-build] [--tree DIRECTORY] [--only-tree]
# With --tree, the tree is made in that directory, which must not exist.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

profile=release build=yes image=target/package/image is_own=no only_tree=no
while (($# > 0)); do
    case $1 in
    --profile) profile=$2 && shift ;;
    --no-build) build=no ;;
    --tree) image=$2 is_own=yes && shift ;;
    --only-tree) only_tree=yes ;;
    *) echo "unknown argument: $1" >&2 && exit 2 ;;
    esac
    shift
done
directory=$profile
[[ $profile != dev ]] || directory=debug
program=${CARGO_TARGET_DIR:-target}/$directory/reseal
[[ $build == no ]] || cargo build --locked --profile "$profile"

if [[ $is_own == no ]]; then
    rm -rf "$image"
elif [[ -e $image ]]; then
    echo "$image exists already" >&2
    exit 1
fi
install -D -m 0755 "$program" "$image/usr/bin/reseal"
strip --strip-debug "$image/usr/bin/reseal"
# Each library, at the path where the loader looks for it. A static program has none.
{ ldd "$program" || true; } | grep -o '/[^ ]*' | while read -r library; do
    install -D -m 0755 "$(realpath "$library")" "$image$library"
done
# glibc reads these. The user has the number that distroless images use.
install -d -m 0755 "$image/etc/reseal"
echo 'reseal:x:65532:65532::/nonexistent:/sbin/nologin' >"$image/etc/passwd"
echo 'reseal:x:65532:' >"$image/etc/group"
echo 'hosts: files dns' >"$image/etc/nsswitch.conf"
# The public CAs, for `ca: system`; `webpki` is built in.
if [[ -e /etc/ssl/certs/ca-certificates.crt ]]; then
    install -D -m 0644 "$(realpath /etc/ssl/certs/ca-certificates.crt)" "$image/etc/ssl/certs/ca-certificates.crt"
fi
install -m 0644 packaging/debian/config.yaml "$image/etc/reseal/config.yaml"
# For the admin socket of any user that the container runs as: a copied directory belongs to root.
install -d -m 1777 "$image/run/reseal"
du -sh "$image"

[[ $only_tree == no ]] || exit 0
file=packaging/container/Containerfile
# The format of OCI has no health check. Nothing is run in the image, so that no runtime is needed.
for builder in podman buildah; do
    if command -v "$builder" >/dev/null; then
        "$builder" build --network none --format docker --tag reseal --file "$file" "$image"
        exit
    fi
done
echo "to build the image: podman build --format docker --tag reseal --file $file $image"

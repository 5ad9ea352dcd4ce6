#!/usr/bin/env bash
# Scans Reseal with testssl.sh, sslscan (Debian) and sslyze (PyPI, into target/scan): the defaults against
# Mozilla's intermediate profile, `min_version: 1.3` against the modern one. Fails on a finding of medium
# severity or above, except those about the private CA, which are listed here. Some minutes, on loopback
# only.
#
#   RESEAL=FILE     the program to scan; built for debugging when not given
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Findings about the private CA: it is not trusted, has no revocation service, and is in no transparency
# log. They are not about Reseal.
private_ca='cert_chain_of_trust|cert_caIssuers|cert_revocation|cert_crlDistributionPoints|cert_ocspURL|OCSP_stapling|certificate_transparency|DNS_CAArecord|cert_trust|cert_mustStapleExtension'
private_path='certificate_path_validation:'

for program in testssl sslscan python3 openssl; do
    command -v "$program" >/dev/null || {
        echo "scan: \`$program\` is not installed: apt-get install testssl.sh sslscan python3-venv" >&2
        exit 2
    }
done
sslyze=target/scan/bin/sslyze
if [[ ! -x $sslyze ]]; then
    python3 -m venv target/scan
    target/scan/bin/pip install --quiet sslyze
fi
if [[ -z ${RESEAL:-} ]]; then
    cargo build --locked --quiet
    RESEAL=${CARGO_TARGET_DIR:-target}/debug/reseal
fi

work=$(mktemp -d)
started=()
trap 'kill "${started[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT

# A certificate of the development CA, valid no longer than the modern profile allows.
"$RESEAL" certs --out "$work/certs" localhost >/dev/null
openssl req -new -key "$work/certs/localhost.key" -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -addext extendedKeyUsage=serverAuth \
    -addext keyUsage=critical,digitalSignature -out "$work/request.pem"
openssl x509 -req -in "$work/request.pem" -copy_extensions copy -days 80 -CA "$work/certs/ca.pem" \
    -CAkey "$work/certs/ca.key" -out "$work/certs/localhost.pem" 2>/dev/null
mkdir "$work/served"
echo served >"$work/served/index.html"
python3 -u -m http.server --bind 127.0.0.1 --directory "$work/served" 0 >"$work/origin.log" 2>&1 &
started+=($!)

# Waits until a line of the file matches, and prints the part in parentheses.
wait_for() {
    local found=
    for _ in $(seq 100); do
        found=$(sed -nE "s/$2/\\1/p" "$1" | head -n 1)
        [[ -n $found ]] && break
        sleep 0.1
    done
    [[ -n $found ]] || { echo "scan: nothing like $2 in:" >&2; cat "$1" >&2; exit 2; }
    echo "$found"
}
origin=$(wait_for "$work/origin.log" '.*127\.0\.0\.1 port ([0-9]+).*')

endpoint() {
    cat <<YAML
  - name: $1
    listen: 127.0.0.1:0
    tls:
      min_version: $2
      certificates: [{ cert: certs/localhost.pem, key: certs/localhost.key }]
    routes: [{ name: web, mode: terminate, upstream: web, match: { sni: localhost } }]
YAML
}
{
    echo 'log: { format: logfmt }'
    echo 'access_log: { output: none }'
    echo 'endpoints:'
    endpoint intermediate 1.2
    endpoint modern 1.3
    echo "upstreams: { web: { origins: [\"127.0.0.1:$origin\"] } }"
} >"$work/config.yaml"
"$RESEAL" run --config "$work/config.yaml" 2>"$work/reseal.log" &
started+=($!)

failed=0
verdict() {
    if [[ $1 == good ]]; then
        printf 'good  %s\n' "$2"
    else
        printf 'BAD   %s\n' "$2"
        failed=1
    fi
}

for profile in intermediate modern; do
    port=$(wait_for "$work/reseal.log" ".*endpoint=\"?$profile\"?.*address=\"?127\\.0\\.0\\.1:([0-9]+).*")
    place=localhost:$port
    printf '\n==> %s, %s\n' "$profile" "$place"

    # Its exit code counts findings of every kind, so read the findings themselves.
    testssl --quiet --color 0 --warnings off --ip 127.0.0.1 -p -s -f -P -S -U \
        --jsonfile "$work/$profile.json" "$place" >"$work/$profile.testssl" 2>&1 || true
    findings=$(python3 - "$work/$profile.json" "$private_ca" <<'PYTHON'
import json, re, sys
found = json.load(open(sys.argv[1]))
assert len(found) > 40, f"only {len(found)} findings: the scan did not run"
bad = [f for f in found if f["severity"] in ("MEDIUM", "HIGH", "CRITICAL", "FATAL")]
for f in bad:
    own = re.match(rf"({sys.argv[2]})\b", f["id"])
    print("private" if own else "BAD", f["severity"], f["id"], f["finding"], sep=" | ")
print(f"count | {len(found)}")
PYTHON
)
    grep '^private' <<<"$findings" || true
    if grep -q '^BAD' <<<"$findings"; then
        grep '^BAD' <<<"$findings"
        verdict bad "testssl.sh, $profile"
    else
        verdict good "testssl.sh, $profile: $(sed -n 's/^count | //p' <<<"$findings") findings, none of medium or above except about the private CA"
    fi

    sslscan --no-colour --sni-name=localhost "127.0.0.1:$port" >"$work/$profile.sslscan"
    weak='(SSLv2|SSLv3|TLSv1\.0|TLSv1\.1) +enabled|vulnerable to heartbleed|Insecure|Compression enabled|(Accepted|Preferred).*(CBC|RC4|DES|NULL|EXP|MD5|-SHA )'
    [[ $profile == modern ]] && weak="$weak|TLSv1\\.2 +enabled"
    if grep -E "$weak" "$work/$profile.sslscan" | grep -v 'not vulnerable'; then
        verdict bad "sslscan, $profile"
    elif ! grep -qE 'TLSv1\.3 +enabled' "$work/$profile.sslscan"; then
        cat "$work/$profile.sslscan"
        verdict bad "sslscan, $profile: TLS 1.3 is not seen"
    else
        verdict good "sslscan, $profile: $(grep -cE '^(Accepted|Preferred)' "$work/$profile.sslscan") suites, none weak"
    fi

    "$sslyze" --mozilla_config="$profile" --sni=localhost "127.0.0.1:$port" >"$work/$profile.sslyze" 2>&1 || true
    compliance=$(sed -n '/COMPLIANCE AGAINST/,$p' "$work/$profile.sslyze")
    grep -E "^ +\* $private_path" <<<"$compliance" | sed 's/^ *\*/private |/' || true
    if ! grep -q 'Checking results against' <<<"$compliance"; then
        cat "$work/$profile.sslyze"
        verdict bad "sslyze, $profile: it did not finish"
    elif grep -E '^ +\* ' <<<"$compliance" | grep -vE "^ +\* $private_path"; then
        verdict bad "sslyze, $profile"
    else
        verdict good "sslyze, $profile: compliant except for the private CA"
    fi
done
exit "$failed"

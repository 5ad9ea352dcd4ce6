#!/usr/bin/env python3
"""What a query of PostgreSQL costs Reseal: clients that ask for TLS, beside clients that begin with TLS at once.

usage: scripts/pgbench.py [--rounds N] [--seconds N] [PROGRAM]

pgbench runs `SELECT 1` through one Reseal after the other, for some seconds each, in turn and back, on loopback. The CPU
time is that of the Reseal process by the kernel's scheduler, for each query. Prints the medians and their ratios, and
fails if one with `negotiate` costs more than 3 % above its counterpart.

It needs target/postgresql, which scripts/test.sh installs, and pgbench of Debian (postgresql-client).
"""

import argparse
import glob
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
POSTGRESQL = ROOT / "target/postgresql"
LIMIT = 1.03

TLS = """    tls:
      certificates: [{ cert: certs/localhost.pem, key: certs/localhost.key }]
      alpn: [postgresql]
"""
ORIGIN = "ca: certs/ca.pem, server_name: localhost"
# The clients' negotiation, the endpoint's keys, the mode, and the upstream's TLS.
VARIANTS = {
    "forward": ("direct", "    protocol: tcp\n", "forward", None),
    "passthrough": ("postgres", "    negotiate: postgres\n", "passthrough", f"{{ {ORIGIN}, negotiate: postgres }}"),
    "terminate at once": ("direct", TLS, "terminate", None),
    "terminate": ("postgres", "    negotiate: postgres\n" + TLS, "terminate", None),
    "reencrypt at once": ("direct", TLS, "reencrypt", f"{{ {ORIGIN}, alpn: [postgresql] }}"),
    "reencrypt": ("postgres", "    negotiate: postgres\n" + TLS, "reencrypt", f"{{ {ORIGIN}, negotiate: postgres }}"),
}
PAIRS = [("passthrough", "forward"), ("terminate", "terminate at once"), ("reencrypt", "reencrypt at once")]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for(port):
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                sys.exit(f"nothing listens on port {port}")
            time.sleep(0.05)


def as_postgres(*words):
    """PostgreSQL refuses to run as root."""
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    return user + list(map(str, words))


def start_postgresql(directory):
    data = directory / "data"
    data.mkdir()
    for name in ("localhost.pem", "localhost.key"):
        (data / name).write_bytes((directory / "certs" / name).read_bytes())
        (data / name).chmod(0o600)
    cluster = data / "cluster"
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "postgres", data], check=True)
    initdb = [POSTGRESQL / "bin/initdb", "--auth", "trust", "--username", "tester", "--no-sync", "-D", cluster]
    subprocess.run(as_postgres(*initdb), check=True, stdout=subprocess.DEVNULL, cwd=data)
    port = free_port()
    settings = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": data,
        "fsync": "off",
        "ssl": "on",
        "ssl_cert_file": data / "localhost.pem",
        "ssl_key_file": data / "localhost.key",
    }
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    server = [POSTGRESQL / "bin/postgres", "-D", cluster, "-p", port, *words]
    process = subprocess.Popen(as_postgres(*server), stderr=subprocess.DEVNULL, cwd=data)
    wait_for(port)
    return process, port


class Reseal:
    """A process with one endpoint."""

    def __init__(self, program, directory, name, origin):
        self.negotiation, keys, mode, tls = VARIANTS[name]
        self.port = free_port()
        match = "" if mode == "forward" else "match: { sni: localhost }, "
        text = (
            "process: { workers: 1 }\naccess_log: { output: none }\nendpoints:\n"
            f"  - name: edge\n    listen: 127.0.0.1:{self.port}\n{keys}"
            f"    routes: [{{ name: r, {match}mode: {mode}, upstream: u }}]\n"
            f"upstreams:\n  u:\n    origins: [127.0.0.1:{origin}]\n" + (f"    tls: {tls}\n" if tls else "")
        )
        config = directory / f"{self.port}.yaml"
        config.write_text(text)
        self.process = subprocess.Popen([program, "run", config], stderr=(directory / f"{self.port}.log").open("w"))
        wait_for(self.port)
        self.trust = directory / "certs/ca.pem"
        self.costs = []

    def cpu(self):
        """Nanoseconds on a processor so far."""
        threads = glob.glob(f"/proc/{self.process.pid}/task/*/schedstat")
        return sum(int(pathlib.Path(thread).read_text().split()[0]) for thread in threads)

    def run(self, script, seconds):
        to = (
            f"host=localhost hostaddr=127.0.0.1 port={self.port} user=tester dbname=postgres sslmode=verify-full "
            f"sslrootcert={self.trust} sslnegotiation={self.negotiation}"
        )
        before = self.cpu()
        words = ["pgbench", "-n", "-f", script, "-c", "4", "-j", "1", "-T", str(seconds), to]
        environment = dict(os.environ, LD_LIBRARY_PATH=str(POSTGRESQL / "lib"))
        finished = subprocess.run(words, capture_output=True, text=True, env=environment)
        count = re.search(r"actually processed: (\d+)", finished.stdout)
        if finished.returncode or not count:
            sys.exit(finished.stdout + finished.stderr)
        self.costs.append((self.cpu() - before) / int(count[1]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("program", nargs="?", default=ROOT / "target/release/reseal")
    options = parser.parse_args()
    program = pathlib.Path(options.program).resolve()
    if not (POSTGRESQL / "bin/postgres").exists():
        sys.exit("target/postgresql is missing: scripts/test.sh installs it")
    children = []
    with tempfile.TemporaryDirectory(prefix="reseal-pgbench-") as directory:
        directory = pathlib.Path(directory)
        directory.chmod(0o755)
        certificates = [program, "certs", "--out", directory / "certs", "localhost"]
        subprocess.run(certificates, check=True, stdout=subprocess.DEVNULL)
        script = directory / "query.sql"
        script.write_text("SELECT 1;\n")
        try:
            server, origin = start_postgresql(directory)
            children.append(server)
            proxies = {}
            for name in VARIANTS:
                proxies[name] = Reseal(program, directory, name, origin)
                children.append(proxies[name].process)
            order = list(proxies.values())
            for number in range(options.rounds):
                for proxy in order if number % 2 == 0 else reversed(order):
                    proxy.run(script, options.seconds)
        finally:
            for child in reversed(children):
                child.send_signal(signal.SIGINT)
                child.wait()
    failed = False
    for name, proxy in proxies.items():
        print(f"{name:20} {statistics.median(proxy.costs) / 1000:7.2f} us of CPU for each query")
    for asks, at_once in PAIRS:
        rounds = zip(proxies[asks].costs, proxies[at_once].costs)
        ratio = statistics.median(own / other for own, other in rounds)
        failed |= ratio > LIMIT
        print(f"{asks} to {at_once}: {ratio:.3f}")
    sys.exit(failed)


if __name__ == "__main__":
    main()

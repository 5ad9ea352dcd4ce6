"""What scripts/fleet.sh runs."""

import hashlib
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime

RESEAL, COUNT, PUSHES = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ROOT = tempfile.mkdtemp(prefix="reseal-fleet-")
PROCESSES = []


def start(arguments, log):
    with open(os.path.join(ROOT, log), "ab") as out:
        process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=out)
    PROCESSES.append(process)
    return process


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fleet(*arguments, must=True):
    done = subprocess.run([RESEAL, "fleet", *arguments], cwd=ROOT, capture_output=True, text=True)
    if must and done.returncode != 0:
        sys.exit(f"fleet {arguments}: {done.stdout}{done.stderr}")
    return done


def status():
    return json.loads(fleet("status", "--json").stdout)


def until(what, holds, limit=60):
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > limit:
            sys.exit(f"{what}: not within {limit} s")
        time.sleep(0.1)
    return time.monotonic() - begun


def figure(name, value):
    print(f"{name:<66} {value}", flush=True)


class Cluster:
    def __init__(self):
        ports = [(free_port(), free_port()) for _ in range(3)]
        self.urls = [f"http://127.0.0.1:{client}" for client, _ in ports]
        everyone = ",".join(f"m{n}=http://127.0.0.1:{peer}" for n, (_, peer) in enumerate(ports))
        self.commands = []
        for n, (client, peer) in enumerate(ports):
            url, own = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
            self.commands.append([
                "etcd", "--name", f"m{n}", "--data-dir", f"m{n}", "--initial-cluster", everyone,
                "--listen-client-urls", url, "--advertise-client-urls", url,
                "--listen-peer-urls", own, "--initial-advertise-peer-urls", own,
            ])
        self.members = [start(command, "etcd.log") for command in self.commands]
        until("a leader", lambda: self.leader() is not None)

    def leader(self):
        for n, url in enumerate(self.urls):
            ask = ["curl", "-s", "-m", "1", "-d", "{}", f"{url}/v3/maintenance/status"]
            said = subprocess.run(ask, capture_output=True, text=True).stdout
            try:
                said = json.loads(said)
            except ValueError:
                continue
            if said.get("leader") and said["leader"] == said["header"]["member_id"]:
                return n
        return None

    def restart(self, n):
        self.members[n] = start(self.commands[n], "etcd.log")


def local(cluster, name):
    urls = ", ".join(f'"{url}"' for url in cluster.urls)
    return (
        "process: { workers: 1 }\naccess_log: { output: none }\n"
        f"fleet:\n  etcd: {{ endpoints: [{urls}] }}\n  instance: {name}\n  cache: {name}/cache\n"
        "  seal_key: fleet.key\n"
    )


def document(ports_taken=None, note=0):
    listen = ports_taken or "127.0.0.1:0"
    return (
        f"x-note: {note}\nendpoints:\n  - name: edge\n    listen: {listen}\n"
        "    tls: { certificates: [{ cert: certs/a.test.pem, key: certs/a.test.key }] }\n"
        "    routes:\n      - { name: all, match: { sni: a.test }, mode: terminate, upstream: echo,\n"
        "          client_auth: { mode: optional, ca: certs/ca.pem } }\n"
        f"upstreams:\n  echo: {{ origins: [\"127.0.0.1:{ECHO}\"] }}\n"
    )


def write(name, text):
    with open(os.path.join(ROOT, name), "w") as out:
        out.write(text)


def echo_server():
    server = socket.create_server(("127.0.0.1", 0), backlog=512)

    def serve(client):
        with client:
            while data := client.recv(65536):
                client.sendall(data)

    def accept():
        while True:
            client, _ = server.accept()
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return server.getsockname()[1]


def ports():
    """The port of each instance, by what its log says last."""
    found = {}
    for n in range(COUNT):
        with open(os.path.join(ROOT, f"edge-{n}.log")) as log:
            for line in log:
                if "listening" in line and "endpoint=edge" in line:
                    found[n] = int(line.rsplit(":", 1)[1].split()[0].strip('"'))
    return found


def connect(port, certificate=None):
    context = ssl.create_default_context(cafile=os.path.join(ROOT, "certs/ca.pem"))
    if certificate:
        context.load_cert_chain(*(os.path.join(ROOT, f"certs/{certificate}.{end}") for end in ("pem", "key")))
    raw = socket.create_connection(("127.0.0.1", port))
    stream = context.wrap_socket(raw, server_hostname="a.test")
    stream.sendall(b"x")
    assert stream.recv(1) == b"x"
    return stream


class Traffic:
    """A connection to each instance that goes on, each block compared by its digest."""

    def __init__(self, streams):
        self.lost, self.blocks, self.is_over = [], 0, False
        self.threads = [threading.Thread(target=self.run, args=(n, s)) for n, s in enumerate(streams)]
        for thread in self.threads:
            thread.start()

    def run(self, n, stream):
        try:
            while not self.is_over:
                block = random.randbytes(4096)
                stream.sendall(block)
                got = b""
                while len(got) < len(block):
                    part = stream.recv(65536)
                    if not part:
                        raise OSError("it has ended")
                    got += part
                if hashlib.sha256(got).digest() != hashlib.sha256(block).digest():
                    raise OSError("bytes differ")
                self.blocks += 1
                time.sleep(0.2)
        except OSError as error:
            self.lost.append((n, str(error)))

    def end(self):
        self.is_over = True
        for thread in self.threads:
            thread.join()


def push_and_wait(text):
    write("document.yaml", text)
    begun = time.time()
    moved = fleet("push", "document.yaml").stdout.split(":")[0]
    pushed = time.time()
    until("all have answered", lambda: all(i["state"] in ("serving", "refused") for i in status()))
    rows = status()
    when = [datetime.fromisoformat(i["since"].replace("Z", "+00:00")).timestamp() for i in rows]
    times = sorted(w - begun for i, w in zip(rows, when) if i["generation"] == moved)
    return rows, times, pushed - begun


def quantile(times, share):
    return f"{times[min(len(times) - 1, int(len(times) * share))] * 1000:.0f} ms"


def main():
    cluster = Cluster()
    figure("etcd", subprocess.run(["etcd", "--version"], capture_output=True, text=True).stdout.splitlines()[0])
    with open(os.path.join(ROOT, "fleet.key"), "wb") as key:
        key.write(os.urandom(32))
    os.chmod(os.path.join(ROOT, "fleet.key"), 0o600)
    subprocess.run([RESEAL, "certs", "--out", "certs", "a.test"], cwd=ROOT, check=True, capture_output=True)
    write("config.yaml", local(cluster, "operator"))
    for n in range(COUNT):
        os.makedirs(os.path.join(ROOT, f"edge-{n}"))
        write(f"edge-{n}.yaml", local(cluster, f"edge-{n}"))
        start([RESEAL, "run", "--config", f"edge-{n}.yaml"], f"edge-{n}.log")
    until("all are there", lambda: len(status()) == COUNT)
    figure("instances", COUNT)
    _, times, took = push_and_wait(document())
    figure("a push: the command itself", f"{took * 1000:.0f} ms")
    figure("from the command's begin to an instance that serves: p50", quantile(times, 0.5))
    figure("the same: p99", quantile(times, 0.99))
    until("all listen", lambda: len(ports()) == COUNT)
    streams = [connect(port) for port in ports().values()]
    traffic = Traffic(streams)
    taken = socket.create_server(("127.0.0.1", 0))
    bad = f"127.0.0.1:{taken.getsockname()[1]}"
    all_times, told = [], 0
    for n in range(PUSHES):
        is_bad = n % 3 == 2
        rows, times, _ = push_and_wait(document(bad if is_bad else None, n))
        if is_bad:
            assert all(i["state"] == "refused" and i["reason"] for i in rows), rows
            told += len(rows)
        all_times += times
    figure(f"{PUSHES} pushes, a third refused: p50 of the good ones", quantile(sorted(all_times), 0.5))
    figure("the same: p99", quantile(sorted(all_times), 0.99))
    figure("refusals that were told with a reason", f"{told} of {PUSHES // 3 * COUNT}")
    push_and_wait(document(None, -1))

    leader = cluster.leader()
    cluster.members[leader].kill()
    took = until("a push without the leader", lambda: fleet("push", "document.yaml", must=False).returncode == 0)
    took += until("all serve", lambda: all(i["state"] == "serving" for i in status()))
    figure("leader killed: until a new push is served by all", f"{took:.1f} s")
    cluster.restart(leader)
    time.sleep(2)
    cluster.members[0].send_signal(signal.SIGSTOP)
    took = until("a push with a hung member", lambda: fleet("push", "document.yaml", must=False).returncode == 0)
    took += until("all serve", lambda: all(i["state"] == "serving" for i in status()))
    figure("the member that is watched hangs: until a new push is served by all", f"{took:.1f} s")
    cluster.members[0].send_signal(signal.SIGCONT)

    live = [connect(port, "client") for port in ports().values()]
    begun = time.monotonic()
    fleet("revoke", "--cn", "client", must=False)
    certificate = subprocess.run(
        ["openssl", "x509", "-in", "certs/client.pem", "-noout", "-serial"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip().split("=")[1]
    fleet("revoke", "--serial", certificate)
    for stream in live:
        stream.settimeout(30)
        try:
            while stream.recv(4096):
                pass
        except OSError:
            pass
    figure("revoke: from the command's begin to the last closed connection", f"{(time.monotonic() - begun) * 1000:.0f} ms")
    traffic.end()
    figure("blocks of 4 KiB over live connections, each compared", traffic.blocks)
    figure("live connections that were lost", len(traffic.lost))
    if traffic.lost:
        sys.exit(str(traffic.lost[:5]))


ECHO = echo_server()
try:
    main()
finally:
    for process in PROCESSES:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
    shutil.rmtree(ROOT, ignore_errors=True)

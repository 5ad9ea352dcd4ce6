//! Clients and servers from PyPI, in environments that `scripts/test.sh` makes where it can.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ends::{MODES, TIMES, end_well, ends_well, without_close_notify};
use super::services::{postgres, with_certificate};
use crate::harness::{Directory, Finished, Proxy, Service, eventually, finish, firing, pki};

/// The Python of an environment. Without it, the test reports that it was skipped.
pub fn python(environment: &str) -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let python = target.join(environment).join("bin/python");
    if python.is_file() {
        return Some(python);
    }
    println!(
        "skipped: {} is missing; scripts/test.sh makes it",
        python.display()
    );
    None
}

/// Runs a program of Python, which verifies and connects as `localhost`.
pub fn run(python: &Path, program: &str, arguments: &[&str]) -> Finished {
    let mut command = Command::new(python);
    command
        .args(["-W", "ignore", "-c", program])
        .args(arguments)
        .env("no_proxy", "*");
    finish(command, b"")
}

#[test]
fn grpc_ends_without_a_fault() {
    const SERVE: &str = "import grpc, sys\n\
        from concurrent import futures\n\
        class Echo(grpc.GenericRpcHandler):\n\
        \x20   def service(self, details):\n\
        \x20       return grpc.unary_unary_rpc_method_handler(lambda request, context: request * 1000)\n\
        server = grpc.server(futures.ThreadPoolExecutor(2))\n\
        server.add_generic_rpc_handlers((Echo(),))\n\
        place = '127.0.0.1:' + sys.argv[1]\n\
        pair = [open(name, 'rb').read() for name in sys.argv[2:]]\n\
        if pair: server.add_secure_port(place, grpc.ssl_server_credentials([tuple(pair)]))\n\
        else: server.add_insecure_port(place)\n\
        server.start()\n\
        server.wait_for_termination()\n";
    const CALL: &str = "import grpc, sys\n\
        trust = grpc.ssl_channel_credentials(open(sys.argv[2], 'rb').read())\n\
        channel = grpc.secure_channel(sys.argv[1], trust, [('grpc.enable_http_proxy', 0)])\n\
        call = channel.unary_unary('/test.Echo/Call')\n\
        assert [len(call(b'x' * n, timeout=10)) for n in (1, 500)] == [1000, 500000]\n\
        channel.close()\n";
    let Some(python) = python("grpc") else {
        return;
    };
    let directory = with_certificate();
    let file = |name: &str| directory.join(name).display().to_string();
    for (mode, with_tls) in MODES {
        let origin = Service::start(|port| {
            let mut command = Command::new(&python);
            command.args(["-c", SERVE, &port.to_string()]);
            if with_tls {
                command.args([file("origin.key"), file("origin.pem")]);
            }
            command
        });
        let draft = match mode {
            "terminate" => Proxy::builder().terminate("localhost", &origin),
            "reencrypt" => Proxy::builder().reencrypt("localhost", &origin),
            _ => Proxy::builder().passthrough("localhost", &origin),
        };
        let draft = match mode {
            "passthrough" => draft,
            _ => draft.on_tls("alpn: [h2]"),
        };
        let proxy = draft.admin().start();
        let to = format!("localhost:{}", proxy.listen_addr("edge").port());
        ends_well(&proxy, without_close_notify(mode), || {
            let mut command = Command::new(&python);
            command.args(["-c", CALL, &to, &file("trust.pem")]);
            finish(command, b"")
        });
    }
}

/// PostgreSQL before 17 does not take direct TLS itself: a Reseal in front of it does.
#[test]
fn direct_tls_of_postgresql_works_in_every_mode() {
    const QUERY: &str = "import psycopg, sys\n\
        for _ in range(int(sys.argv[2])):\n\
        \x20   with psycopg.connect(sys.argv[1]) as connection:\n\
        \x20       row = connection.execute(\"SELECT 41 + 1, repeat('x', 3000000)\").fetchone()\n\
        \x20       assert (row[0], len(row[1])) == (42, 3000000)\n";
    let Some(python) = python("psycopg") else {
        return;
    };
    let directory = with_certificate();
    let server = postgres(&directory, false);
    let draft = || Proxy::builder().endpoint("edge", "tls");
    let terminate = draft()
        .terminate("localhost", &server)
        .on_tls("alpn: [postgresql]")
        .admin()
        .start();
    let direct = terminate.listen_addr("edge").clone();
    let reencrypt = draft()
        .reencrypt("localhost", &direct)
        .origin_tls("{ ca: edge-ca.pem, server_name: localhost }")
        .on_tls("alpn: [postgresql]")
        .admin()
        .start();
    let passthrough = draft().passthrough("localhost", &direct).admin().start();
    let trust = directory.join("trust.pem").display().to_string();
    let query = |proxy: &Proxy, more: &str| {
        let port = proxy.listen_addr("edge").port();
        let to = format!(
            "host=localhost hostaddr=127.0.0.1 port={port} user=tester dbname=postgres \
             sslmode=verify-full sslrootcert={trust} {more}"
        );
        run(&python, QUERY, &[&to, &TIMES.to_string()])
    };
    // libpq closes right after its close_notify. In passthrough the server's own close_notify, which then
    // meets a closed socket, is passed on, and the client's kernel may answer it by a reset before Reseal has
    // seen both ends.
    let seldom_reset: &[&str] = &["ok", "client_reset"];
    for (proxy, reasons) in [
        (&terminate, &["ok"][..]),
        (&reencrypt, &["ok"]),
        (&passthrough, seldom_reset),
    ] {
        // Python takes long to start: one process makes all connections.
        end_well(proxy, reasons, || {
            query(proxy, "sslnegotiation=direct").must_exit_with(0);
        });
        if proxy.pid() != terminate.pid() {
            terminate.outcomes(2 * TIMES);
        }
    }
    assert_ne!(query(&reencrypt, "").code, Some(0));
    let record = reencrypt.outcome();
    record.must_be("not_tls");
    assert!(
        record.text("detail").contains("sslnegotiation=direct"),
        "{record:?}"
    );
}

/// An OpenBao that is not initialised, and that requires a client certificate.
fn openbao(python: &Path, directory: &Directory) -> Service {
    let bao = python.with_file_name("bao");
    directory.write("client-ca.pem", pki().clients.pem());
    let root = directory.path().display().to_string();
    Service::start(|port| {
        let text = format!(
            "storage \"inmem\" {{}}\napi_addr = \"https://127.0.0.1:{port}\"\n\
             listener \"tcp\" {{\n\
             address = \"127.0.0.1:{port}\"\n\
             cluster_address = \"127.0.0.1:0\"\n\
             tls_cert_file = \"{root}/origin.pem\"\n\
             tls_key_file = \"{root}/origin.key\"\n\
             tls_client_ca_file = \"{root}/client-ca.pem\"\n\
             tls_require_and_verify_client_cert = true\n}}\n"
        );
        let file = directory.write("bao.hcl", text);
        let mut command = Command::new(&bao);
        command.arg("server").arg("-config").arg(file);
        command
    })
}

/// Each client has a new connection to Reseal, and Reseal one to OpenBao that resumes a session.
#[test]
fn hvac_reads_secrets_of_openbao_over_resumed_sessions() {
    const CONNECT: &str = "import hvac, sys\n\
        def client(token=None):\n\
        \x20   return hvac.Client(url='https://localhost:' + sys.argv[1], token=token,\n\
        \x20       cert=('alice.pem', 'alice.key'), verify='trust.pem')\n";
    const PREPARE: &str = "bao = client()\n\
        keys = bao.sys.initialize(1, 1)\n\
        bao.sys.submit_unseal_key(keys['keys'][0])\n\
        bao.token = keys['root_token']\n\
        bao.sys.enable_secrets_engine('kv', path='secret', options={'version': '1'})\n\
        bao.secrets.kv.v1.create_or_update_secret('a', secret={'b': 'c'})\n\
        print(bao.token)\n";
    const READ: &str = "for n in range(20):\n\
        \x20   bao = client(sys.argv[2])\n\
        \x20   print(bao.secrets.kv.v1.read_secret('a')['data']['b'])\n\
        \x20   bao.adapter.close()\n";
    let Some(python) = python("openbao") else {
        return;
    };
    let directory = with_certificate();
    let origin = openbao(&python, &directory);
    let alice = pki().client("alice");
    directory.write("alice.pem", &alice.cert);
    directory.write("alice.key", &alice.key);
    let hvac = |port: u16, program: &str, more: &[&str]| {
        let program = format!(
            "import os\nos.chdir(\"{}\")\n{CONNECT}{program}",
            directory.path().display()
        );
        let port = port.to_string();
        let finished = run(&python, &program, &[&[port.as_str()], more].concat());
        finished.must_exit_with(0);
        finished.stdout.trim().to_owned()
    };
    let proxy = Proxy::builder()
        .reencrypt("localhost", &origin)
        .on_route("client_auth: { mode: required, ca: client-ca.pem }")
        .file("reseal.pem", &alice.cert)
        .file("reseal.key", &alice.key)
        .origin_tls(
            "{ ca: origin-ca.pem, server_name: origin.test, client_certificate: { cert: reseal.pem, key: reseal.key } }",
        )
        .on_upstream("health: { check: { preset: vault-active }, interval: 100ms }")
        .admin()
        .start();
    let usable = || proxy.metrics().count("reseal_origin_usable_addresses", &[]);
    eventually("the check finds it sealed", || usable() == 0.0);
    let token = hvac(origin.port(), PREPARE, &[]);
    eventually("the check finds it active", || usable() == 1.0);
    let before = proxy.metrics();
    let read = hvac(proxy.listen_addr("edge").port(), READ, &[&token]);
    assert_eq!(read.lines().collect::<Vec<_>>(), ["c"; 20]);
    for (n, record) in proxy.outcomes(20).iter().enumerate() {
        record.must_have("after", "relay").must_have("fault", "");
        assert_eq!(record["origin_tls_resumed"], n > 0, "{n}: {record:?}");
    }
    assert_eq!(firing(&[before, proxy.metrics()]), BTreeSet::new());
}

//! Certificates of X.509 version 1, as `openssl x509 -req` makes them by default.

use std::path::Path;

use crate::harness::{
    ConfigCheck, Directory, Identity, Origin, Proxy, Service, command, output, pki,
};

/// A certificate of our CA for this common name.
fn version_1(common_name: &str) -> Identity {
    let directory = Directory::new();
    directory.write("ca.pem", pki().edge.pem());
    directory.write("ca.key", pki().edge.key_pem());
    let path = |name: &str| directory.join(name).display().to_string();
    let openssl = |arguments: &[&str]| {
        output("openssl", arguments, "").must_exit_with(0);
    };
    let (ca, ca_key, key) = (path("ca.pem"), path("ca.key"), path("v1.key"));
    let (request, certificate) = (path("v1.csr"), path("v1.pem"));
    openssl(&[
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-out",
        &key,
    ]);
    let subject = format!("/CN={common_name}");
    openssl(&[
        "req", "-new", "-key", &key, "-subj", &subject, "-out", &request,
    ]);
    openssl(&[
        "x509",
        "-req",
        "-in",
        &request,
        "-CA",
        &ca,
        "-CAkey",
        &ca_key,
        "-set_serial",
        "7",
        "-days",
        "60",
        "-out",
        &certificate,
    ]);
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap();
    Identity {
        cert: read(&certificate),
        key: read(&key),
    }
}

fn checked(names: &str) -> ConfigCheck {
    ConfigCheck::new(&format!(
        "endpoints:\n\
         \x20 - name: edge\n\
         \x20   listen: 127.0.0.1:4430\n\
         \x20   tls: {{ certificates: [{{ cert: v1.pem, key: v1.key, names: [{names}] }}] }}\n\
         \x20   routes: [{{ name: a, mode: terminate, upstream: up, match: {{ sni: a.test }} }}]\n\
         upstreams: {{ up: {{ origins: [\"127.0.0.1:9\"] }} }}\n"
    ))
}

#[test]
fn it_is_presented_to_clients_unchanged() {
    let identity = version_1("a.test");
    checked("a.test").with_identity("v1", &identity).must_warn(
        "v1.pem",
        &[
            "`a.test` only as its common name",
            "subjectAltName = DNS:a.test",
        ],
    );
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .endpoint("edge", "tls")
        .route("terminate", "a.test", &origin)
        .file("v1.pem", &identity.cert)
        .file("v1.key", &identity.key)
        .with_certificate("{ cert: v1.pem, key: v1.key, names: [a.test] }")
        .start();
    let address = proxy.listen_addr("edge").to_string();
    let ca = proxy.directory().join("edge-ca.pem").display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = [
            "s_client",
            "-connect",
            &address,
            "-servername",
            "a.test",
            version,
            "-CAfile",
            &ca,
            "-verify_return_error",
        ];
        output("openssl", &arguments, "")
            .must_exit_with(0)
            .must_print("Verify return code: 0");
    }
}

#[test]
fn it_is_presented_to_origins_unchanged() {
    let identity = version_1("proxy");
    let files = Directory::new();
    let server = pki().origin(&["origin.test"]);
    files.write("server.pem", &server.cert);
    files.write("server.key", &server.key);
    files.write("ca.pem", pki().edge.pem());
    let origin = Service::start(|port| {
        let mut openssl = command("openssl");
        openssl
            .args(["s_server", "-quiet", "-rev", "-accept", &port.to_string()])
            .args(["-cert", "server.pem", "-key", "server.key"])
            .args(["-Verify", "1", "-verify_return_error", "-CAfile", "ca.pem"])
            .current_dir(files.path());
        openssl
    });
    let proxy = Proxy::builder()
        .originate(&origin)
        .origin_tls(
            "{ ca: origin-ca.pem, server_name: origin.test, client_certificate: { cert: v1.pem, \
                     key: v1.key } }",
        )
        .file("v1.pem", &identity.cert)
        .file("v1.key", &identity.key)
        .start();
    let client = proxy.dial("originate");
    client.send(b"secret\n");
    assert_eq!(client.receive(7), b"terces\n");
}

#[test]
fn a_version_1_certificate_with_another_key_is_refused() {
    let (one, other) = (version_1("a.test"), version_1("a.test"));
    checked("a.test")
        .with_identity("v1", &one)
        .with_file("v1.key", &other.key, 0o600)
        .must_report("v1.pem", &["v1.pem", "does not match the key in", "v1.key"]);
}

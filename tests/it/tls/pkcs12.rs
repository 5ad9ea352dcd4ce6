//! PKCS#12 and encrypted keys, written by OpenSSL and Java: read with the password of a file, presented,
//! renewed, and refused with the way out.

use std::path::Path;

use crate::harness::{
    Client, ConfigCheck, Directory, Identity, Leaf, Origin, Proxy, eventually, output, pki,
};

const SECRET: &str = "pässword 1";

/// A certificate for `a.test` with an intermediate CA, its files, and `password`.
struct Made {
    directory: Directory,
    identity: Identity,
}

impl Made {
    fn new() -> Self {
        let middle = pki().edge.subordinate("Middle", 3);
        Self::of(&middle.issue(&Leaf::server(&["a.test"])).below(&[&middle]))
    }

    fn of(identity: &Identity) -> Self {
        let directory = Directory::new();
        directory.write("chain.pem", &identity.cert);
        directory.write("key.pem", &identity.key);
        directory.write("root.pem", pki().edge.pem());
        directory.write("password", format!("{SECRET}\n"));
        Self {
            directory,
            identity: identity.clone(),
        }
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.directory.join(name)).unwrap()
    }

    #[track_caller]
    fn openssl(&self, arguments: &str) -> &Self {
        let words: Vec<_> = arguments
            .split_whitespace()
            .map(|word| match word.strip_prefix('@') {
                Some(name) => self.path(name),
                None => word.replace("PASSWORD", &self.path("password")),
            })
            .collect();
        output("openssl", &words, "").must_exit_with(0);
        self
    }

    /// A store, with more flags of `openssl pkcs12`.
    #[track_caller]
    fn store(&self, more: &str) -> Vec<u8> {
        self.openssl(&format!(
            "pkcs12 -export -inkey @key.pem -in @chain.pem -passout file:PASSWORD -out @x.p12 {more}"
        ));
        self.bytes("x.p12")
    }
}

/// A configuration with these files in place of the certificate.
fn check(keys: &str, files: &[(&str, &[u8])]) -> ConfigCheck {
    let text = format!(
        "endpoints:
  - name: edge
    listen: 127.0.0.1:0
    tls: {{ certificates: [{{ {keys} }}] }}
    routes: [{{ name: r, match: {{ sni: a.test }}, mode: terminate, upstream: up }}]
upstreams: {{ up: {{ origins: [127.0.0.1:9] }} }}
"
    );
    files
        .iter()
        .fold(ConfigCheck::new(&text), |check, (name, bytes)| {
            check.with_file(name, bytes, 0o600)
        })
}

const STORE: &str = "cert: x.p12, password_file: secret";

fn of_store(store: &[u8]) -> ConfigCheck {
    check(STORE, &[("x.p12", store), ("secret", SECRET.as_bytes())])
}

#[test]
fn what_openssl_and_java_write_today_is_good() {
    let made = Made::new();
    for more in [
        "",
        "-macalg sha1",
        "-macalg sha384",
        "-macalg sha512 -iter 100000",
        "-nomac",
        "-keypbe AES-128-CBC -certpbe AES-192-CBC",
        "-certpbe NONE",
        "-keypbe NONE -certpbe NONE",
        "-certfile @root.pem -name x",
    ] {
        of_store(&made.store(more)).must_be_good();
    }
    let java = include_bytes!("keystores/java.p12");
    let check = check(
        &format!("{STORE}, names: [a.test]"),
        &[("x.p12", java), ("secret", b"changeit\n")],
    );
    check.check(&[]).must_exit_with(0).must_print(": good");
}

#[test]
fn keys_of_each_kind_are_read() {
    for (kind, more) in [
        ("RSA", "-pkeyopt rsa_keygen_bits:2048"),
        ("EC", "-pkeyopt ec_paramgen_curve:P-384"),
        ("ED25519", ""),
    ] {
        let made = Made::new();
        made.openssl(&format!("genpkey -algorithm {kind} {more} -out @key.pem"));
        made.openssl(
            "req -x509 -new -key @key.pem -subj /CN=a.test -addext subjectAltName=DNS:a.test -out @chain.pem",
        );
        of_store(&made.store("")).must_be_good();
    }
}

/// A proxy with a store, and the certificates that a client gets.
fn proxy(store: &[u8], origin: &Origin) -> Proxy {
    Proxy::builder()
        .endpoint("edge", "tls")
        .route("terminate", "a.test", origin)
        .file("x.p12", store)
        .file("secret", SECRET)
        .with_certificate(&format!("{{ {STORE} }}"))
        .start()
}

#[test]
fn clients_get_the_chain_of_a_store_in_order_without_its_root() {
    let made = Made::new();
    let origin = Origin::echo();
    // The certificates of a store have no order.
    let mut parts = made.identity.chain();
    parts.reverse();
    let pem: String = parts
        .iter()
        .map(|der| {
            let text = base64(der);
            format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
        })
        .collect();
    made.directory.write("chain.pem", pem);
    let proxy = proxy(&made.store("-certfile @root.pem"), &origin);
    let client = Client::new(proxy.listen_addr("edge"), "a.test");
    client.connect().must_echo(b"over a store");
    let address = proxy.listen_addr("edge").to_string();
    let shown = output(
        "openssl",
        &[
            "s_client",
            "-connect",
            &address,
            "-servername",
            "a.test",
            "-showcerts",
        ],
        "",
    );
    let sent = shown.stdout.matches("BEGIN CERTIFICATE").count();
    assert_eq!(sent, 2, "{}", shown.stdout);
    assert_eq!(
        client.connect().peer_certificate().as_deref(),
        made.identity.chain().first().map(|der| &**der)
    );
}

fn base64(bytes: &[u8]) -> String {
    let directory = Directory::new();
    let file = directory.write("x", bytes).display().to_string();
    output("openssl", &["base64", "-in", &file], "").stdout
}

#[test]
fn a_renewed_store_and_password_are_presented_without_a_reload() {
    let (old, new) = (Made::new(), Made::new());
    let origin = Origin::echo();
    let proxy = proxy(&old.store(""), &origin);
    let client = Client::new(proxy.listen_addr("edge"), "a.test");
    let presents = |made: &Made| {
        let own = made.identity.chain();
        client.connect().peer_certificate().as_deref() == Some(&*own[0])
    };
    assert!(presents(&old));
    // A store with another password than that of the file is not used.
    new.directory.write("password", "another");
    let store = new.store("");
    proxy.directory().write("x.p12", &store);
    proxy.log_line(|line| {
        line.contains("the password is wrong") && line.contains("previous content")
    });
    assert!(presents(&old));
    proxy.directory().write("secret", "another");
    eventually("the new one is presented", || presents(&new));
}

#[test]
fn an_origin_is_shown_the_certificate_of_a_store() {
    let client = Made::of(&pki().client("a"));
    let origin = Origin::with_tls().requiring_certificate().echo();
    let proxy = Proxy::builder()
        .originate(&origin)
        .origin_tls(
            "{ ca: origin-ca.pem, server_name: origin.test, \
             client_certificate: { cert: x.p12, password_file: secret } }",
        )
        .file("x.p12", client.store(""))
        .file("secret", SECRET)
        .start();
    proxy.dial("originate").must_echo(b"shown");
}

#[test]
fn encrypted_keys_in_pem_are_read_with_their_password() {
    let made = Made::new();
    let cert = made.identity.cert.clone();
    let keys = "cert: c.pem, key: k.pem, password_file: secret";
    let files = |key: &[u8]| {
        let files = [
            ("c.pem", cert.as_bytes()),
            ("k.pem", key),
            ("secret", SECRET.as_bytes()),
        ];
        check(keys, &files)
    };
    for more in [
        "-v2 aes-256-cbc",
        "-v2 aes-128-cbc -v2prf hmacWithSHA1 -iter 100000",
        "-v2 aes-192-cbc -v2prf hmacWithSHA512",
    ] {
        made.openssl(&format!(
            "pkcs8 -topk8 {more} -in @key.pem -passout file:PASSWORD -out @e.pem"
        ));
        files(&made.bytes("e.pem")).must_be_good();
    }
    let key = made.bytes("e.pem");
    // Chain and key in one file.
    let both = [cert.as_bytes(), &key].concat();
    check(
        "cert: c.pem, password_file: secret",
        &[("c.pem", &both), ("secret", SECRET.as_bytes())],
    )
    .must_be_good();
    let wrong = check(
        keys,
        &[
            ("c.pem", cert.as_bytes()),
            ("k.pem", &key),
            ("secret", b"x"),
        ],
    );
    wrong.must_report(
        "k.pem",
        &["k.pem:1: the password is wrong", "openssl pkey -in"],
    );
    check(
        "cert: c.pem, key: k.pem",
        &[("c.pem", cert.as_bytes()), ("k.pem", &key)],
    )
    .must_report(
        "k.pem",
        &["the private key is encrypted", "password_file: FILE"],
    );
    // What is not supported names the command that converts it.
    for (command, words) in [
        (
            "pkcs8 -topk8 -scrypt -in @key.pem -passout file:PASSWORD -out @e.pem",
            "scrypt",
        ),
        (
            "pkcs8 -topk8 -v2 des3 -in @key.pem -passout file:PASSWORD -out @e.pem",
            "Triple DES",
        ),
        (
            "pkcs8 -topk8 -v1 PBE-SHA1-3DES -in @key.pem -passout file:PASSWORD -out @e.pem",
            "Triple DES",
        ),
        (
            "ec -aes256 -in @key.pem -passout file:PASSWORD -out @e.pem",
            "the traditional form of OpenSSL",
        ),
    ] {
        made.openssl(command);
        let anew = "openssl pkcs8 -topk8 -v2 aes-256-cbc -in";
        files(&made.bytes("e.pem")).must_report("k.pem", &[words, "not supported", anew]);
    }
    let plain = files(made.identity.key.as_bytes());
    plain.must_warn(
        "c.pem",
        &["the private key is not encrypted", "has no effect"],
    );
}

#[test]
fn stores_that_are_not_supported_name_the_command_that_converts_them() {
    let made = Made::new();
    let anew = "openssl pkcs12 -legacy -in";
    for (more, what) in [
        ("-legacy", "RC2 of 40 bits"),
        (
            "-keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1",
            "Triple DES",
        ),
        ("-legacy -keypbe PBE-SHA1-RC4-128 -certpbe NONE", "RC4"),
    ] {
        of_store(&made.store(more)).must_report("x.p12", &[what, "not supported", anew]);
    }
    // The command does what it says.
    let old = made.store("-legacy");
    made.directory.write("old.p12", old);
    made.openssl("pkcs12 -legacy -in @old.p12 -passin file:PASSWORD -nodes -out @old.pem");
    made.openssl("pkcs12 -export -in @old.pem -passout file:PASSWORD -out @new.p12");
    of_store(&made.bytes("new.p12")).must_be_good();
}

#[test]
fn mistakes_about_stores_are_told() {
    let made = Made::new();
    let store = made.store("");
    let secret = SECRET.as_bytes();
    check("cert: x.p12", &[("x.p12", &store)]).must_report(
        "x.p12",
        &["PKCS#12, whose content is encrypted", "password_file: FILE"],
    );
    check(STORE, &[("x.p12", &store), ("secret", b"wrong")])
        .must_report("x.p12", &["the password is wrong", "openssl pkcs12 -in"]);
    check(STORE, &[("x.p12", &store), ("secret", b"a\nb")])
        .must_report("secret", &["more than one line"]);
    check(STORE, &[("x.p12", &store)]).must_report("secret", &["cannot be read"]);
    let key = made.identity.key.as_bytes();
    check(
        "cert: x.p12, key: k.pem, password_file: secret",
        &[("x.p12", &store), ("k.pem", key), ("secret", secret)],
    )
    .must_report("x.p12", &["which holds its key", "leave `key` out"]);
    check(
        "cert: c.pem, key: x.p12, password_file: secret",
        &[
            ("c.pem", made.identity.cert.as_bytes()),
            ("x.p12", &store),
            ("secret", secret),
        ],
    )
    .must_report("x.p12", &["it is PKCS#12", "name it by `cert`"]);
    let certs = made.store("-nokeys");
    of_store(&certs).must_report("x.p12", &["without a private key"]);
    check(
        "cert: c.pem, key: k.pem, password: secret",
        &[("c.pem", made.identity.cert.as_bytes()), ("k.pem", key)],
    )
    .must_report("password", &["`password_file: FILE`"]);
    check(
        "cert: c.pem, key: 'pkcs11:token=x;object=y'",
        &[("c.pem", made.identity.cert.as_bytes())],
    )
    .must_report(
        "'pkcs11",
        &[
            "a key in hardware (PKCS#11) is not supported",
            "passthrough",
        ],
    );
}

/// They are secrets as keys are.
#[test]
fn a_store_or_password_that_every_user_may_read_is_refused() {
    let made = Made::new();
    let store = made.store("");
    let files = [("x.p12", &*store), ("secret", SECRET.as_bytes())];
    for (open, what) in [("x.p12", "private key"), ("secret", "password")] {
        let mut check = check(STORE, &[]);
        for (name, bytes) in files {
            let mode = if name == open { 0o644 } else { 0o600 };
            check = check.with_file(name, bytes, mode);
        }
        let words = format!("every user may read this {what} (mode 0644)");
        check.must_report(open, &[&words, "chmod 0640"]);
    }
}

/// A file must not keep the process busy for minutes.
#[test]
fn a_store_with_too_many_iterations_is_refused_at_once() {
    let made = Made::new();
    // In three bytes, 1 000 001.
    let mut store = made.store("-iter 1000001");
    let number = [0x02, 0x03, 0x0f, 0x42, 0x41];
    let places: Vec<_> = store
        .windows(5)
        .enumerate()
        .filter(|(_, part)| *part == number)
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty());
    for at in places {
        store[at..at + 5].copy_from_slice(&[0x02, 0x03, 0x7f, 0xff, 0xff]);
    }
    of_store(&store).must_report("x.p12", &["more than 5 million iterations", "-iter 600000"]);
}

#[test]
fn no_secret_is_printed() {
    let made = Made::new();
    let store = made.store("");
    let check = check(STORE, &[("x.p12", &store), ("secret", b"canary-7f3a")]);
    for more in [&[][..], &["--print"], &["--print", "--no-files"]] {
        let said = check.check(more).text();
        assert!(!said.contains("canary"), "{said}");
    }
    assert!(Path::new(&made.path("x.p12")).exists());
}

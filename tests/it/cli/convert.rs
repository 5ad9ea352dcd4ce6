//! `reseal convert`.

use std::process::Command;

use crate::harness::{Directory, Finished, finish, reseal, reseal_in};

/// What becomes of a configuration of stunnel.
fn stunnel(text: impl AsRef<[u8]>) -> Finished {
    let directory = Directory::new();
    directory.write("stunnel.conf", text);
    reseal_in(directory.path(), &["convert", "stunnel", "stunnel.conf"])
}

#[track_caller]
fn must_pass_check(converted: &Finished) {
    converted.must_exit_with(0);
    assert_eq!(converted.stderr, "", "{}", converted.stdout);
    assert!(
        !converted.stdout.contains("not converted"),
        "{}",
        converted.stdout
    );
    check(converted).must_exit_with(0);
}

fn check(converted: &Finished) -> Finished {
    let directory = Directory::new();
    let file = directory.write("config.yaml", &converted.stdout);
    reseal(&["check", "--no-files", &file.display().to_string()])
}

/// A server whose lines are all converted, and one with these lines in addition.
fn with(lines: &str) -> String {
    format!(
        "[good]\naccept = 127.0.0.1:1993\nconnect = 143\ncert = mail.pem\n\n\
         [it]\naccept = 127.0.0.1:1995\nconnect = 110\ncert = mail.pem\n{lines}\n"
    )
}

/// The first of the lines that `with` adds.
const FIRST: usize = 10;

const MECHANICAL: &str = "\u{feff}; a comment\r
foreground = yes\r
debug = 5\r
output = /var/log/stunnel.log\r
cert = /etc/stunnel/mail.pem\r
\r
[imaps]\r
accept = imaps\r
connect = 143\r
verifyChain = yes\r
CAfile = /etc/stunnel/clients.pem\r
CRLfile = /etc/stunnel/clients.crl\r
checkHost = a.ops.example.com\r
checkEmail = ops@example.com\r
TIMEOUTclose = 90\r
options = NO_SSLv3\r
sslVersionMin = TLSv1.2\r
\r
[web]\r
accept = 0.0.0.0:8443\r
connect = 10.0.0.1:80\r
connect = web-2.internal:80\r
failover = prio\r
key = /etc/stunnel/web.key\r
TIMEOUTidle = 600\r
ciphers = ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305\r
curves = X25519:P-256\r
protocol = proxy\r
\r
[web-tenant]\r
sni = web:tenant.example.com\r
connect = 10.0.0.2:80\r
key = /etc/stunnel/web.key\r
TIMEOUTidle = 600\r
ciphers = ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305\r
curves = X25519:P-256\r
\r
[out]\r
client = yes\r
accept = localhost:5000\r
connect = api.example.com:443\r
cert =/etc/stunnel/client.pem\r
verifyChain = yes\r
CAfile = /etc/ssl/certs/ca-certificates.crt\r
checkHost = api.example.com\r
TIMEOUTconnect = 5\r
local = 10.0.0.9\r
";

const CONVERTED: &str = r#"# Converted from stunnel.conf. Read it, then: reseal check FILE
log: { level: info, output: /var/log/stunnel.log }

endpoints:
  - name: imaps
    listen: "0.0.0.0:993"
    timeouts: { idle: 12h, half_close: 90s }
    default_route: { route: imaps, certificate: imaps }
    tls:
      certificates:
        - { name: imaps, cert: /etc/stunnel/mail.pem }
      min_version: "1.2"
    routes:
      - name: imaps
        mode: terminate
        client_auth: { mode: required, ca: /etc/stunnel/clients.pem, crl: /etc/stunnel/clients.crl, allow: [{ dns: a.ops.example.com }, { email: "ops@example.com" }] }
        upstream: imaps

  - name: web
    listen: "0.0.0.0:8443"
    timeouts: { idle: 10m, half_close: 60s }
    default_route: { route: web, certificate: web }
    tls:
      certificates:
        - { name: web, cert: /etc/stunnel/mail.pem, key: /etc/stunnel/web.key, names: [tenant.example.com] }
      cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256]
      groups: [X25519, secp256r1]
    routes:
      - name: web
        mode: terminate
        upstream: web
      - name: web-tenant
        match: { sni: tenant.example.com }
        mode: terminate
        upstream: web-tenant

  - name: out
    listen: "127.0.0.1:5000"
    protocol: tcp
    timeouts: { idle: 12h, half_close: 60s }
    routes:
      - name: out
        mode: originate
        upstream: out

upstreams:
  imaps:
    origins: ["localhost:143"]

  web:
    origins: ["10.0.0.1:80", "web-2.internal:80"]
    balance: first
    send_proxy_protocol: v1

  web-tenant:
    origins: ["10.0.0.2:80"]

  out:
    origins: ["api.example.com:443"]
    connect: { timeout: 5s, source_addresses: ["10.0.0.9"] }
    tls:
      ca: /etc/ssl/certs/ca-certificates.crt
      server_name: api.example.com
      client_certificate: { cert: /etc/stunnel/client.pem }"#;

#[test]
fn a_mechanical_stunnel_file_becomes_a_configuration_that_passes_check() {
    let converted = stunnel(MECHANICAL);
    must_pass_check(&converted);
    assert_eq!(converted.stdout, CONVERTED, "\n{}", converted.stdout);
}

#[test]
fn standard_input_is_a_file_too() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reseal"));
    command.args(["convert", "stunnel", "-"]);
    let converted = finish(command, MECHANICAL.as_bytes());
    must_pass_check(&converted);
}

#[test]
fn tls_that_begins_inside_another_protocol_is_negotiate() {
    let text = "[mail]\naccept = 127.0.0.1:1143\nconnect = 10.0.0.1:143\ncert = mail.pem\nprotocol = imap\n\
                [db]\nclient = yes\naccept = 127.0.0.1:5432\nconnect = db.example.com:5432\n\
                verifyChain = yes\nCAfile = ca.pem\ncheckHost = db.example.com\nprotocol = pgsql\n";
    let converted = stunnel(text);
    must_pass_check(&converted);
    assert!(
        converted.stdout.contains("    negotiate: imap\n"),
        "{}",
        converted.text()
    );
    assert!(
        converted.stdout.contains("negotiate: postgres"),
        "{}",
        converted.text()
    );
}

/// stunnel compares the end of a name, so its `*` takes any number of labels.
#[test]
fn a_pattern_of_server_names_takes_any_number_of_labels() {
    let more = "\n[any]\nsni = it:*.example.com\nsni = it:example.org\nconnect = 10.0.0.3:80\n\
                [some]\nsni = it:*.dev.example.com\nconnect = 10.0.0.4:80\n";
    let converted = stunnel(format!("cert = mail.pem\n{}{more}", with("")));
    must_pass_check(&converted);
    converted
        .must_print("match: { sni: [\"**.example.com\", example.org] }")
        .must_print("match: { sni: \"**.dev.example.com\" }")
        .must_print("stunnel takes the first, and Reseal the longest");
}

#[test]
fn the_user_and_group_of_stunnel_are_those_of_the_process() {
    for (lines, user) in [
        ("setuid = nobody", "user: nobody"),
        (
            "setuid = stunnel4\nsetgid = ssl-cert",
            "user: \"stunnel4:ssl-cert\"",
        ),
        ("setuid = 65534\nsetgid = 65534", "user: \"65534:65534\""),
    ] {
        let converted = stunnel(format!("{lines}\n{}", with("")));
        must_pass_check(&converted);
        converted.must_print(&format!("process: {{ {user} }}"));
    }
    let alone = stunnel(format!("setgid = ssl-cert\n{}", with("")));
    alone.must_exit_with(0).must_print(
        "# not converted: line 1: setgid = ssl-cert\n#   `process.user` is USER or USER:GROUP",
    );
}

#[test]
fn an_http_proxy_of_stunnel_is_one_before_the_origin() {
    let service = "[way-out]\nclient = yes\naccept = 127.0.0.1:8081\nconnect = 10.0.0.9:3128\n\
                   protocol = connect\nprotocolHost = api.example.com:443\n\
                   verifyChain = yes\nCAfile = ca.pem\ncheckHost = api.example.com\n";
    let converted = stunnel(service);
    must_pass_check(&converted);
    converted
        .must_print("origins: [\"api.example.com:443\"]")
        .must_print("negotiate: { connect: { proxy: \"10.0.0.9:3128\" } }");
    // What it is shown is a secret, and no part of a configuration.
    let login =
        "protocolAuthentication = basic\nprotocolUsername = joe\nprotocolPassword = hunter2\n";
    let converted = stunnel(service.to_owned() + login);
    converted
        .must_exit_with(0)
        .must_print("{ proxy: \"10.0.0.9:3128\", authorization_file: way-out.auth }")
        .must_print("line 12: protocolPassword = (hidden)")
        .must_print("the base64 of USER:PASSWORD");
    assert!(!converted.text().contains("hunter2"));
    check(&converted).must_exit_with(0);
    let named = stunnel(service.replace("10.0.0.9", "proxy.example.com"));
    named.must_print("#   there is one HTTP proxy, as IP:PORT");
    assert!(!named.stdout.contains("negotiate:"), "{}", named.stdout);
}

/// Without these, the service would admit more clients, trust another origin, or not work at all.
#[test]
fn a_service_that_would_mean_something_else_is_left_out_whole() {
    for lines in [
        "protocol = nntp",
        "protocol = connect\nprotocolHost = a.test:443",
        "client = yes\nprotocol = connect",
        "client = yes\nprotocol = connect\nprotocolHost = a.test:443\nprotocolAuthentication = ntlm",
        "client = yes\nprotocol = connect\nprotocolHost = a.test:443\nconnect = 10.0.0.9:3128",
        "verifyPeer = yes\nCAfile = peers.pem",
        "verify = 3\nCAfile = peers.pem",
        "verifyChain = yes",
        "verifyChain = yes\nCApath = /etc/ssl/certs",
        "requireCert = yes\nCAfile = ca.pem",
        "CAfile = ca.pem\ncheckHost = a.example.com",
        "verifyChain = yes\nCAfile = ca.pem\nOCSP = http://ocsp.example.com/",
        "verifyChain = yes\nCAfile = ca.pem\nCRLpath = /etc/crl",
        "libwrap = yes",
        "transparent = source",
        "PSKsecrets = psk.txt",
        "exec = /usr/bin/true",
        "key = pkcs11:token=t;object=k?pin-value=hunter2",
        "sslVersion = TLSv1",
        "sslVersionMax = TLSv1.1",
        "client = yes\nverifyChain = yes\nCAfile = ca.pem\ncheckHost = a.test\ncheckHost = b.test",
        "client = yes\nverifyChain = yes\nCAfile = ca.pem\ncheckHost = a.test\nsni = b.test",
        "client = yes\nverifyChain = maybe\nCAfile = ca.pem",
        "verifyChian = yes",
        "this is no option",
        "accept = mail.example.com:993",
        "connect = 10.0.0.1:nowhere",
        "accept = 127.0.0.1:1993",
        "sni = nobody:a.example.com",
        "sni = good:*example.com",
        "sni = good:*",
        "sni = good:a.example.com\nsni = other:b.example.com",
        "sni = good:a.example.com\nsslVersion = TLSv1.3",
    ] {
        let converted = stunnel(with(lines));
        converted.must_exit_with(0);
        let text = &converted.stdout;
        assert!(
            text.contains("\n  # not converted: line 6: [it]\n"),
            "{lines}\n{text}"
        );
        for (index, line) in lines.lines().enumerate() {
            if line.contains("hunter2") {
                continue;
            }
            let number = FIRST + index;
            let expected = format!("  # not converted: line {number}: {line}\n");
            assert!(text.contains(&expected), "{expected}{text}");
        }
        assert!(text.contains("#   "), "no reason:\n{text}");
        assert!(!text.contains("\n  it:"), "{text}");
        assert!(
            converted.stderr.contains("were not converted"),
            "{}",
            converted.stderr
        );
        check(&converted).must_exit_with(0).must_print("good");
    }
}

/// The rest of the service means the same without these, or is stricter.
#[test]
fn a_line_without_a_counterpart_is_a_comment_and_the_service_is_converted() {
    for (line, hint) in [
        ("TIMEOUTbusy = 10", "timeouts.hello"),
        ("TIMEOUTidle = soon", "number of seconds"),
        ("sessionCacheSize = 10", "ticket_secret"),
        ("sslVersionMin = TLSv1", "TLS 1.2"),
        ("ciphers = HIGH:!aNULL", "HIGH, !aNULL"),
        ("curves = X25519:P-521", "P-521"),
        ("socket = l:SO_LINGER=1:60", "tcp"),
        ("options = NO_TICKET", "OpenSSL"),
        ("redirect = 80", "refused"),
        ("renegotiation = yes", "renegotiation"),
        ("debug = 7", "log"),
        ("CAfile = ca.pem", "verifyChain"),
    ] {
        let converted = stunnel(with(line));
        converted.must_exit_with(0);
        let expected = format!("  # not converted: line {FIRST}: {line}\n  #   ");
        let (_, reason) = converted
            .stdout
            .split_once(&expected)
            .unwrap_or_else(|| panic!("{}", converted.stdout));
        assert!(reason.lines().next().unwrap().contains(hint), "{reason}");
        assert!(converted.stdout.contains("\n  it:"), "{}", converted.stdout);
        check(&converted).must_exit_with(0);
    }
}

#[test]
fn options_that_hold_anyway_leave_nothing_behind() {
    for line in [
        "delay = yes",
        "socket = r:TCP_NODELAY=1",
        "options = NO_SSLv2",
        "renegotiation = no",
        "libwrap = no",
        "securityLevel = 2",
        "verify = 0",
        "sslVersion = all",
    ] {
        must_pass_check(&stunnel(with(line)));
    }
}

#[test]
fn an_origin_that_stunnel_does_not_verify_is_verified() {
    let converted =
        stunnel("[out]\nclient = yes\naccept = 127.0.0.1:5000\nconnect = api.example.com:443\n");
    must_pass_check(&converted);
    assert!(!converted.stdout.contains("danger-none"));
    converted.must_print("stunnel does not verify this origin. Reseal does");
}

/// stunnel reads them in order: the last one decides.
#[test]
fn client_certificates_are_required_as_in_stunnel() {
    for (lines, mode) in [
        ("verify = 2", "required"),
        ("verify = 1", "optional"),
        ("verifyChain = yes", "required"),
        ("verifyChain = yes\nrequireCert = no", "optional"),
        ("requireCert = no\nverifyChain = yes", "required"),
    ] {
        let converted = stunnel(with(&format!("CAfile = ca.pem\n{lines}")));
        must_pass_check(&converted);
        converted.must_print(&format!("client_auth: {{ mode: {mode}, ca: ca.pem }}"));
    }
}

#[test]
fn inherited_lines_are_told_once_and_hold_for_every_service() {
    let converted = stunnel(format!("pid = /run/s.pid\nTIMEOUTbusy = 5\n{}", with("")));
    converted.must_exit_with(0);
    for told in [
        "\n# not converted: line 1: pid = /run/s.pid\n#   ",
        "\n# not converted: line 2: TIMEOUTbusy = 5\n#   ",
    ] {
        assert_eq!(
            converted.stdout.matches(told).count(),
            1,
            "{}",
            converted.stdout
        );
    }
    check(&converted).must_exit_with(0);
    // A reason that lies in an inherited line is told where the service would be.
    let inherited = stunnel(format!("checkHost = a.test\n{}", with("")));
    inherited
        .must_exit_with(0)
        .must_print("  # not converted: line 1: checkHost = a.test\n  #   names are compared");
    let blocked = stunnel(format!("PSKsecrets = psk.txt\n{}", with("")));
    blocked
        .must_exit_with(0)
        .must_print("no service was converted");
    assert!(!blocked.stdout.contains("origins"), "{}", blocked.stdout);
}

#[test]
fn secrets_of_the_file_are_not_printed() {
    let converted = stunnel(with(
        "protocol = connect\nprotocolPassword = hunter2\nticketKeySecret = hunter2\n\
         key = pkcs11:token=t?pin-value=hunter2",
    ));
    assert!(
        !converted.text().contains("hunter2"),
        "{}",
        converted.text()
    );
    converted.must_print("line 11: protocolPassword = (hidden)");
}

#[test]
fn two_sections_of_one_name_become_two_services() {
    let converted = stunnel(
        "cert = c.pem\n[a b]\naccept = 127.0.0.1:1\nconnect = 2\n[a b]\naccept = 127.0.0.1:3\nconnect = 4\n",
    );
    must_pass_check(&converted);
    converted
        .must_print("- name: a-b\n")
        .must_print("- name: a-b-2\n");
}

#[test]
fn without_a_section_it_is_for_inetd() {
    let converted = stunnel("cert = c.pem\nconnect = 143\n");
    converted
        .must_exit_with(0)
        .must_print("# not converted: line 1: cert = c.pem")
        .must_print("# not converted: line 2: connect = 143\n#   inetd starts no Reseal");
}

#[test]
fn what_is_no_stunnel_file_is_refused_with_the_reason() {
    for (bytes, reason) in [
        (&b""[..], "no service"),
        (b"hello\n", "no service"),
        (b"[a]\nx = y\n\x00\n", "line 3 has a byte 0"),
        (&vec![b'#'; 1024 * 1024 + 1], "more than 1048576 bytes"),
    ] {
        let refused = stunnel(bytes);
        refused.must_exit_with(2);
        assert_eq!(refused.stdout, "");
        assert!(
            refused.stderr.contains("stunnel.conf: "),
            "{}",
            refused.stderr
        );
        assert!(refused.stderr.contains(reason), "{}", refused.stderr);
    }
    reseal(&["convert", "stunnel", "/no/such.conf"])
        .must_exit_with(2)
        .must_print("/no/such.conf: cannot be read");
    reseal(&["convert", "stunnel", "/"]).must_exit_with(2);
}

/// Nothing of a line may leave its comment, or become a key.
#[test]
fn hostile_lines_stay_in_their_comments() {
    let hostile = [
        &b"\x85\xff\xfe junk = 1"[..],
        "x = \u{2028}endpoints: []".as_bytes(),
        "x = a\u{85}b: c".as_bytes(),
        b"x = \x1b[31m\rendpoints: []",
        "x = \u{202e}txt.exe".as_bytes(),
        b"[not a section",
        b"cert = \"}]\n",
        b"connect = 143 # { ]",
    ];
    for line in hostile {
        let text = [with("").as_bytes(), line, b"\n"].concat();
        let converted = stunnel(text);
        converted.must_exit_with(0);
        let is_safe = |c: char| c == '\n' || (!c.is_control() && !"\u{2028}\u{202e}".contains(c));
        assert!(
            converted.stdout.chars().all(is_safe),
            "{:?}",
            converted.stdout
        );
        check(&converted).must_exit_with(0);
    }
}

fn ghostunnel(arguments: &[&str]) -> Finished {
    reseal(&[&["convert", "ghostunnel"], arguments].concat())
}

const SERVER: [&str; 6] = [
    "server",
    "--listen",
    "localhost:8443",
    "--target=localhost:8080",
    "--keystore=server.pem",
    "--cacert=ca.pem",
];

#[test]
fn a_ghostunnel_server_becomes_a_terminating_route() {
    let more = [
        "--allow-cn=client",
        "--allow-cn=other",
        "--allow-uri=spiffe://example.com/ns/*",
        "--connect-timeout=1m30s",
        "--shutdown-timeout=5m0s",
        "--max-conn-lifetime=0s",
        "--max-concurrent-conns=100",
        "--proxy-protocol",
        "--timed-reload=10m",
        "--unsafe-target",
    ];
    let converted = ghostunnel(&[&SERVER[..], &more].concat());
    must_pass_check(&converted);
    let expected = r#"# Converted from a command line of ghostunnel. Read it, then: reseal check FILE
process: { drain: { stop: 5m } }

endpoints:
  - name: tunnel
    listen: "127.0.0.1:8443"
    limits: { connections: 100 }
    timeouts: { idle: none }
    default_route: { route: tunnel, certificate: tunnel }
    tls:
      certificates:
        - { name: tunnel, cert: server.pem }
    routes:
      - name: tunnel
        mode: terminate
        client_auth: { mode: required, ca: ca.pem, allow: [{ common_name: [client, other] }, { uri: "spiffe://example.com/ns/*" }] }
        upstream: tunnel

upstreams:
  tunnel:
    origins: ["localhost:8080"]
    connect: { timeout: 90s }
    send_proxy_protocol: v2"#;
    assert_eq!(converted.stdout, expected, "\n{}", converted.stdout);
}

#[test]
fn a_ghostunnel_client_becomes_an_originating_route() {
    let converted = ghostunnel(&[
        "/usr/bin/ghostunnel",
        "client",
        "--listen=unix:/run/out.sock",
        "--target=api.example.com:443",
        "--override-server-name=other.example.com",
        "--cert=client.pem",
        "--key=client.key",
        "--verify-dns=other.example.com",
    ]);
    must_pass_check(&converted);
    converted.must_print("listen: \"unix:/run/out.sock\"").must_print(
        "    tls:\n      ca: system\n      server_name: other.example.com\n      \
         client_certificate: { cert: client.pem, key: client.key }\n      allow: { dns: other.example.com }",
    );
    must_pass_check(&ghostunnel(&[
        "client",
        "--disable-authentication",
        "--listen=127.0.0.1:1",
        "--target=a.test:443",
    ]));
}

#[test]
fn ghostunnel_without_a_rule_or_a_ca_is_refused() {
    for (arguments, reason) in [
        (&["--listen=127.0.0.1:1"][..], "mode is missing"),
        (&SERVER[..], "who is allowed is missing"),
        (
            &[
                "server",
                "--listen=127.0.0.1:1",
                "--target=localhost:2",
                "--cert=c",
                "--allow-all",
            ],
            "--cacert",
        ),
        (
            &[
                "server",
                "--listen=127.0.0.1:1",
                "--target=localhost:2",
                "--allow-all",
            ],
            "--cert",
        ),
        (&["client", "--listen=127.0.0.1:1"], "--target"),
        (
            &["client", "--listen=127.0.0.1:1", "--target=unix:/x"],
            "--override-server-name",
        ),
    ] {
        let refused = ghostunnel(arguments);
        refused.must_exit_with(2);
        assert_eq!(refused.stdout, "");
        assert!(refused.stderr.contains(reason), "{}", refused.stderr);
    }
}

/// A key that is pinned authenticates the origin by itself there.
#[test]
fn a_pinned_key_of_ghostunnel_stands_for_the_chain() {
    const PIN: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    let pinned = |mode: &str, flag: &str| {
        let pair: &[&str] = if mode == "server" {
            &["--keystore=s.pem"]
        } else {
            &[]
        };
        let common = [mode, "--listen=127.0.0.1:1", "--target=localhost:443", flag];
        ghostunnel(&[&common[..], pair].concat())
    };
    let converted = pinned("client", &format!("--verify-spki-pin=sha256:{PIN}"));
    converted.must_exit_with(0).must_print(&format!(
        "verify: danger-none\n      spki_sha256: \"{PIN}\""
    ));
    check(&converted).must_exit_with(0);
    pinned("client", &format!("--verify-spki-pin=sha512:{PIN}"))
        .must_print("pins are SHA-256")
        .must_print("no service was converted");
    pinned("server", &format!("--allow-spki-pin=sha256:{PIN}"))
        .must_print("spki_sha256: DIGEST")
        .must_print("no service was converted");
}

/// Whether the page on moving from ghostunnel has a flag, or the family that it is of.
fn is_on_the_page(flag: &str) -> bool {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/moving/ghostunnel.md");
    let page = std::fs::read_to_string(page).unwrap();
    let families = [
        "auto-acme-",
        "keychain-",
        "pkcs11-",
        "use-workload-api",
        "metrics-",
    ];
    let family = families.into_iter().find(|family| flag.starts_with(family));
    let (begin, is_alias) = match flag.strip_suffix("-san") {
        Some(rule) => (rule.split('-').next().unwrap(), true),
        None => (flag, false),
    };
    let shown = match (family, is_alias) {
        (Some(family), _) => format!("`--{family}…"),
        (None, true) => format!("`--{begin}-…-san`"),
        (None, false) => format!("`--{begin}"),
    };
    page.match_indices(&shown).any(|(at, _)| {
        let behind = page[at + shown.len()..].chars().next();
        family.is_some() || is_alias || matches!(behind, Some('`' | '='))
    })
}

/// Those of ghostunnel 1.11, hidden ones and other systems' among them.
#[test]
fn every_flag_of_ghostunnel_is_known() {
    let both = "keystore=a.pem cert=a.pem key=a.key storepass=x cacert=ca.pem use-workload-api \
        use-workload-api-addr=unix:/a use-workload-api-timeout=1m cipher-suites=AES allow-unsafe-cipher-suites \
        max-tls-version=TLS1.2 timed-reload=1m shutdown-timeout=1m connect-timeout=1s close-timeout=1s \
        max-conn-lifetime=1h max-concurrent-conns=7 metrics-graphite=a.test:1 metrics-url=http://a.test/ \
        metrics-prefix=a metrics-interval=1m status=localhost:1 enable-pprof enable-shutdown quiet=all \
        skip-resolve no-skip-resolve keychain-identity=a keychain-issuer=a keychain-require-token \
        pkcs11-module=/a pkcs11-token-label=a pkcs11-pin=1 use-landlock disable-landlock syslog eventlog";
    let server = "listen=127.0.0.1:1 target=a.test:2 target-status=http://a.test/ proxy-protocol \
        proxy-protocol-mode=tls unsafe-target allow-all allow-cn=a allow-ou=a allow-dns=a.test allow-ip=::1 \
        allow-uri=spiffe://a/b allow-dns-san=a.test allow-ip-san=::1 allow-uri-san=spiffe://a/b \
        allow-spki-pin=sha256:x allow-policy=a allow-query=a disable-authentication auto-acme-cert=a.test \
        auto-acme-email=a auto-acme-agree-to-tos auto-acme-ca=https://a.test/ auto-acme-testca=https://a.test/ \
        auto-acme-renew-check-interval=1m auto-acme-alt-tls-alpn-port=1";
    let client = "listen=127.0.0.1:1 target=a.test:2 unsafe-listen override-server-name=a.test \
        proxy=http://a.test:1 connect-proxy=http://10.0.0.9:1 verify-cn=a verify-ou=a verify-dns=a.test \
        verify-ip=::1 verify-uri=spiffe://a/b verify-dns-san=a.test verify-ip-san=::1 \
        verify-uri-san=spiffe://a/b verify-spki-pin=sha256:x verify-policy=a verify-query=a \
        disable-authentication";
    for (mode, own) in [("server", server), ("client", client)] {
        let flags = own.split_whitespace().chain(both.split_whitespace());
        let flags: Vec<_> = flags.map(|flag| format!("--{flag}")).collect();
        for flag in &flags {
            let name = flag.split('=').next().unwrap().trim_start_matches("--");
            assert!(
                is_on_the_page(name.trim_start_matches("no-")),
                "{flag} is not on the page"
            );
        }
        let mut arguments = vec![mode];
        arguments.extend(flags.iter().map(String::as_str));
        let converted = ghostunnel(&arguments);
        assert!(
            !converted.text().contains("not known"),
            "{}",
            converted.text()
        );
        converted.must_print("no service was converted");
    }
}

#[test]
fn what_ghostunnel_has_and_reseal_has_not_is_a_comment() {
    let converted =
        ghostunnel(&[&SERVER[..], &["--allow-all", "--status=localhost:6060"]].concat());
    converted
        .must_exit_with(0)
        .must_print("# not converted: argument 8: --status=localhost:6060\n#   `admin: ");
    check(&converted).must_exit_with(0);
    for argument in [
        "--use-workload-api",
        "--allow-policy=policy.rego",
        "--allow-uri=spiffe://example.com/**",
        "--pkcs11-module=/usr/lib/p11.so",
        "--new-flag=x",
        "--keystore=server.jks",
    ] {
        let converted = ghostunnel(&[&SERVER[..], &["--allow-all", argument]].concat());
        converted
            .must_exit_with(0)
            .must_print(&format!("# not converted: argument 8: {argument}\n#   "))
            .must_print("# not converted: argument 2: --listen=localhost:8443")
            .must_print("no service was converted");
        assert!(
            !converted.stdout.contains("origins"),
            "{}",
            converted.stdout
        );
    }
    let secret = ghostunnel(&[&SERVER[..], &["--allow-all", "--storepass", "hunter2"]].concat());
    secret.must_exit_with(0).must_print("--storepass=(hidden)");
    assert!(!secret.text().contains("hunter2"));
}

#[test]
fn an_http_proxy_of_ghostunnel_is_one_before_the_origin() {
    let through = |proxy: &str| {
        ghostunnel(&[
            "client",
            "--listen=127.0.0.1:1",
            "--target=api.example.com:443",
            "--disable-authentication",
            proxy,
        ])
    };
    let converted = through("--proxy=http://10.0.0.9:3128/");
    must_pass_check(&converted);
    converted.must_print("negotiate: { connect: { proxy: \"10.0.0.9:3128\" } }");
    let converted = through("--proxy=http://joe:hunter2@[2001:db8::9]:3128");
    converted
        .must_exit_with(0)
        .must_print("{ proxy: \"[2001:db8::9]:3128\", authorization_file: tunnel.auth }")
        .must_print("# not converted: argument 5: --proxy=(hidden)\n#   `authorization_file`");
    check(&converted).must_exit_with(0);
    for other in [
        "--proxy=socks5://joe:hunter2@10.0.0.9:1080",
        "--proxy=http://joe:hunter2@proxy.example.com:3128",
    ] {
        let converted = through(other);
        converted.must_print("no service was converted");
        assert!(!converted.text().contains("hunter2"));
    }
}

/// The password is no part of a configuration: the file for it is named.
#[test]
fn stores_in_pkcs12_become_certificates_with_a_password_file() {
    let store = ["--keystore=app.p12", "--storepass=hunter2"];
    let server = [
        "server",
        "--listen=127.0.0.1:1",
        "--target=localhost:2",
        "--disable-authentication",
    ];
    let converted = ghostunnel(&[&server[..], &store].concat());
    converted
        .must_exit_with(0)
        .must_print("{ name: tunnel, cert: app.p12, password_file: app.p12.password }")
        .must_print("# not converted: argument 6: --storepass=(hidden)\n#   `password_file` names a file with it");
    assert!(!converted.text().contains("hunter2"));
    check(&converted).must_exit_with(0);
    let client = ["client", "--listen=127.0.0.1:1", "--target=a.test:2"];
    let converted = ghostunnel(&[&client[..], &store].concat());
    converted.must_print("client_certificate: { cert: app.p12, password_file: app.p12.password }");
    check(&converted).must_exit_with(0);
    let converted = stunnel("[a]\naccept = 127.0.0.1:1\nconnect = 127.0.0.1:2\ncert = app.pfx\n");
    converted
        .must_exit_with(0)
        .must_print("cert: app.pfx, password_file: app.pfx.password");
    check(&converted).must_exit_with(0);
}

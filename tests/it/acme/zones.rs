//! Validations by records in a zone of BIND, which takes signed updates.

use std::net::{SocketAddr, UdpSocket};

use hickory_resolver::proto::op::{Message, Query};
use hickory_resolver::proto::rr::{Name, RecordType};

use super::authority::{Ca, Wishes, records};
use crate::harness::{Directory, Origin, Port, Proxy, Service, TIMEOUT, command, eventually};

/// The secret of the key `reseal`, and another one.
const SECRET: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wE=";
const OTHER: &str = "b3RoZXIgc2VjcmV0IG9mIHRoZSBzYW1lIGxlbmd0aCE=";

/// A BIND that is the primary server of the zone `test`.
struct Zone {
    _directory: Directory,
    port: Port,
    _service: Service,
}

impl Zone {
    fn start() -> Self {
        let (directory, port) = (Directory::new(), Port::reserve());
        let root = directory.path().display().to_string();
        let number = port.number();
        directory.write(
            "named.conf",
            format!(
                "options {{\n\
                 directory \"{root}\"; pid-file none; session-keyfile none;\n\
                 listen-on port {number} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};\n\
                 recursion no; dnssec-validation no; notify no;\n}};\n\
                 controls {{ }};\n\
                 key reseal {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\n\
                 zone \"test\" {{ type primary; file \"test.zone\"; allow-update {{ key reseal; }}; }};\n"
            ),
        );
        directory.write(
            "test.zone",
            "$TTL 1\n@ SOA ns.test. admin.test. 1 60 60 60 1\n@ NS ns.test.\nns A 127.0.0.1\n",
        );
        let file = directory.join("named.conf");
        let service = Service::start_at(&port, || {
            let mut named = command("named");
            named.args(["-g", "-c"]).arg(&file);
            named
        });
        Self {
            _directory: directory,
            port,
            _service: service,
        }
    }

    fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// What an issuer has for it.
    fn of_issuer(&self, zone: &str, key: &str) -> String {
        let server = self.address();
        format!(
            ", challenge: dns-01, dns: {{ server: \"{server}\", zone: {zone}, tsig: {{ name: {key}, key_file: tsig.key }} }}"
        )
    }

    /// How many values the record of a validation has.
    fn values(&self, host: &str) -> usize {
        let name = Name::from_ascii(format!("_acme-challenge.{host}.")).unwrap();
        let mut message = Message::query();
        message.add_query(Query::query(name, RecordType::TXT));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        let bytes = message.to_vec().unwrap();
        socket.send_to(&bytes, self.address()).unwrap();
        let mut answer = [0; 4096];
        let len = socket.recv(&mut answer).unwrap();
        Message::from_vec(&answer[..len]).unwrap().answers.len()
    }
}

/// A proxy that the CA cannot reach.
fn proxy(ca: &Ca, more: &str, secret: &str, origin: &Origin) -> Proxy {
    ca.proxy(more)
        .listen("127.0.0.1:0")
        .top("process: { sandbox: required }")
        .file("tsig.key", format!("{secret}\n"))
        .route("terminate", "*.app.test", origin)
        .route("terminate", "app.test", origin)
        .with_certificate("{ acme: pebble, names: [\"*.app.test\", app.test] }")
        .start()
}

fn ca(zone: &Zone) -> Ca {
    let mut ca = Ca::prepare(Wishes::single());
    ca.asks(zone.address());
    ca.run();
    ca
}

#[test]
fn a_wildcard_is_issued_to_a_machine_that_the_ca_cannot_reach() {
    let zone = Zone::start();
    let ca = ca(&zone);
    let origin = Origin::echo();
    let proxy = proxy(&ca, &zone.of_issuer("test", "reseal"), SECRET, &origin);
    let first = ca.wait_for_certificate(&proxy, "one.app.test");
    for name in ["two.app.test", "app.test"] {
        let stream = ca.connect(proxy.listen_addr("edge"), name).unwrap();
        assert_eq!(stream.peer_certificate().unwrap(), first);
        stream.must_echo(b"x");
    }
    // Both names have the same record, each with a value of its own, and nothing of it is left.
    eventually("the records are removed", || zone.values("app.test") == 0);
    let reasons = records(&proxy);
    assert!(
        !reasons
            .iter()
            .any(|record| record.reason() == "acme_validated"),
        "{reasons:?}"
    );
    let listed = proxy.ctl_json(&["certificates"]);
    assert_eq!(listed["managed"][0]["names"][1], "*.app.test", "{listed}");
}

#[test]
fn a_name_server_that_refuses_an_update_is_told_with_the_reason() {
    let zone = Zone::start();
    let ca = ca(&zone);
    let origin = Origin::echo();
    let cases = [
        (
            "test",
            "reseal",
            OTHER,
            "it has another secret for the key reseal",
        ),
        (
            "test",
            "stranger",
            SECRET,
            "it does not know the key stranger",
        ),
        (
            "app.test",
            "reseal",
            SECRET,
            "it is not the primary server of app.test",
        ),
    ];
    crate::harness::at_once(cases, |(name, key, secret, why)| {
        let proxy = proxy(&ca, &zone.of_issuer(name, key), secret, &origin);
        let line = proxy.log_line(|line| line.contains("a certificate could not be had"));
        assert!(line.contains(why), "{why}: {line}");
        assert!(!proxy.log().iter().any(|line| line.contains(secret)));
    });
    assert_eq!(zone.values("app.test"), 0);
}

#[test]
fn a_name_server_that_does_not_answer_is_told_and_asked_again() {
    let zone = Zone::start();
    let ca = ca(&zone);
    let origin = Origin::echo();
    let silent = Origin::plain().silent();
    let more = zone.of_issuer("test", "reseal");
    let more = more.replace(
        &zone.address().to_string(),
        &silent.listen_addr().to_string(),
    );
    let proxy = proxy(&ca, &more, SECRET, &origin);
    let line = proxy.log_line(|line| line.contains("a certificate could not be had"));
    assert!(line.contains("it does not answer"), "{line}");
    assert!(line.contains("\"next\""), "{line}");
}

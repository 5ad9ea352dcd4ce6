//! OCSP responses that Reseal fetches from the responder of the CA.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rcgen::{CustomExtension, ExtendedKeyUsagePurpose, SerialNumber};

use crate::harness::{
    Authority, ConfigCheck, Directory, Identity, Leaf, Origin, Port, Proxy, ProxyBuilder, command,
    eventually, finish, output, pki,
};

const SERIAL: u64 = 0x4d;

/// A certificate with its issuer behind it.
fn identity() -> Identity {
    let leaf = Leaf::server(&["a.test"]).serial(SERIAL);
    pki().edge.issue(&leaf).below(&[&pki().edge])
}

/// A responder of the CA: HTTP of the test, around OpenSSL's own.
struct Responder {
    directory: Directory,
    address: SocketAddr,
    is_away: Arc<AtomicBool>,
}

impl Responder {
    /// One that signs with this certificate and says this of the serial number: `V` is good, `R` revoked.
    fn new(signer: &Identity, state: &str) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").unwrap(), signer, state)
    }

    fn at(listener: TcpListener, signer: &Identity, state: &str) -> Self {
        let directory = Directory::new();
        directory.write("ca.pem", pki().edge.pem());
        directory.write("signer.pem", &signer.cert);
        directory.write("signer.key", &signer.key);
        let responder = Self {
            directory: directory.clone(),
            address: listener.local_addr().unwrap(),
            is_away: Arc::default(),
        };
        responder.say(state);
        let is_away = Arc::clone(&responder.is_away);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let request = request(&mut stream).filter(|_| !is_away.load(Ordering::SeqCst));
                let answer = request.map(|request| respond(&directory, &request));
                let (status, body) = match answer {
                    Some(body) => ("200 OK", body),
                    None => ("503 Service Unavailable", Vec::new()),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                let stream = stream.get_mut();
                let _ = stream.write_all(&[head.as_bytes(), &body].concat());
            }
        });
        responder
    }

    fn of_the_ca(state: &str) -> Self {
        Self::new(&the_ca(), state)
    }

    fn url(&self) -> String {
        format!("http://{}/ocsp", self.address)
    }

    fn say(&self, state: &str) {
        let hex: String = SerialNumber::from(SERIAL)
            .to_bytes()
            .iter()
            .map(|b| format!("{b:02X}"))
            .collect();
        let revoked = if state == "R" { "250101000000Z" } else { "" };
        let line = format!("{state}\t401231235959Z\t{revoked}\t{hex}\tunknown\t/CN=a.test\n");
        self.directory.write("index.txt", line);
    }

    fn goes_away(&self) {
        self.is_away.store(true, Ordering::SeqCst);
    }
}

fn the_ca() -> Identity {
    Identity {
        cert: pki().edge.pem(),
        key: pki().edge.key_pem(),
    }
}

/// The body of a request.
fn request(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut length = 0;
    let mut line = String::new();
    while stream.read_line(&mut line).ok()? > 2 {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    (length > 0).then_some(body)
}

/// What OpenSSL answers.
fn respond(directory: &Directory, request: &[u8]) -> Vec<u8> {
    directory.write("request", request);
    let mut openssl = command("openssl");
    openssl
        .args(["ocsp", "-index", "index.txt", "-CA", "ca.pem"])
        .args(["-rsigner", "signer.pem", "-rkey", "signer.key"])
        .args(["-nmin", "60", "-reqin", "request", "-respout", "response"])
        .current_dir(directory.path());
    finish(openssl, b"").must_exit_with(0);
    std::fs::read(directory.join("response")).unwrap()
}

/// Fetches from this responder, as often as possible.
fn at(url: &str) -> String {
    format!("{{ url: \"{url}\", every: 1s, state: staples }}")
}

fn fetching(origin: &Origin, ocsp: &str) -> ProxyBuilder {
    presenting(origin, &identity(), ocsp)
}

fn presenting(origin: &Origin, identity: &Identity, ocsp: &str) -> ProxyBuilder {
    Proxy::builder()
        .endpoint("edge", "tls")
        .route("terminate", "a.test", origin)
        .on_tls("resumption: off")
        .file("a.pem", &identity.cert)
        .file("a.key", &identity.key)
        .with_certificate(&format!("{{ cert: a.pem, key: a.key, ocsp: {ocsp} }}"))
        .admin()
}

fn seen(proxy: &Proxy, version: &str) -> String {
    let address = proxy.listen_addr("edge").to_string();
    let ca = proxy.directory().join("edge-ca.pem").display().to_string();
    let arguments = [
        "s_client",
        "-connect",
        &address,
        "-servername",
        "a.test",
        "-CAfile",
        &ca,
        "-status",
        version,
    ];
    output("openssl", &arguments, "").text()
}

fn is_stapled(proxy: &Proxy) -> bool {
    let seen = seen(proxy, "-tls1_3");
    let is_stapled =
        seen.contains("OCSP Response Status: successful") && seen.contains("Cert Status: good");
    assert!(is_stapled || seen.contains("no response sent"), "{seen}");
    is_stapled
}

/// Why the last fetch failed; empty if it did not.
fn error(proxy: &Proxy) -> String {
    let listed = proxy.ctl_json(&["certificates"]);
    let error = listed["fetched"][0]["last_error"].as_str();
    error.unwrap_or_default().to_owned()
}

#[test]
fn a_response_is_fetched_verified_stapled_and_kept_over_a_restart() {
    let origin = Origin::echo();
    let port = Port::reserve();
    let ocsp = at(&format!("http://{}/ocsp", port.address()));
    let proxy = fetching(&origin, &ocsp)
        .top("process: { sandbox: required }")
        .start();
    // The responder is not there: clients are served all the same.
    assert!(!is_stapled(&proxy));
    eventually("it is told", || error(&proxy).contains("cannot connect"));
    let responder = Responder::at(port.listen(), &the_ca(), "V");
    eventually("it is stapled", || is_stapled(&proxy));
    for version in ["-tls1_2", "-tls1_3"] {
        let seen = seen(&proxy, version);
        assert!(
            seen.contains("Cert Status: good") && seen.contains("Verify return code: 0"),
            "{seen}"
        );
    }
    let listed = proxy.ctl_json(&["certificates"]);
    assert_eq!(listed["fetched"][0]["kind"], "ocsp");
    responder.goes_away();
    let proxy = proxy.restarted();
    assert!(is_stapled(&proxy));
}

#[test]
fn a_responder_that_the_issuer_has_authorized_is_believed_and_no_other() {
    let origin = Origin::echo();
    let signer = |authority: &Authority, purpose: ExtendedKeyUsagePurpose| {
        let leaf = Leaf::server(&["ocsp.test"]);
        authority.issue(&leaf.shaped(|params| params.extended_key_usages = vec![purpose]))
    };
    let edge = &pki().edge;
    let ended = Leaf::server(&["ocsp.test"]).expired();
    let ended = ended
        .shaped(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning]);
    let cases = [
        (signer(edge, ExtendedKeyUsagePurpose::OcspSigning), true),
        (signer(edge, ExtendedKeyUsagePurpose::ServerAuth), false),
        (
            signer(&pki().stranger, ExtendedKeyUsagePurpose::OcspSigning),
            false,
        ),
        (edge.issue(&ended), false),
    ];
    for (n, (signer, is_believed)) in cases.iter().enumerate() {
        let responder = Responder::new(signer, "V");
        let ocsp = at(&responder.url());
        let proxy = fetching(&origin, &ocsp).start();
        match is_believed {
            true => eventually("it is stapled", || is_stapled(&proxy)),
            false => {
                eventually("it is told", || {
                    error(&proxy).contains("neither the issuer nor")
                });
                assert!(!is_stapled(&proxy), "{n}");
            }
        }
    }
}

#[test]
fn a_certificate_that_is_revoked_is_told_and_no_response_of_another_one_is_stapled() {
    let origin = Origin::echo();
    let responder = Responder::of_the_ca("R");
    let ocsp = at(&responder.url());
    let proxy = fetching(&origin, &ocsp).start();
    eventually("it is told", || {
        error(&proxy).contains("says that the certificate is revoked")
    });
    assert!(!is_stapled(&proxy));
    responder.say("V");
    eventually("it is stapled", || is_stapled(&proxy));
    // Another certificate in the same file: the response is about the one before.
    let other = pki()
        .edge
        .issue(&Leaf::server(&["a.test"]).serial(7))
        .below(&[&pki().edge]);
    proxy.directory().write("a.key", &other.key);
    proxy.directory().write("a.pem", &other.cert);
    eventually("nothing is stapled", || !is_stapled(&proxy));
    eventually("the responder does not know it", || {
        error(&proxy).contains("does not know the certificate")
    });
}

/// AuthorityInfoAccess that names this responder.
fn access(url: &str) -> CustomExtension {
    let tagged = |tag: u8, content: &[u8]| {
        let mut element = vec![tag, u8::try_from(content.len()).unwrap()];
        element.extend(content);
        element
    };
    let method = [0x06, 0x08, 0x2b, 6, 1, 5, 5, 7, 0x30, 1];
    let description = tagged(
        0x30,
        &[method.to_vec(), tagged(0x86, url.as_bytes())].concat(),
    );
    let id = [1, 3, 6, 1, 5, 5, 7, 1, 1];
    CustomExtension::from_oid_content(&id, tagged(0x30, &description))
}

#[test]
fn a_responder_that_a_certificate_names_is_asked_at_public_addresses_alone() {
    let origin = Origin::echo();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let leaf = Leaf::server(&["a.test"]).extension(access(&url));
    let identity = pki().edge.issue(&leaf).below(&[&pki().edge]);
    let proxy = presenting(&origin, &identity, "{ every: 1s, state: staples }").start();
    eventually("it is refused", || {
        error(&proxy).contains("127.0.0.1 is no public address")
    });
    assert_eq!(proxy.ctl_json(&["certificates"])["fetched"][0]["url"], url);
    assert!(!is_stapled(&proxy));
    assert!(listener.accept().is_err(), "it was asked");
}

fn checked(identity: &Identity, ocsp: &str) -> ConfigCheck {
    ConfigCheck::new(&format!(
        "endpoints:\n\
         \x20 - name: edge\n\
         \x20   listen: 127.0.0.1:4430\n\
         \x20   tls: {{ certificates: [{{ cert: a.pem, key: a.key, ocsp: {ocsp} }}] }}\n\
         \x20   routes: [{{ name: a, mode: terminate, upstream: up, match: {{ sni: a.test }} }}]\n\
         upstreams:\n\
         \x20 up: {{ origins: [\"127.0.0.1:9\"] }}\n"
    ))
    .with_identity("a", identity)
    .with_file("issuer.pem", pki().edge.pem(), 0o644)
}

#[test]
fn check_tells_why_no_response_can_be_fetched_and_asks_the_responder() {
    let leaf = Leaf::server(&["a.test"]).serial(SERIAL);
    let alone = pki().edge.issue(&leaf);
    let responder = Responder::of_the_ca("V");
    let url = format!("url: \"{}\"", responder.url());
    checked(&identity(), "fetch").must_warn("fetch", &["a.pem", "names no responder"]);
    let missing = [
        "a.pem",
        "does not hold the certificate of its issuer",
        "issuer: FILE",
    ];
    checked(&alone, "fetch").must_warn("fetch", &missing);
    for (identity, more) in [(&identity(), ""), (&alone, ", issuer: issuer.pem")] {
        let good = checked(identity, &format!("{{ {url}{more} }}"));
        good.check(&["--strict"]).must_exit_with(0);
    }
    responder.goes_away();
    let gone = checked(&identity(), &format!("{{ {url} }}"));
    gone.must_warn("{ url", &["cannot be fetched now", "answers 503"]);
    gone.check(&["--strict", "--no-network"]).must_exit_with(0);
    checked(&identity(), "\"http://ca.test/\"")
        .must_report("\"http", &["this is a URL", "ocsp: { url: URL }"]);
}

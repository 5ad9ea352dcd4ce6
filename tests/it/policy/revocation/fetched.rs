//! Revocation lists that Reseal fetches from the CA.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::CrlDistributionPoint;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{
    CERTIFICATE_REVOKED, REVOKED, UNKNOWN_CA, alice, checked, must_admit, must_reject, revoked,
};
use crate::harness::{
    Authority, Directory, End, Leaf, List, NameServer, Origin, Port, Proxy, ProxyBuilder,
    eventually, pki,
};

/// The server of a CA, whose response a test sets.
struct Publisher {
    address: SocketAddr,
    response: Arc<Mutex<Vec<u8>>>,
    requests: Arc<Mutex<usize>>,
}

impl Publisher {
    fn new(body: Vec<u8>) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").unwrap(), None, body)
    }

    fn at(listener: TcpListener, tls: Option<Arc<ServerConfig>>, body: Vec<u8>) -> Self {
        let publisher = Self {
            address: listener.local_addr().unwrap(),
            response: Arc::default(),
            requests: Arc::default(),
        };
        publisher.publish(body);
        let (response, requests) = (
            Arc::clone(&publisher.response),
            Arc::clone(&publisher.requests),
        );
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let response = || response.lock().unwrap().clone();
                match &tls {
                    None => serve(&mut stream, response),
                    Some(tls) => {
                        let connection = ServerConnection::new(Arc::clone(tls)).unwrap();
                        serve(&mut StreamOwned::new(connection, stream), response);
                    }
                }
                *requests.lock().unwrap() += 1;
            }
        });
        publisher
    }

    fn url(&self) -> String {
        format!("http://{}/clients.crl", self.address)
    }

    fn publish(&self, body: Vec<u8>) {
        self.answer(good(body));
    }

    fn answer(&self, response: Vec<u8>) {
        *self.response.lock().unwrap() = response;
    }

    fn requests(&self) -> usize {
        *self.requests.lock().unwrap()
    }

    /// Waits for this many more requests.
    fn wait_for_requests(&self, count: usize) {
        let before = self.requests();
        eventually("the list is asked for", || {
            self.requests() >= before + count
        });
    }
}

fn serve(stream: &mut (impl Read + Write), response: impl Fn() -> Vec<u8>) {
    let _ = stream.read(&mut [0; 4096]);
    let _ = stream.write_all(&response());
    let _ = stream.flush();
}

fn good(body: Vec<u8>) -> Vec<u8> {
    let mut response =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    response.extend(body);
    response
}

fn list(revoked: &[u64]) -> Vec<u8> {
    List::of(revoked).der(&pki().clients)
}

/// A route whose clients' CA publishes its list at a URL.
fn fetching(origin: &Origin, url: &str) -> ProxyBuilder {
    fetching_as(origin, &format!("url: \"{url}\", every: 1s"))
}

fn fetching_as(origin: &Origin, keys: &str) -> ProxyBuilder {
    let crl = format!("[{{ {keys}, state: lists }}]");
    super::requiring(origin, &format!("ca: client-ca.pem, crl: {crl}")).admin()
}

/// Why the last fetch failed; empty if it did not.
fn error(proxy: &Proxy) -> String {
    let listed = proxy.ctl_json(&["certificates"]);
    let error = listed["fetched"][0]["last_error"].as_str();
    error.unwrap_or_default().to_owned()
}

fn wait_until_admitted(proxy: &Proxy) {
    eventually("the list is there", || {
        let client = proxy.client("a.test").certificate(&alice());
        client.tls12().try_connect().is_ok()
    });
}

#[test]
fn a_revoked_certificate_ends_its_live_connection_without_a_hand_on_this_machine() {
    let origin = Origin::echo();
    let publisher = Publisher::new(list(&[1]));
    let proxy = fetching(&origin, &publisher.url()).start();
    wait_until_admitted(&proxy);
    let mallory = proxy.client("a.test").certificate(&revoked()).connect();
    mallory.must_echo(b"not revoked yet");
    publisher.publish(list(&[1, REVOKED]));
    let (_, end) = mallory.receive_to_end();
    assert_eq!(end, End::Reset);
    proxy.outcome_of(&mallory).must_be("client_cert_revoked");
    let refused = proxy.client("a.test").certificate(&revoked()).refusal();
    assert_eq!(refused, End::Alert(CERTIFICATE_REVOKED));
    wait_until_admitted(&proxy);
}

#[test]
fn before_the_first_list_nobody_is_admitted_and_lists_survive_a_restart() {
    let origin = Origin::echo();
    let port = Port::reserve();
    let url = format!("http://{}/clients.crl", port.address());
    let proxy = fetching(&origin, &url).start();
    must_reject(&proxy, &alice(), "client_cert_crl_unknown", UNKNOWN_CA);
    eventually("it is told", || error(&proxy).contains("cannot connect"));
    proxy.ctl(&["certificates"]).must_print("cannot connect");
    proxy.log_line(|line| line.contains("cannot connect") && line.contains(&url));
    let failed = [("url", url.as_str()), ("kind", "crl"), ("result", "failed")];
    assert!(
        proxy
            .metrics()
            .count("reseal_revocation_fetches_total", &failed)
            >= 1.0
    );
    let publisher = Publisher::at(port.listen(), None, list(&[REVOKED]));
    wait_until_admitted(&proxy);
    for entry in std::fs::read_dir(proxy.directory().join("lists")).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    // The server answers with nothing of use from now on.
    publisher.answer(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec());
    let proxy = proxy.restarted();
    let refused = proxy.client("a.test").certificate(&revoked()).refusal();
    assert_eq!(refused, End::Alert(CERTIFICATE_REVOKED));
    must_admit(&proxy, &alice());
}

#[test]
fn what_is_no_list_of_the_ca_keeps_the_old_one_and_is_told() {
    let origin = Origin::echo();
    let publisher = Publisher::new(list(&[REVOKED]));
    let proxy = fetching(&origin, &publisher.url()).start();
    wait_until_admitted(&proxy);
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let redirect = format!(
        "HTTP/1.1 301 Moved\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n",
        elsewhere.local_addr().unwrap()
    );
    let stranger = List::of(&[]).der(&pki().stranger);
    let forged = List::of(&[]).der(&Authority::new("Client CA"));
    let older = List::of(&[]).made_days_ago(2).der(&pki().clients);
    let future = List::of(&[]).made_in_seconds(3600).der(&pki().clients);
    let partial = List::of(&[])
        .of_point("http://ca.test/some")
        .der(&pki().clients);
    let cases: [(Vec<u8>, &str); 10] = [
        (
            good(b"<html>maintenance</html>".to_vec()),
            "holds no revocation list",
        ),
        (good(Vec::new()), "the response: "),
        (good(stranger), "none of the CAs"),
        (good(forged), "not signed by the CA"),
        (good(older), "older than the one in use"),
        (good(future), "not valid before"),
        (good(partial), "no list that follows"),
        (redirect.into_bytes(), "not followed"),
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
            "404",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n".to_vec(),
            "more than 16777216 bytes",
        ),
    ];
    for (answer, why) in cases {
        publisher.answer(answer);
        eventually(why, || error(&proxy).contains(why));
        let refused = proxy.client("a.test").certificate(&revoked()).refusal();
        assert_eq!(refused, End::Alert(CERTIFICATE_REVOKED), "{why}");
        wait_until_admitted(&proxy);
    }
    let visit = elsewhere.accept().unwrap_err();
    assert_eq!(
        visit.kind(),
        ErrorKind::WouldBlock,
        "a redirect was followed"
    );
    publisher.publish(list(&[]));
    eventually("the next good one is used", || error(&proxy).is_empty());
    eventually("it admits whom it does not list", || {
        let client = proxy.client("a.test").certificate(&revoked());
        client.tls12().try_connect().is_ok()
    });
}

#[test]
fn a_list_is_fetched_again_before_it_ends_and_an_old_one_is_judged_by_the_policy() {
    let origin = Origin::echo();
    let ending = List::of(&[REVOKED])
        .made_in_seconds(-330)
        .next_in_seconds(45);
    let publisher = Publisher::new(ending.der(&pki().clients));
    let keys = format!("url: \"{}\", every: 1h", publisher.url());
    let proxy = fetching_as(&origin, &keys).start();
    wait_until_admitted(&proxy);
    // A tenth of its 375 s is left after 7 s.
    publisher.publish(list(&[]));
    publisher.wait_for_requests(1);
    eventually("the next list is used", || {
        let client = proxy.client("a.test").certificate(&revoked());
        client.tls12().try_connect().is_ok()
    });
    let ended = Publisher::new(List::of(&[REVOKED]).expired().der(&pki().clients));
    let proxy = fetching(&origin, &ended.url()).start();
    eventually("an old list denies", || {
        let refused = proxy.client("a.test").certificate(&alice()).refusal();
        let record = proxy.outcome();
        assert_eq!(refused, End::Alert(UNKNOWN_CA));
        record.reason() == "client_cert_crl_expired"
    });
    let crl = format!("[{{ url: \"{}\", every: 1s, state: lists }}]", ended.url());
    let policy = format!("ca: client-ca.pem, crl: {crl}, crl_expired: allow");
    let proxy = super::requiring(&origin, &policy).admin().start();
    wait_until_admitted(&proxy);
    let refused = proxy.client("a.test").certificate(&revoked()).refusal();
    assert_eq!(refused, End::Alert(CERTIFICATE_REVOKED));
}

#[test]
fn lists_are_fetched_in_a_sandbox_that_is_required() {
    let origin = Origin::echo();
    let publisher = Publisher::new(list(&[REVOKED]));
    let proxy = fetching(&origin, &publisher.url())
        .top("process: { sandbox: required }")
        .start();
    wait_until_admitted(&proxy);
    let refused = proxy.client("a.test").certificate(&revoked()).refusal();
    assert_eq!(refused, End::Alert(CERTIFICATE_REVOKED));
    publisher.publish(list(&[]));
    eventually("the next list is used", || {
        let client = proxy.client("a.test").certificate(&revoked());
        client.tls12().try_connect().is_ok()
    });
}

#[test]
fn a_list_at_https_needs_a_server_that_a_ca_vouches_for() {
    let origin = Origin::echo();
    let identity = pki().edge(&["localhost"]);
    let tls = Arc::new(pki().server_config(&identity));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let publisher = Publisher::at(listener, Some(tls), list(&[REVOKED]));
    let url = format!("https://localhost:{}/clients.crl", publisher.address.port());
    let proxy = fetching(&origin, &url).start();
    eventually("the server is not trusted", || {
        error(&proxy).contains("localhost:")
    });
    assert!(
        !error(&proxy).contains("cannot connect"),
        "{}",
        error(&proxy)
    );
    must_reject(&proxy, &alice(), "client_cert_crl_unknown", UNKNOWN_CA);
    let keys = format!("url: \"{url}\", every: 1s, ca: edge-ca.pem");
    let proxy = fetching_as(&origin, &keys).start();
    wait_until_admitted(&proxy);
}

#[test]
fn the_list_of_an_intermediate_is_signed_by_the_issuer_that_the_file_names() {
    let origin = Origin::echo();
    let department = pki().clients.subordinate("Department CA", 99);
    let carol = department
        .issue(&Leaf::client("carol"))
        .below(&[&department]);
    let of_department = Publisher::new(List::of(&[7]).der(&department));
    let start = |more: &str| {
        let url = of_department.url();
        let crl = format!("[root.crl, {{ url: \"{url}\", every: 1s, state: lists{more} }}]");
        super::requiring(&origin, &format!("ca: client-ca.pem, crl: {crl}"))
            .file("root.crl", list(&[]))
            .file("department.pem", department.pem())
            .admin()
            .start()
    };
    let proxy = start("");
    eventually("it is of no CA of the policy", || {
        error(&proxy).contains("none of the CAs")
    });
    let proxy = start(", issuer: department.pem");
    eventually("it is used", || {
        let client = proxy.client("a.test").certificate(&carol);
        client.tls12().try_connect().is_ok()
    });
}

/// A CA whose own certificate names this list.
fn naming(url: &str) -> Authority {
    Authority::shaped("Naming CA", |params| {
        params.crl_distribution_points = vec![CrlDistributionPoint {
            uris: vec![url.to_owned()],
        }];
    })
}

#[test]
fn a_list_that_a_certificate_names_is_asked_for_at_named_hosts_and_public_addresses_alone() {
    let origin = Origin::echo();
    let publisher = Publisher::new(Vec::new());
    let names = NameServer::new();
    let directory = Directory::new();
    names.addresses("crl.example.test", &[publisher.address]);
    names.addresses("other.example.test", &[publisher.address]);
    let port = publisher.address.port();
    let start = |host: &str| {
        let authority = naming(&format!("http://{host}:{port}/clients.crl"));
        let crl =
            "[{ from_certificates: true, hosts: [crl.example.test], every: 1s, state: lists }]";
        super::requiring(&origin, &format!("ca: naming.pem, crl: {crl}"))
            .file("naming.pem", authority.pem())
            .resolving_by(&names, &directory)
            .admin()
            .start()
    };
    let proxy = start("crl.example.test");
    eventually("a private address is refused", || {
        error(&proxy).contains("127.0.0.1 is no public address")
    });
    for other in ["other.example.test", "127.0.0.1"] {
        let proxy = start(other);
        let listed = proxy.ctl_json(&["certificates"]);
        assert_eq!(listed["fetched"].as_array().map(Vec::len), Some(0));
        proxy.log_line(|line| line.contains("names a revocation list at one of `hosts`"));
    }
    assert_eq!(publisher.requests(), 0);
}

/// A network of its own, in which this machine has a public address and publishes a list there.
#[test]
fn a_list_that_a_certificate_names_is_fetched_from_a_public_address() {
    const SERVE: &str = "ip link set lo up && ip address add 8.8.4.4/32 dev lo && \
        mount --bind \"$1/hosts\" /etc/hosts || exit 1; \
        python3 -m http.server 80 --bind 8.8.4.4 --directory \"$1/published\" >/dev/null 2>&1 & \
        shift; exec \"$@\"";
    let origin = Origin::echo();
    let authority = naming("http://crl.example.test/clients.crl");
    let directory = Directory::new();
    directory.write_with_mode("hosts", "8.8.4.4 crl.example.test\n", 0o644);
    std::fs::create_dir(directory.join("published")).unwrap();
    directory.write(
        "published/clients.crl",
        List::of(&[REVOKED]).der(&authority),
    );
    let place = directory.path().display().to_string();
    let crl = "[{ from_certificates: true, hosts: [\"*.example.test\"], every: 1s, state: lists }]";
    let proxy = super::requiring(&origin, &format!("ca: naming.pem, crl: {crl}"))
        .file("naming.pem", authority.pem())
        .under(&[
            "unshare",
            "-mnpf",
            "--kill-child",
            "sh",
            "-c",
            SERVE,
            "sh",
            &place,
        ])
        .admin()
        .start();
    eventually("the list is there", || {
        let listed = proxy.ctl_json(&["certificates"]);
        listed["revocation_lists"][0]["issuer"] == "CN=Naming CA"
    });
}

#[test]
fn check_fetches_a_list_and_warns_if_it_cannot_be_used() {
    let good = Publisher::new(list(&[]));
    let strange = Publisher::new(List::of(&[]).der(&pki().stranger));
    let of = |url: &str| {
        checked(&format!(
            "ca: client-ca.pem, crl: [{{ url: \"{url}\", state: lists }}]"
        ))
    };
    of(&good.url())
        .check(&[])
        .must_exit_with(0)
        .must_print("was not fetched yet");
    of(&good.url()).check(&["--strict"]).must_exit_with(0);
    of(&strange.url()).must_warn("{ url:", &["cannot be fetched now", "none of the CAs"]);
    let before = strange.requests();
    let quiet = of(&strange.url()).check(&["--no-network", "--strict"]);
    quiet.must_exit_with(0);
    assert_eq!(strange.requests(), before);
    checked("ca: client-ca.pem, crl: \"http://ca.test/a.crl\"")
        .must_report("\"http", &["this is a URL"]);
    checked("ca: client-ca.pem, crl: [{ url: \"ftp://ca.test/a.crl\" }]")
        .must_report("\"ftp", &["not a URL of"]);
    checked("ca: client-ca.pem, crl: [{ url: \"http://ca.test/a.crl\", every: 500ms }]")
        .must_report("500ms", &["shorter than `1s`"]);
    checked("ca: client-ca.pem, crl: [{ from_certificates: true }]")
        .must_report("{ from", &["missing key `hosts`"]);
    checked("ca: client-ca.pem, crl: [{ from_certificates: false, hosts: [a.test] }]")
        .must_report("false", &["fetches nothing"]);
}

//! A renewal affects only what uses the renewed file.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Directory, End, Identity, List, Origin, Proxy, Record, Stream, pki};

const RECHECKED: &str = "client certificates were rechecked";
const CERTIFICATE_REVOKED: u8 = 44;
const INADMISSIBLE: &str = "no longer admitted";

fn renew(directory: &Directory, name: &str, identity: &Identity) {
    let text = format!("{}{}", identity.cert, identity.key);
    directory.write(name, text);
}

/// An endpoint with its own certificate in `pair.pem`, and a short debounce time.
fn settings(proxy_file: &str) -> String {
    format!("process: {{ reload: {{ debounce: 50ms }}, key_permissions: warn }}\n{proxy_file}")
}

/// A CRL of the clients' CA with these serial numbers.
fn list(number: u64, revoked: &[u64]) -> String {
    List::of(revoked).number(number).pem(&pki().clients)
}

fn client(proxy: &Proxy, name: &str, serial: u64) -> Stream {
    let leaf = crate::harness::Leaf::client("client").serial(serial);
    let identity = pki().clients.issue(&leaf);
    let stream = proxy.client(name).certificate(&identity).connect();
    stream.must_echo(b"x");
    stream
}

/// Two routes, each with client auth and its own CRL.
fn two_lists(recheck: &str) -> (Proxy, Origin) {
    let origin = Origin::echo();
    let draft = Proxy::builder();
    let pair = pki().edge(&["a.test", "b.test"]);
    let draft = draft
        .file("pair.pem", format!("{}{}", pair.cert, pair.key))
        .file("a.crl", list(1, &[]))
        .file("b.crl", list(1, &[]));
    let route = |name: &str| {
        format!(
            "{{ name: {name}, match: {{ sni: {name}.test }}, mode: terminate, upstream: up, \
             client_auth: {{ mode: required, ca: client-ca.pem, crl: {name}.crl, recheck: {recheck} }} }}"
        )
    };
    let (a, b) = (route("a"), route("b"));
    let proxy = draft.yaml(&settings(&format!(
        "log: {{ format: json, level: debug }}
endpoints:
  - name: edge
    listen: 127.0.0.1:0
    tls: {{ certificates: [{{ cert: pair.pem }}] }}
    routes: [{a}, {b}]
upstreams: {{ up: {{ origins: [\"{origin}\"] }} }}
"
    )));
    (proxy.start(), origin)
}

/// The log lines that contain `what`.
fn lines(proxy: &Proxy, what: &str) -> Vec<Value> {
    let log = proxy.log();
    let lines = log.iter().filter(|line| line.contains(what));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_renewed_list_rechecks_the_clients_that_it_applies_to_and_no_others() {
    let (proxy, _origin) = two_lists("close");
    let (a, b) = (client(&proxy, "a.test", 1), client(&proxy, "b.test", 2));
    proxy.reloads(|| drop(proxy.directory().write("a.crl", list(2, &[]))));
    proxy.log_line(|line| line.contains(RECHECKED));
    proxy.reloads(|| {
        let pair = pki().edge(&["a.test", "b.test"]);
        renew(proxy.directory(), "pair.pem", &pair);
    });
    proxy.reloads(|| proxy.signal(Signal::HUP));
    // Once the client of this CRL is closed, all earlier work is done.
    proxy.reloads(|| drop(proxy.directory().write("b.crl", list(2, &[2]))));
    b.receive_to_end();
    proxy.outcome_of(&b).must_be("client_cert_revoked");
    let rechecked = lines(&proxy, RECHECKED);
    let counts: Vec<_> = rechecked.iter().map(|line| &line["connections"]).collect();
    assert_eq!(counts, [1, 1]);
    a.must_echo(b"untouched");
}

#[test]
fn a_client_that_may_stay_is_logged_once_for_each_change_that_affects_it() {
    let (proxy, _origin) = two_lists("log");
    let stays = client(&proxy, "a.test", 1);
    let renewals = |number, revoked: &[u64]| {
        proxy.reloads(|| drop(proxy.directory().write("a.crl", list(number, revoked))));
        let expected = usize::try_from(number).unwrap() - 1;
        crate::harness::eventually("the client is reported", || {
            lines(&proxy, INADMISSIBLE).len() >= expected
        });
        // Neither of these changes concerns the client.
        proxy.reloads(|| {
            let pair = pki().edge(&["a.test", "b.test"]);
            renew(proxy.directory(), "pair.pem", &pair);
        });
        proxy.reloads(|| proxy.signal(Signal::HUP));
    };
    renewals(2, &[1]);
    renewals(3, &[1, 7]);
    assert_eq!(lines(&proxy, INADMISSIBLE).len(), 2);
    stays.must_echo(b"x");
}

#[test]
fn a_renewed_server_certificate_and_an_unchanged_reload_keep_the_sessions_with_origins() {
    let origin = Origin::with_tls().echo();
    let pair = pki().edge(&["a.test"]);
    let draft = Proxy::builder().file("pair.pem", format!("{}{}", pair.cert, pair.key));
    let proxy = draft.yaml(&settings(&format!(
        "log: {{ format: json }}
endpoints:
  - name: edge
    listen: 127.0.0.1:0
    tls: {{ certificates: [{{ cert: pair.pem }}] }}
    routes: [{{ name: a, match: {{ sni: a.test }}, mode: reencrypt, upstream: up }}]
upstreams:
  up: {{ origins: [\"{origin}\"], tls: {{ ca: origin-ca.pem, server_name: origin.test }} }}
"
    )));
    let proxy = proxy.start();
    let exchange = || -> Record {
        let client = proxy.client("a.test").connect();
        client.must_echo(b"x");
        client.end();
        client.receive_to_end();
        proxy.outcome_of(&client)
    };
    assert_eq!(exchange()["origin_tls_resumed"], false);
    assert_eq!(exchange()["origin_tls_resumed"], true);
    proxy.reloads(|| proxy.signal(Signal::HUP));
    assert_eq!(
        exchange()["origin_tls_resumed"],
        true,
        "after an unchanged reload"
    );
    let renewed = pki().edge(&["a.test"]);
    proxy.reloads(|| renew(proxy.directory(), "pair.pem", &renewed));
    let client = proxy.client("a.test").connect();
    assert_eq!(
        client.peer_certificate().unwrap(),
        renewed.chain()[0].to_vec()
    );
    assert_eq!(exchange()["origin_tls_resumed"], true, "after a renewal");
}

/// The inodes of the process's listening TCP sockets.
fn listening_sockets(proxy: &Proxy) -> Vec<String> {
    const LISTEN: &str = "0A";
    let table = fs::read_to_string(format!("/proc/{}/net/tcp", proxy.pid())).unwrap();
    let port = format!(":{:04X}", proxy.listen_addr("edge").tcp().port());
    let sockets = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        (fields[1].ends_with(&port) && fields[3] == LISTEN).then(|| fields[9].to_owned())
    });
    sockets.collect()
}

#[test]
fn no_reload_rebinds_a_listening_socket_that_stays() {
    let (proxy, _origin) = two_lists("close");
    let before = listening_sockets(&proxy);
    assert!(!before.is_empty());
    proxy.reloads(|| {
        let pair = pki().edge(&["a.test", "b.test"]);
        renew(proxy.directory(), "pair.pem", &pair);
    });
    assert_eq!(listening_sockets(&proxy), before);
    proxy.reloads(|| proxy.signal(Signal::HUP));
    assert_eq!(listening_sockets(&proxy), before);
    let text = proxy.text().replace("mode: required", "mode: optional");
    proxy.reload(&text);
    assert_eq!(listening_sockets(&proxy), before);
}

#[test]
fn a_file_that_stays_broken_is_reported_when_another_one_is_renewed() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_route("client_auth: { mode: required, ca: client-ca.pem, crl: a.crl }")
        .file("a.crl", list(1, &[]))
        .top("process: { reload: { debounce: 50ms } }")
        .admin()
        .start();
    let status = || proxy.ctl_json(&["status"])["last_reload"].clone();
    proxy.reloads(|| drop(proxy.directory().write("client-ca.pem", "broken")));
    assert_eq!(status()["result"], "partial");
    proxy.reloads(|| drop(proxy.directory().write("a.crl", list(2, &[3]))));
    let last = status();
    assert_eq!(last["result"], "partial");
    assert!(
        last["reasons"][0]
            .as_str()
            .unwrap()
            .contains("client-ca.pem"),
        "{last}"
    );
    // Both old contents are in force: the CA from before, and the current CRL.
    client(&proxy, "a.test", 1);
    let refused = pki()
        .clients
        .issue(&crate::harness::Leaf::client("x").serial(3));
    let refused = proxy.client("a.test").certificate(&refused);
    assert_eq!(refused.refusal(), End::Alert(CERTIFICATE_REVOKED));
    proxy.reloads(|| {
        drop(
            proxy
                .directory()
                .write("client-ca.pem", pki().clients.pem()),
        )
    });
    assert_eq!(status()["result"], "done");
}

/// Waits until clients are presented this certificate.
#[track_caller]
fn is_presented(proxy: &Proxy, identity: &Identity) {
    crate::harness::eventually("the renewed certificate is presented", || {
        let client = proxy.client("a.test").connect();
        client.peer_certificate().unwrap() == identity.chain()[0].to_vec()
    });
}

fn one_route(certificate: &str, origin: &Origin) -> String {
    settings(&format!(
        "log: {{ format: json }}
endpoints:
  - name: edge
    listen: 127.0.0.1:0
    tls: {{ certificates: [{certificate}] }}
    routes: [{{ name: a, match: {{ sni: a.test }}, mode: terminate, upstream: up }}]
upstreams: {{ up: {{ origins: [\"{origin}\"] }} }}
"
    ))
}

#[test]
fn a_pair_in_a_directory_of_a_directory_is_renewed_at_once() {
    let origin = Origin::echo();
    let first = pki().edge(&["a.test"]);
    let proxy = Proxy::builder()
        .file("pairs/a/fullchain.pem", &first.cert)
        .file("pairs/a/privkey.pem", &first.key)
        .yaml(&one_route("{ dir: pairs }", &origin))
        .start();
    for _ in 0..2 {
        let renewed = pki().edge(&["a.test"]);
        proxy.directory().write("pairs/a/privkey.pem", &renewed.key);
        proxy
            .directory()
            .write("pairs/a/fullchain.pem", &renewed.cert);
        is_presented(&proxy, &renewed);
    }
}

#[test]
fn a_link_that_leads_elsewhere_since_a_renewal_is_followed_from_then_on() {
    let origin = Origin::echo();
    let [first, second, third] = [(); 3].map(|()| pki().edge(&["a.test"]));
    let whole = |identity: &Identity| format!("{}{}", identity.cert, identity.key);
    let draft = Proxy::builder()
        .file("one/pair.pem", whole(&first))
        .file("two/pair.pem", whole(&second));
    std::os::unix::fs::symlink("one/pair.pem", draft.path("pair.pem")).unwrap();
    let proxy = draft
        .yaml(&one_route("{ cert: pair.pem }", &origin))
        .start();
    let link = proxy.directory().join("link");
    std::os::unix::fs::symlink("two/pair.pem", &link).unwrap();
    fs::rename(&link, proxy.directory().join("pair.pem")).unwrap();
    is_presented(&proxy, &second);
    renew(proxy.directory(), "two/pair.pem", &third);
    is_presented(&proxy, &third);
}

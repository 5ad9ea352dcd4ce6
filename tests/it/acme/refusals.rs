//! A CA that refuses: too many orders, names that it cannot validate, an account that it does not know.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::authority::{Ca, Wishes, state_files};
use crate::harness::{Authority, Leaf, Origin, Proxy, Stream, eventually, pki};

/// What the CA asks for, in seconds.
const RETRY_AFTER: i64 = 3600;

/// A CA that refuses every order, since there are too many; `orders` counts them.
fn limiting(authority: &Authority, orders: &Arc<AtomicUsize>) -> Origin {
    let orders = Arc::clone(orders);
    let identity = authority.issue(&Leaf::server(&["127.0.0.1"]));
    Origin::tls(&identity).serve(move |stream| {
        let head = head(&stream);
        let host = head.split("host: ").nth(1).and_then(|rest| rest.lines().next());
        let base = format!("https://{}", host.unwrap_or_default());
        let path = head.split_whitespace().nth(1).unwrap_or_default();
        let (status, more, body) = match path {
            "/dir" => {
                let urls = ["newNonce", "newAccount", "newOrder"]
                    .map(|name| format!("\"{name}\": \"{base}/{name}\""));
                ("200 OK", String::new(), format!("{{ {} }}", urls.join(", ")))
            }
            "/newAccount" => {
                let place = format!("Location: {base}/account/1\r\n");
                ("201 Created", place, "{ \"status\": \"valid\" }".to_owned())
            }
            "/newOrder" => {
                orders.fetch_add(1, Ordering::SeqCst);
                let problem = "{ \"type\": \"urn:ietf:params:acme:error:rateLimited\", \
                               \"detail\": \"too many certificates\", \"status\": 429 }";
                let pause = format!("Retry-After: {RETRY_AFTER}\r\n");
                ("429 Too Many Requests", pause, problem.to_owned())
            }
            _ => ("200 OK", String::new(), String::new()),
        };
        let (len, is_head) = (body.len(), head.starts_with("HEAD"));
        stream.send(format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/problem+json\r\nReplay-Nonce: bm9uY2U\r\n\
             {more}Content-Length: {len}\r\n\r\n{}",
            if is_head { "" } else { &body }
        ));
        // The client closes.
        while stream.read().is_ok_and(|data| !data.is_empty()) {}
    })
}

/// The head of a request.
fn head(stream: &Stream) -> String {
    let mut head = String::new();
    while !head.contains("\r\n\r\n") {
        match stream.read() {
            Ok(data) if !data.is_empty() => head.push_str(&String::from_utf8_lossy(&data)),
            _ => break,
        }
    }
    head
}

/// The certificates that issuers keep, as `ctl` tells of them.
fn managed(proxy: &Proxy) -> Vec<Value> {
    let listed = proxy.ctl_json(&["certificates"]);
    listed["managed"].as_array().unwrap().clone()
}

/// A time in so many seconds, as `ctl` writes it.
fn shown(seconds: i64) -> String {
    let at = OffsetDateTime::now_utc() + Duration::seconds(seconds);
    let (hour, minute, second) = at.time().as_hms();
    format!("{}T{hour:02}:{minute:02}:{second:02}", at.date())
}

#[test]
fn a_ca_that_wants_fewer_orders_is_left_alone_for_as_long_as_it_says() {
    let orders = Arc::new(AtomicUsize::new(0));
    let authority = Authority::new("CA of the directory");
    let ca = limiting(&authority, &orders);
    let origin = Origin::echo();
    let mut builder = Proxy::builder()
        .file("directory-ca.pem", authority.pem())
        .top(&format!(
            "acme: {{ ca: {{ directory: \"https://{}/dir\", ca: directory-ca.pem, state: state }} }}",
            ca.listen_addr()
        ))
        .admin()
        .endpoint("edge", "tls");
    for n in 0..20 {
        builder = builder
            .route("terminate", &format!("a{n}.test"), &origin)
            .with_certificate(&format!("{{ acme: ca, names: [a{n}.test] }}"));
    }
    let proxy = builder.start();
    let mut refused = Vec::new();
    eventually("the CA's words are told", || {
        refused = managed(&proxy);
        refused.retain(|one| one["last_error"].is_string());
        !refused.is_empty()
    });
    for one in &refused {
        let words = "the CA says rateLimited: too many certificates";
        assert_eq!(one["last_error"], words, "{one}");
        assert_eq!(one["state"], "certificate_pending", "{one}");
        let next = one["next_order"].as_str().unwrap();
        assert!(
            *next > *shown(RETRY_AFTER - 120) && *next < *shown(RETRY_AFTER * 5 / 4 + 120),
            "{one}"
        );
    }
    // The others wait, too: there is no burst of orders that a CA refuses.
    assert!(orders.load(Ordering::SeqCst) <= 4, "{orders:?}");
    let labels = [("issuer", "ca"), ("result", "rate_limited")];
    let metrics = proxy.metrics();
    assert!(metrics.count("reseal_acme_orders_total", &labels) >= 1.0);
}

#[test]
fn a_name_that_leads_to_another_machine_is_told_in_the_words_of_the_ca() {
    let mut ca = Ca::prepare(Wishes::single());
    let other = Origin::tls(&pki().origin(&["app.test"])).echo();
    ca.answers_elsewhere(other.listen_addr().port());
    ca.names_lead_here(&["app.test"]);
    ca.run();
    let origin = Origin::echo();
    let proxy = ca
        .proxy("")
        .route("terminate", "app.test", &origin)
        .with_certificate("{ acme: pebble, names: [app.test] }")
        .start();
    let mut words = String::new();
    eventually("the CA's words are told", || {
        let one = managed(&proxy).remove(0);
        words = one["last_error"].as_str().unwrap_or_default().to_owned();
        !words.is_empty()
    });
    assert!(words.starts_with("app.test: the CA says "), "{words}");
    eventually("/readyz has them, too", || {
        proxy.probe("/readyz").body.contains(&words)
    });
    let labels = [("issuer", "pebble"), ("result", "validation")];
    assert_eq!(
        proxy.metrics().count("reseal_acme_orders_total", &labels),
        1.0
    );
}

#[test]
fn an_account_that_the_ca_does_not_know_any_more_is_replaced() {
    let mut ca = Ca::start(&["app.test"]);
    let origin = Origin::echo();
    let proxy = ca
        .proxy("")
        .route("terminate", "app.test", &origin)
        .with_certificate("{ acme: pebble, names: [app.test] }")
        .start();
    ca.wait_for_certificate(&proxy, "app.test");
    let state = proxy.directory().join("state");
    let files = state_files(&proxy);
    let file = |what: &dyn Fn(&str) -> bool| files.iter().find(|name| what(name)).unwrap().clone();
    let account = file(&|name| name.contains("account"));
    let before = std::fs::read(state.join(&account)).unwrap();
    let pem = file(&|name| name.ends_with(".pem"));
    // It keeps nothing over a restart.
    ca.stop();
    ca.run();
    std::fs::remove_file(state.join(pem)).unwrap();
    let proxy = proxy.restarted();
    ca.wait_for_certificate(&proxy, "app.test");
    proxy.log_line(|line| line.contains("the CA does not know the account any more"));
    assert_ne!(std::fs::read(state.join(&account)).unwrap(), before);
    let kept = state_files(&proxy);
    assert!(
        kept.iter().any(|name| name.ends_with(".gone")),
        "the key of the old one stays: {kept:?}"
    );
}

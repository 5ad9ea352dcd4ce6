//! A real Prometheus scrapes the metrics, loads the rules and answers every query of the dashboard.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

use super::web::{curl as get, nginx};
use crate::harness::{
    Directory, List, Origin, Proxy, Service, TIMEOUT, becomes_true, command, curl, dead_address,
    eventually, output, pki,
};

fn packaged(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging")
        .join(name);
    path.display().to_string()
}

/// A proxy that has something to show in every panel.
fn proxy(origin: &Origin, dead: SocketAddr) -> Proxy {
    let own = pki().client("own");
    Proxy::builder()
        .reencrypt("a.test", origin)
        .on_endpoint("limits: { connections: 100 }")
        .on_tls("client_auth: { mode: optional, ca: client-ca.pem, crl: good.crl }")
        .file("good.crl", List::of(&[1]).pem(&pki().clients))
        .origin_tls(
            "{ ca: origin-ca.pem, server_name: origin.test, client_certificate: { cert: own.pem, key: own.key } }",
        )
        .file("own.pem", &own.cert)
        .file("own.key", &own.key)
        .origins(&format!(
            "[{{ address: \"{dead}\", name: dead }}, \
              {{ address: \"{origin}\", name: alive, connections: 50 }}]"
        ))
        .on_upstream("balance: first")
        .on_upstream("connect: { queue: 10 }")
        .with_certificate("{ acme: le, names: [d.test] }")
        .top("acme: { le: { directory: \"https://127.0.0.1:1/dir\", state: state } }")
        .passthrough("b.test", origin)
        .on_route("client_auth: { mode: off }")
        .on_route("limits: { bandwidth: { up: 1GiB/s, down: 1GiB/s } }")
        .on_upstream("health: { check: tcp, interval: 100ms }")
        .forward(&dead)
        .admin()
        .start()
}

/// A Prometheus that scrapes these proxies five times a second, beginning five seconds after its start.
fn prometheus(directory: &Directory, proxies: &[&Proxy]) -> Service {
    let address = |proxy: &&Proxy| format!("\"{}\"", proxy.admin_listener("metrics"));
    let addresses: Vec<_> = proxies.iter().map(address).collect();
    let config = format!(
        "global: {{ scrape_interval: 200ms, evaluation_interval: 200ms }}\n\
         rule_files: [\"{}\"]\n\
         scrape_configs:\n  - job_name: reseal\n    static_configs: [{{ targets: [{}] }}]\n",
        packaged("prometheus/reseal.rules.yml"),
        addresses.join(", "),
    );
    let config = directory.write("prometheus.yml", config);
    let prometheus = Service::start(|port| {
        let mut prometheus = command("prometheus");
        prometheus
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=warn");
        prometheus
    });
    // It accepts connections a moment before it answers them.
    let ready = format!("http://{prometheus}/-/ready");
    eventually("Prometheus is ready", || curl(&[&ready]).status == 200);
    prometheus
}

/// The answer of Prometheus' API.
#[track_caller]
fn api(prometheus: &Service, path: &str, query: &str) -> Value {
    let url = format!("http://127.0.0.1:{}/api/v1/{path}", prometheus.port());
    let query = format!("query={query}");
    let answer = curl(&["-G", "--data-urlencode", &query, &url]);
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    answer.json()["data"].take()
}

/// Every query of the dashboard, with its variables filled in, by the title of its panel.
fn queries(dashboard: &Value) -> BTreeMap<String, String> {
    let mut queries = BTreeMap::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let title = format!("{} {}", panel["title"], target["refId"]);
            let query = target["expr"].as_str().unwrap();
            assert_eq!(queries.insert(title, filled_in(query)), None);
        }
    }
    assert!(queries.len() > 30, "{}", queries.len());
    queries
}

/// A query without the variables of the dashboard.
fn filled_in(query: &str) -> String {
    let query = query
        .replace("$job", "reseal")
        .replace("$instance", ".*")
        .replace("$__rate_interval", "1m");
    assert!(!query.contains('$'), "{query}");
    query
}

/// One exchange over the routes, and a client that is refused.
fn traffic(proxy: &Proxy) {
    let alice = pki().client("alice");
    let client = proxy.client("a.test").certificate(&alice).connect();
    client.must_echo(b"x");
    client.end();
    client.receive_to_end();
    proxy.dial("forward").receive_to_end();
    proxy.client("c.test").refusal();
}

#[test]
fn prometheus_has_an_answer_to_every_query_of_the_dashboard() {
    let origin = Origin::with_tls().ticketing().echo();
    let (dead, _port) = dead_address();
    let (directory, proxy) = (Directory::new(), proxy(&origin, dead));
    let prometheus = prometheus(&directory, &[&proxy]);
    let text = std::fs::read_to_string(packaged("grafana/reseal.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut left = queries(&dashboard);
    becomes_true(TIMEOUT, || {
        traffic(&proxy);
        left.retain(|_, query| {
            let answer = api(&prometheus, "query", query);
            answer["result"].as_array().unwrap().is_empty()
        });
        left.is_empty()
    });
    assert!(left.is_empty(), "without an answer: {left:#?}");
    let reloads = dashboard["annotations"]["list"][0]["expr"].as_str();
    api(&prometheus, "query", &filled_in(reloads.unwrap()));
    // Before the rules had their first turn, their health is unknown.
    eventually("the rules were evaluated", || {
        let rules = api(&prometheus, "rules", "");
        let rules = rules["groups"][0]["rules"].as_array().unwrap().clone();
        assert!(
            rules.iter().all(|rule| rule["health"] != "err"),
            "{rules:?}"
        );
        rules.len() > 10 && rules.iter().all(|rule| rule["health"] == "ok")
    });
    // The convention of names, units and types.
    let page = proxy.probe("/metrics").must_be(200).body.clone();
    let lint = output("promtool", &["check", "metrics"], &page);
    lint.must_exit_with(0);
    assert_eq!((lint.stdout.as_str(), lint.stderr.as_str()), ("", ""));
}

/// The sum of the samples of a query.
fn sum(prometheus: &Service, query: &str) -> f64 {
    let answer = api(prometheus, "query", &format!("sum({query})"));
    let text = answer["result"][0]["value"][1].as_str().unwrap_or("NaN");
    text.parse().unwrap()
}

/// The firing alerts, after the rules were evaluated on what was scraped.
fn fires(prometheus: &Service) -> BTreeSet<String> {
    let evaluated = || api(prometheus, "rules", "")["groups"][0]["lastEvaluation"].clone();
    let before = evaluated();
    eventually("the rules are evaluated", || evaluated() != before);
    let answer = api(prometheus, "alerts", "");
    let alerts = answer["alerts"].as_array().expect("alerts");
    assert!(alerts.iter().all(|alert| alert["state"] == "firing"));
    let name = |alert: &Value| alert["labels"]["alertname"].as_str().unwrap().to_owned();
    alerts.iter().map(name).collect()
}

#[test]
fn prometheus_is_silent_over_good_traffic_and_reports_what_fails() {
    let directory = Directory::new();
    let origin = nginx(&directory, true);
    let start = || {
        Proxy::builder()
            .reencrypt("a.test", &origin)
            .on_tls("alpn: [h2, http/1.1]")
            .on_upstream("health: { check: tls, interval: 100ms }")
            .on_upstream("connect: { attempts: 1 }")
            .admin()
            .start()
    };
    let (first, second) = (start(), start());
    let prometheus = prometheus(&directory, &[&first, &second]);
    eventually("both are scraped", || sum(&prometheus, "up") == 2.0);
    let ended = |count: f64| {
        eventually("the connections are scraped", || {
            sum(&prometheus, "reseal_outcomes_total") == count
        });
    };
    for proxy in [&first, &second] {
        for version in ["--http1.1", "--http2"].repeat(5) {
            get(proxy, "large", &[version, "--output", "/dev/null"]).must_exit_with(0);
        }
    }
    ended(20.0);
    assert_eq!(fires(&prometheus), BTreeSet::new());
    let mut expected = BTreeSet::from(["ResealUpstreamDown".to_owned()]);
    drop(origin);
    eventually("the origin is down", || fires(&prometheus) == expected);
    for n in 1..=3 {
        assert_ne!(get(&first, "", &[]).code, Some(0));
        ended(20.0 + f64::from(n));
    }
    expected.insert("ResealOriginsFail".to_owned());
    assert_eq!(fires(&prometheus), expected);
    drop(second);
    expected.insert("ResealDown".to_owned());
    eventually("a process is down", || fires(&prometheus) == expected);
}

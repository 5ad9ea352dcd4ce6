//! A real Prometheus scrapes the metrics, loads the rules and answers every query of the dashboard.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

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
        .passthrough("b.test", origin)
        .on_route("client_auth: { mode: off }")
        .on_upstream("health: { check: tcp, interval: 100ms }")
        .forward(&dead)
        .admin()
        .start()
}

/// A Prometheus that scrapes the proxy every second.
fn prometheus(directory: &Directory, proxy: &Proxy) -> Service {
    let config = format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
         rule_files: [\"{}\"]\n\
         scrape_configs:\n  - job_name: reseal\n    static_configs: [{{ targets: [\"{}\"] }}]\n",
        packaged("prometheus/reseal.rules.yml"),
        proxy.admin_listener("metrics"),
    );
    let config = directory.write("prometheus.yml", config);
    Service::start(|port| {
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
    })
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
    let prometheus = prometheus(&directory, &proxy);
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

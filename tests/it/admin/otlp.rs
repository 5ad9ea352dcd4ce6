//! `access_log.otlp`: records as OTLP over HTTP, with and without TLS.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::harness::{
    ConfigCheck, Origin, Proxy, ProxyBuilder, Stream, TIMEOUT, eventually, one_route, pki,
};

/// A request that the collector got: its head and its body.
#[derive(Debug)]
struct Request {
    head: String,
    body: Value,
}

impl Request {
    /// Reads one; `None` at the end of the connection.
    fn read(stream: &Stream, received: &mut Vec<u8>) -> Option<Self> {
        loop {
            let end = received.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            if let Some(end) = end {
                let head = String::from_utf8(received[..end].to_vec()).unwrap();
                let length = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    name.eq_ignore_ascii_case("content-length")
                        .then(|| value.parse::<usize>().unwrap())
                });
                let length = length.expect("a length");
                if received.len() >= end + 4 + length {
                    let body = received.drain(..end + 4 + length).skip(end + 4);
                    let body = serde_json::from_slice(&body.collect::<Vec<_>>()).unwrap();
                    return Some(Self { head, body });
                }
            }
            let bytes = stream.read().ok().filter(|bytes| !bytes.is_empty())?;
            received.extend(bytes);
        }
    }

    /// The records in it.
    fn records(&self) -> Vec<Value> {
        let logs = &self.body["resourceLogs"][0];
        let records = &logs["scopeLogs"][0]["logRecords"];
        records.as_array().unwrap().clone()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// A collector that answers with these, then with 200.
fn collector(tls: bool, answers: &[&'static str]) -> (Origin, Receiver<Request>) {
    let (sender, requests) = channel();
    let sender = Mutex::new(sender);
    let answers = Arc::new(Mutex::new(answers.iter().copied().collect::<VecDeque<_>>()));
    let draft = if tls {
        Origin::with_tls()
    } else {
        Origin::plain()
    };
    let origin = draft.serve(move |stream| {
        let mut received = Vec::new();
        while let Some(request) = Request::read(&stream, &mut received) {
            if sender.lock().unwrap().send(request).is_err() {
                return;
            }
            let answer = answers
                .lock()
                .unwrap()
                .pop_front()
                .unwrap_or("200 OK\r\ncontent-length: 2\r\n\r\n{}");
            stream.send(format!("HTTP/1.1 {answer}"));
        }
    });
    (origin, requests)
}

fn draft(origin: &Origin, otlp: &str) -> ProxyBuilder {
    Proxy::builder()
        .top(&format!("access_log: {{ otlp: {{ {otlp} }} }}"))
        .top("process: { reload: { debounce: 50ms } }")
        .admin()
        .forward(origin)
}

#[track_caller]
fn exchange(proxy: &Proxy) {
    let client = proxy.dial("forward");
    client.must_echo(b"x");
    client.end();
    client.receive_to_end();
}

/// All records of the next requests, at least so many.
#[track_caller]
fn records(requests: &Receiver<Request>, count: usize) -> Vec<Value> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(requests.recv_timeout(TIMEOUT).unwrap().records());
    }
    all
}

fn attribute<'r>(record: &'r Value, key: &str) -> &'r Value {
    let mut all = record["attributes"].as_array().unwrap().iter();
    let found = all.find(|attribute| attribute["key"] == key);
    &found.unwrap_or_else(|| panic!("no {key} in {record}"))["value"]
}

#[test]
fn an_http_endpoint_gets_the_records_at_v1_logs_beside_the_output() {
    let (collector, requests) = collector(false, &[]);
    let origin = Origin::echo();
    for format in ["json", "logfmt"] {
        let proxy = Proxy::builder()
            .top(&format!(
                "access_log: {{ format: {format}, events: [open, close], otlp: {{ endpoint: \"http://{collector}\" }} }}"
            ))
            .forward(&origin)
            .start();
        exchange(&proxy);
        let first = requests.recv_timeout(TIMEOUT).unwrap();
        assert!(
            first.head.starts_with("POST /v1/logs HTTP/1.1\r\n"),
            "{first:?}"
        );
        assert_eq!(first.header("content-type"), Some("application/json"));
        assert_eq!(first.header("host"), Some(collector.to_string().as_str()));
        let mut all = first.records();
        all.extend(records(&requests, 2 - all.len()));
        let events = all
            .iter()
            .map(|record| attribute(record, "event")["stringValue"].clone());
        assert_eq!(events.collect::<Vec<_>>(), ["open", "close"]);
        let close = &all[1];
        assert_eq!(close["eventName"], "reseal.connection.close");
        assert_eq!(
            (&close["severityNumber"], &close["severityText"]),
            (&9.into(), &"INFO".into())
        );
        assert_eq!(attribute(close, "bytes_up")["intValue"], "1");
        assert!(attribute(close, "ms.total")["doubleValue"].is_number());
        let body: Value =
            serde_json::from_str(close["body"]["stringValue"].as_str().unwrap()).unwrap();
        assert_eq!(body["id"], attribute(close, "id")["stringValue"]);
        // The output and the collector have threads of their own.
        let id = body["id"].as_str().unwrap();
        eventually("both records are in the output", || {
            let lines = proxy.records_left();
            lines.iter().filter(|line| line.contains(id)).count() == 2
        });
    }
}

#[test]
fn batches_share_a_connection_as_long_as_the_collector_keeps_it() {
    let (collector, requests) = collector(false, &[]);
    let origin = Origin::echo();
    let proxy = draft(&origin, &format!("endpoint: \"http://{collector}/\"")).start();
    for _ in 0..3 {
        exchange(&proxy);
        records(&requests, 1);
    }
    assert_eq!(collector.accepts(), 1);
}

#[test]
fn an_https_endpoint_is_verified_and_gets_the_headers_of_the_file_which_are_renewed() {
    let (collector, requests) = collector(true, &[]);
    let origin = Origin::echo();
    let proxy = draft(
        &origin,
        &format!(
            "endpoint: \"https://{collector}/base\", ca: origin-ca.pem, headers_file: headers"
        ),
    )
    .file(
        "headers",
        "Authorization: Bearer first-secret\nX-Scope-OrgID: team\n",
    )
    .start();
    exchange(&proxy);
    let request = requests.recv_timeout(TIMEOUT).unwrap();
    assert!(
        request.head.starts_with("POST /base/v1/logs "),
        "{request:?}"
    );
    assert_eq!(request.header("authorization"), Some("Bearer first-secret"));
    assert_eq!(request.header("x-scope-orgid"), Some("team"));
    proxy
        .directory()
        .write("headers", "Authorization: Bearer second-secret\n");
    crate::harness::eventually("the new headers are sent", || {
        exchange(&proxy);
        let request = requests.recv_timeout(TIMEOUT).unwrap();
        request.header("authorization") == Some("Bearer second-secret")
    });
    let config = proxy.ctl(&["config"]);
    for text in [config.text(), proxy.log().join("\n")] {
        assert!(!text.contains("-secret"), "{text}");
    }
    config.must_print("headers_file");
}

#[test]
fn a_collector_with_another_certificate_gets_nothing() {
    let (collector, requests) = collector(true, &[]);
    let origin = Origin::echo();
    let otlp =
        format!("endpoint: \"https://{collector}\", ca: client-ca.pem, headers_file: headers");
    let proxy = draft(&origin, &otlp)
        .file("headers", "Authorization: Bearer a-secret\n")
        .start();
    exchange(&proxy);
    let line = proxy.log_line(|line| line.contains("records of the access log cannot be sent"));
    assert!(
        line.contains("UnknownIssuer") && !line.contains("a-secret"),
        "{line}"
    );
    assert!(requests.try_recv().is_err());
    proxy.outcome().must_be("ok");
}

#[test]
fn a_busy_collector_gets_the_records_again_when_it_wants_them() {
    let busy = "503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
    let many = "429 Too Many Requests\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let (collector, requests) = collector(false, &[busy, many]);
    let origin = Origin::echo();
    let proxy = draft(&origin, &format!("endpoint: \"http://{collector}\"")).start();
    exchange(&proxy);
    let tries: Vec<_> = (0..3).flat_map(|_| records(&requests, 1)).collect();
    let ids: Vec<_> = tries.iter().map(|record| attribute(record, "id")).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    proxy.log_line(|line| line.contains("records of the access log are sent again"));
    let lost = proxy
        .metrics()
        .count("reseal_log_dropped_total", &[("log", "otlp")]);
    assert_eq!(lost, 0.0);
}

#[test]
fn records_that_are_refused_are_counted_and_later_ones_sent() {
    let partial = "200 OK\r\ncontent-length: 76\r\n\r\n{\"partialSuccess\":{\"rejectedLogRecords\":\"1\",\"errorMessage\":\"too old\"}}      ";
    let (collector, requests) = collector(
        false,
        &["401 Unauthorized\r\ncontent-length: 0\r\n\r\n", partial],
    );
    let origin = Origin::echo();
    let proxy = draft(&origin, &format!("endpoint: \"http://{collector}\"")).start();
    for (count, why) in [(1.0, "401 Unauthorized"), (2.0, "too old")] {
        exchange(&proxy);
        records(&requests, 1);
        let line = proxy.log_line(|line| line.contains("were refused") && line.contains(why));
        assert!(line.contains("\"lost\":1"), "{line}");
        let lost = proxy
            .metrics()
            .count("reseal_log_dropped_total", &[("log", "otlp")]);
        assert_eq!(lost, count);
    }
    exchange(&proxy);
    records(&requests, 1);
}

#[test]
fn in_a_required_sandbox_both_collectors_are_reached() {
    let (collector, requests) = collector(true, &[]);
    let syslog = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top("process: { sandbox: required }")
        .top(&format!(
            "access_log: {{ otlp: {{ endpoint: \"https://localhost:{}\", ca: origin-ca.pem }}, \
             syslog: {{ to: \"tcp:{}\" }} }}",
            collector.listen_addr().port(),
            syslog.local_addr().unwrap()
        ))
        .forward(&origin)
        .start();
    exchange(&proxy);
    syslog.accept().unwrap();
    let failed =
        proxy.log_line(|line| line.contains("cannot be sent") || line.contains("sent again"));
    // The certificate is for other names: the connection was made.
    assert!(failed.contains("certificate"), "{failed}");
    drop(requests);
}

#[test]
fn a_file_of_headers_is_a_secret_of_header_lines() {
    let _ = pki();
    let config = format!(
        "access_log: {{ otlp: {{ endpoint: \"https://collector.test\", headers_file: headers }} }}\n{}",
        one_route("", "")
    );
    let check = |text: &str, mode: u32| ConfigCheck::new(&config).with_file("headers", text, mode);
    check("Authorization: Bearer s3cret\n", 0o600).must_be_good();
    let exposed = check("Authorization: Bearer s3cret\n", 0o644).check(&[]);
    exposed
        .must_exit_with(1)
        .must_print("every user may read this file of headers");
    for (text, place) in [
        ("Bearer s3cret\n", "headers:1"),
        ("a: b\nhost: s3cret\n", "headers:2"),
        ("\n", "headers: it holds no header"),
    ] {
        let finished = check(text, 0o600).check(&[]);
        finished.must_exit_with(1).must_print(place);
        assert!(!finished.text().contains("s3cret"), "{}", finished.text());
    }
}

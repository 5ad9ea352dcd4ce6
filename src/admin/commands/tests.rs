//! What bodies of requests mean.

use super::*;

fn status(method: Method, path: &str) -> u16 {
    match find(&method, path, true) {
        Ok(_) => 200,
        Err(refused) => refused.status.as_u16(),
    }
}

#[test]
fn there_is_one_way_to_write_a_path() {
    assert_eq!(status(Method::GET, "/status"), 200);
    for path in [
        "",
        "//",
        "/dashboard/",
        "/dashboard/..",
        "/dashboard/../status",
        "/dashboard//main.js",
        "/dashboard/index.html",
        "/dashboard/main.js.map",
        "//status",
        "/status/",
        "/./status",
        "/x/../status",
        "/Status",
        "/%73tatus",
        "/status;x",
        "/status%00",
        "/status#",
        "*",
        "status",
    ] {
        assert_eq!(status(Method::GET, path), 404, "{path}");
    }
}

#[test]
fn what_changes_something_is_a_post_and_metrics_change_nothing() {
    let reads = |path: &str| READING.iter().any(|(reading, _)| *reading == path);
    for (path, _) in CHANGING.iter().filter(|(path, _)| !reads(path)) {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS] {
            assert_eq!(status(method, path), 405, "{path}");
        }
        assert!(find(&Method::POST, path, false).is_err(), "{path}");
    }
    assert_eq!(status(Method::DELETE, "/log-level"), 405);
    assert_eq!(status(Method::POST, "/metrics"), 405);
    assert_eq!(
        find(&Method::GET, "/metrics", false).unwrap(),
        Route::Metrics
    );
    assert!(find(&Method::GET, "/config", false).is_err());
}

#[test]
fn a_trace_is_of_one_condition_within_bounds() {
    let asked = trace(br#"{"sni":"A.Test.","seconds":5,"format":"text"}"#).unwrap();
    assert_eq!(asked.filter, TraceFilter::Sni("a.test".to_owned()));
    assert_eq!(
        (asked.duration, asked.connections),
        (Duration::from_secs(5), 100)
    );
    for body in [
        "",
        r#"{"seconds":5}"#,
        r#"{"sni":"a","id":"1"}"#,
        r#"{"source":"10.0.0.0/8"}"#,
        r#"{"id":"x"}"#,
        r#"{"id":"1","seconds":0}"#,
        r#"{"id":"1","seconds":601}"#,
        r#"{"id":"1","connections":1001}"#,
        r#"{"id":"1","format":"yaml"}"#,
        r#"{"id":"1","level":"debug"}"#,
    ] {
        assert!(trace(body.as_bytes()).is_err(), "{body}");
    }
    assert!(find(&Method::GET, "/trace", true).is_err());
    assert!(find(&Method::POST, "/trace", false).is_err());
    assert_eq!(find(&Method::POST, "/trace", true).unwrap(), Route::Trace);
}

#[test]
fn a_body_says_what_is_meant_or_is_refused() {
    let plan = |body: &str| RequestKind::Reload.with(body.as_bytes());
    assert_eq!(plan("").unwrap(), Request::Reload { plan: false });
    assert_eq!(
        plan("{\"plan\":true}").unwrap(),
        Request::Reload { plan: true }
    );
    for body in ["[]", "{", "{\"plan\":\"yes\"}", "{\"paln\":true}", "\u{0}"] {
        assert!(plan(body).is_err(), "{body}");
    }
    let kill = |id: &str| RequestKind::Kill.with(format!("{{\"id\":\"{id}\"}}").as_bytes());
    let one = ConnFilter {
        id: Some(255),
        ..ConnFilter::default()
    };
    assert_eq!(kill("00000000000000ff").unwrap(), Request::Kill(one));
    for id in ["", "+1", "0x1", "10000000000000000", " 1"] {
        assert!(kill(id).is_err(), "{id}");
    }
}

//! What an operator sees and does: connections, failures, counters, origins and endpoints.

mod completions;
mod connections;
mod endpoints;
mod failures;
mod kill;
mod load;
mod night;
mod origins;
mod stats;
mod terminal;

use serde_json::{Value, json};

use crate::harness::{Client, Leaf, Origin, Proxy, Stream, pki};

/// The answer to a POST with this body.
#[track_caller]
fn post(proxy: &Proxy, path: &str, body: &Value) -> Value {
    proxy
        .admin(path, &["-d", &body.to_string()])
        .must_be(200)
        .json()
}

/// The status of the answer to a POST, and its error.
#[track_caller]
fn refusal(proxy: &Proxy, path: &str, body: &Value) -> (u16, String) {
    let answer = proxy.admin(path, &["-d", &body.to_string()]);
    let error = answer.json()["error"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (answer.status, error)
}

/// The rows of connections that a query gives.
#[track_caller]
fn rows(proxy: &Proxy, query: &Value) -> Vec<Value> {
    let answer = post(proxy, "/connections", query);
    answer["connections"].as_array().unwrap().clone()
}

/// How many connections match.
#[track_caller]
fn matched(proxy: &Proxy, query: &Value) -> u64 {
    post(proxy, "/connections", query)["matched"]
        .as_u64()
        .unwrap()
}

/// A proxy with two names, of which one demands a certificate, and a port for plain TCP.
fn proxy(origin: &Origin) -> Proxy {
    Proxy::builder()
        .terminate("a.test", origin)
        .named("web")
        .on_route("client_auth: { mode: optional, ca: client-ca.pem }")
        .terminate("b.test", origin)
        .named("other")
        .forward(origin)
        .admin()
        .start()
}

/// A client with a certificate of this name and serial number.
fn client_named(proxy: &Proxy, name: &str, serial: u64) -> Client {
    let identity = pki().clients.issue(&Leaf::client(name).serial(serial));
    proxy.client("a.test").certificate(&identity)
}

/// A connection through which a byte has gone, so that its relay has begun.
fn established(client: &Client) -> Stream {
    let stream = client.connect();
    stream.must_echo(b"x");
    stream
}

fn id_of(proxy: &Proxy, stream: &Stream) -> String {
    let client = stream.local().to_string();
    let rows = rows(proxy, &json!({}));
    let row = rows
        .iter()
        .find(|row| row["client"] == client)
        .expect("it is listed");
    row["id"].as_str().unwrap().to_owned()
}

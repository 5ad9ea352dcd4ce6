//! The configuration that the flags stand for. Its paths are absolute, so that it means the same wherever it
//! is stored.

use std::path::{Path, absolute};

use super::args::Args;
use super::sides::Sides;
use crate::cli::document::{
    Certificate, Document, Endpoint, Keys, Route, ServerTls, Upstream, rules,
};
use crate::cli::flow::{list, map, quoted, scalar};

/// The name of the endpoint, its route and its certificate.
const NAME: &str = "forward";

/// The name of the upstream.
const ORIGIN: &str = "origin";

pub(super) fn document(args: &Args, sides: &Sides<'_>) -> Document {
    let text = |text: &str| text.to_owned();
    let limits = args
        .max_connections
        .map(|max| ("limits", map(&[("connections", max.to_string())])));
    Document {
        title: "The configuration of a command line of `reseal forward`".to_owned(),
        process: limits.into_iter().collect(),
        log: vec![("level", text("info"))],
        access_log: vec![("format", text("text"))],
        endpoints: vec![endpoint(args, sides)],
        upstreams: vec![upstream(args, sides)],
        ..Document::default()
    }
}

fn endpoint(args: &Args, sides: &Sides<'_>) -> Endpoint {
    let negotiate = args.negotiate.as_deref().filter(|_| sides.terminates);
    Endpoint {
        name: NAME.to_owned(),
        listen: Some(address(&sides.listen)),
        negotiate: negotiate.map(scalar),
        timeouts: vec![("idle", scalar(&args.idle))],
        tls: sides.terminates.then(|| server(args)),
        routes: vec![route(args, sides)],
        ..Endpoint::default()
    }
}

fn server(args: &Args) -> ServerTls {
    let clients = &args.clients;
    let mut policy = Keys::new();
    if !args.alpn.is_empty() {
        policy.push(("alpn", alpn(args)));
    }
    ServerTls {
        certificates: vec![Certificate {
            name: NAME.to_owned(),
            cert: clients.cert.as_deref().map(whole).unwrap_or_default(),
            key: clients.key.as_deref().map(whole),
            password_file: clients.password_file.as_deref().map(whole),
            names: Vec::new(),
        }],
        policy,
        default: NAME.to_owned(),
    }
}

fn route(args: &Args, sides: &Sides<'_>) -> Route {
    let mut limits = Keys::new();
    if let Some(rate) = &args.rate {
        // One place for both directions, so that a mistake is reported once.
        let both = format!("{{ up: &rate {}, down: *rate }}", quoted(rate));
        limits.push(("bandwidth", both));
    }
    let delay = args.delay.iter().map(|delay| ("chunk", scalar(delay)));
    Route {
        name: NAME.to_owned(),
        mode: match (sides.terminates, sides.seals) {
            (true, true) => "reencrypt",
            (true, false) => "terminate",
            (false, true) => "originate",
            (false, false) => "forward",
        },
        client_auth: client_auth(args),
        limits,
        delay: delay.collect(),
        upstream: ORIGIN.to_owned(),
        ..Route::default()
    }
}

fn client_auth(args: &Args) -> Keys {
    let clients = &args.clients;
    let Some(ca) = &clients.client_ca else {
        return Keys::new();
    };
    let mut keys = vec![("mode", "required".to_owned()), ("ca", file(ca))];
    if !clients.crl.is_empty() {
        keys.push(("crl", files(&clients.crl)));
    }
    keys.extend(rules(clients.rules()).map(|rules| ("allow", rules)));
    keys
}

fn upstream(args: &Args, sides: &Sides<'_>) -> Upstream {
    let origins = &args.origins;
    let header = origins.proxy_protocol.as_deref().map(scalar);
    let balance = origins.balance.as_deref().map(scalar);
    let health = origins
        .check
        .as_deref()
        .map(|word| map(&[("check", check(word))]));
    let keys = [
        ("send_proxy_protocol", header),
        ("balance", balance),
        ("health", health),
    ];
    let keys = keys
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)));
    Upstream {
        name: ORIGIN.to_owned(),
        origins: sides.origins.iter().map(|origin| address(origin)).collect(),
        keys: keys.collect(),
        tls: match sides.seals {
            true => origin_tls(args, sides),
            false => Keys::new(),
        },
        ..Upstream::default()
    }
}

fn origin_tls(args: &Args, sides: &Sides<'_>) -> Keys {
    let origins = &args.origins;
    let mut tls = Keys::new();
    tls.extend(origins.ca.as_deref().map(|ca| ("ca", trust(ca))));
    let name = origins.server_name.as_deref();
    tls.extend(name.map(|name| ("server_name", scalar(name))));
    if let Some(cert) = &origins.client_cert {
        let mut pair = vec![("cert", file(cert))];
        pair.extend(origins.client_key.as_deref().map(|key| ("key", file(key))));
        let password = origins.client_password_file.as_deref();
        pair.extend(password.map(|password| ("password_file", file(password))));
        tls.push(("client_certificate", map(&pair)));
    }
    tls.extend(args.negotiate.as_deref().map(|p| ("negotiate", scalar(p))));
    // Behind a tls:// listener, the origin is offered what the client has negotiated.
    if !args.alpn.is_empty() && !sides.terminates {
        tls.push(("alpn", alpn(args)));
    }
    if !origins.verify_crl.is_empty() {
        tls.push(("crl", files(&origins.verify_crl)));
    }
    tls.extend(rules(origins.rules()).map(|rules| ("allow", rules)));
    tls
}

fn alpn(args: &Args) -> String {
    list(&args.alpn.iter().map(|p| scalar(p)).collect::<Vec<_>>())
}

/// The check that a word, or the path of a page, means.
fn check(word: &str) -> String {
    match word {
        "tcp" | "tls" => word.to_owned(),
        path if path.starts_with('/') => map(&[("http", map(&[("path", scalar(path))]))]),
        preset => map(&[("preset", scalar(preset))]),
    }
}

/// The CAs of origins: a word, or a file.
fn trust(ca: &Path) -> String {
    match ca.to_str() {
        Some(word @ ("system" | "webpki")) => word.to_owned(),
        _ => file(ca),
    }
}

fn files(paths: &[std::path::PathBuf]) -> String {
    list(&paths.iter().map(|path| file(path)).collect::<Vec<_>>())
}

fn file(path: &Path) -> String {
    scalar(&whole(path))
}

/// An address as it is, but for the path of a unix socket.
fn address(text: &str) -> String {
    match text.strip_prefix("unix:") {
        Some(path) => format!("unix:{}", whole(Path::new(path))),
        None => text.to_owned(),
    }
}

/// The absolute path of a file of this directory.
fn whole(path: &Path) -> String {
    let whole = absolute(path);
    whole
        .as_deref()
        .unwrap_or(path)
        .to_string_lossy()
        .into_owned()
}

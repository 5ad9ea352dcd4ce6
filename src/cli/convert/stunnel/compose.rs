//! Services as endpoints, routes and upstreams.

use std::mem;

use super::service::Service;
use super::tls::Version;
use crate::cli::document::{
    Certificate, Document, Endpoint, Keys, Route, ServerTls, Upstream, scalars,
};
use crate::cli::flow::{list, map, scalar};
use crate::tls::suites::SUITES;

/// Adds a service. Whether it could be added; if not, `service` says why.
pub(super) fn add(document: &mut Document, service: &mut Service) -> bool {
    let at = match (service.is_client, &service.slave_of) {
        (false, Some((master, _))) => {
            let master = document.endpoints.iter().position(|e| e.name == *master);
            let Some(endpoint) = master.and_then(|at| document.endpoints.get_mut(at)) else {
                service.block_options(
                    &["sni"],
                    "the service before the colon is not converted, or comes later",
                );
                return false;
            };
            return add_slave(endpoint, &mut document.upstreams, service);
        }
        _ => service.accept.clone().unwrap_or_default(),
    };
    if document
        .endpoints
        .iter()
        .any(|endpoint| endpoint.listen.as_deref() == Some(at.as_str()))
    {
        service.block_options(&["accept"], "another service listens there");
        return false;
    }
    let mut endpoint = Endpoint {
        name: service.name.clone(),
        listen: Some(at),
        negotiate: service
            .negotiate
            .filter(|_| !service.is_client)
            .map(str::to_owned),
        timeouts: timeouts(service),
        left_out: mem::take(&mut service.left_out),
        tls: (!service.is_client).then(|| ServerTls {
            certificates: vec![certificate(service, Vec::new())],
            policy: policy(service),
            default: service.name.clone(),
        }),
        ..Endpoint::default()
    };
    endpoint.routes.push(route(service));
    document.endpoints.push(endpoint);
    document.upstreams.push(upstream(service));
    true
}

/// Adds a service whose clients come over the listener of another one.
fn add_slave(
    endpoint: &mut Endpoint,
    upstreams: &mut Vec<Upstream>,
    service: &mut Service,
) -> bool {
    let Some(tls) = &mut endpoint.tls else {
        service.block_options(&["sni"], "the service before the colon is a client");
        return false;
    };
    if service.negotiate.is_some() && service.negotiate != endpoint.negotiate.as_deref() {
        service.block_options(
            &["protocol"],
            "the protocol in which TLS begins is that of the listener",
        );
        return false;
    }
    if tls.policy != policy(service) {
        let keys = [
            "ciphers",
            "ciphersuites",
            "curve",
            "curves",
            "options",
            "sslversion",
            "sslversionmin",
            "sslversionmax",
            "sessionresume",
            "sessioncachetimeout",
            "sni",
        ];
        service.block_options(
            &keys,
            "versions, suites, groups and sessions are those of the listener",
        );
        return false;
    }
    let (_, patterns) = service.slave_of.clone().unwrap_or_default();
    let own = certificate(service, patterns.clone());
    match tls
        .certificates
        .iter_mut()
        .find(|known| (&known.cert, &known.key) == (&own.cert, &own.key))
    {
        // The default route names it, whatever names it is for.
        Some(known) => known.names.extend(patterns.iter().cloned()),
        None => tls.certificates.push(own),
    }
    let mut route = route(service);
    let mut others = endpoint.routes.iter().flat_map(|route| &route.sni);
    if others.any(|other| patterns.iter().any(|own| overlap(own, other))) {
        route.remarks.push(
            "Of the patterns that match a name, stunnel takes the first, and Reseal the longest."
                .to_owned(),
        );
    }
    route.sni = patterns;
    route.left_out = mem::take(&mut service.left_out);
    let own = timeouts(service);
    if own != endpoint.timeouts {
        route.timeouts = own;
    }
    endpoint.routes.push(route);
    upstreams.push(upstream(service));
    true
}

/// Whether a name exists that both patterns match.
fn overlap(one: &str, other: &str) -> bool {
    let suffix = |pattern: &str| pattern.strip_prefix("**").map(str::to_ascii_lowercase);
    match (suffix(one), suffix(other)) {
        (Some(one), Some(other)) => one.ends_with(&other) || other.ends_with(&one),
        _ => false,
    }
}

fn certificate(service: &Service, names: Vec<String>) -> Certificate {
    let cert = service.cert.clone().unwrap_or_default();
    Certificate {
        name: service.name.clone(),
        key: own_key(service).cloned(),
        cert,
        password_file: service.password_file.clone(),
        names,
    }
}

/// The file of the key, if it is another one than that of the certificate.
fn own_key(service: &Service) -> Option<&String> {
    let key = service.key.as_ref();
    key.filter(|key| service.cert.as_ref() != Some(key) && service.password_file.is_none())
}

fn route(service: &Service) -> Route {
    let mut client_auth = Keys::new();
    let trust = &service.trust;
    if !service.is_client && trust.is_verified {
        let mode = if trust.is_required {
            "required"
        } else {
            "optional"
        };
        client_auth.push(("mode", mode.to_owned()));
        client_auth.extend(trust.ca.iter().map(|ca| ("ca", scalar(ca))));
        client_auth.extend(trust.crl.iter().map(|crl| ("crl", scalar(crl))));
        client_auth.extend(trust.rules().map(|rules| ("allow", rules)));
    }
    Route {
        name: service.name.clone(),
        mode: if service.is_client {
            "originate"
        } else {
            "terminate"
        },
        client_auth,
        upstream: service.name.clone(),
        ..Route::default()
    }
}

/// stunnel waits for twelve hours; services behind it may rely on that.
fn timeouts(service: &Service) -> Keys {
    let mut timeouts = service.timeouts.clone();
    if !timeouts.iter().any(|(key, _)| *key == "idle") {
        timeouts.insert(0, ("idle", "12h".to_owned()));
    }
    if !timeouts.iter().any(|(key, _)| *key == "half_close") {
        timeouts.push(("half_close", "60s".to_owned()));
    }
    // An attempt has to fit.
    if let Some(seconds) = service.connect_timeout.filter(|seconds| *seconds > 10) {
        timeouts.extend(super::words::duration(seconds).map(|text| ("origin", text)));
    }
    timeouts
}

/// Versions, suites, groups and resumption of a server.
fn policy(service: &Service) -> Keys {
    let (oldest, newest) = (service.tls.oldest, service.tls.newest);
    let mut policy = Keys::new();
    let word = |version: Version| format!("\"{}\"", version.word());
    policy.extend(oldest.map(|version| ("min_version", word(version))));
    policy.extend(newest.map(|version| ("max_version", word(version))));
    if !service.tls.suites.is_empty() {
        policy.push(("cipher_suites", suites(service)));
    }
    if !service.tls.groups.is_empty() {
        policy.push(("groups", scalars(service.tls.groups.iter().copied())));
    }
    policy.extend(
        service
            .resumption
            .clone()
            .map(|value| ("resumption", value)),
    );
    policy
}

/// The suites of both versions. Where stunnel names only those of one, all of the other are on.
fn suites(service: &Service) -> String {
    let named = |is_tls13: bool| {
        let of_version = SUITES
            .iter()
            .filter(move |suite| suite.is_tls13() == is_tls13);
        let all: Vec<_> = of_version.map(|suite| suite.iana).collect();
        let own = service
            .tls
            .suites
            .iter()
            .copied()
            .filter(|name| all.contains(name));
        let own: Vec<_> = own.collect();
        if own.is_empty() { all } else { own }
    };
    let (oldest, newest) = (service.tls.oldest, service.tls.newest);
    let mut suites = Vec::new();
    if newest != Some(Version::V12) {
        suites.extend(named(true));
    }
    if oldest != Some(Version::V13) {
        suites.extend(named(false));
    }
    scalars(suites)
}

fn upstream(service: &Service) -> Upstream {
    let mut keys = Keys::new();
    if service.is_first && service.connect.len() > 1 {
        keys.push(("balance", "first".to_owned()));
    }
    let timeout = service.connect_timeout.and_then(super::words::duration);
    let mut connect: Keys = timeout.map(|text| ("timeout", text)).into_iter().collect();
    connect.extend(
        service
            .source
            .as_deref()
            .map(|ip| ("source_addresses", list(&[scalar(ip)]))),
    );
    if !connect.is_empty() {
        keys.push(("connect", map(&connect)));
    }
    if service.sends_proxy {
        keys.push(("send_proxy_protocol", "v1".to_owned()));
    }
    let mut upstream = Upstream {
        name: service.name.clone(),
        origins: service.connect.clone(),
        keys,
        ..Upstream::default()
    };
    if service.is_client {
        origin_tls(service, &mut upstream);
    }
    upstream
}

fn origin_tls(service: &Service, upstream: &mut Upstream) {
    let trust = &service.trust;
    let tls = &mut upstream.tls;
    tls.extend(trust.ca.iter().map(|ca| ("ca", scalar(ca))));
    tls.extend(trust.crl.iter().map(|crl| ("crl", scalar(crl))));
    let name = trust.hosts.iter().chain(&trust.addresses).next();
    let sent = service.client_sni.as_ref().filter(|name| !name.is_empty());
    tls.extend(name.or(sent).map(|name| ("server_name", scalar(name))));
    let negotiate = service.through.key(&service.name);
    let negotiate = negotiate.or_else(|| service.negotiate.map(str::to_owned));
    tls.extend(negotiate.map(|text| ("negotiate", text)));
    if service.client_sni.as_deref() == Some("") {
        tls.push(("sni", "none".to_owned()));
    }
    if let Some(cert) = &service.cert {
        let mut pair = vec![("cert", scalar(cert))];
        pair.extend(own_key(service).map(|key| ("key", scalar(key))));
        let password = service.password_file.iter();
        pair.extend(password.map(|file| ("password_file", scalar(file))));
        tls.push(("client_certificate", map(&pair)));
    }
    tls.extend(
        service
            .tls
            .oldest
            .map(|oldest| ("min_version", format!("\"{}\"", oldest.word()))),
    );
    if !service.tls.groups.is_empty() {
        tls.push(("groups", scalars(service.tls.groups.iter().copied())));
    }
    tls.extend(
        service
            .resumption
            .clone()
            .map(|value| ("resumption", value)),
    );
    if !trust.is_verified {
        let whom = if trust.ca.is_some() {
            "with this CA"
        } else {
            "with the public CAs (another: `ca: FILE`)"
        };
        upstream.remarks.push(format!(
            "stunnel does not verify this origin. Reseal does, {whom}."
        ));
    } else if name.is_none() {
        let what = match sent {
            Some(_) => "this name",
            None => "the name of the origin (another: `server_name: NAME`)",
        };
        upstream.remarks.push(format!(
            "stunnel verifies no name here. Reseal does, {what}."
        ));
    }
}

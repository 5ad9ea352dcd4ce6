//! The table of routes that `check` prints: what is compared in a review.

use super::output;
use crate::admission::Limits;
use crate::config::Spec;
use crate::config::compile;
use crate::config::reader::networks::CidrOr;
use crate::config::reader::read::Located;
use crate::config::spec::{ClientAuthMode, Endpoint, Excluded, Route, Sources};

/// What a cell without a value holds.
const NONE: &str = "-";

const TITLES: [&str; 11] = [
    "ENDPOINT",
    "LISTEN",
    "ROUTE",
    "MATCH",
    "SOURCE",
    "ALPN",
    "CLIENT AUTH",
    "SOURCES",
    "LIMITS",
    "MODE",
    "UPSTREAM",
];

/// One row for each route. A column in which no route has a value is left out.
pub(super) fn table(spec: &Spec) -> String {
    let mut rows = vec![TITLES.map(str::to_owned)];
    for endpoint in spec.endpoints.iter() {
        let rest = endpoint.routes.iter();
        rows.extend(rest.map(|route| row(endpoint, route)));
    }
    let is_used = |column: &usize| {
        let mut cells = rows.iter().skip(1).filter_map(|row| row.get(*column));
        cells.any(|cell| cell != NONE)
    };
    let used: Vec<_> = (0..TITLES.len()).filter(is_used).collect();
    let pick = |row: &[String; 11]| -> Vec<String> {
        let cells = used.iter().filter_map(|column| row.get(*column));
        cells.cloned().collect()
    };
    output::table(&rows.iter().map(pick).collect::<Vec<_>>())
}

fn row(endpoint: &Endpoint, route: &Route) -> [String; 11] {
    let listen = endpoint.listen.iter().map(|l| l.value.to_string());
    [
        endpoint.name.as_str().to_owned(),
        list(listen, " "),
        route.name.as_str().to_owned(),
        names(endpoint, route),
        list(
            route
                .matches
                .source
                .iter()
                .flat_map(|source| source.iter())
                .map(|item| matched(&item.value)),
            " ",
        ),
        alpn(endpoint, route),
        client_auth(endpoint, route),
        both(
            sources(endpoint.sources.as_ref()),
            sources(route.sources.as_ref()),
        ),
        both(
            limits(compile::endpoint_limits(&endpoint.limits)),
            limits(compile::route_limits(&endpoint.limits, &route.limits)),
        ),
        route.mode.value.to_string(),
        match route.upstream_name() {
            Some(name) => name.to_owned(),
            None => "(by file)".to_owned(),
        },
    ]
}

/// The server names, and `(default)` for the default route.
fn names(endpoint: &Endpoint, route: &Route) -> String {
    let is_default = endpoint
        .default_route
        .as_ref()
        .is_some_and(|default| default.route.as_str() == route.name.as_str());
    let sni = route.matches.sni.iter().flat_map(|sni| sni.iter());
    let mut names: Vec<_> = sni.map(|name| name.value.to_string()).collect();
    if let Some(file) = &route.routes_file {
        names.push(format!("({})", file.file.display()));
    }
    if is_default {
        names.push("(default)".to_owned());
    }
    if endpoint.is_not_tls(route) {
        names.push("(not TLS)".to_owned());
    }
    if names.is_empty() {
        names.push("*".to_owned());
    }
    names.join(" ")
}

/// The protocols that are negotiated; before them, those of which the client has to offer one.
fn alpn(endpoint: &Endpoint, route: &Route) -> String {
    let negotiated = route.alpn.as_ref().unwrap_or(&endpoint.tls.alpn);
    let negotiated = negotiated.iter().map(|protocol| protocol.value.0.clone());
    let negotiated = match route.mode.value.terminates_tls() {
        true => list(negotiated, ","),
        false => NONE.to_owned(),
    };
    let required = route.matches.alpn.iter().flat_map(|alpn| alpn.iter());
    match list(required.map(|protocol| protocol.value.0.clone()), "|") {
        required if required == NONE => negotiated,
        required if negotiated == NONE => format!("if {required}"),
        required => format!("if {required}: {negotiated}"),
    }
}

/// Whether clients need a certificate, and the number of rules on it.
fn client_auth(endpoint: &Endpoint, route: &Route) -> String {
    let auth = route
        .client_auth
        .as_ref()
        .unwrap_or(&endpoint.tls.client_auth);
    if !route.mode.value.terminates_tls() || auth.mode.value == ClientAuthMode::Off {
        return NONE.to_owned();
    }
    let mode = auth.mode.value;
    match auth.allow.as_ref().map(|rules| rules.iter().count()) {
        None => mode.to_string(),
        Some(1) => format!("{mode}, 1 rule"),
        Some(rules) => format!("{mode}, {rules} rules"),
    }
}

fn list(items: impl Iterator<Item = String>, between: &str) -> String {
    let items: Vec<_> = items.collect();
    if items.is_empty() {
        NONE.to_owned()
    } else {
        items.join(between)
    }
}

/// What applies to the endpoint; then what applies to the route as well.
fn both(endpoint: Vec<String>, route: Vec<String>) -> String {
    let parts = [("", endpoint), ("route: ", route)].into_iter();
    let parts = parts.filter(|(_, items)| !items.is_empty());
    let parts = parts.map(|(whose, items)| whose.to_owned() + &items.join(", "));
    list(parts, "; ")
}

/// How many networks are listed one by one.
const LISTED: usize = 3;

/// The rules on addresses.
fn sources(spec: Option<&Located<Sources>>) -> Vec<String> {
    let Some(spec) = spec else {
        return Vec::new();
    };
    let rules = [("allow", &spec.allow), ("deny", &spec.deny)];
    let rules = rules.into_iter().filter_map(|(rule, networks)| {
        let networks = networks.as_ref()?;
        let listed = networks.iter().map(|item| match &item.value {
            CidrOr::Cidr(net) => net.0.to_string(),
            CidrOr::Map(list) => list.file.display().to_string(),
        });
        Some(match networks.len() {
            0..=LISTED => format!("{rule} {}", list(listed, " ")),
            count => format!("{rule} {count} networks and lists"),
        })
    });
    rules.collect()
}

fn limits(limits: Option<Box<Limits>>) -> Vec<String> {
    let Some(limits) = limits else {
        return Vec::new();
    };
    let mut all: Vec<_> = limits
        .all()
        .map(|(key, value)| format!("{key} {value}"))
        .collect();
    if limits.dry_run {
        all.push("dry run".to_owned());
    }
    all
}

/// A network, or those that are excluded, each after `!`.
fn matched(item: &CidrOr<Excluded>) -> String {
    match item {
        CidrOr::Cidr(net) => net.0.to_string(),
        CidrOr::Map(excluded) => {
            let nets = excluded.not.iter().map(|net| format!("!{}", net.value.0));
            list(nets, " ")
        }
    }
}

//! Chooses the route of a connection, and names the reason of a refusal; live connections and `explain`
//! share this code.

use std::sync::Arc;

use crate::admission::LimitKind;
use crate::hostname::{HostName, HostNameError};
use crate::outcome::{CloseWith, Failure, Reason};
use crate::route::{Query, Unrouted};
use crate::snapshot::{Endpoint, Route};
use crate::tls::{self, classify};

/// The normalised server name. An IP address counts as no name (RFC 6066 section 3).
pub fn name(sent: Option<&str>) -> Result<Option<HostName>, Failure> {
    match sent.map(HostName::from_wire) {
        None | Some(Err(HostNameError::Address)) => Ok(None),
        Some(Ok(name)) => Ok(Some(name)),
        Some(Err(HostNameError::Malformed)) => Err(unrecognized(Reason::HelloMalformed)),
    }
}

pub use super::sniff::is_handshake as begins_with_tls;

/// The route of an endpoint that matches a query.
pub fn route<'a>(endpoint: &'a Endpoint, query: &Query<'_>) -> Result<&'a Arc<Route>, Failure> {
    endpoint.routes.choose(query).map_err(|unrouted| {
        let reason = match unrouted {
            Unrouted::NoName => Reason::NoSni,
            Unrouted::UnknownName => Reason::UnknownSni,
            Unrouted::NoMatch => Reason::NoRoute,
        };
        match query.speaks_tls {
            true => unrecognized(reason),
            false => Failure::new(reason).close_with(CloseWith::Reset),
        }
    })
}

/// The labels of a client's name that the addresses of the route's upstream are made of; `None` if they are
/// not made of a name. A name that makes no host name is one that is not served.
pub fn labels<'n>(
    endpoint: &Endpoint,
    route: &Route,
    name: Option<&'n HostName>,
) -> Result<Option<&'n str>, Failure> {
    let definition = &route.upstream.definition;
    if !definition.is_template() {
        return Ok(None);
    }
    let owner = name.and_then(|name| endpoint.routes.owning_pattern(name));
    let taken = owner.zip(name).and_then(|(owner, name)| owner.taken(name));
    let usable = taken.filter(|labels| definition.makes(labels));
    usable.map(Some).ok_or_else(|| {
        unrecognized(Reason::UnknownSni).detail(
            "no address can be made of this name: its labels have something else than letters, digits and \
             hyphens, or the result would be too long",
        )
    })
}

/// Why a query has got this route, in words.
pub fn why(endpoint: &Endpoint, query: &Query<'_>, route: &Arc<Route>) -> String {
    let mut why = match (query.name, route.named) {
        _ if !query.speaks_tls => "the client does not speak TLS".to_owned(),
        (Some(_), true) => "it is for this server name".to_owned(),
        (Some(_), false) => "a default route: no other is for this server name".to_owned(),
        (None, _) => "a default route: there is no server name".to_owned(),
    };
    let candidates = endpoint.routes.candidates(query);
    let place = candidates
        .iter()
        .position(|(_, own)| Arc::ptr_eq(own, route));
    if let Some((when, _)) = place.and_then(|place| candidates.get(place)) {
        if !when.alpn.is_empty() {
            why.push_str(", the client offers one of its ALPN protocols");
        }
        if !when.sources.is_any() {
            why.push_str(", its networks hold the client's address");
        }
    }
    if let Some(before @ 1..) = place {
        why.push_str(&format!(", and {before} before it did not match"));
    }
    why
}

/// The reason of a client that a limit refuses.
pub const fn limit_reason(kind: LimitKind) -> Reason {
    match kind {
        LimitKind::Connections => Reason::LimitConnections,
        LimitKind::PerSource => Reason::LimitSource,
        LimitKind::New | LimitKind::NewPerSource => Reason::LimitRate,
        LimitKind::Handshakes | LimitKind::HandshakesPerSource => Reason::LimitHandshakes,
    }
}

/// A refusal for a name that is not served (RFC 6066 section 3).
fn unrecognized(reason: Reason) -> Failure {
    let alert = classify::alert_record(tls::UNRECOGNIZED_NAME);
    Failure::new(reason).close_with(CloseWith::Alert(alert))
}

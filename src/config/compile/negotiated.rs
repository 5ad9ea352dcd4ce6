//! The ALPN protocols of the clients of an upstream, which its checks offer.

use super::wire::protocols;
use crate::config::spec::{Mode, Route, Spec};

/// The protocol of ACME's challenges (RFC 8737): an origin answers it for names that are being validated.
const CHALLENGES: &[u8] = b"acme-tls/1";

/// The protocols that clients of an upstream may speak with its origins.
#[derive(Debug, Default)]
pub struct Negotiated {
    /// Each once; none if some clients negotiate none, or nobody knows which.
    pub protocols: Vec<Vec<u8>>,
    /// Whether every client has negotiated one of them, so that an origin without any serves none of them.
    pub by_all: bool,
}

impl Negotiated {
    /// Those of the routes that lead to an upstream. A `passthrough` tells what its clients offer by
    /// `match.alpn`.
    pub fn with(spec: &Spec, leads: impl Fn(&Route) -> bool) -> Self {
        let mut found = Self {
            protocols: Vec::new(),
            by_all: true,
        };
        for endpoint in spec.endpoints.iter() {
            let routes = endpoint.routes.iter();
            for route in routes.filter(|route| leads(route)) {
                let list = match route.mode.value {
                    Mode::Reencrypt => Some(route.alpn.as_ref().unwrap_or(&endpoint.tls.alpn)),
                    Mode::Passthrough => route.matches.alpn.as_ref(),
                    Mode::Terminate | Mode::Forward | Mode::Originate => None,
                };
                let list = list.map(|list| protocols(list)).unwrap_or_default();
                if list.is_empty() {
                    return Self::default();
                }
                found.by_all &= route.mode.value == Mode::Reencrypt;
                for protocol in list {
                    if protocol != CHALLENGES && !found.protocols.contains(&protocol) {
                        found.protocols.push(protocol);
                    }
                }
            }
        }
        found
    }
}

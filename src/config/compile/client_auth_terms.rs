//! Whether two routes differ in client auth.

use crate::config::reader::generic::OneOrMany;
use crate::config::reader::values::Path;
use crate::config::spec::{self, ClientAuthMode, ListSource, Rule};
use crate::tls::verify::client::{AtExpiry, Recheck};
use crate::tls::verify::crl::{Depth, OnUnknown};

/// The parts of a route's client auth that decide about admission.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientAuthTerms<'a> {
    mode: ClientAuthMode,
    ca: Option<&'a OneOrMany<Path>>,
    crl: Option<&'a OneOrMany<ListSource>>,
    crl_scope: Depth,
    crl_unknown: OnUnknown,
    crl_expired: OnUnknown,
    allow: Option<&'a OneOrMany<Rule>>,
    recheck: Recheck,
    at_expiry: AtExpiry,
}

impl<'a> ClientAuthTerms<'a> {
    /// Those of a route; `None` if it does not terminate TLS or requests no certificate.
    pub(super) fn of(endpoint: &'a spec::Endpoint, route: &'a spec::Route) -> Option<Self> {
        let endpoints = &endpoint.tls.client_auth;
        let auth = &route.client_auth.as_ref().unwrap_or(endpoints).value;
        let requests = route.mode.value.terminates_tls() && auth.mode.value != ClientAuthMode::Off;
        requests.then(|| Self {
            mode: auth.mode.value,
            ca: auth.ca.as_ref().map(|ca| &ca.value),
            crl: auth.crl.as_ref().map(|crl| &crl.value),
            crl_scope: auth.crl_scope.value,
            crl_unknown: auth.crl_unknown.value,
            crl_expired: auth.crl_expired.value,
            allow: auth.allow.as_ref().map(|allow| &allow.value),
            recheck: auth.recheck.value,
            at_expiry: auth.at_expiry.value,
        })
    }
}

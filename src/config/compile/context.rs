//! What the parts of the compiler share: the endpoint that a route is compiled in, and the compiled
//! upstreams.

use std::collections::HashMap;
use std::sync::Arc;

use crate::acme::Issuer;
use crate::config::reader::read::Located;
use crate::config::spec;
use crate::snapshot::{PendingCertificate, Upstream};
use crate::tls::Versions;
use crate::tls::certificates::{Certificate, Certificates};

/// The upstreams by name; `None` for one with an error.
pub(super) type Upstreams = HashMap<String, Option<Arc<Upstream>>>;

/// The issuers of certificates by name; `None` for one with an error.
pub(super) type Issuers = HashMap<String, Option<Arc<Issuer>>>;

/// The certificates of one endpoint: by server name for its routes, by their own name for its default
/// route.
pub(super) struct EndpointCertificates {
    /// Whether all of them were read: only then can a lint say that one is missing.
    pub(super) complete: bool,
    /// By the server names that they cover.
    pub(super) by_name: Arc<Certificates>,
    /// In file order.
    pub(super) all: Vec<Arc<Certificate>>,
    /// Those that are not there yet.
    pub(super) pending: Vec<PendingCertificate>,
}

/// The endpoint that a route is compiled in.
pub(super) struct EndpointContext<'a> {
    pub(super) endpoint: &'a Located<spec::Endpoint>,
    pub(super) upstreams: &'a Upstreams,
    pub(super) certificates: &'a EndpointCertificates,
    pub(super) versions: Versions,
}

//! What has series of its own: the parts of a configuration, and the origins.

use std::sync::Arc;
use std::time::SystemTime;

/// The parts of a configuration that have their own series.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The endpoints and the names of their routes.
    pub endpoints: Vec<(Arc<str>, Vec<Arc<str>>)>,
    /// The upstreams and the names of their origins.
    pub upstreams: Vec<(Arc<str>, Vec<Arc<str>>)>,
    /// The certificates that are presented to clients.
    pub certificates: Vec<CertificateEnd>,
    /// The certificates that are presented to origins.
    pub client_certificates: Vec<CertificateEnd>,
    /// The CAs in files.
    pub authorities: Vec<AuthorityEnd>,
    /// The revocation lists in use.
    pub lists: Vec<ListEnd>,
    /// The issuers of certificates.
    pub issuers: Vec<IssuerEnd>,
}

/// An issuer of certificates, and the certificates that it keeps.
#[derive(Clone, Debug)]
pub struct IssuerEnd {
    /// Its name.
    pub issuer: Arc<str>,
    /// How many of them it has yet to issue.
    pub pending: usize,
    /// The first end of validity of the others, in seconds of unix time.
    pub first_end: Option<i64>,
}

/// The expiry of a revocation list.
#[derive(Clone, Debug)]
pub struct ListEnd {
    /// The file that holds it.
    pub file: String,
    /// Its issuer.
    pub issuer: String,
    /// Its `nextUpdate`, in seconds of unix time.
    pub next_update: i64,
}

/// The expiry times of a certificate and its chain.
#[derive(Clone, Debug)]
pub struct CertificateEnd {
    /// The endpoint or upstream that presents it.
    pub owner: Arc<str>,
    /// Its name in the configuration.
    pub certificate: String,
    /// End of validity, in seconds of unix time.
    pub not_after: i64,
    /// The first end of validity in its chain, in seconds of unix time.
    pub chain_end: i64,
    /// The first due date for a renewal in its chain, in seconds of unix time.
    pub renewal_due: i64,
    /// When its stapled OCSP response expires, in seconds of unix time.
    pub staple_end: Option<i64>,
}

/// The expiry of a CA in a file.
#[derive(Clone, Debug)]
pub struct AuthorityEnd {
    /// The file.
    pub file: String,
    /// Its subject.
    pub subject: String,
    /// End of validity, in seconds of unix time.
    pub not_after: i64,
    /// The due date of its renewal, in seconds of unix time.
    pub renewal_due: i64,
}

/// The state of an origin, summed over its addresses.
#[derive(Clone, Debug)]
pub struct OriginGauge {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The origin's name.
    pub origin: Arc<str>,
    /// The number of its addresses that may get new connections.
    pub usable: usize,
    /// The number of its connections, with those that are being made.
    pub connections: usize,
    /// The most connections at all of its present addresses; `None` without a limit.
    pub max: Option<usize>,
    /// When `usable` last changed.
    pub changed: SystemTime,
    /// The checks that it has passed and failed; `None` if it is not checked.
    pub checks: Option<[u64; 2]>,
}

/// The queue for the origins of an upstream.
#[derive(Clone, Debug)]
pub struct QueueGauge {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The number of connections that wait.
    pub waiting: usize,
    /// The most that may wait; `None` without a limit.
    pub max: Option<usize>,
}

//! What benches, fuzz targets and integration tests use of the crate. Not an API: it changes with the code.

pub use crate::admission::{
    Clock, Networks, Rate, SourceKey, SourceLimits, SourcePrefix, SourceTable,
};
pub use crate::cli::serve;
pub use crate::hostname::{HostName, HostNameError, HostPattern, HostTable};
pub use crate::negotiate::{Ask, Connect, Dialogue, Protocol as NegotiatedProtocol, Serve, Step};
pub use crate::observe::escape;
pub use crate::outcome::{CloseWith, Reason};
pub use crate::proxy_protocol::{Decoded, decode as decode_proxy_header};
pub use crate::route::{Match, Query, RouteTable};
pub use crate::tls::hello::{HELLO_MAX, Hello, Parser};
pub use crate::tls::material::pem::{self, Refusal};
pub use crate::tls::ocsp;
pub use crate::tls::verify::allow::spki_sha256;
pub use crate::tls::verify::authorities::Authorities;
pub use crate::tls::verify::client::{
    AtExpiry, ClientAuth, ClientAuthority, ClientVerifier, Recheck,
};
pub use crate::tls::verify::crl::{Depth, OnUnknown, Revocation, RevocationList, RevocationLists};
pub use crate::transport::{Budget, OutBuf, TcpOptions, TlsConn, TlsState};
pub use crate::upstream::{
    Address, Balance, ConnectPolicy, OnGone, OriginDefinition, PickRequest, UpstreamDefinition,
    Upstreams,
};

//! TLS with the origins of an upstream.

use std::sync::Arc;

use super::client_auth::RevocationKeys;
use super::compiler::Compiler;
use super::pairs::PairPlaces;
use super::wire::{groups, once};
use crate::acme::Identifier;
use crate::config::reader::generic::{OffOr, OneOrMany};
use crate::config::reader::problem::Span;
use crate::config::reader::read::Located;
use crate::config::reader::values::{Name, Path};
use crate::config::spec::{self, ClientIdentity, TlsVersion, UpstreamAlpn, UpstreamTls, Verify};
use crate::snapshot::AwaitedIdentity;
use crate::tls::Versions;
use crate::tls::connector::{ConnectorPolicy, OriginAlpn, Sni, TlsConnector};
use crate::tls::pair::Pair;
use crate::tls::pair_files::PairFiles;
use crate::tls::usage::Presented;
use crate::tls::verify::authorities::Authorities;
use crate::tls::verify::crl::Revocation;
use crate::tls::verify::origin::{Authority, Trust};

/// The most bytes of ALPN protocols in a ClientHello. Its extensions have 64 KiB together, and few
/// servers accept a hello above 16 KiB.
const ALPN_MAX: usize = 8 * 1024;

/// The certificate that is shown to origins.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Identity {
    None,
    Pair(Arc<Pair>),
    /// An issuer has yet to issue it.
    Awaited,
}

impl Compiler<'_> {
    /// The connector of an upstream: the running one, with its sessions, if the policy is equal.
    pub(super) fn connector(
        &mut self,
        upstream: &str,
        spec: &Located<UpstreamTls>,
    ) -> Option<Arc<TlsConnector>> {
        let policy = self.connector_policy(upstream, spec)?;
        let running = self.parts.upstream(upstream);
        let running = running.and_then(|running| running.tls.as_ref());
        if let Some(running) = running.filter(|running| *running.policy() == policy) {
            return Some(Arc::clone(running));
        }
        match TlsConnector::new(policy) {
            Ok(connector) => Some(Arc::new(connector)),
            Err(error) => {
                self.problems.error(
                    spec.at,
                    format!("TLS to this upstream cannot be set up: {error}"),
                );
                None
            }
        }
    }

    fn connector_policy(
        &mut self,
        upstream: &str,
        spec: &Located<UpstreamTls>,
    ) -> Option<ConnectorPolicy> {
        let trust = self.trust(spec);
        let identity = match &spec.client_certificate {
            Some(own) => match &own.value {
                ClientIdentity::Vault(certificate) => {
                    let issued = self.issued(own.at, certificate);
                    issued.map(|pair| pair.map_or(Identity::Awaited, Identity::Pair))
                }
                ClientIdentity::Named(certificate) => self.identity(upstream, own.at, certificate),
            },
            None => Some(Identity::None),
        };
        let alpn = self.origin_alpn(&spec.alpn);
        Some(ConnectorPolicy {
            versions: match spec.min_version.value {
                TlsVersion::V1_2 => Versions::Both,
                TlsVersion::V1_3 => Versions::Tls13,
            },
            groups: groups(&spec.groups),
            trust: trust?,
            sni: spec.sni.value,
            awaits_certificate: identity.as_ref() == Some(&Identity::Awaited),
            certificate: match identity? {
                Identity::Pair(pair) => Some(pair),
                Identity::None | Identity::Awaited => None,
            },
            alpn: alpn?,
            alpn_is_optional: spec.negotiate.protocol().is_some(),
            resumption: match &spec.resumption.value {
                OffOr::Off => None,
                OffOr::On(resumption) => Some(resumption.max_age.0),
            },
        })
    }

    /// What an origin's certificate must satisfy.
    fn trust(&mut self, spec: &Located<UpstreamTls>) -> Option<Trust> {
        let authority = self.authority(spec);
        let roots = match &authority {
            Some(Authority::Roots(roots)) => Some(roots),
            _ => None,
        };
        let revocation = self.origin_revocation(spec, roots);
        let rules = if spec.allow.is_empty() {
            Some(None)
        } else {
            self.rules(&spec.allow).map(Some)
        };
        let (authority, revocation) = (authority?, revocation?);
        if let (Authority::Roots(roots), Some(revocation)) = (&authority, &revocation) {
            self.strange_lists(spec.crl.at, roots, revocation);
        }
        Some(Trust {
            authority,
            // `sni: client` sends the client's name; a configured name is then the one that is verified.
            verify_name: match (&spec.server_name, spec.sni.value) {
                (Some(name), Sni::Client) => Some(name.value.clone()),
                _ => None,
            },
            revocation,
            pins: spec.spki_sha256.iter().map(|pin| pin.value.0).collect(),
            rules: rules?,
        })
    }

    fn authority(&mut self, spec: &Located<UpstreamTls>) -> Option<Authority> {
        match spec.verify.value {
            Verify::Full => self.authorities(&spec.ca).map(Authority::Roots),
            // A pinned key is sufficient verification.
            Verify::DangerNone if !spec.spki_sha256.is_empty() => {
                if spec.ca.given_in(spec) {
                    let message = "`ca` has no effect with `verify: danger-none`";
                    self.problems
                        .warning(spec.ca.at, message)
                        .help("leave `verify` out to demand both, the CA and the pinned key");
                }
                Some(Authority::DangerNone)
            }
            Verify::DangerNone => {
                self.problems
                    .warning(
                        spec.verify.at,
                        "`verify: danger-none`: any server can pose as the origin",
                    )
                    .help(if spec.ca.given_in(spec) {
                        "`ca` is ignored with it: leave `verify` out"
                    } else {
                        "give the origins' CA in `ca` instead"
                    });
                Some(Authority::DangerNone)
            }
        }
    }

    /// The revocation policy; the inner `None` means that no list is configured.
    fn origin_revocation(
        &mut self,
        spec: &Located<UpstreamTls>,
        roots: Option<&Arc<Authorities>>,
    ) -> Option<Option<Revocation>> {
        if spec.verify.value == Verify::DangerNone && spec.crl.given_in(spec) {
            let message =
                "`crl` has no effect with `verify: danger-none`: no certificate is checked";
            self.problems.warning(spec.crl.at, message);
        }
        if spec.crl.is_empty() {
            return Some(None);
        }
        let keys = RevocationKeys {
            scope: &spec.crl_scope,
            unknown: &spec.crl_unknown,
            expired: &spec.crl_expired,
        };
        self.revocation(&spec.crl, &keys, roots).map(Some)
    }

    fn origin_alpn(&mut self, spec: &Located<UpstreamAlpn>) -> Option<OriginAlpn> {
        let list = match &spec.value {
            UpstreamAlpn::Forward => return Some(OriginAlpn::Forward),
            UpstreamAlpn::None => return Some(OriginAlpn::Absent),
            UpstreamAlpn::List(list) => list,
        };
        let names = list.iter().map(|p| p.value.0.as_bytes());
        let len: usize = names.clone().map(|name| 1 + name.len()).sum();
        if len > ALPN_MAX {
            let message = format!(
                "these protocols take {len} bytes of the ClientHello, at most {ALPN_MAX} are allowed"
            );
            self.problems.error(spec.at, message);
            return None;
        }
        Some(OriginAlpn::Fixed(once(names.map(<[u8]>::to_vec))))
    }

    /// What origins are shown by this spec.
    fn identity(
        &mut self,
        upstream: &str,
        at: Span,
        spec: &spec::ClientCertificate,
    ) -> Option<Identity> {
        let beside = [
            spec.key.as_ref().map(|key| (key.at, "key")),
            spec.password_file
                .as_ref()
                .map(|file| (file.at, "password_file")),
            spec.cert.as_ref().map(|cert| (cert.at, "cert")),
        ];
        match (&spec.cert, &spec.acme, &spec.names) {
            (Some(cert), None, None) => self.client_pair(spec, cert).map(Identity::Pair),
            (None, Some(acme), Some(names)) => match beside.into_iter().flatten().next() {
                None => self.kept_identity(upstream, acme, names),
                Some((at, key)) => {
                    self.excluded(at, &format!("`acme` and `{key}` exclude each other"))
                }
            },
            (Some(_), Some(acme), _) => {
                self.excluded(acme.at, "`acme` and `cert` exclude each other")
            }
            (_, None, Some(names)) => self.excluded(names.at, "`names` is for `acme` alone"),
            (None, Some(acme), None) => self.excluded(acme.at, "missing key `names` beside `acme`"),
            (None, None, None) => self.excluded(at, "missing key `cert`"),
        }
    }

    fn excluded(&mut self, at: Span, message: &str) -> Option<Identity> {
        self.problems
            .error(at, message)
            .help("write `{ cert: FILE, key: FILE }`, or `{ acme: ISSUER, names: [HOST] }`");
        None
    }

    fn client_pair(
        &mut self,
        spec: &spec::ClientCertificate,
        cert: &Located<Path>,
    ) -> Option<Arc<Pair>> {
        let (at, cert) = (cert.at, self.resolve(cert));
        let key = spec.key.as_ref();
        let key_at = key.map_or(at, |key| key.at);
        let files = PairFiles {
            key: key.map_or_else(|| cert.clone(), |key| self.resolve(key)),
            ocsp: None,
            password: spec.password_file.as_ref().map(|file| self.resolve(file)),
            cert,
        };
        let places = PairPlaces {
            key: key_at,
            password: spec.password_file.as_ref().map_or(at, |file| file.at),
            ..PairPlaces::all(at)
        };
        let pair = self.certified(places, files)?;
        self.presented(at, &pair, Presented::ToOrigins);
        Some(pair)
    }

    /// The certificate that an issuer keeps for an upstream.
    fn kept_identity(
        &mut self,
        upstream: &str,
        acme: &Located<Name>,
        names: &Located<OneOrMany<Identifier>>,
    ) -> Option<Identity> {
        let managed = self.managed(acme, names)?;
        if let Some(pair) = self.managed_pair(acme.at, &managed) {
            self.presented(acme.at, &pair, Presented::ToOrigins);
            return Some(Identity::Pair(pair));
        }
        self.awaited.push(AwaitedIdentity {
            upstream: upstream.into(),
            managed,
        });
        Some(Identity::Awaited)
    }
}

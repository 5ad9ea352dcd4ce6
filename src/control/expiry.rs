//! Repeats the warnings of certificate, CRL and OCSP expiry every 6 h.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use crate::config::compile::Materials;
use crate::control::expiry_dates::{self, Presented};
use crate::observe::format::unix_timestamp;
use crate::snapshot::Snapshot;
use crate::tls::unix_now;

/// Time between two warnings. A start and a reload warn by themselves.
const EVERY: Duration = Duration::from_secs(6 * 3600);

/// When the next warnings are due.
#[derive(Debug)]
pub(crate) struct ExpiryWarnings(Instant);

impl Default for ExpiryWarnings {
    fn default() -> Self {
        Self(Instant::now() + EVERY)
    }
}

impl ExpiryWarnings {
    /// Logs the warnings if they are due.
    pub(crate) fn proceed(&mut self, snapshot: &Snapshot, materials: &Materials) {
        if Instant::now() < self.0 {
            return;
        }
        self.0 = Instant::now() + EVERY;
        for due in due(snapshot, materials, unix_now()) {
            due.warn();
        }
    }
}

/// A material that expires, its name where it has one, and the expiry date in seconds of unix time.
#[derive(Debug, Default, PartialEq, Eq)]
struct Due {
    what: &'static str,
    endpoint: Option<String>,
    upstream: Option<String>,
    name: Option<String>,
    file: Option<String>,
    issuer: Option<String>,
    ca: Option<String>,
    until: i64,
}

impl Due {
    fn warn(&self) {
        warn!(
            endpoint = self.endpoint,
            upstream = self.upstream,
            name = self.name,
            file = self.file,
            issuer = self.issuer,
            ca = self.ca,
            until = unix_timestamp(self.until),
            "{} has to be replaced",
            self.what
        );
    }
}

/// Every material that has expired or will expire soon.
fn due(snapshot: &Snapshot, materials: &Materials, now: i64) -> Vec<Due> {
    let mut due = Vec::new();
    let lists = materials.revocation_lists();
    let lists = lists.filter(|list| list.renewal_due().is_some_and(|due| due < now));
    let lists: BTreeMap<_, _> = lists
        .map(|list| ((&list.source, &list.issuer), list.next_update))
        .collect();
    for ((file, issuer), until) in lists {
        if let Some(until) = until {
            due.push(Due {
                what: "a revocation list",
                file: Some(file.to_string()),
                issuer: Some(issuer.clone()),
                until,
                ..Due::default()
            });
        }
    }
    let authorities = materials.authority_ends();
    // As in `check`: no CA has to follow one that ends if another one of its file lasts.
    let lasting: BTreeSet<_> = authorities
        .iter()
        .filter(|(_, validity)| validity.fault(now).is_none())
        .map(|((file, _), _)| file.clone())
        .collect();
    for ((file, subject), validity) in authorities {
        let is_followed = validity.not_after >= now && lasting.contains(&file);
        if validity.renewal_due() < now && !is_followed {
            due.push(Due {
                what: "a CA",
                file: Some(file),
                ca: Some(subject),
                until: validity.not_after,
                ..Due::default()
            });
        }
    }
    for certificate in expiry_dates::to_clients(snapshot) {
        let endpoint = Some(certificate.owner.to_string());
        let stapled = certificate.pair.stapled.as_ref();
        if let Some(stapled) = stapled.filter(|stapled| stapled.until <= now) {
            due.push(Due {
                what: "an OCSP response",
                endpoint: endpoint.clone(),
                name: Some(certificate.name.clone()),
                until: stapled.until,
                ..Due::default()
            });
        }
        due.extend(chain(&certificate, now).map(|due| Due {
            endpoint: endpoint.clone(),
            ..due
        }));
    }
    for certificate in expiry_dates::to_origins(snapshot) {
        due.extend(chain(&certificate, now).map(|due| Due {
            upstream: Some(certificate.owner.to_string()),
            ..due
        }));
    }
    if let Some(certificate) = expiry_dates::to_operators(snapshot) {
        let file = &certificate.pair.source;
        due.extend(chain(&certificate, now).map(|due| Due {
            file: Some(file.clone()),
            ..due
        }));
    }
    due
}

/// The certificates of a chain that have expired or will expire soon.
fn chain(certificate: &Presented<'_>, now: i64) -> impl Iterator<Item = Due> {
    let chain = certificate.pair.chain.iter().enumerate();
    let ends = chain.filter(move |(_, validity)| validity.renewal_due() < now);
    ends.map(|(n, validity)| Due {
        what: if n == 0 {
            "a certificate"
        } else {
            "a certificate of a chain"
        },
        name: Some(certificate.name.clone()),
        ca: (n > 0).then(|| validity.subject.clone()),
        until: validity.not_after,
        ..Due::default()
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    use time::{Duration, OffsetDateTime};

    use super::*;
    use crate::config::compile::{Files, LoadOptions, Purpose};
    use crate::config::load;
    use crate::tls::sessions::Sessions;

    const TEXT: &str = "
endpoints:
  - name: edge
    listen: 127.0.0.1:0
    tls:
      certificates: [{ cert: a.pem, key: a.key }]
      client_auth: { mode: required, ca: ca.pem }
    routes: [{ name: a, mode: reencrypt, upstream: up, match: { sni: a.test } }]
upstreams:
  up:
    origins: [\"127.0.0.1:9\"]
    tls: { ca: ca.pem, server_name: a.test, client_certificate: { cert: a.pem, key: a.key } }
";

    fn params(name: &str, days: i64) -> CertificateParams {
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = OffsetDateTime::now_utc() - Duration::days(60);
        params.not_after = OffsetDateTime::now_utc() + Duration::days(days);
        params
    }

    #[test]
    fn every_kind_of_material_is_due_before_it_expires_and_not_earlier() {
        let dir = tempfile::tempdir().unwrap();
        let mut ca = params("CA", 40);
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = params("leaf", 20).signed_by(&key, &ca).unwrap();
        let write = |name: &str, text: String| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(path, mode).unwrap();
        };
        write("ca.pem", ca.as_ref().pem());
        write("a.pem", leaf.pem() + &ca.as_ref().pem());
        write("a.key", key.serialize_pem());
        write("config.yaml", TEXT.to_owned());
        let sessions = Sessions::default();
        let options = LoadOptions::first(Files::Read, Purpose::Check, &sessions);
        let loaded = load::file(&dir.path().join("config.yaml"), options).unwrap();
        let snapshot = loaded.snapshot.as_ref().unwrap();
        let after = |days: i64| {
            let due = due(snapshot, &loaded.materials, unix_now() + days * 24 * 3600);
            let shown = due.into_iter().map(|due| {
                let place = due.endpoint.or(due.upstream).or(due.file);
                let place = place.unwrap_or_default();
                let place = place.rsplit('/').next().unwrap_or_default().to_owned();
                (due.what, place)
            });
            shown.collect::<Vec<_>>()
        };
        assert_eq!(after(0), []);
        let leaf = "a certificate";
        let leaves = [(leaf, "edge".to_owned()), (leaf, "up".to_owned())];
        assert_eq!(after(7), leaves);
        assert_eq!(after(19), leaves);
        assert_eq!(after(21), leaves, "expired materials are due, too");
        let issuer = "a certificate of a chain";
        assert_eq!(
            after(30),
            [
                ("a CA", "ca.pem".to_owned()),
                (leaf, "edge".to_owned()),
                (issuer, "edge".to_owned()),
                (leaf, "up".to_owned()),
                (issuer, "up".to_owned()),
            ]
        );
    }
}

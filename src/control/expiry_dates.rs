//! Expiry dates of certificates, CAs, revocation lists and stapled responses, for the metrics and the
//! admin socket.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};

use crate::config::compile::Materials;
use crate::observe::escape;
use crate::observe::format::unix_timestamp;
use crate::observe::metrics::{AuthorityEnd, CertificateEnd, Inventory, IssuerEnd, ListEnd};
use crate::snapshot::Snapshot;
use crate::tls::pair::{Pair, stem};
use crate::tls::unix_now;
use crate::tls::validity::Validity;

/// A certificate in use: the endpoint or upstream that presents it, its name and the names it is for.
pub(crate) struct Presented<'a> {
    pub(crate) owner: &'a Arc<str>,
    pub(crate) name: String,
    pub(crate) names: Vec<String>,
    pub(crate) pair: &'a Pair,
}

/// The certificates that endpoints present to clients.
pub(crate) fn to_clients(snapshot: &Snapshot) -> impl Iterator<Item = Presented<'_>> {
    snapshot.endpoints.iter().flat_map(|endpoint| {
        let certificates = endpoint.certificates.iter();
        certificates.map(|certificate| Presented {
            owner: &endpoint.name,
            name: certificate.name.clone(),
            names: certificate.names.iter().map(ToString::to_string).collect(),
            pair: &certificate.pair,
        })
    })
}

/// The certificates that upstreams present to origins.
pub(crate) fn to_origins(snapshot: &Snapshot) -> impl Iterator<Item = Presented<'_>> {
    snapshot.upstreams.iter().filter_map(|upstream| {
        let pair = upstream.certificate()?;
        Some(Presented {
            owner: &upstream.definition.name,
            name: stem(pair.source.as_ref()),
            names: pair.names.iter().map(ToString::to_string).collect(),
            pair,
        })
    })
}

/// The certificate that the admin listener presents, with the word that stands for its owner.
pub(crate) fn to_operators(snapshot: &Snapshot) -> Option<Presented<'_>> {
    static ADMIN: LazyLock<Arc<str>> = LazyLock::new(|| "admin".into());
    let pair = &snapshot.admin.tls()?.pair;
    Some(Presented {
        owner: &ADMIN,
        name: stem(pair.source.as_ref()),
        names: pair.names.iter().map(ToString::to_string).collect(),
        pair,
    })
}

/// The parts of a snapshot that have metric series of their own.
pub(crate) fn inventory(snapshot: &Snapshot, materials: &Materials) -> Inventory {
    let end = |presented: Presented<'_>| CertificateEnd {
        owner: Arc::clone(presented.owner),
        certificate: presented.name,
        not_after: presented.pair.not_after,
        chain_end: presented.pair.chain_end(),
        renewal_due: presented.pair.renewal_due(),
        staple_end: presented.pair.stapled.as_ref().map(|staple| staple.until),
    };
    let authorities = materials.authority_ends().into_iter();
    let lists = materials.list_ends().into_iter();
    Inventory {
        certificates: to_clients(snapshot).map(end).collect(),
        client_certificates: to_origins(snapshot).map(end).collect(),
        authorities: authorities
            .map(|((file, subject), validity)| AuthorityEnd {
                file,
                subject: escape::name(&subject),
                not_after: validity.not_after,
                renewal_due: validity.authority_renewal_due(),
            })
            .collect(),
        lists: lists
            .map(|((file, issuer), next_update)| ListEnd {
                file,
                issuer: escape::name(&issuer),
                next_update,
            })
            .collect(),
        issuers: issuers(snapshot),
        upstreams: snapshot
            .upstreams
            .iter()
            .map(|upstream| {
                let origins = upstream.definition.origins.iter();
                let names = origins.map(|origin| Arc::clone(&origin.name));
                (Arc::clone(&upstream.definition.name), names.collect())
            })
            .collect(),
        endpoints: snapshot
            .endpoints
            .iter()
            .map(|endpoint| {
                let routes = endpoint.routes.iter().map(|route| Arc::clone(&route.name));
                (Arc::clone(&endpoint.name), routes.collect())
            })
            .collect(),
    }
}

/// When the certificates in use end, by their files.
pub(crate) fn ends_by_file(snapshot: &Snapshot) -> BTreeMap<&str, i64> {
    let presented = to_clients(snapshot).chain(to_origins(snapshot));
    presented
        .map(|presented| (presented.pair.source.as_str(), presented.pair.not_after))
        .collect()
}

/// The issuers of certificates, and what each keeps. A certificate that several endpoints present is one.
fn issuers(snapshot: &Snapshot) -> Vec<IssuerEnd> {
    let ends = ends_by_file(snapshot);
    let mut issuers = BTreeMap::new();
    for managed in &snapshot.managed {
        let name = &managed.issuer.name;
        let issuer = issuers
            .entry(Arc::clone(name))
            .or_insert_with(|| IssuerEnd {
                issuer: Arc::clone(name),
                pending: 0,
                first_end: None,
            });
        match ends.get(&*managed.file.to_string_lossy()) {
            Some(end) => {
                let first = issuer.first_end.map_or(*end, |first| first.min(*end));
                issuer.first_end = Some(first);
            }
            None => issuer.pending += 1,
        }
    }
    issuers.into_values().collect()
}

/// All expiry dates as JSON, for `/certificates`.
pub(crate) fn listed(snapshot: &Snapshot, materials: &Materials) -> Value {
    let now = unix_now();
    let certificates = to_clients(snapshot).map(|certificate| {
        let mut shown = presented(&certificate, now);
        shown["endpoint"] = json!(&**certificate.owner);
        if let Some(stapled) = &certificate.pair.stapled {
            shown["ocsp_next_update"] = json!(unix_timestamp(stapled.until));
        }
        shown
    });
    let client_certificates = to_origins(snapshot).map(|certificate| {
        let mut shown = presented(&certificate, now);
        shown["upstream"] = json!(&**certificate.owner);
        shown
    });
    let admin_certificates = to_operators(snapshot).map(|certificate| presented(&certificate, now));
    let authorities = materials.authority_ends().into_iter();
    let authorities = authorities.map(|((file, _), validity)| {
        let mut shown = dates(&validity, now);
        shown["file"] = json!(file);
        shown
    });
    let lists = materials.list_ends().into_iter();
    let lists = lists.map(|((file, issuer), end)| {
        json!({
            "file": file,
            "issuer": escape::name(&issuer),
            "next_update": unix_timestamp(end),
            "seconds_left": end.saturating_sub(now),
        })
    });
    json!({
        "certificates": by_end(certificates),
        "client_certificates": by_end(client_certificates),
        "admin_certificates": by_end(admin_certificates.into_iter()),
        "authorities": by_end(authorities),
        "revocation_lists": by_end(lists),
    })
}

/// The rows, the one that ends first at the top.
fn by_end(rows: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|row| row["seconds_left"].as_i64());
    rows
}

fn presented(certificate: &Presented<'_>, now: i64) -> Value {
    let Presented {
        name, names, pair, ..
    } = certificate;
    let (leaf, issuers) = pair.chain.split_first().unzip();
    let mut shown = leaf.map_or_else(|| json!({}), |leaf| dates(leaf, now));
    let issuers = issuers.unwrap_or_default().iter();
    shown["name"] = json!(name);
    shown["names"] = json!(names);
    shown["addresses"] = json!(pair.addresses);
    shown["chain"] = json!(issuers.map(|issuer| dates(issuer, now)).collect::<Vec<_>>());
    shown
}

fn dates(validity: &Validity, now: i64) -> Value {
    json!({
        "subject": escape::name(&validity.subject),
        "not_before": unix_timestamp(validity.not_before),
        "not_after": unix_timestamp(validity.not_after),
        "seconds_left": validity.not_after.saturating_sub(now),
    })
}

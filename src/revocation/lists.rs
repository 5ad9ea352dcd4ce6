//! Revocation lists that have come: whether a policy may use them.

use std::sync::Arc;

use hyper::Request;
use hyper::header::ACCEPT;
use hyper::http::request::Builder;
use rustls::RootCertStore;

use super::source::Lists;
use crate::observe::escape;
use crate::observe::format::unix_timestamp;
use crate::tls::https;
use crate::tls::material::lists_in;
use crate::tls::verify::authorities::Authorities;
use crate::tls::verify::crl::{RevocationList, RevocationLists};

/// The most bytes of a response: the largest file of lists that is read.
pub(super) const BYTES_MAX: usize = 16 * 1024 * 1024;

/// A list is fetched again when this share of the time that it is in force is left.
const SHARE_LEFT: i64 = 10;

impl Lists {
    /// The CAs of servers from which they are fetched over TLS. The lists themselves are signed, so the
    /// server's certificate keeps their content from nobody who could change it; it keeps others from
    /// withholding them.
    pub(super) fn servers(&self) -> Arc<Authorities> {
        if let Some(servers) = &self.servers {
            return Arc::clone(servers);
        }
        let mut roots = RootCertStore::empty();
        roots.extend(https::public().anchors().iter().cloned());
        let own = self.signers.iter().flat_map(|signers| signers.anchors());
        roots.extend(own.cloned());
        Arc::new(Authorities::of_anchors(roots))
    }
}

/// The request for lists, without its body.
pub(super) fn request(url: &str) -> Builder {
    Request::get(url).header(ACCEPT, "application/pkix-crl, */*")
}

/// Whether lists may replace those before them, and when they are to be fetched again. What is older could be
/// replayed by anybody on the path.
pub(super) fn judge(
    wanted: &Lists,
    url: &str,
    bytes: &[u8],
    before: Option<&[u8]>,
    now: i64,
) -> Result<Option<i64>, String> {
    let source: Arc<str> = url.into();
    let found = lists_in(bytes, &source).map_err(|why| format!("the response: {why}"))?;
    let due = found.iter().filter_map(due).min();
    if let Some(early) = found.iter().find(|list| !list.is_in_force(now)) {
        let (issuer, from) = (
            escape::text(&early.issuer),
            unix_timestamp(early.this_update),
        );
        return Err(format!("the list of {issuer} is not valid before {from}"));
    }
    let (found, _) = RevocationLists::newest(found, now);
    are_signed(&found, &wanted.signers)?;
    let before = before.and_then(|before| lists_in(before, &source).ok());
    for old in before.iter().flatten() {
        succeeded(old, &found, now)?;
    }
    Ok(due)
}

/// Refuses lists that do not follow one in use: what is older, or is about other certificates, hides
/// revocations.
fn succeeded(old: &RevocationList, found: &RevocationLists, now: i64) -> Result<(), String> {
    let issuer = escape::text(&old.issuer);
    let mut successors = found.iter().filter(|new| new.is_about_the_same_as(old));
    match successors.next() {
        Some(first) => {
            let is_newer = |new: &RevocationList| new.newness() >= old.newness();
            if is_newer(first) || successors.any(is_newer) {
                return Ok(());
            }
            let from = unix_timestamp(old.this_update);
            Err(format!(
                "the list of {issuer} is older than the one in use, which is of {from}"
            ))
        }
        None if old.next_update.is_none_or(|next| next <= now) => Ok(()),
        None => Err(format!(
            "there is no list that follows the one of {issuer}, which is in use"
        )),
    }
}

/// Refuses lists that the CAs of no policy have signed: an attacker on the path could make clients unknown, or
/// revoked ones known.
fn are_signed(found: &RevocationLists, policies: &[Arc<Authorities>]) -> Result<(), String> {
    let mut why = "no policy uses it".to_owned();
    for signers in policies {
        let (strange, unsigned) = found.not_issued_by(signers.anchors());
        why = match (strange.first(), unsigned.first()) {
            (None, None) => return Ok(()),
            (Some(list), _) => {
                let issuer = escape::text(&list.issuer);
                format!("the list is of {issuer}, which is none of the CAs of the policy")
            }
            (None, Some(list)) => {
                let issuer = escape::text(&list.issuer);
                format!("the list is not signed by the CA {issuer} of the policy")
            }
        };
    }
    Err(why)
}

/// When a list is to be fetched again, by its own dates.
fn due(list: &RevocationList) -> Option<i64> {
    let next = list.next_update?;
    let in_force = next.saturating_sub(list.this_update).max(0);
    Some(next.saturating_sub(in_force / SHARE_LEFT))
}

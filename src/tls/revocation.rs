//! Certificate revocation lists, and what to do where they do not answer.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::client::ServerCertVerifierBuilder;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::server::ClientCertVerifierBuilder;
use webpki::{BorrowedCertRevocationList, Error};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

/// A list ends soon when it does within so many seconds.
pub const ENDS_SOON: i64 = 24 * 3600;

/// How far up a chain revocation is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Every certificate of the chain but the trust anchor.
    Chain,
    /// The peer's own certificate alone.
    Leaf,
}

/// What to do where no list can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Refuse.
    Deny,
    /// Go on as if the certificate were not revoked.
    Allow,
}

/// The revocation policy of a route or upstream that has lists.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// The lists.
    pub lists: Arc<RevocationLists>,
    /// How far up.
    pub depth: Depth,
    /// Where no list is of the certificate's issuer.
    pub unknown: Doubt,
    /// Where the list should have been replaced by a newer one.
    pub expired: Doubt,
}

/// Lists, one for each issuer and distribution point: webpki asks the first that is of the issuer, and
/// an old one would hide what a newer one revokes.
#[derive(Debug)]
pub struct RevocationLists {
    lists: Vec<RevocationList>,
}

/// One list that was read.
#[derive(Clone, Debug)]
pub struct RevocationList {
    der: CertificateRevocationListDer<'static>,
    /// The file it is from.
    pub source: Arc<str>,
    /// Its issuer, as text.
    pub issuer: String,
    /// When it was made, in seconds of unix time.
    pub this_update: i64,
    /// When a newer one is to be there, in seconds of unix time.
    pub next_update: Option<i64>,
    /// The certificates that it revokes.
    pub revoked: usize,
    number: Vec<u8>,
    place: Place,
}

/// What a list is about: its issuer, and the part of its certificates, where it is not all.
type Place = (Vec<u8>, Option<Vec<u8>>);

impl RevocationList {
    /// Reads a list from DER; the error says what is wrong with it.
    pub fn read(
        der: CertificateRevocationListDer<'static>,
        source: &Arc<str>,
    ) -> Result<Self, String> {
        let (rest, list) = CertificateRevocationList::from_der(&der).map_err(|e| e.to_string())?;
        if !rest.is_empty() {
            return Err("there is something behind its end".to_owned());
        }
        // What verifies reads more strictly: it wants version 2, and knows neither delta nor indirect
        // lists. Better to be told here, with the file's name.
        BorrowedCertRevocationList::from_der(&der)
            .and_then(|list| list.to_owned())
            .map_err(|e| unusable(&e))?;
        let number = list.crl_number().map(|n| n.to_bytes_be());
        let part = list
            .extensions()
            .iter()
            .find(|e| {
                matches!(
                    e.parsed_extension(),
                    ParsedExtension::IssuingDistributionPoint(_)
                )
            })
            .map(|e| e.value.to_vec());
        let (issuer, place) = (list.issuer().to_string(), list.issuer().as_raw().to_vec());
        let this_update = list.last_update().timestamp();
        let next_update = list.next_update().map(|time| time.timestamp());
        let revoked = list.iter_revoked_certificates().count();
        Ok(Self {
            source: Arc::clone(source),
            issuer,
            this_update,
            next_update,
            revoked,
            number: number.unwrap_or_default(),
            place: (place, part),
            der,
        })
    }

    /// Whether its issuer has this name: the content of an X.509 `Name`, as a trust anchor holds it.
    pub fn is_of(&self, subject: &[u8]) -> bool {
        content(&self.place.0) == Some(subject)
    }

    /// What is greater for a newer list: it is later, or has a higher number where two were made at the
    /// same time.
    fn newness(&self) -> (i64, usize, &[u8]) {
        (self.this_update, self.number.len(), &self.number)
    }
}

/// What is behind tag and length of something in DER.
fn content(der: &[u8]) -> Option<&[u8]> {
    let length = usize::from(*der.get(1)?);
    let header = if length < 0x80 {
        2
    } else {
        2 + (length & 0x7f)
    };
    der.get(header..)
}

/// Why a list that can be read cannot be used.
fn unusable(error: &Error) -> String {
    match error {
        Error::UnsupportedDeltaCrl => "it is a delta list; give the whole one".to_owned(),
        Error::UnsupportedIndirectCrl => {
            "it is an indirect list, on certificates of others than its issuer".to_owned()
        }
        // How the lack of extensions, or of a next update, comes out.
        Error::UnsupportedCrlVersion | Error::MalformedExtensions | Error::BadDer => {
            "it is not of version 2 (openssl ca: crl_extensions), or has no next update".to_owned()
        }
        other => other.to_string(),
    }
}

impl RevocationLists {
    /// Keeps the newest list of each issuer and distribution point; the others are returned beside.
    pub fn newest(lists: Vec<RevocationList>) -> (Self, Vec<RevocationList>) {
        let mut newest: HashMap<Place, RevocationList> = HashMap::new();
        let mut older = Vec::new();
        for list in lists {
            match newest.remove(&list.place) {
                Some(known) if known.newness() > list.newness() => {
                    older.push(list);
                    newest.insert(known.place.clone(), known);
                }
                known => {
                    older.extend(known);
                    newest.insert(list.place.clone(), list);
                }
            }
        }
        let mut lists: Vec<_> = newest.into_values().collect();
        // What one distribution point says may be in a list of all, too: of those the newest is asked.
        lists.sort_by(|a, b| (b.newness(), &a.place).cmp(&(a.newness(), &b.place)));
        (Self { lists }, older)
    }

    /// The lists that are used.
    pub fn iter(&self) -> impl Iterator<Item = &RevocationList> {
        self.lists.iter()
    }

    fn der(&self) -> impl Iterator<Item = CertificateRevocationListDer<'static>> + '_ {
        self.lists.iter().map(|list| list.der.clone())
    }
}

/// The policy on a builder of either side: rustls has two, with the same words.
macro_rules! demand {
    ($policy:expr, $builder:expr) => {{
        let policy: &Revocation = $policy;
        let mut builder = $builder.with_crls(policy.lists.der());
        if policy.depth == Depth::Leaf {
            builder = builder.only_check_end_entity_revocation();
        }
        if policy.unknown == Doubt::Allow {
            builder = builder.allow_unknown_revocation_status();
        }
        if policy.expired == Doubt::Deny {
            builder = builder.enforce_revocation_expiration();
        }
        builder
    }};
}

impl Revocation {
    /// Until when a verdict on a certificate holds as far as the lists are concerned, in seconds of
    /// unix time.
    pub(super) fn until(&self) -> Option<i64> {
        match self.expired {
            Doubt::Deny => self.lists.iter().filter_map(|list| list.next_update).min(),
            Doubt::Allow => None,
        }
    }

    /// Adds the policy to what clients' certificates are verified with.
    pub(super) fn on_clients(
        &self,
        builder: ClientCertVerifierBuilder,
    ) -> ClientCertVerifierBuilder {
        demand!(self, builder)
    }

    /// Adds the policy to what origins' certificates are verified with.
    pub(super) fn on_origins(
        &self,
        builder: ServerCertVerifierBuilder,
    ) -> ServerCertVerifierBuilder {
        demand!(self, builder)
    }
}

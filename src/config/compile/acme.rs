//! Issuers, and the certificates that they keep: what there is of them already, and what has yet to be
//! ordered.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::compiler::{Compiler, Files};
use super::context::Issuers;
use super::reading::cached;
use super::secrets::secrecy;
use crate::acme::{ChallengeKind, DnsZone, ExternalKey, Identifier, Issuer, Managed, certificates};
use crate::config::reader::generic::OneOrMany;
use crate::config::reader::problem::Span;
use crate::config::reader::read::Located;
use crate::config::reader::values::Name;
use crate::config::spec::{self, Challenge, DnsUpdates, ExternalAccount};
use crate::tls::pair::Pair;

/// The most names of one certificate, as public CAs have it.
const NAMES_MAX: usize = 100;

impl Compiler<'_> {
    /// Compiles the issuers, for the certificates that name them.
    pub(super) fn issuers(&mut self) -> Issuers {
        let spec = self.spec;
        let compiled = spec.acme.0.iter().map(|(name, issuer)| {
            let issuer = self.issuer(name.as_str(), issuer);
            (name.as_str().to_owned(), issuer.map(Arc::new))
        });
        compiled.collect()
    }

    fn issuer(&mut self, name: &str, spec: &Located<spec::Issuer>) -> Option<Issuer> {
        let authorities = self.authorities(&spec.ca);
        let external = spec.eab.as_ref().map(|key| self.external(key));
        let challenge = self.challenge(spec);
        let contact = spec.contact.iter().map(|contact| contact.0.clone());
        Some(Issuer {
            name: name.into(),
            directory: spec.directory.0.to_string(),
            contact: contact.collect(),
            authorities: authorities?,
            external: match external {
                Some(external) => Some(external?),
                None => None,
            },
            profile: spec.profile.0.clone(),
            key: spec.key.value,
            challenge: challenge?,
            renew_before: spec.renew.set().map(|before| before.0),
            state: self.resolve(&spec.state),
        })
    }

    /// How control of names is shown, and where.
    fn challenge(&mut self, spec: &spec::Issuer) -> Option<ChallengeKind> {
        let kind = spec.challenge.value;
        if let Some(http) = &spec.http
            && kind != Challenge::Http01
        {
            self.has_no_effect(http.at, "http", Challenge::Http01);
        }
        if let Some(dns) = &spec.dns
            && kind != Challenge::Dns01
        {
            self.has_no_effect(dns.at, "dns", Challenge::Dns01);
        }
        let lacks = |missing: &str, help: &str| {
            (
                format!("`challenge: {kind}` needs {missing}"),
                format!("add `{help}`"),
            )
        };
        let (message, help) = match (kind, &spec.http, &spec.dns) {
            (Challenge::TlsAlpn01, _, _) => return Some(ChallengeKind::TlsAlpn01),
            (Challenge::Http01, Some(http), _) => {
                return Some(ChallengeKind::Http01(http.value.0));
            }
            (Challenge::Dns01, _, Some(dns)) => {
                return Some(ChallengeKind::Dns01(Arc::new(self.zone(dns)?)));
            }
            (Challenge::Http01, None, _) => lacks("a listener", "http: \"*:80\""),
            (Challenge::Dns01, _, None) => lacks(
                "a name server",
                "dns: { server: IP, zone: ZONE, tsig: { name: NAME, key_file: FILE } }",
            ),
        };
        self.problems.error(spec.challenge.at, message).help(help);
        None
    }

    fn has_no_effect(&mut self, at: Span, key: &str, challenge: Challenge) {
        self.problems
            .warning(
                at,
                format!("`{key}` has no effect without `challenge: {challenge}`"),
            )
            .help("leave it out, or set the challenge");
    }

    /// The zone that takes the records of validations.
    fn zone(&mut self, spec: &DnsUpdates) -> Option<DnsZone> {
        let path = self.resolve(&spec.tsig.key_file);
        let at = spec.tsig.key_file.at;
        let policy = self.spec.process.key_permissions.value;
        let key = self.material(at, cached!(zone_keys), path.clone(), |reader, problems| {
            let file = reader.read(&path)?;
            secrecy(policy, at, file.exposed("key"), problems)?;
            match BASE64_STANDARD.decode(file.bytes.trim_ascii()) {
                Ok(key) if !key.is_empty() => Ok(Zeroizing::new(key)),
                _ => {
                    let help = "copy the `secret` that `tsig-keygen` prints, without quotes";
                    let error = file.error("this is no key in base64");
                    Err(error.help(help).into())
                }
            }
        });
        Some(DnsZone {
            server: spec.server.0,
            zone: spec.zone.value.clone(),
            key_name: spec.tsig.name.0.clone(),
            algorithm: spec.tsig.algorithm.value,
            key: key?,
        })
    }

    /// The account outside of ACME, with its key.
    fn external(&mut self, spec: &ExternalAccount) -> Option<ExternalKey> {
        let path = self.resolve(&spec.key_file);
        let at = spec.key_file.at;
        let policy = self.spec.process.key_permissions.value;
        let key = self.material(
            at,
            cached!(external_keys),
            path.clone(),
            |reader, problems| {
                let file = reader.read(&path)?;
                secrecy(policy, at, file.exposed("key"), problems)?;
                let text = file.bytes.trim_ascii();
                let text = text.strip_suffix(b"=").unwrap_or(text);
                let text = text.strip_suffix(b"=").unwrap_or(text);
                let key = BASE64_URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new);
                match key {
                    Ok(key) if !key.is_empty() => Ok(key),
                    _ => {
                        let error = file.error("this is no key in base64url");
                        let help =
                            "copy it as the CA shows it: letters, digits, `-` and `_`, on one line";
                        Err(error.help(help).into())
                    }
                }
            },
        );
        Some(ExternalKey {
            id: spec.key_id.0.clone(),
            key: key?,
        })
    }

    /// The certificate for these names that an issuer keeps.
    pub(super) fn managed(
        &mut self,
        acme: &Located<Name>,
        names: &Located<OneOrMany<Identifier>>,
    ) -> Option<Arc<Managed>> {
        let name = acme.as_str();
        let Some(issuer) = self.issuers.get(name).cloned() else {
            let known: Vec<_> = self
                .spec
                .acme
                .0
                .iter()
                .map(|(name, _)| name.as_str())
                .collect();
            if known.is_empty() {
                self.problems
                    .error(acme.at, "there is no issuer of this name")
                    .help("name it at the top: `acme: { NAME: { directory: URL, state: DIRECTORY } }`");
            } else {
                self.unknown(acme.at, "issuer", name, &known);
            }
            return None;
        };
        if names.is_empty() {
            let problem = self.problems.error(names.at, "an empty list of names");
            problem.help("name the hosts that the certificate is for");
            return None;
        }
        let issuer = issuer?;
        self.validate(&issuer, names)?;
        let all = names.iter().map(|name| name.value.clone()).collect();
        let managed = Arc::new(Managed::new(&issuer, all));
        if managed.names.len() > NAMES_MAX {
            let message = format!(
                "{} names, and CAs take {NAMES_MAX} at most",
                managed.names.len()
            );
            let problem = self.problems.error(names.at, message);
            problem.help("make several certificates of them");
            return None;
        }
        // However many endpoints present it, there is one.
        let known = self.kept.iter().find(|known| known.file == managed.file);
        if let Some(known) = known {
            return Some(Arc::clone(known));
        }
        self.kept.push(Arc::clone(&managed));
        Some(managed)
    }

    /// Whether the CA can validate these names by the challenge of the issuer.
    fn validate(&mut self, issuer: &Issuer, names: &[Located<Identifier>]) -> Option<()> {
        let mut are_good = true;
        for name in names {
            let shown = &name.value;
            let (message, help) = match (&issuer.challenge, shown) {
                (ChallengeKind::Dns01(_), Identifier::Ip(_)) => (
                    format!("`{shown}` is an address, which CAs do not validate by dns-01"),
                    "another issuer, with `tls-alpn-01` or `http-01`, can keep it".to_owned(),
                ),
                (
                    ChallengeKind::Dns01(zone),
                    Identifier::Dns(host) | Identifier::Wildcard(host),
                ) if !zone.holds(host) => (
                    format!("`{shown}` is not in the zone `{}`", zone.zone),
                    "name the zone in which `_acme-challenge` below it is".to_owned(),
                ),
                (ChallengeKind::TlsAlpn01 | ChallengeKind::Http01(_), Identifier::Wildcard(_)) => (
                    format!("`{shown}` is a wildcard"),
                    "CAs validate those by dns-01 alone: name each host, or have an issuer with \
                     `challenge: dns-01` keep it"
                        .to_owned(),
                ),
                _ => continue,
            };
            self.problems.error(name.at, message).help(help);
            are_good = false;
        }
        are_good.then_some(())
    }

    /// The certificate in the state of an issuer, if it is there and can be served. One that cannot be is no
    /// error: the issuer is asked for another one.
    pub(super) fn managed_pair(&mut self, at: Span, managed: &Managed) -> Option<Arc<Pair>> {
        if self.files == Files::Skip {
            return None;
        }
        let path = managed.file.clone();
        let before = self.running_managed(&path);
        let found = self.material(at, cached!(managed), path, |_, problems| {
            Ok(match certificates::read(managed) {
                Ok(Some(pair)) => match before {
                    Some(before) if *before == pair => Some(before),
                    _ => Some(Arc::new(pair)),
                },
                // What is served stays until there is another one.
                Ok(None) => before,
                Err(why) => {
                    let next = match &before {
                        Some(_) => "its previous content stays in use",
                        None => "a new certificate is ordered",
                    };
                    problems.warning(at, format!("{why}; {next}"));
                    before
                }
            })
        });
        found.flatten()
    }

    fn running_managed(&self, file: &PathBuf) -> Option<Arc<Pair>> {
        let running = &self.running?.materials.managed;
        running.get(file)?.found.clone().flatten()
    }
}

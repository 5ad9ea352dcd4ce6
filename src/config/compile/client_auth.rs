//! Client auth: CAs, revocation lists and rules of one policy.

use std::sync::Arc;

use rustls::pki_types::TrustAnchor;

use super::compiler::Compiler;
use crate::config::reader::generic::OneOrMany;
use crate::config::reader::problem::{Span, quoted_list};
use crate::config::reader::read::Located;
use crate::config::reader::values::Path;
use crate::config::spec::{self, ClientAuthMode, ListSource};
use crate::tls::info::authority_name;
use crate::tls::verify::authorities::Authorities;
use crate::tls::verify::client::{ClientAuth, ClientAuthority};
use crate::tls::verify::crl::{Depth, OnUnknown, Revocation, RevocationLists};

/// Bytes for CA names in a CertificateRequest. Their length field has two bytes in TLS 1.2 and 1.3, as
/// has that of all TLS 1.3 extensions together, and rustls and Go reject messages above 64 KiB. A
/// kibibyte is left for the rest of the message (signature algorithms, types, lengths).
const NAMES_MAX: usize = 0xffff - 1024;

/// Java clients reject a larger request (`jdk.tls.maxHandshakeMessageSize`), in bytes.
const NAMES_SMALL: usize = 32 * 1024 - 1024;

/// The help for too many names.
const WITHOUT_NAMES: &str =
    "set `send_ca_names: false`, so that clients are not sent them; or name fewer CAs";

/// The bytes of these CAs' names in a CertificateRequest: each is prefixed by two bytes of length.
fn names_len(roots: &Authorities) -> usize {
    let names = roots.store().subjects();
    names.iter().map(|name| 2 + name.as_ref().len()).sum()
}

/// Whether the names of these CAs fit into a CertificateRequest that every client takes.
pub(super) fn fits_every_client(roots: &Authorities) -> bool {
    names_len(roots) <= NAMES_SMALL
}

/// The keys about revocation lists that client and origin policies share.
pub(super) struct RevocationKeys<'a> {
    pub(super) scope: &'a Located<Depth>,
    pub(super) unknown: &'a Located<OnUnknown>,
    pub(super) expired: &'a Located<OnUnknown>,
}

impl Compiler<'_> {
    pub(super) fn client_auth(&mut self, spec: &Located<spec::ClientAuth>) -> Option<ClientAuth> {
        let mode = spec.mode.value;
        if mode == ClientAuthMode::Off {
            self.without_effect_off(spec);
            return Some(ClientAuth::Off);
        }
        let Some(ca) = &spec.ca else {
            // A key that was meant for it has been reported.
            if self.problems.is_incomplete(spec.at) {
                return None;
            }
            self.problems
                .error(
                    spec.at,
                    format!(
                        "`client_auth` with the mode `{mode}` needs `ca`: who signs client \
                    certificates?"
                    ),
                )
                .help("add `ca: FILE`");
            return None;
        };
        let roots = self.bundle(ca.at, ca);
        let roots = roots.and_then(|roots| self.sendable(ca, spec, roots));
        let keys = RevocationKeys {
            scope: &spec.crl_scope,
            unknown: &spec.crl_unknown,
            expired: &spec.crl_expired,
        };
        let revocation = match &spec.crl {
            Some(files) if files.is_empty() => {
                self.problems
                    .error(files.at, "an empty list of revocation lists")
                    .help("leave `crl` out to disable revocation checks");
                None
            }
            Some(files) => self.revocation(files, &keys, roots.as_ref()).map(Some),
            None => {
                self.without_lists(spec, &keys);
                Some(None)
            }
        };
        let rules = match &spec.allow {
            Some(rules) if rules.is_empty() => {
                self.problems
                    .error(rules.at, "an empty list of rules admits no client")
                    .help("leave `allow` out to admit every certificate of the CA");
                None
            }
            Some(rules) => self.rules(rules).map(Some),
            None => Some(None),
        };
        let (roots, revocation, rules) = (roots?, revocation?, rules?);
        if let (Some(revocation), Some(files)) = (&revocation, &spec.crl) {
            // Before the first fetch there may be none.
            let has_lists = revocation.lists.iter().next().is_some();
            if has_lists && revocation.unknown == OnUnknown::Deny {
                self.unlisted(ca.at, &roots, &revocation.lists);
            }
            self.strange_lists(files.at, &roots, revocation);
        }
        let authority = ClientAuthority {
            roots,
            send_ca_names: spec.send_ca_names.value,
            revocation,
            rules,
            recheck: spec.recheck.value,
            at_expiry: spec.at_expiry.value,
        };
        Some(match mode {
            ClientAuthMode::Required => ClientAuth::Required(authority),
            _ => ClientAuth::Optional(authority),
        })
    }

    /// The authorities, unless their names are to be sent to clients and exceed the limit.
    fn sendable(
        &mut self,
        files: &Located<OneOrMany<Path>>,
        spec: &Located<spec::ClientAuth>,
        roots: Arc<Authorities>,
    ) -> Option<Arc<Authorities>> {
        let len = names_len(&roots);
        if !spec.send_ca_names.value || len <= NAMES_SMALL {
            return Some(roots);
        }
        let count = roots.anchors().len();
        let paths = files.iter().map(|file| file.value.display().to_string());
        let paths = paths.collect::<Vec<_>>().join(", ");
        let what = format!(
            "{paths}: the names of {count} CAs take {len} bytes of the request for a client certificate"
        );
        if len <= NAMES_MAX {
            let what = format!("{what}: Java takes no more than 32 KiB of it");
            self.problems.warning(files.at, what).help(WITHOUT_NAMES);
            return Some(roots);
        }
        let why = format!("{what}, which has room for {NAMES_MAX}");
        let before = self.previous_bundle(files);
        let before = before.filter(|before| names_len(before) <= NAMES_MAX);
        let problem = if before.is_some() {
            self.keep_previous_bundle(files);
            self.warn_kept(files.at, why)
        } else {
            self.problems.error(files.at, why)
        };
        problem.help(WITHOUT_NAMES);
        before
    }

    /// Warns about keys that have no effect when no certificate is requested.
    fn without_effect_off(&mut self, spec: &Located<spec::ClientAuth>) {
        for (at, key) in [
            (spec.ca.as_ref().map(|ca| ca.at), "ca"),
            (spec.crl.as_ref().map(|crl| crl.at), "crl"),
            (spec.allow.as_ref().map(|allow| allow.at), "allow"),
        ] {
            if let Some(at) = at {
                self.problems
                    .warning(at, format!("`{key}` has no effect: the mode is `off`"))
                    .help("set `mode: required` to demand a client certificate");
            }
        }
    }

    fn without_lists(&mut self, spec: &Located<spec::ClientAuth>, keys: &RevocationKeys<'_>) {
        for (at, given, key) in [
            (keys.scope.at, keys.scope.given_in(spec), "crl_scope"),
            (keys.unknown.at, keys.unknown.given_in(spec), "crl_unknown"),
            (keys.expired.at, keys.expired.given_in(spec), "crl_expired"),
        ] {
            if given {
                self.problems
                    .warning(at, format!("`{key}` has no effect without `crl`"))
                    .help("name the revocation lists: crl: FILE");
            }
        }
    }

    /// Warns about CAs without a revocation list: every certificate of theirs is denied.
    fn unlisted(&mut self, at: Span, roots: &Authorities, lists: &RevocationLists) {
        const NAMED: usize = 3;
        let is_listed = |root: &TrustAnchor<'_>| lists.iter().any(|list| list.is_of(&root.subject));
        let unlisted: Vec<_> = roots
            .anchors()
            .iter()
            .filter(|root| !is_listed(root))
            .collect();
        let names: Vec<_> = unlisted
            .iter()
            .take(NAMED)
            .map(|root| authority_name(root))
            .collect();
        let mut names = quoted_list(names.iter().map(String::as_str));
        if unlisted.len() > NAMED {
            names.push_str(&format!(" and {} more", unlisted.len() - NAMED));
        }
        if !unlisted.is_empty() {
            self.problems
                .warning(
                    at,
                    format!(
                        "there is no revocation list of {names}: their certificates are denied"
                    ),
                )
                .help("add their lists to `crl`, or set `crl_unknown: allow`");
        }
    }

    /// Warns about lists that none of these CAs has issued, where the lint cannot be wrong: a list of an
    /// intermediate, which only a peer sends, looks alike. And about lists that have a CA's name but not
    /// its signature.
    pub(super) fn strange_lists(&mut self, at: Span, roots: &Authorities, revocation: &Revocation) {
        let lists = &revocation.lists;
        let anchors = roots.anchors();
        let (strange, unsigned) = lists.not_issued_by(anchors);
        let is_listed = |root: &TrustAnchor<'_>| lists.iter().any(|list| list.is_of(&root.subject));
        if revocation.unknown == OnUnknown::Allow || !anchors.iter().all(is_listed) {
            for list in strange {
                let (source, issuer) = (&list.source, &list.issuer);
                let message = format!(
                    "{source}: the revocation list of {issuer} was issued by none of the CAs in `ca`"
                );
                self.problems.warning(at, message).help(
                    "it applies only to an intermediate of that name; is it the list of another CA?",
                );
            }
        }
        for list in unsigned {
            let (source, issuer) = (&list.source, &list.issuer);
            let message = match list.unusable_signature() {
                Some(how) => format!(
                    "{source}: the revocation list of {issuer} is signed in a way that is not accepted \
                     ({how}): it denies every client"
                ),
                None => {
                    format!(
                        "{source}: this revocation list is not signed by the CA {issuer} in `ca`"
                    )
                }
            };
            self.problems.warning(at, message).help(
                "it denies every certificate that it may list: use the list of this CA, signed with SHA-256 \
                 or better",
            );
        }
    }

    /// The revocation policy of these files and URLs. `roots` are the CAs of the policy.
    pub(super) fn revocation(
        &mut self,
        files: &Located<OneOrMany<ListSource>>,
        keys: &RevocationKeys<'_>,
        roots: Option<&Arc<Authorities>>,
    ) -> Option<Revocation> {
        Some(Revocation {
            lists: self.revocation_lists(files.at, files, roots)?,
            depth: keys.scope.value,
            unknown: keys.unknown.value,
            expired: keys.expired.value,
        })
    }
}

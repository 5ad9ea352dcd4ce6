//! What a reload takes over from the running configuration, so that it rebuilds only what has changed.
//!
//! A part is used again if its inputs are equal: then its caches, sessions and numbers stay. Files have
//! equal content if they are the same object in memory; [`super::materials`] sees to that.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::materials::Materials;
use crate::config::file_stamps::FileStamps;
use crate::revoked::Revoked;
use crate::snapshot::{Snapshot, Upstream};
use crate::tls::acceptor::TlsAcceptor;
use crate::tls::verify::authorities::Authorities;
use crate::tls::verify::client::{ClientAuth, ClientVerifier};

/// The configuration that is running.
#[derive(Clone, Copy, Debug)]
pub struct Running<'a> {
    /// What it was compiled to.
    pub snapshot: &'a Snapshot,
    /// The files that it was made of.
    pub materials: &'a Materials,
    /// Which files are read again.
    pub reread: Reread,
    /// Stamps of the files that were taken for this renewal.
    pub stamps: Option<&'a FileStamps>,
}

/// Which files a reload reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reread {
    /// Those that have changed since they were read. One that cannot be used keeps its previous content,
    /// with a warning.
    Changed,
    /// All. One that cannot be used is an error.
    All,
}

/// The parts of the running configuration by their names.
#[derive(Default)]
pub(super) struct Parts<'a> {
    upstreams: HashMap<&'a str, &'a Arc<Upstream>>,
    /// By endpoint, route, and whether it is the route of its names, not the default.
    acceptors: HashMap<(&'a str, &'a str, bool), &'a TlsAcceptor>,
    /// By the address of their CAs, which live as long as they.
    verifiers: HashMap<Option<*const Authorities>, Vec<ClientVerifier>>,
}

impl<'a> Parts<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let mut parts = Self::default();
        let upstreams = snapshot.upstreams.iter();
        parts.upstreams = upstreams.map(|u| (&*u.definition.name, u)).collect();
        let mut seen = HashSet::new();
        for endpoint in &snapshot.endpoints {
            for route in endpoint.routes.iter() {
                let Some(acceptor) = route.mode.acceptor() else {
                    continue;
                };
                let key = (&*endpoint.name, &*route.name, route.named);
                parts.acceptors.insert(key, acceptor);
                let verifier = acceptor.verifier();
                if seen.insert(verifier.id()) {
                    let roots = verifier.roots().map(Arc::as_ptr);
                    let known = parts.verifiers.entry(roots).or_default();
                    known.push(verifier.clone());
                }
            }
        }
        parts
    }

    pub(super) fn upstream(&self, name: &str) -> Option<&'a Arc<Upstream>> {
        self.upstreams.get(name).copied()
    }

    pub(super) fn acceptor(
        &self,
        endpoint: &str,
        route: &str,
        named: bool,
    ) -> Option<&'a TlsAcceptor> {
        self.acceptors.get(&(endpoint, route, named)).copied()
    }

    /// The verifier of a policy. All routes with one policy share it, over all reloads.
    pub(super) fn verifier(
        &mut self,
        policy: ClientAuth,
        revoked: &Arc<Revoked>,
    ) -> ClientVerifier {
        let roots = policy.roots().map(Arc::as_ptr);
        let known = self.verifiers.entry(roots).or_default();
        if let Some(verifier) = known.iter().find(|verifier| verifier.is_by(&policy)) {
            return verifier.clone();
        }
        let verifier = ClientVerifier::heeding(policy, revoked);
        known.push(verifier.clone());
        verifier
    }
}

/// `new`, or what was there before if that is equal.
pub(super) fn unchanged<T: Eq>(new: T, before: Option<&Arc<T>>) -> Arc<T> {
    match before {
        Some(before) if **before == new => Arc::clone(before),
        _ => Arc::new(new),
    }
}

//! The record of the attempts at origins.

use std::sync::Arc;

use tracing::debug;

use super::Recorder;
use super::steps::{Id, handshake_done};
use crate::outcome::Failure;
use crate::tls::info::TlsFacts;
use crate::transport::Socket;
use crate::upstream::{Address, OriginDefinition};

impl Recorder<'_> {
    /// Records the origin of an attempt, and its address once the name is resolved.
    pub(in crate::connection) fn origin(
        &mut self,
        origin: &OriginDefinition,
        address: Option<&Address>,
    ) {
        if let Some(mut draft) = self.draft() {
            let record = &mut draft.record;
            record.origin = Some(Arc::clone(&origin.name));
            record.origin_address = match address {
                Some(Address::Ip(address)) => Some((*address).into()),
                Some(
                    Address::Host(..) | Address::Srv(_) | Address::Unix(_) | Address::Made(..),
                )
                | None => None,
            };
        }
    }

    /// An attempt to reach the origin begins.
    pub(in crate::connection) fn attempt(&mut self, origin: &OriginDefinition, address: &Address) {
        if self.has_failed
            && let Some(upstream) = &self.upstream
        {
            upstream.retry(&origin.name);
        }
        debug!(id = %Id(self.id), origin = &*origin.name, %address, "connecting to the origin");
    }

    /// An attempt has failed; another one follows if the failure allows it and time and attempts are left.
    pub(in crate::connection) fn attempt_failed(
        &mut self,
        origin: &OriginDefinition,
        address: &Address,
        failure: &Failure,
        may_retry: bool,
    ) {
        self.has_failed = true;
        if let Some(upstream) = &self.upstream {
            upstream.failed(&origin.name, failure.reason, failure.detail.as_deref());
        }
        debug!(
            id = %Id(self.id),
            %address,
            stage = self.stage.word(),
            reason = failure.reason.code(),
            detail = failure.detail.as_deref(),
            may_retry,
            "attempt failed"
        );
    }

    /// A handshake failed that offered a session, and a full one follows.
    pub(in crate::connection) fn resumption_failed(&self, failure: &Failure) {
        debug!(
            id = %Id(self.id),
            reason = failure.reason.code(),
            detail = failure.detail.as_deref(),
            "the origin did not resume its session: connecting again for a full handshake"
        );
    }

    /// The connect of an attempt has succeeded.
    pub(in crate::connection) fn connected(&mut self, socket: &Socket) {
        if let Some(upstream) = &self.upstream {
            upstream.connected(self.entered.elapsed());
        }
        let id = Id(self.id);
        // The address costs a system call: it is asked for by those alone who want it.
        debug!(
            %id,
            local = socket.local().map(tracing::field::display),
            "connected to the origin"
        );
        let local = self.log.is_open().then(|| socket.local()).flatten();
        if let Some(mut draft) = self.draft() {
            draft.record.origin_local = local.map(Into::into);
        }
    }

    /// The handshake of an attempt has succeeded.
    pub(in crate::connection) fn origin_tls(&mut self, facts: TlsFacts) {
        if let Some(upstream) = &self.upstream {
            upstream.handshake(&facts, self.entered.elapsed());
        }
        handshake_done(self.id, &facts, "TLS with the origin established");
        if let Some(mut draft) = self.draft() {
            draft.record.origin_tls = Some(Box::new(facts));
        }
    }
}

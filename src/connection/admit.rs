//! Who may connect, who may use a route, and who may begin a handshake: rules on the client's address, and
//! limits.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::decision::limit_reason;
use super::establish::Establish;
use super::permits::{self, HandshakePermits, LimitPermits};
use crate::admission::{ClientSource, LimitKind, LimitScope, Limits, SourcePermit, WhenFull};
use crate::outcome::{CloseWith, Failure, LimitOwner, Reason, Stage};
use crate::snapshot::{Route, Sources};
use crate::tls::{self, classify};
use crate::transport::Socket;

impl<'a> Establish<'a> {
    /// Takes the client's place among the connections of its endpoint, unless it had to wait for that before
    /// it was accepted. It is reset otherwise.
    pub(super) async fn admit_peer(&mut self) -> Result<(), Failure> {
        let Some((scope, limits)) = self.endpoint_limits() else {
            return Ok(());
        };
        if self.permit.endpoint.is_some() || limits.connections.is_none() {
            return Ok(());
        }
        match scope.connect_or_drop(limits).await {
            Ok(entered) => {
                self.permits().endpoint = entered.permit;
                if entered.is_over {
                    self.over(LimitKind::Connections);
                }
                Ok(())
            }
            Err(kind) => {
                Err(refusal(kind, limits, LimitOwner::Endpoint).close_with(CloseWith::Abort))
            }
        }
    }

    /// Admits the client to the endpoint by its address, before a byte of its TLS is read. It is reset
    /// otherwise.
    pub(super) fn admit(&mut self) -> Result<(), Failure> {
        if self
            .address()
            .is_some_and(|address| self.context.revoked.has_source(address))
        {
            self.record.enter(Stage::Admit);
            let failure =
                Failure::new(Reason::DeniedSource).detail("revoked in the fleet".to_owned());
            return Err(failure.close_with(CloseWith::Abort));
        }
        let endpoint = self.endpoint;
        if endpoint.sources.is_none() && endpoint.limits.is_none() {
            return Ok(());
        }
        self.record.enter(Stage::Admit);
        self.check_source(endpoint.sources.as_deref())
            .and_then(|()| match self.endpoint_limits() {
                Some((scope, limits)) => self.count_new(&scope, limits, LimitOwner::Endpoint),
                None => Ok(()),
            })
            .map_err(|failure| failure.close_with(CloseWith::Abort))
    }

    /// Admits the client to its route. It gets an alert otherwise, or a reset where it does not speak TLS.
    pub(super) fn admit_to(&mut self, route: &Route) -> Result<(), Failure> {
        self.check_source(route.sources.as_deref())
            .map_err(|failure| failure.close_with(self.refused_with(tls::ACCESS_DENIED)))?;
        let Some(limits) = route.limits.as_deref() else {
            return Ok(());
        };
        // A route that has just left the configuration has no limits any more.
        let scope = self.context.limits.route(&self.endpoint.name, &route.name);
        let Some(scope) = scope else {
            return Ok(());
        };
        let admitted = self
            .count_new(&scope, limits, LimitOwner::Route)
            .and_then(|()| {
                let refused = |kind| refusal(kind, limits, LimitOwner::Route);
                scope.connect(limits).map_err(refused)
            });
        let entered = admitted
            .map_err(|failure| failure.close_with(self.refused_with(tls::INTERNAL_ERROR)))?;
        let permits = self.permits();
        permits.route = entered.permit;
        permits.bandwidth = limits.bandwidths().next().map(|_| scope);
        if entered.is_over {
            self.over(LimitKind::Connections);
        }
        Ok(())
    }

    /// Takes the permits of a handshake: of the source, of the endpoint, of the process. The one of the
    /// source is returned beside those that a slow client gives back for a while.
    pub(super) async fn admit_handshake(
        &mut self,
        deadline: Instant,
        socket: &Socket,
    ) -> Result<(HandshakePermits, Option<SourcePermit>), Failure> {
        let source = ClientSource::from(self.source);
        let Some((scope, limits)) = self.endpoint_limits() else {
            let gate = &self.context.handshakes;
            let permits = HandshakePermits::enter(gate, None, source, deadline, socket).await?;
            return Ok((permits, None));
        };
        let failed = |kind| {
            let alert = classify::alert_record(tls::INTERNAL_ERROR);
            refusal(kind, limits, LimitOwner::Endpoint).close_with(CloseWith::Alert(alert))
        };
        let counted = match self.address() {
            Some(address) => {
                let mut over = |kind| self.over(kind);
                scope
                    .handshake_source(limits, address, &mut over)
                    .map_err(failed)?
            }
            None => None,
        };
        let endpoint = match scope.handshakes(limits) {
            None => None,
            Some(gate) => match (gate.enter_now(source), limits.when_full) {
                (Some(permit), _) => Some((gate.clone(), permit)),
                (None, WhenFull::Wait) if !limits.dry_run => {
                    let entered = tokio::select! {
                        biased;
                        entered = timeout_at(deadline, gate.enter(source)) => entered,
                        () = socket.peer_left() => return Err(permits::left(socket)),
                    };
                    match entered {
                        Ok(permit) => Some((gate.clone(), permit)),
                        Err(_) => {
                            scope
                                .beyond(LimitKind::Handshakes, limits)
                                .map_err(failed)?;
                            None
                        }
                    }
                }
                (None, _) => {
                    scope
                        .beyond(LimitKind::Handshakes, limits)
                        .map_err(failed)?;
                    self.over(LimitKind::Handshakes);
                    None
                }
            },
        };
        let gate = &self.context.handshakes;
        let permits = HandshakePermits::enter(gate, endpoint, source, deadline, socket).await?;
        Ok((permits, counted))
    }

    /// A unix peer has no address, so that no rule applies.
    fn check_source(&self, sources: Option<&Sources>) -> Result<(), Failure> {
        let (Some(sources), Some(address)) = (sources, self.address()) else {
            return Ok(());
        };
        let checked = sources.rules.check(address);
        checked.map_err(|denial| Failure::new(Reason::DeniedSource).detail(denial.to_string()))
    }

    /// Counts a new connection of its source, then of the scope: a source beyond its own limit takes nothing
    /// from others.
    fn count_new(
        &mut self,
        scope: &LimitScope,
        limits: &Limits,
        owner: LimitOwner,
    ) -> Result<(), Failure> {
        let address = self.address();
        let mut over = |kind| self.over(kind);
        let counted = match address {
            Some(address) => scope.connect_source(limits, address, &mut over),
            None => Ok(None),
        };
        let admitted = counted.and_then(|permit| {
            scope.take_new(limits, &mut over)?;
            Ok(permit)
        });
        let permit = admitted.map_err(|kind| refusal(kind, limits, owner))?;
        if permit.is_some() {
            let [endpoint, route] = &mut self.permits().sources;
            let place = if owner == LimitOwner::Route {
                route
            } else {
                endpoint
            };
            *place = permit;
        }
        Ok(())
    }

    fn address(&self) -> Option<IpAddr> {
        self.source.map(|address| address.ip())
    }

    fn endpoint_limits(&self) -> Option<(Arc<LimitScope>, &'a Limits)> {
        let endpoint = self.endpoint;
        let scope = self.scope.as_ref().map(Arc::clone)?;
        Some((scope, endpoint.limits.as_deref()?))
    }

    fn permits(&mut self) -> &mut LimitPermits {
        self.limit_permits.get_or_insert_default()
    }

    /// Records that a limit would have refused the client.
    fn over(&mut self, kind: LimitKind) {
        self.record.would_be(limit_reason(kind));
    }

    fn refused_with(&self, alert: rustls::AlertDescription) -> CloseWith {
        match self.speaks_tls {
            true => CloseWith::Alert(classify::alert_record(alert)),
            false => CloseWith::Reset,
        }
    }
}

/// The failure of a client that a limit of its endpoint or route refuses.
fn refusal(kind: LimitKind, limits: &Limits, owner: LimitOwner) -> Failure {
    let counted_by = match kind {
        LimitKind::Connections | LimitKind::New | LimitKind::Handshakes => owner,
        LimitKind::PerSource | LimitKind::NewPerSource | LimitKind::HandshakesPerSource => {
            LimitOwner::Source
        }
    };
    let value = limits.value(kind).unwrap_or_default();
    let detail = format!("`{}: {value}` of the {}", kind.word(), owner.word());
    Failure::new(limit_reason(kind))
        .limit(counted_by)
        .detail(detail)
}

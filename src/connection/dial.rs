//! Reaching an origin: attempts in turn, each resolved, connected and, where the mode says so,
//! sealed, until one stands or a failure is final.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::time::{Instant, sleep, timeout_at};

use super::record::Recorder;
use crate::leg::Leg;
use crate::outcome::{Failure, Fault, Reason, Stage};
use crate::tls::client_side::{ClientSide, Introduction, OriginRefusal};
use crate::tls::facts::TlsFacts;
use crate::upstream::{self, Address, Attempt, Origins, Resolver};

/// What is to be reached, and how.
pub(super) struct Call<'a> {
    pub(super) origins: &'a Origins,
    /// The PROXY header that comes before all else, if one is sent.
    pub(super) header: Option<&'a [u8]>,
    pub(super) tls: Option<&'a ClientSide>,
    pub(super) resolver: &'a Resolver,
    pub(super) client_sni: Option<ServerName<'static>>,
    pub(super) client_alpn: Option<Vec<u8>>,
    /// When all of it must be done.
    pub(super) deadline: Instant,
}

/// Dials the origins in turn. A refusal, an unreachable address, a timeout, or an end or reset in
/// the handshake is followed by the next attempt, while attempts and the deadline last; an alert,
/// and a failure of trust or name, is final. No byte of the client has been sent yet.
pub(super) async fn dial(call: Call<'_>, record: &mut Recorder<'_>) -> Result<Leg, Failure> {
    let mut last = Failure::new(Reason::OriginConnectTimeout);
    for attempt in call.origins.attempts() {
        if attempt.round > 0 && last.reason == Reason::OriginResolve {
            call.pause(upstream::RETRY_PAUSE).await;
        }
        match call.attempt(attempt, record).await {
            Ok(leg) => return Ok(leg),
            Err(refusal) if refusal.may_retry && Instant::now() < call.deadline => {
                last = refusal.failure
            }
            Err(refusal) => return Err(refusal.failure),
        }
    }
    Err(last)
}

impl Call<'_> {
    /// Waits, but not beyond the deadline.
    async fn pause(&self, pause: Duration) {
        sleep(pause.min(self.deadline.saturating_duration_since(Instant::now()))).await;
    }

    async fn attempt(
        &self,
        attempt: Attempt<'_>,
        record: &mut Recorder<'_>,
    ) -> Result<Leg, OriginRefusal> {
        record.origin(attempt.origin, None);
        let addresses = self.resolve(&attempt.origin.address, record).await?;
        let Some((address, pause)) = attempt.pick(&addresses) else {
            return Err(retry(Reason::OriginResolve.into()));
        };
        record.enter(Stage::Connect);
        if !pause.is_zero() {
            self.pause(pause).await;
        }
        record.origin(attempt.origin, Some(&address));
        let deadline = self
            .deadline
            .min(Instant::now() + self.origins.connect.timeout);
        let mut leg = self.connect(&address, deadline).await?;
        record.origin_local(&leg.socket);
        if let Some(header) = self.header {
            introduce(&mut leg, header, &address, deadline).await?;
        }
        if let (Some(tls), Some(name)) = (self.tls, &attempt.origin.server_name) {
            record.enter(Stage::OriginTls);
            self.seal(tls, name, &mut leg, deadline).await?;
            if let Some(seal) = &leg.seal {
                record.origin_tls(TlsFacts::of(seal.facts()));
            }
        }
        Ok(leg)
    }

    async fn resolve(
        &self,
        address: &Address,
        record: &mut Recorder<'_>,
    ) -> Result<Arc<[Address]>, OriginRefusal> {
        let Address::Host(host, port) = address else {
            return Ok([address.clone()].into());
        };
        record.enter(Stage::Resolve);
        let answer = timeout_at(self.deadline, self.resolver.lookup(host)).await;
        let addresses = answer
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|e| {
                retry(Failure::new(Reason::OriginResolve).detail(format!("{host}: {e}")))
            })?;
        Ok(addresses
            .iter()
            .map(|ip| Address::Ip((*ip, *port).into()))
            .collect())
    }

    async fn connect(&self, address: &Address, deadline: Instant) -> Result<Leg, OriginRefusal> {
        match timeout_at(deadline, upstream::connect(address, &self.origins.tcp)).await {
            Ok(Ok(socket)) => Ok(Leg::plain(socket)),
            Ok(Err(error)) => {
                let reason = upstream::reason_for(&error);
                Err(OriginRefusal {
                    failure: Failure::new(reason).detail(format!("{address}: {error}")),
                    // What this machine lacks, it lacks for the next origin, too.
                    may_retry: reason.fault() != Some(Fault::Proxy),
                })
            }
            Err(_) => Err(retry(
                Failure::new(Reason::OriginConnectTimeout).detail(address.to_string()),
            )),
        }
    }

    async fn seal(
        &self,
        tls: &ClientSide,
        name: &ServerName<'static>,
        leg: &mut Leg,
        deadline: Instant,
    ) -> Result<(), OriginRefusal> {
        let about = Introduction {
            name,
            client_sni: self.client_sni.clone(),
            client_alpn: self.client_alpn.clone(),
        };
        timeout_at(deadline, tls.connect(leg, about))
            .await
            .unwrap_or_else(|_| Err(retry(Reason::OriginTlsTimeout.into())))
    }
}

/// Sends the PROXY header. An origin that does not take it is like one that is not there.
async fn introduce(
    leg: &mut Leg,
    header: &[u8],
    address: &Address,
    deadline: Instant,
) -> Result<(), OriginRefusal> {
    let sent = timeout_at(deadline, leg.socket.write_all(header)).await;
    sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|e| retry(Failure::new(Reason::ProxyHeaderOut).detail(format!("{address}: {e}"))))
}

fn retry(failure: Failure) -> OriginRefusal {
    OriginRefusal {
        failure,
        may_retry: true,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// P07: a header that cannot be written fails the attempt, and no byte goes on without it.
    #[tokio::test]
    async fn a_header_that_cannot_be_written_fails_the_attempt() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap();
        let stream = TcpStream::connect(place).await.unwrap();
        let mut leg = Leg::plain(stream.into());
        leg.socket.end_writing();
        let deadline = Instant::now() + Duration::from_secs(10);
        let refusal = introduce(
            &mut leg,
            b"PROXY UNKNOWN\r\n",
            &Address::Ip(place),
            deadline,
        )
        .await
        .unwrap_err();
        assert_eq!(refusal.failure.reason, Reason::ProxyHeaderOut);
        assert!(refusal.may_retry);
        let detail = refusal.failure.detail.unwrap();
        assert!(detail.starts_with(&place.to_string()), "{detail}");
    }
}

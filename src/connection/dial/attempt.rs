//! One attempt: connect, send the PROXY header and, if the mode requires it, do the TLS handshake.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::time::{Instant, timeout_at};

use super::Dial;
use crate::connection::record::Recorder;
use crate::negotiate::{self, Tunnel};
use crate::outcome::{Failure, OriginRefusal, Reason, Stage};
use crate::tls::connector::{HandshakeParams, Offer, TlsConnector, after_resumption};
use crate::tls::info::TlsFacts;
use crate::transport::Transport;
use crate::upstream::{self, Address, OriginDefinition, Pick, PickRequest, Pool};

impl Dial<'_> {
    /// Makes one attempt. `picked` may end at another address than it began with.
    pub(super) async fn attempt(
        &self,
        pool: &Arc<Pool>,
        request: &mut PickRequest,
        picked: &mut Pick,
        record: &mut Recorder<'_>,
    ) -> Result<Transport, OriginRefusal> {
        record.enter(Stage::Connect);
        // Compose the header before connecting, so that an error costs the origin no connection.
        let (tls, header) = (self.tls()?, self.header()?);
        record.origin(&picked.origin, Some(&picked.address));
        record.attempt(&picked.origin, &picked.address);
        if picked.again {
            self.pause(upstream::RETRY_PAUSE).await;
            // The time of the connect itself counts from here.
            record.enter(Stage::Connect);
        }
        let deadline = self
            .deadline
            .min(Instant::now() + self.upstream.definition.connect.timeout);
        let connected = self
            .connect_to_one(pool, request, picked, deadline, record)
            .await;
        record.origin(&picked.origin, Some(&picked.address));
        let mut transport = connected?;
        let header = header.as_deref();
        self.greet(&mut transport, header, picked, deadline, record)
            .await?;
        if let Some(tls) = tls {
            transport = self
                .sealed(tls, header, picked, transport, deadline, record)
                .await?;
        }
        if let Some(protocol) = self.greeting_to_discard() {
            negotiate::read_greeting(protocol, &mut transport, deadline).await?;
        }
        Ok(transport)
    }

    /// Does the TLS handshake over a connected transport, or over a second one if an offered session may be
    /// why it failed.
    async fn sealed(
        &self,
        tls: &TlsConnector,
        header: Option<&[u8]>,
        picked: &Pick,
        mut transport: Transport,
        deadline: Instant,
        record: &mut Recorder<'_>,
    ) -> Result<Transport, OriginRefusal> {
        record.enter(Stage::OriginTls);
        match self
            .handshake(tls, picked, &mut transport, deadline, Offer::Session)
            .await
        {
            Ok(()) => {}
            Err(FailedHandshake {
                refusal,
                offered: false,
            }) => return Err(refusal),
            Err(FailedHandshake { refusal: first, .. }) => {
                record.resumption_failed(&first.failure);
                drop(transport);
                transport = self
                    .handshake_in_full(tls, header, picked, record, &first.failure)
                    .await?;
            }
        }
        if let Some(tls) = &transport.tls {
            record.origin_tls(TlsFacts::of(tls.facts()));
        }
        Ok(transport)
    }

    /// Connects again and does a full handshake, within the same attempt. A healthy origin may answer every
    /// offered session with an alert: servers on OpenSSL do so if they request client certificates and set
    /// no session id context.
    async fn handshake_in_full(
        &self,
        tls: &TlsConnector,
        header: Option<&[u8]>,
        picked: &Pick,
        record: &mut Recorder<'_>,
        first: &Failure,
    ) -> Result<Transport, OriginRefusal> {
        let deadline = self
            .deadline
            .min(Instant::now() + self.upstream.definition.connect.timeout);
        let connected = async {
            record.enter(Stage::Connect);
            let mut transport = self
                .connect(&picked.origin, picked.address.clone(), deadline)
                .await?;
            self.greet(&mut transport, header, picked, deadline, record)
                .await?;
            record.enter(Stage::OriginTls);
            let done = self.handshake(tls, picked, &mut transport, deadline, Offer::Nothing);
            done.await.map_err(|failed| failed.refusal)?;
            Ok(transport)
        };
        connected
            .await
            .map_err(|refusal| after_resumption(refusal, first))
    }

    /// The PROXY header, if the upstream sends one.
    fn header(&self) -> Result<Option<Vec<u8>>, OriginRefusal> {
        let header = self.upstream.send_proxy_protocol;
        let header = header.map(|version| self.facts.header(version));
        header.transpose().map_err(|failure| OriginRefusal {
            failure,
            may_retry: false,
        })
    }

    pub(super) async fn connect(
        &self,
        origin: &OriginDefinition,
        address: Address,
        deadline: Instant,
    ) -> Result<Transport, OriginRefusal> {
        // Who is dialled in the place of the origin is known from the configuration.
        let proxy = self.tunnel().map(|tunnel| Address::Ip(tunnel.proxy));
        let configured = proxy.as_ref().unwrap_or(&origin.address);
        let address = proxy.clone().unwrap_or(address);
        if self.listeners.lead_back(configured, &address) {
            let failure = Failure::new(Reason::OriginLoop);
            return Err(retry(
                failure.detail(format!("this process listens at {address}")),
            ));
        }
        let connect = &self.upstream.definition.connect;
        let connecting =
            upstream::connect(&address, &self.upstream.definition.tcp, &connect.sources);
        match timeout_at(deadline, connecting).await {
            Ok(Ok(socket)) => Ok(Transport::plain(socket)),
            Ok(Err(error)) => {
                let reason = upstream::reason_for(&error);
                Err(OriginRefusal {
                    failure: Failure::new(reason).detail(format!("{address}: {error}")),
                    // A local shortage would fail the next origin, too, except for ports and routes, which
                    // differ by destination.
                    may_retry: reason != Reason::LocalDescriptors,
                })
            }
            Err(_) => Err(retry(
                Failure::new(Reason::OriginConnectTimeout).detail(address.to_string()),
            )),
        }
    }

    async fn handshake(
        &self,
        tls: &TlsConnector,
        picked: &Pick,
        transport: &mut Transport,
        deadline: Instant,
        offer: Offer,
    ) -> Result<(), FailedHandshake> {
        let last = |refusal| FailedHandshake {
            refusal,
            offered: false,
        };
        let give_up = |failure| {
            last(OriginRefusal {
                failure,
                may_retry: false,
            })
        };
        // The configuration guarantees a server name for every TLS origin. Without one nothing is sent.
        let Some(name) = &picked.origin.server_name else {
            return Err(give_up(Reason::OriginTlsName.into()));
        };
        let about = HandshakeParams {
            origin: picked.slot.origin_id(),
            name,
            client_sni: self.client_sni.clone(),
            client_alpn: self.client_alpn.clone(),
        };
        let mut handshake = tls.begin(about, offer).map_err(give_up)?;
        let offered = handshake.take_offered();
        let was_offered = offered.is_some();
        // The relay begins with a write to the origin, unless its greeting is read before. If the client
        // disconnects, the handshake is dropped here.
        if self.greeting_to_discard().is_none() {
            handshake = handshake.hold_flight();
        }
        let done = handshake.drive(transport, deadline).await;
        if let Some(offered) = offered {
            offered.settle(transport);
        }
        done.map_err(|refusal| FailedHandshake {
            refusal,
            offered: was_offered,
        })
    }
}

impl Dial<'_> {
    /// Records our local address, sends the PROXY header if there is one, and then asks the proxy before the
    /// origin for it, or the origin to begin TLS where it does so inside another protocol.
    async fn greet(
        &self,
        transport: &mut Transport,
        header: Option<&[u8]>,
        picked: &Pick,
        deadline: Instant,
        record: &mut Recorder<'_>,
    ) -> Result<(), OriginRefusal> {
        record.connected(&transport.socket);
        if let Some(header) = header {
            send_proxy_header(transport, header, &picked.address, deadline).await?;
        }
        if let Some(tunnel) = self.tunnel() {
            let target = picked.address.to_string();
            return tunnel.open(&target, &mut transport.socket, deadline).await;
        }
        let Some(negotiate) = self.upstream.negotiate.as_ref().filter(|_| self.is_sealed) else {
            return Ok(());
        };
        record.enter(Stage::OriginTls);
        // In a passthrough the client wants the server, and its hello says which.
        let client = match self.is_tls {
            true => self.client_server_name().map(ServerName::to_str),
            false => self.facts.name.map(|name| name.as_str().into()),
        };
        let own = picked.origin.server_name.as_ref().map(ServerName::to_str);
        let server = client.or(own).unwrap_or_default();
        let begun = negotiate.with_origin(&server, &mut transport.socket, deadline);
        begun.await
    }

    /// The HTTP proxy that is dialled in the place of the origin.
    fn tunnel(&self) -> Option<&Tunnel> {
        self.upstream.tunnel.as_ref().filter(|_| self.is_sealed)
    }

    /// The protocol whose server speaks first, if the client has had our greeting and the origin still sends
    /// its own.
    fn greeting_to_discard(&self) -> Option<negotiate::Protocol> {
        let protocol = self.client_negotiated?;
        let comes = protocol.server_speaks_first()
            && (self.upstream.negotiate.is_none() || !self.is_sealed);
        comes.then_some(protocol)
    }
}

/// A failed handshake.
struct FailedHandshake {
    refusal: OriginRefusal,
    /// Whether a session was offered, which may have caused the failure.
    offered: bool,
}

/// Sends the PROXY header. If that fails, the attempt fails like a refused connection.
async fn send_proxy_header(
    transport: &mut Transport,
    header: &[u8],
    address: &Address,
    deadline: Instant,
) -> Result<(), OriginRefusal> {
    let sent = timeout_at(deadline, transport.socket.write_all(header)).await;
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
    use std::time::Duration;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// P07: a header that cannot be written fails the attempt, and no byte is sent without it.
    #[tokio::test]
    async fn a_header_that_cannot_be_written_fails_the_attempt() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap();
        let stream = TcpStream::connect(place).await.unwrap();
        let mut transport = Transport::plain(stream.into());
        transport.socket.shutdown_write();
        let deadline = Instant::now() + Duration::from_secs(10);
        let refusal = send_proxy_header(
            &mut transport,
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

//! TLS on the admin listener.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::permits::ConnPermit;
use crate::snapshot::admin::AdminTls;

/// The first byte of a TLS handshake (RFC 8446 section 5.1).
pub(super) const HANDSHAKE: u8 = 0x16;

/// From the first byte to the end of the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// From the answer to a client that speaks no TLS to the end of its connection.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Does the handshake. Returns the name of the client's certificate, too, if it has shown one.
pub(super) async fn accept(
    stream: TcpStream,
    tls: &AdminTls,
    permit: &ConnPermit,
) -> Option<(TlsStream<TcpStream>, Option<String>)> {
    let handshake = TlsAcceptor::from(Arc::clone(&tls.config)).accept(stream);
    let handshake = permit.unless_displaced(timeout(HANDSHAKE_TIMEOUT, handshake));
    match handshake.await?.ok()? {
        Ok(stream) => {
            let chain = stream.get_ref().1.peer_certificates();
            let leaf = chain.and_then(<[_]>::first);
            let name = leaf.map(AdminTls::client_name);
            Some((stream, name))
        }
        Err(error) => {
            debug!(%error, "a client of the admin listener is refused");
            None
        }
    }
}

/// Answers a client that speaks plain HTTP.
pub(super) async fn refuse_plain_text(mut stream: TcpStream, permit: &ConnPermit) {
    const BODY: &str = "{\"error\":\"this listener speaks TLS: https://\"}\n";
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let refusal = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // Unread bytes would make the kernel send a reset, which may overtake the answer.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    let _ = timeout(REFUSAL_TIMEOUT, permit.unless_displaced(refusal)).await;
}

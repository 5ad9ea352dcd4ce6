//! Reads and writes of a check over a transport, with or without TLS, and its lingering close.

use std::time::Duration;

use tokio::time::timeout;

use crate::transport::{Budget, FLIGHT_CHUNK, TlsEnd, Transport, with_scratch};

/// How long [`lingering_close`] waits for the origin's end, and how many bytes it discards until then.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 * 1024;

/// Sends all bytes.
pub(super) async fn write(transport: &mut Transport, bytes: &[u8]) -> std::io::Result<()> {
    let Transport { socket, tls, .. } = transport;
    let Some(tls) = tls else {
        return socket.write_all(bytes).await;
    };
    let encrypted = with_scratch(|scratch| {
        let encrypted = tls.encrypt(bytes, &mut scratch.output);
        encrypted.map(|()| scratch.output.filled().to_vec())
    });
    socket
        .write_all(&encrypted.map_err(std::io::Error::other)?)
        .await
}

/// Reads the next bytes of the origin; empty at its end.
pub(super) async fn read(transport: &mut Transport) -> std::io::Result<Vec<u8>> {
    loop {
        if !transport.prefetched.is_empty() {
            return Ok(std::mem::take(&mut transport.prefetched));
        }
        if transport.tls.as_ref().is_some_and(|tls| tls.is_closed()) {
            return Ok(Vec::new());
        }
        transport.socket.readable().await?;
        let (ended, replies) = read_some(transport)?;
        // For example the response to a KeyUpdate.
        transport.socket.write_all(&replies).await?;
        if ended && transport.prefetched.is_empty() {
            return Ok(Vec::new());
        }
    }
}

/// Reads what the socket has into `prefetched`. Returns whether the origin ended, and what TLS replies.
fn read_some(transport: &mut Transport) -> std::io::Result<(bool, Vec<u8>)> {
    let Transport {
        socket,
        tls,
        prefetched,
    } = transport;
    with_scratch(|scratch| {
        let start = match tls {
            Some(tls) => tls.restore(&mut scratch.input),
            None => Some(0),
        };
        let start = start.ok_or(std::io::ErrorKind::InvalidData)?;
        let room = scratch.input.get_mut(start..start + FLIGHT_CHUNK);
        let room = room.unwrap_or_default();
        let len = match socket.try_read(room) {
            Ok(0) => return Ok((true, Vec::new())),
            Ok(len) => len,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok((false, Vec::new())),
            Err(e) => return Err(e),
        };
        let filled = scratch.input.get_mut(..start + len).unwrap_or_default();
        let Some(tls) = tls else {
            prefetched.extend_from_slice(filled);
            return Ok((false, Vec::new()));
        };
        let append = |plain: &[u8]| prefetched.extend_from_slice(plain);
        let mut budget = Budget::unbounded();
        let decrypted = tls.decrypt(filled, append, &mut scratch.output, &mut budget);
        match decrypted.end {
            Some(TlsEnd::Failed(error)) => Err(std::io::Error::other(error)),
            end => Ok((end.is_some(), scratch.output.filled().to_vec())),
        }
    })
}

/// Discards what the origin still sends, with the limits of [`lingering_close`].
pub(super) async fn drain(transport: &mut Transport) {
    let _ = timeout(LINGER_TIME, until_end(transport)).await;
}

/// Sends close_notify (RFC 8446 section 6.1) and FIN, then discards what the origin still sends, so that
/// the kernel does not answer it with a reset.
pub(super) async fn lingering_close(mut transport: Transport) {
    let close = async {
        if let Some(tls) = &mut transport.tls {
            let encrypted = with_scratch(|scratch| {
                let closed = tls.close(&mut scratch.output);
                closed.map(|()| scratch.output.filled().to_vec())
            });
            transport
                .socket
                .write_all(&encrypted.unwrap_or_default())
                .await
                .ok();
        }
        transport.socket.shutdown_write();
        until_end(&mut transport).await;
    };
    let _ = timeout(LINGER_TIME, close).await;
    transport.socket.close();
}

async fn until_end(transport: &mut Transport) {
    let mut received = 0;
    while received < LINGER_BYTES {
        match read(transport).await {
            Ok(bytes) if !bytes.is_empty() => received += bytes.len(),
            _ => return,
        }
    }
}

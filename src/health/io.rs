//! A few words with an origin over a transport, plain or sealed, and a polite end.

use std::time::Duration;

use tokio::time::timeout;

use crate::transport::{Budget, FLIGHT_CHUNK, TlsEnd, Transport, with_scratch};

/// How long an origin may take to end its side, and how much it may still say.
const FAREWELL_TIME: Duration = Duration::from_secs(1);
const FAREWELL_BYTES: usize = 64 * 1024;

/// Sends all of `words`.
pub(super) async fn write(transport: &mut Transport, words: &[u8]) -> std::io::Result<()> {
    let Transport { socket, tls, .. } = transport;
    let Some(tls) = tls else {
        return socket.write_all(words).await;
    };
    let encrypted = with_scratch(|scratch| {
        let encrypted = tls.encrypt(words, &mut scratch.output);
        encrypted.map(|()| scratch.output.filled().to_vec())
    });
    socket
        .write_all(&encrypted.map_err(std::io::Error::other)?)
        .await
}

/// What the origin says next; empty at its end.
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
        // Such as the answer to a key update.
        transport.socket.write_all(&replies).await?;
        if ended && transport.prefetched.is_empty() {
            return Ok(Vec::new());
        }
    }
}

/// Reads what is there into `prefetched`: whether that was the end, and what is to be replied.
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
        let hear = |plain: &[u8]| prefetched.extend_from_slice(plain);
        let mut budget = Budget::unbounded();
        let decrypted = tls.decrypt(filled, hear, &mut scratch.output, &mut budget);
        match decrypted.end {
            Some(TlsEnd::Failed(error)) => Err(std::io::Error::other(error)),
            end => Ok((end.is_some(), scratch.output.filled().to_vec())),
        }
    })
}

/// Hears the origin out, for as long as `say_farewell` does.
pub(super) async fn drain(transport: &mut Transport) {
    let _ = timeout(FAREWELL_TIME, until_end(transport)).await;
}

/// Ends a conversation as the protocols want it: close_notify and FIN, and whatever the origin still
/// says is taken, so that it sees no reset.
pub(super) async fn say_farewell(mut transport: Transport) {
    let close_with = async {
        if let Some(tls) = &mut transport.tls {
            let close = with_scratch(|scratch| {
                let encrypted = tls.close(&mut scratch.output);
                encrypted.map(|()| scratch.output.filled().to_vec())
            });
            transport
                .socket
                .write_all(&close.unwrap_or_default())
                .await
                .ok();
        }
        transport.socket.shutdown_write();
        until_end(&mut transport).await;
    };
    let _ = timeout(FAREWELL_TIME, close_with).await;
    transport.socket.close();
}

async fn until_end(transport: &mut Transport) {
    let mut heard = 0;
    while heard < FAREWELL_BYTES {
        match read(transport).await {
            Ok(words) if !words.is_empty() => heard += words.len(),
            _ => return,
        }
    }
}

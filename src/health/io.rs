//! The lingering close of a check.

use std::time::Duration;

use tokio::time::timeout;

use crate::transport::{Transport, with_scratch};

/// How long [`lingering_close`] waits for the origin's end, and how many bytes it discards until then.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 * 1024;

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
        match transport.read().await {
            Ok(bytes) if !bytes.is_empty() => received += bytes.len(),
            _ => return,
        }
    }
}

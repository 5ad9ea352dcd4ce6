//! Tells clients that begin with TLS from all others, by their first bytes.

use tokio::time::{Instant, timeout_at};

use crate::outcome::{Failure, Reason};
use crate::transport::Socket;

/// How a handshake record begins: its type, and the major version of all TLS (RFC 8446 section 5.1).
const HANDSHAKE: [u8; 2] = [22, 3];

/// How many bytes one read asks for. They are kept until the origin is connected.
const READ: usize = 4 * 1024;

/// Whether these are the first bytes of a TLS record of a handshake.
pub fn is_handshake(bytes: &[u8]) -> bool {
    bytes.starts_with(&HANDSHAKE)
}

/// Whether a client begins with a TLS record of a handshake. One that says nothing until `silent_at` waits
/// for the server to speak, as clients of SSH, SMTP or MySQL do. All that is read is in `bytes`, which may
/// hold some already. The caller bounds the time: a first byte that may be that of a record waits for the
/// second.
pub(super) async fn begins_with_tls(
    socket: &mut Socket,
    bytes: &mut Vec<u8>,
    silent_at: Instant,
) -> Result<bool, Failure> {
    loop {
        match bytes.first_chunk::<2>() {
            Some(_) => return Ok(is_handshake(bytes)),
            None if bytes.is_empty() || bytes.first() == HANDSHAKE.first() => {}
            None => return Ok(false),
        }
        let is_silent = bytes.is_empty();
        let reading = socket.read_onto(bytes, READ);
        let read = match is_silent {
            false => reading.await,
            true => match timeout_at(silent_at, reading).await {
                Ok(read) => read,
                // A busy worker may come to the bytes later than to the time.
                Err(_) if socket.readable_bytes() > 0 => socket.read_onto(bytes, READ).await,
                Err(_) => return Ok(false),
            },
        };
        match read {
            Ok(0) if bytes.is_empty() => return Err(Reason::ProbeEof.into()),
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(error) => return Err(Failure::new(Reason::ClientReset).detail(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    use super::*;

    async fn sniffed(sent: &[u8]) -> (bool, Vec<u8>) {
        let (mut client, server) = UnixStream::pair().unwrap();
        client.write_all(sent).await.unwrap();
        client.shutdown().await.unwrap();
        let (mut socket, mut bytes) = (Socket::from(server), Vec::new());
        let silent_at = Instant::now() + Duration::from_secs(60);
        let is_tls = begins_with_tls(&mut socket, &mut bytes, silent_at).await;
        (is_tls.unwrap(), bytes)
    }

    #[tokio::test]
    async fn two_bytes_decide_and_all_are_kept() {
        for (sent, is_tls) in [
            (&[22_u8, 3, 1, 0, 5][..], true),
            (&[22, 3], true),
            (&[22, 2], false),
            (&[22], false),
            (&[21, 3, 1], false),
            (b"GET / HTTP/1.1\r\n", false),
            (b"\0", false),
        ] {
            let (found, bytes) = sniffed(sent).await;
            assert_eq!((found, &bytes[..]), (is_tls, sent));
        }
    }

    #[tokio::test]
    async fn a_client_that_ends_without_a_byte_is_a_probe() {
        let (client, server) = UnixStream::pair().unwrap();
        drop(client);
        let mut socket = Socket::from(server);
        let silent_at = Instant::now() + Duration::from_secs(60);
        let sniffed = begins_with_tls(&mut socket, &mut Vec::new(), silent_at).await;
        assert_eq!(sniffed.unwrap_err().reason, Reason::ProbeEof);
    }

    /// The time has passed, but the bytes were there before it was looked at.
    #[tokio::test]
    async fn bytes_that_are_there_decide_also_after_the_time() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let (mut socket, mut bytes) = (Socket::from(server), Vec::new());
        client.write_all(&[22, 3, 1]).await.unwrap();
        let sniffed = begins_with_tls(&mut socket, &mut bytes, Instant::now()).await;
        assert!(sniffed.unwrap());
        let (_silent, server) = UnixStream::pair().unwrap();
        let mut socket = Socket::from(server);
        let sniffed = begins_with_tls(&mut socket, &mut Vec::new(), Instant::now()).await;
        assert!(!sniffed.unwrap());
    }
}

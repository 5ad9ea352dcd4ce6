//! Reads and writes of short exchanges over a transport, with or without TLS. The relay has its own.

use std::io;

use super::{Budget, FLIGHT_CHUNK, TlsEnd, Transport, with_scratch};

impl Transport {
    /// Sends all bytes.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Self { socket, tls, .. } = self;
        let Some(tls) = tls else {
            return socket.write_all(bytes).await;
        };
        let encrypted = with_scratch(|scratch| {
            let encrypted = tls.encrypt(bytes, &mut scratch.output);
            encrypted.map(|()| scratch.output.filled().to_vec())
        });
        socket
            .write_all(&encrypted.map_err(io::Error::other)?)
            .await
    }

    /// Reads the peer's next bytes; empty at its end.
    pub async fn read(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if !self.prefetched.is_empty() {
                return Ok(std::mem::take(&mut self.prefetched));
            }
            if self.tls.as_ref().is_some_and(|tls| tls.is_closed()) {
                return Ok(Vec::new());
            }
            self.socket.readable().await?;
            let (ended, replies) = self.read_some()?;
            // For example the response to a KeyUpdate.
            self.socket.write_all(&replies).await?;
            if ended && self.prefetched.is_empty() {
                return Ok(Vec::new());
            }
        }
    }

    /// Reads what the socket has into `prefetched`. Returns whether the peer ended, and what TLS replies.
    fn read_some(&mut self) -> io::Result<(bool, Vec<u8>)> {
        let Self {
            socket,
            tls,
            prefetched,
        } = self;
        with_scratch(|scratch| {
            let start = match tls {
                Some(tls) => tls.restore(&mut scratch.input),
                None => Some(0),
            };
            let start = start.ok_or(io::ErrorKind::InvalidData)?;
            let room = scratch.input.get_mut(start..start + FLIGHT_CHUNK);
            let room = room.unwrap_or_default();
            let len = match socket.try_read(room) {
                Ok(0) => return Ok((true, Vec::new())),
                Ok(len) => len,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok((false, Vec::new())),
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
                Some(TlsEnd::Failed(error)) => Err(io::Error::other(error)),
                end => Ok((end.is_some(), scratch.output.filled().to_vec())),
            }
        })
    }
}

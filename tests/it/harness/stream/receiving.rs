//! What a connection receives, and how it ends.

use std::io;
use std::sync::atomic::Ordering;

use super::super::TIMEOUT;
use super::{End, Stream, take_records};

impl Stream {
    /// The next bytes, or the end of the stream.
    pub fn read(&self) -> Result<Vec<u8>, End> {
        let surplus = std::mem::take(&mut *self.0.surplus.lock().unwrap());
        if !surplus.is_empty() {
            return Ok(surplus);
        }
        let data = match &self.0.tls {
            None => self.read_plain(),
            Some(_) => self.read_tls(),
        }?;
        self.0
            .received
            .fetch_add(data.len() as u64, Ordering::SeqCst);
        Ok(data)
    }

    pub(super) fn read_plain(&self) -> Result<Vec<u8>, End> {
        let mut buf = vec![0; 64 * 1024];
        match self.read_raw(&mut buf) {
            Ok(0) => Err(End::Clean),
            Ok(len) => {
                buf.truncate(len);
                Ok(buf)
            }
            Err(error) => Err(self.end_of(&error)),
        }
    }

    pub(super) fn read_tls(&self) -> Result<Vec<u8>, End> {
        loop {
            let (data, end) = self.tls(|tls| (std::mem::take(&mut tls.plain), tls.end.clone()));
            match (data.is_empty(), end) {
                (false, _) => return Ok(data),
                (true, Some(end)) => return Err(end),
                (true, None) => {}
            }
            if let Err(end) = self.read_records() {
                self.tls(|tls| tls.end.get_or_insert(end).clone());
            }
            if let Ok(_turn) = self.0.writing.try_lock() {
                let mut records = Vec::new();
                self.tls(|tls| take_records(&mut tls.conn, &mut records));
                // A peer that is gone needs no reply.
                let _ = self.write_raw(&records);
            }
        }
    }

    /// Reads from the socket once and lets TLS process it.
    pub(super) fn read_records(&self) -> Result<(), End> {
        let mut buf = [0; 8 * 1024];
        let len = self.read_raw(&mut buf).map_err(|e| self.end_of(&e))?;
        if len == 0 {
            return Err(End::Truncated);
        }
        self.tls(|tls| tls.feed(&buf[..len]));
        Ok(())
    }

    pub(super) fn end_of(&self, error: &io::Error) -> End {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => End::Reset,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                panic!("no data within {TIMEOUT:?}")
            }
            _ => panic!("the stream failed: {error}"),
        }
    }

    /// Puts bytes back, to be read again.
    pub fn put_back(&self, data: Vec<u8>) {
        *self.0.surplus.lock().unwrap() = data;
    }

    /// Reads exactly `len` bytes.
    #[track_caller]
    pub fn receive(&self, len: usize) -> Vec<u8> {
        let mut data = Vec::with_capacity(len);
        while data.len() < len {
            match self.read() {
                Ok(more) => data.extend_from_slice(&more),
                Err(end) => panic!("{end:?} after {} of {len} bytes", data.len()),
            }
        }
        let surplus = data.split_off(len);
        *self.0.surplus.lock().unwrap() = surplus;
        data
    }

    /// Reads exactly `len` bytes; `None` if the stream ends before.
    pub fn try_receive(&self, len: usize) -> Option<Vec<u8>> {
        let mut data = Vec::with_capacity(len);
        while data.len() < len {
            data.extend_from_slice(&self.read().ok()?);
        }
        let surplus = data.split_off(len);
        *self.0.surplus.lock().unwrap() = surplus;
        Some(data)
    }

    /// Reads to the end; returns the bytes and the end.
    pub fn receive_to_end(&self) -> (Vec<u8>, End) {
        let mut data = Vec::new();
        loop {
            match self.read() {
                Ok(more) => data.extend_from_slice(&more),
                Err(end) => return (data, end),
            }
        }
    }

    /// Sends `data` and expects it back.
    #[track_caller]
    pub fn must_echo(&self, data: impl AsRef<[u8]>) {
        let data = data.as_ref();
        self.send(data);
        assert_eq!(self.receive(data.len()), data);
    }
}

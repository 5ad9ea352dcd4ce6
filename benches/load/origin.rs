//! The origins, plain and TLS. The first byte of a connection selects their behaviour.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

pub(crate) const NAME: &str = "bench.test";

/// Echo every byte.
pub(crate) const ECHO: u8 = b'E';
/// Send this many bytes (eight bytes, little endian, follow).
pub(crate) const DOWN: u8 = b'D';
/// Read this many bytes, then answer with one.
pub(crate) const UP: u8 = b'U';

pub(crate) struct Origins {
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
}

pub(crate) fn start(certs: &Path) -> Origins {
    Origins {
        plain: listen(bind("127.0.0.1:0"), None),
        tls: listen(bind("127.0.0.1:0"), Some(config(certs))),
    }
}

/// A plain origin whose sockets queue little for a proxy that does not read.
pub(crate) fn start_small() -> SocketAddr {
    let listener = bind("127.0.0.1:0");
    socket2::SockRef::from(&listener)
        .set_send_buffer_size(64 * 1024)
        .unwrap();
    listen(listener, None)
}

/// A TLS origin at one port of every address of 127.0.0.0/8.
pub(crate) fn start_everywhere(certs: &Path) -> u16 {
    listen(bind("0.0.0.0:0"), Some(config(certs))).port()
}

fn config(certs: &Path) -> Arc<ServerConfig> {
    let file = |extension| certs.join(format!("{NAME}.{extension}"));
    let chain = CertificateDer::pem_file_iter(file("pem"))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::from_pem_file(file("key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(chain, key)
    .unwrap();
    Arc::new(config)
}

fn bind(address: &str) -> TcpListener {
    TcpListener::bind(address).unwrap()
}

fn listen(listener: TcpListener, config: Option<Arc<ServerConfig>>) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // It may listen on other networks, too.
            if !stream.peer_addr().is_ok_and(|peer| peer.ip().is_loopback()) {
                continue;
            }
            let config = config.clone();
            // Small stacks: there are as many threads as connections.
            let thread = thread::Builder::new().stack_size(256 * 1024);
            let served = thread.spawn(move || {
                let _ = stream.set_nodelay(true);
                match config {
                    None => serve(stream),
                    Some(config) => {
                        let conn = ServerConnection::new(config).unwrap();
                        let mut stream = StreamOwned::new(conn, stream);
                        serve(&mut stream);
                        stream.conn.send_close_notify();
                        let _ = stream.flush();
                    }
                }
            });
            drop(served);
        }
    });
    address
}

fn serve(mut stream: impl Read + Write) {
    let mut command = [0];
    if stream.read_exact(&mut command).is_err() {
        return;
    }
    let _ = match command[0] {
        DOWN => length(&mut stream).and_then(|len| send(&mut stream, len)),
        UP => length(&mut stream)
            .and_then(|len| std::io::copy(&mut (&mut stream).take(len), &mut std::io::sink()))
            .and_then(|_| stream.write_all(b"!")),
        _ => echo(&mut stream),
    };
}

fn length(stream: &mut impl Read) -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

pub(crate) fn send(stream: &mut impl Write, mut len: u64) -> std::io::Result<()> {
    let block = vec![7; 256 * 1024];
    while len > 0 {
        let part = usize::try_from(len.min(block.len() as u64)).unwrap_or(block.len());
        stream.write_all(&block[..part])?;
        len -= part as u64;
    }
    stream.flush()
}

fn echo(stream: &mut (impl Read + Write)) -> std::io::Result<()> {
    let mut buf = [0; 4096];
    loop {
        let len = stream.read(&mut buf)?;
        if len == 0 {
            return Ok(());
        }
        stream.write_all(&buf[..len])?;
        stream.flush()?;
    }
}

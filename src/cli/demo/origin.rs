//! The demo's origin: an HTTP server that reports how it was reached. For the demo alone.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::tls::info::TlsFacts;
use crate::tls::material::file::FileReader;
use crate::tls::pair;
use crate::tls::pair_files::{PairContents, PairFiles};

/// Bounds of a request head: its length, and the time until it is complete.
const HEAD_MAX: u64 = 16 * 1024;
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Starts an origin that speaks plaintext.
pub(super) fn plain() -> io::Result<SocketAddr> {
    listen(|stream| {
        let peer = stream.peer_addr()?;
        respond(
            stream,
            &format!("The demo origin received plaintext from {peer}.\n"),
        )
    })
}

/// Starts an origin that speaks TLS, with these certificates by name.
pub(super) fn tls(certificates: &[(&str, PathBuf, PathBuf)]) -> io::Result<SocketAddr> {
    let mut by_name = HashMap::new();
    for (name, cert, key) in certificates {
        let files = PairFiles {
            cert: cert.clone(),
            key: key.clone(),
            ocsp: None,
            password: None,
        };
        let (pair, _) = PairContents::read(&mut FileReader::default(), &files)
            .and_then(|contents| pair::pair(&files, &contents))
            .map_err(|e| io::Error::other(e.message))?;
        by_name.insert((*name).to_owned(), pair.key);
    }
    let config = ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .map_err(io::Error::other)?
    .with_no_client_auth()
    .with_cert_resolver(Arc::new(ByName(by_name)));
    let config = Arc::new(config);
    listen(move |stream| {
        let peer = stream.peer_addr()?;
        let conn = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(conn, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        let name = stream.conn.server_name().unwrap_or("no name").to_owned();
        let version = TlsFacts::of(&stream.conn).version.unwrap_or("TLS");
        respond(
            &mut stream,
            &format!("The demo origin received {version} for {name} from {peer}.\n"),
        )?;
        stream.conn.send_close_notify();
        stream.flush()
    })
}

#[derive(Debug)]
struct ByName(HashMap<String, Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.get(hello.server_name()?).cloned()
    }
}

fn listen(
    serve: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    thread::Builder::new()
        .name("origin".to_owned())
        .spawn(move || {
            for stream in listener.incoming().flatten() {
                let serve = serve.clone();
                // An error here affects this request alone.
                thread::spawn(move || {
                    let _ = stream
                        .set_read_timeout(Some(READ_TIMEOUT))
                        .and_then(|()| serve(stream));
                });
            }
        })?;
    Ok(address)
}

/// Reads one request and responds.
fn respond(mut stream: impl Read + Write, text: &str) -> io::Result<()> {
    let mut head = BufReader::new((&mut stream).take(HEAD_MAX));
    let mut line = String::new();
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
            break;
        }
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{text}",
        text.len()
    )?;
    stream.flush()
}

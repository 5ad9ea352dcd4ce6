//! ClientHellos composed byte by byte, for messages that no TLS library sends.

use std::sync::Arc;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::{Client, ListenAddr};

/// The numbers of the extensions that tests use.
pub mod extension {
    pub const SERVER_NAME: u16 = 0;
    pub const GROUPS: u16 = 10;
    pub const SIGNATURES: u16 = 13;
    pub const ALPN: u16 = 16;
    pub const SESSION_TICKET: u16 = 35;
    pub const PRE_SHARED_KEY: u16 = 41;
    pub const VERSIONS: u16 = 43;
    pub const KEY_SHARES: u16 = 51;
    /// A GREASE value (RFC 8701), which servers ignore.
    pub const GREASE: u16 = 0x0a0a;
}

/// A builder of a ClientHello of TLS 1.2 and 1.3: X25519, ECDSA and RSA, all common suites. It is enough
/// for a server to answer, although the answer cannot be decrypted.
#[derive(Clone)]
pub struct ForgedHello {
    version: u16,
    suites: Vec<u16>,
    compression: u8,
    extensions: Vec<(u16, Vec<u8>)>,
}

impl ForgedHello {
    /// A hello with this server name, which need not be valid.
    pub fn new(sni: &[u8]) -> Self {
        Self::without_sni().with(extension::SERVER_NAME, server_name(sni))
    }

    pub fn without_sni() -> Self {
        let mut key_share = vec![0, 36, 0, 29, 0, 32];
        // The base point of the curve: a valid share with a known secret.
        key_share.push(9);
        key_share.extend([0; 31]);
        Self {
            version: 0x0303,
            compression: 0,
            suites: vec![
                0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8,
            ],
            extensions: vec![
                (extension::GROUPS, vec![0, 4, 0, 29, 0, 23]),
                (extension::SIGNATURES, vec![0, 8, 4, 3, 8, 4, 4, 1, 5, 3]),
                (extension::VERSIONS, vec![4, 3, 4, 3, 3]),
                (extension::KEY_SHARES, key_share),
            ],
        }
    }

    /// The hello that OpenSSL sends if TLS 1.1 is its highest version.
    pub fn tls11(sni: &[u8]) -> Self {
        let mut hello = Self::new(sni)
            .without(extension::SIGNATURES)
            .without(extension::VERSIONS)
            .without(extension::KEY_SHARES);
        hello.version = 0x0302;
        hello.suites = vec![0xc00a, 0xc014, 0xc009, 0xc013, 0x0035, 0x002f];
        hello
    }

    /// Adds an extension, even a duplicate.
    pub fn with(mut self, number: u16, body: Vec<u8>) -> Self {
        self.extensions.push((number, body));
        self
    }

    pub fn without(mut self, number: u16) -> Self {
        self.extensions.retain(|(own, _)| *own != number);
        self
    }

    pub fn suites(mut self, suites: &[u16]) -> Self {
        self.suites = suites.to_vec();
        self
    }

    /// Offers only this compression; 0 is none, which every client must offer.
    pub fn compression(mut self, method: u8) -> Self {
        self.compression = method;
        self
    }

    pub fn alpn(self, protocols: &[&str]) -> Self {
        let mut list = Vec::new();
        for protocol in protocols {
            list.push(u8::try_from(protocol.len()).unwrap());
            list.extend(protocol.as_bytes());
        }
        self.with(extension::ALPN, with_length(&list))
    }

    /// Pads the whole message, with its header, to exactly this length.
    pub fn padded_to(self, len: usize) -> Self {
        const HEADER: usize = 4;
        let now = self.message().len();
        let body = len.checked_sub(now + HEADER).expect("it is longer already");
        self.with(extension::GREASE, vec![0; body])
    }

    /// The handshake message.
    pub fn message(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend([7; 32]);
        body.push(0);
        let suites: Vec<u8> = self
            .suites
            .iter()
            .flat_map(|suite| suite.to_be_bytes())
            .collect();
        body.extend(with_length(&suites));
        body.extend([1, self.compression]);
        let mut extensions = Vec::new();
        for (number, content) in &self.extensions {
            extensions.extend(number.to_be_bytes());
            extensions.extend(with_length(content));
        }
        body.extend(with_length(&extensions));
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let mut message = vec![1, length[1], length[2], length[3]];
        message.extend(body);
        message
    }

    /// The message in as few records as possible.
    pub fn bytes(&self) -> Vec<u8> {
        records(&self.message(), 16 * 1024)
    }

    /// The message in records of at most this many bytes.
    pub fn in_records_of(&self, len: usize) -> Vec<u8> {
        records(&self.message(), len)
    }
}

/// A hello written by rustls, in one record: it has the post-quantum key share first, as browsers do.
pub fn recorded_hello(sni: &str) -> Vec<u8> {
    let client = Client::new(&ListenAddr::Unix("/nowhere".into()), sni).alpn(&["h2", "http/1.1"]);
    let name = ServerName::try_from(sni.to_owned()).unwrap();
    let mut conn = ClientConnection::new(Arc::clone(&client.config()), name).unwrap();
    let mut bytes = Vec::new();
    conn.write_tls(&mut bytes).unwrap();
    assert!(
        bytes.len() > 1400,
        "a post-quantum hello has {} bytes",
        bytes.len()
    );
    bytes
}

/// Whether this record, a ClientHello, requests the resumption of a session: by a pre-shared key, or by a
/// ticket. The session id alone does not tell.
pub fn offers_session(record: &[u8]) -> bool {
    let offers = [extension::PRE_SHARED_KEY, extension::SESSION_TICKET];
    let mut extensions = extensions_of(record).into_iter();
    extensions.any(|(number, body)| offers.contains(&number) && !body.is_empty())
}

/// The extensions of a ClientHello in one record.
fn extensions_of(record: &[u8]) -> Vec<(u16, Vec<u8>)> {
    fn take(bytes: &mut &[u8], len: usize) -> Vec<u8> {
        let (take, rest) = bytes.split_at(len);
        *bytes = rest;
        take.to_vec()
    }
    fn number(bytes: &mut &[u8]) -> u16 {
        u16::from_be_bytes(take(bytes, 2).try_into().unwrap())
    }
    // Record header, message header, version, random.
    let mut rest = &record[5 + 4 + 2 + 32..];
    let len = take(&mut rest, 1)[0];
    take(&mut rest, len.into());
    let len = number(&mut rest);
    take(&mut rest, len.into());
    let len = take(&mut rest, 1)[0];
    take(&mut rest, len.into());
    number(&mut rest);
    let mut extensions = Vec::new();
    while !rest.is_empty() {
        let kind = number(&mut rest);
        let len = number(&mut rest);
        extensions.push((kind, take(&mut rest, len.into())));
    }
    extensions
}

/// A handshake message as records of at most `len` bytes.
pub fn records(message: &[u8], len: usize) -> Vec<u8> {
    message.chunks(len).flat_map(record).collect()
}

/// One handshake record.
pub fn record(content: &[u8]) -> Vec<u8> {
    let mut record = vec![22, 3, 1];
    record.extend(with_length(content));
    record
}

fn server_name(name: &[u8]) -> Vec<u8> {
    let mut entry = vec![0];
    entry.extend(with_length(name));
    with_length(&entry)
}

fn with_length(content: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(content.len()).unwrap().to_be_bytes().to_vec();
    out.extend(content);
    out
}

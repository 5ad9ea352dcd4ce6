//! TLVs: type, length, value.

/// The registered types, and those within [`kind::SSL`].
pub mod kind {
    /// The application protocol.
    pub const ALPN: u8 = 0x01;
    /// The host name that the client requested.
    pub const AUTHORITY: u8 = 0x02;
    /// The checksum of the header.
    pub const CRC32C: u8 = 0x03;
    /// An identifier that no other connection has.
    pub const UNIQUE_ID: u8 = 0x05;
    /// The client's TLS: flags, the result of verification, and nested TLVs.
    pub const SSL: u8 = 0x20;
    /// Within SSL: the version.
    pub const SSL_VERSION: u8 = 0x21;
    /// Within SSL: the common name of the client's certificate.
    pub const SSL_CN: u8 = 0x22;
    /// Within SSL: the cipher suite.
    pub const SSL_CIPHER: u8 = 0x23;
    /// Within SSL: the signature algorithm of the certificate presented to the client.
    pub const SSL_SIG_ALG: u8 = 0x24;
    /// Within SSL: the key algorithm of the certificate presented to the client.
    pub const SSL_KEY_ALG: u8 = 0x25;
    /// Within SSL: the key exchange group.
    pub const SSL_GROUP: u8 = 0x26;
    /// Within SSL: the signature scheme of the handshake signature to the client.
    pub const SSL_SIG_SCHEME: u8 = 0x27;
    /// Within SSL: the client's certificate in DER.
    pub const SSL_CLIENT_CERT: u8 = 0x28;
}

/// One TLV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// Its type, such as [`kind::ALPN`].
    pub kind: u8,
    /// Its value; from the wire.
    pub value: &'a [u8],
}

/// TLVs in order. None extends beyond the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tlvs<'a>(&'a [u8]);

impl<'a> Tlvs<'a> {
    /// The TLVs in these bytes; `None` if the last one is incomplete.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        while !rest.is_empty() {
            (_, rest) = split(rest)?;
        }
        Some(Self(bytes))
    }

    /// The value of the first TLV of this type.
    pub fn get(self, kind: u8) -> Option<&'a [u8]> {
        self.into_iter()
            .find(|tlv| tlv.kind == kind)
            .map(|tlv| tlv.value)
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Tlv<'a>;

    fn next(&mut self) -> Option<Tlv<'a>> {
        let (tlv, rest) = split(self.0)?;
        self.0 = rest;
        Some(tlv)
    }
}

/// The first TLV and the bytes behind it.
fn split(bytes: &[u8]) -> Option<(Tlv<'_>, &[u8])> {
    let (&[kind, high, low], rest) = bytes.split_first_chunk::<3>()?;
    let len = usize::from(u16::from_be_bytes([high, low]));
    let (value, rest) = rest.split_at_checked(len)?;
    Some((Tlv { kind, value }, rest))
}

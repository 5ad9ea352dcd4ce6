//! The PROXY protocol, versions 1 and 2 (haproxy.org/download/3.2/doc/proxy-protocol.txt): decodes and
//! encodes headers.
//!
//! Pure: this module knows no socket and no deadline. It decodes a header from the bytes received so far.
//! The result does not depend on how the bytes were split: it is final only once the bytes that decide it
//! have arrived, and later bytes do not change it.

mod crc32c;
mod encode;
mod header;
mod policy;
mod tlv;
mod v1;
mod v2;

pub use encode::{Facts, Parties, Ssl, VerifiedClient, encode_v2};
pub use header::{Defect, Flow, Header, OWN_V1, OWN_V2};
use header::{V1_SIGNATURE, V2_SIGNATURE};
pub use policy::{Accept, SendHeader, TlvSet};
pub use v1::encode as encode_v1;

/// The result of decoding the bytes received so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// They may be the beginning of a header.
    NeedMore,
    /// A complete header. The bytes behind it belong to the application.
    Done {
        /// The header.
        header: Header<'a>,
        /// Its length in bytes.
        consumed: usize,
    },
    /// Not a header, whatever bytes follow.
    Invalid(Defect),
}

/// The kind of header that a stream begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Not decided yet.
    Undecided,
    /// A version 1 header.
    V1,
    /// A version 2 header.
    V2,
    /// Not a header.
    Foreign,
}

/// Classifies the first bytes of a stream.
pub fn opening(bytes: &[u8]) -> Opening {
    if bytes.starts_with(V1_SIGNATURE) {
        Opening::V1
    } else if bytes.starts_with(V2_SIGNATURE) {
        Opening::V2
    } else if V1_SIGNATURE.starts_with(bytes) || V2_SIGNATURE.starts_with(bytes) {
        Opening::Undecided
    } else {
        Opening::Foreign
    }
}

/// Decodes a header of either version from the first bytes of a stream.
pub fn decode(bytes: &[u8]) -> Decoded<'_> {
    let decoded = match opening(bytes) {
        Opening::Undecided => Ok(None),
        Opening::V1 => v1::decode(bytes),
        Opening::V2 => v2::decode(bytes),
        Opening::Foreign => Err(Defect::Foreign),
    };
    match decoded {
        Ok(None) => Decoded::NeedMore,
        Ok(Some((header, consumed))) => Decoded::Done { header, consumed },
        Err(defect) => Decoded::Invalid(defect),
    }
}

#[cfg(test)]
mod tests;

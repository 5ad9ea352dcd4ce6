//! OCSP responses to be stapled (RFC 6960): which part of one is about a certificate, whether it is to be
//! believed, and how one is asked for.

mod request;
mod status;
mod verified;

pub use self::request::{request, responders};
pub use self::status::{Status, Subject, read};
pub use self::verified::verified;

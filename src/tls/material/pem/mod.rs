//! A strict reader of PEM (RFC 7468): every line is text outside of blocks, a boundary, or base64 within
//! a block. It refuses lines that resemble a boundary, and blocks of kinds that the caller did not ask
//! for: a certificate or CRL that is skipped changes who is trusted. Pure; knows no file.

mod blocks;
mod boundary;
mod foreign;
mod items;
mod labels;
mod refusal;

pub use foreign::{is_der, refuse_pem};
pub use items::{Item, authorities, chain, key, key_or, lists};
pub use labels::ENCRYPTED;
pub use refusal::Refusal;

#[cfg(test)]
mod tests;

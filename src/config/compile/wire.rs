//! Values of the wire, from the words of the file.

use rustls::{CipherSuite, NamedGroup};

use crate::config::reader::generic::OneOrMany;
use crate::config::reader::values;
use crate::config::spec;

/// ALPN protocols in wire format.
pub(super) fn protocols(list: &OneOrMany<values::Protocol>) -> Vec<Vec<u8>> {
    list.iter()
        .map(|p| p.value.0.clone().into_bytes())
        .collect()
}

/// Cipher suites in wire format.
pub(super) fn cipher_suites(list: &OneOrMany<spec::CipherSuite>) -> Vec<CipherSuite> {
    once(list.iter().map(|item| item.value.0.rustls.suite()))
}

/// Key exchange groups in wire format.
pub(super) fn groups(list: &OneOrMany<spec::Group>) -> Vec<NamedGroup> {
    once(list.iter().map(|item| item.value.0.rustls.name()))
}

/// Removes repetitions: a list in a ClientHello has a length of two bytes, which repetitions could
/// exceed.
pub(super) fn once<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut all = Vec::new();
    for item in items {
        if !all.contains(&item) {
            all.push(item);
        }
    }
    all
}

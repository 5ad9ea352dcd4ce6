//! Values of the wire, from the words of the file.

use rustls::{CipherSuite, NamedGroup};

use crate::config::reader::generic::OneOrMany;
use crate::config::reader::values;
use crate::config::spec;
use crate::tls::suites::{Group, Suite};

/// ALPN protocols in wire format.
pub(super) fn protocols(list: &OneOrMany<values::Protocol>) -> Vec<Vec<u8>> {
    list.iter()
        .map(|p| p.value.0.clone().into_bytes())
        .collect()
}

/// Cipher suites in wire format.
pub(super) fn cipher_suites(list: &OneOrMany<spec::CipherSuite>) -> Vec<CipherSuite> {
    let suites = list
        .iter()
        .filter_map(|item| Suite::named(item.value.as_str()));
    once(suites.map(|suite| suite.rustls.suite()))
}

/// Key exchange groups in wire format.
pub(super) fn groups(list: &OneOrMany<spec::Group>) -> Vec<NamedGroup> {
    let groups = list
        .iter()
        .filter_map(|item| Group::named(item.value.as_str()));
    once(groups.map(|group| group.rustls.name()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reader::words::Keyword as _;

    #[test]
    fn every_suite_and_group_of_the_configuration_is_supported() {
        for name in spec::CipherSuite::WORDS {
            assert!(Suite::named(name).is_some(), "{name}");
        }
        for name in spec::Group::WORDS {
            assert!(Group::named(name).is_some(), "{name}");
        }
    }
}

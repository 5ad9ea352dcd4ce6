//! Warnings about CAs that webpki cannot fully use, given when they are loaded.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;
use x509_parser::public_key::PublicKey;

const CURVES: [&str; 3] = ["1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35"];
const EC: &str = "1.2.840.10045.2.1";
const ED25519: &str = "1.3.101.112";

/// Why certificates of this CA will be refused, all or those with certain names; each with its remedy.
pub(in crate::tls) fn of_authority(
    certificate: &X509Certificate<'_>,
) -> Vec<(String, &'static str)> {
    let mut limits = Vec::new();
    if let Some(kind) = unusable_key(certificate) {
        limits.push((
            format!("{kind}: whatever it signed is refused"),
            "use a CA with a key on P-256, P-384 or P-521, Ed25519, or RSA of 2048 to 8192 bits",
        ));
    }
    let constraints = certificate.name_constraints().ok().flatten();
    let mut kinds: Vec<_> = constraints
        .iter()
        .flat_map(|constraints| {
            let value = &constraints.value;
            [&value.permitted_subtrees, &value.excluded_subtrees]
        })
        .flatten()
        .flatten()
        .filter_map(|subtree| unknown_kind(&subtree.base))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        limits.push((
            format!(
                "name constraints on {kind}, which Reseal does not understand: \
                 it refuses every certificate below with such names, also permitted ones"
            ),
            "DNS names and IP addresses can be constrained; say the rest in rules: allow: { uri: … }",
        ));
    }
    limits
}

/// Why a CA's key cannot be used.
fn unusable_key(certificate: &X509Certificate<'_>) -> Option<String> {
    let key = certificate.public_key();
    let algorithm = key.algorithm.algorithm.to_id_string();
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => {
            let bits = bits(rsa.modulus);
            (!(2048..=8192).contains(&bits)).then(|| format!("an RSA key of {bits} bits"))
        }
        _ if algorithm == ED25519 => None,
        _ if algorithm == EC => {
            let curve = key.algorithm.parameters.as_ref();
            let curve = curve.and_then(|curve| curve.as_oid().ok());
            let is_known = curve.is_some_and(|c| CURVES.contains(&c.to_id_string().as_str()));
            (!is_known).then(|| "a key on a curve that is not accepted".to_owned())
        }
        _ => Some("a key of a kind that is not accepted".to_owned()),
    }
}

/// The size of a number in bits, without leading zeros.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|b| **b == 0).count();
    let number = number.get(zeros..).unwrap_or_default();
    let first = number.first().map_or(0, |b| b.leading_zeros() as usize);
    number.len() * 8 - first
}

fn unknown_kind(name: &GeneralName<'_>) -> Option<&'static str> {
    Some(match name {
        GeneralName::DNSName(_) | GeneralName::IPAddress(_) => return None,
        GeneralName::URI(_) => "URIs",
        GeneralName::RFC822Name(_) => "mail addresses",
        GeneralName::DirectoryName(_) => "directory names (which every subject is)",
        _ => "names of other kinds",
    })
}

//! Paths through the certificates that a peer sent.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::RootCertStore;

use super::*;
use crate::tls::words;

type Ca = CertifiedIssuer<'static, KeyPair>;

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn root(name: &str) -> Ca {
    Ca::self_signed(authority(name), KeyPair::generate().unwrap()).unwrap()
}

fn below(issuer: &Ca, name: &str) -> Ca {
    Ca::signed_by(authority(name), KeyPair::generate().unwrap(), issuer).unwrap()
}

fn leaf(issuer: &Ca) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    params("leaf")
        .signed_by(&key, issuer)
        .unwrap()
        .der()
        .clone()
}

fn verifier(roots: &[&Ca]) -> ChainVerifier {
    let mut authorities = Authorities::of_anchors(RootCertStore::empty());
    for root in roots {
        authorities.add(root.der().clone()).unwrap();
    }
    ChainVerifier::new(Arc::new(authorities), None, KeyUsage::client_auth())
}

fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000))
}

fn sent(chain: &[&Ca]) -> Vec<CertificateDer<'static>> {
    chain.iter().map(|ca| ca.der().clone()).collect()
}

#[test]
fn the_path_through_what_was_sent_is_returned() {
    let root = root("root");
    let (one, two, junk) = (below(&root, "1"), below(&root, "2"), below(&root, "junk"));
    let three = below(&one, "3");
    let leaf = leaf(&three);
    let verifier = verifier(&[&root]);
    let sent = sent(&[&junk, &one, &two, &three, &root, &one]);
    for _ in 0..2 {
        assert_eq!(verifier.verify(&leaf, &sent, now()), Ok(vec![3, 1]));
    }
}

#[test]
fn among_equal_names_the_one_whose_key_is_named_comes_first() {
    let root = root("root");
    let mut sent: Vec<_> = (0..20).map(|_| below(&root, "A")).collect();
    let leaf = leaf(&sent[17]);
    let verifier = verifier(&[&root]);
    let chain: Vec<_> = sent.iter().map(|ca| ca.der().clone()).collect();
    assert_eq!(verifier.verify(&leaf, &chain, now()), Ok(vec![17]));
    sent.remove(17);
    let chain: Vec<_> = sent.iter().map(|ca| ca.der().clone()).collect();
    let again = verifier.verify(&leaf, &chain, now());
    assert!(again.is_err(), "it is missing");
}

/// A CA with this name and key, signed by another.
fn renewed(by: &Ca, of: &Ca, name: &str) -> CertificateDer<'static> {
    let der = authority(name)
        .signed_by(of.key(), by)
        .unwrap()
        .der()
        .clone();
    assert_eq!(
        Outline::of(&der).unwrap().subject,
        Outline::of(of.der()).unwrap().subject
    );
    der
}

#[test]
fn a_ca_with_a_new_key_that_a_trusted_ca_signed_is_followed() {
    let forged = root("issuing");
    let root = root("root");
    let (old, new) = (below(&root, "issuing"), below(&root, "issuing"));
    let verifier = verifier(&[&root, &old]);
    let verify = |leaf: &_, chain: &[&Ca]| verifier.verify(leaf, &sent(chain), now());
    assert_eq!(verify(&leaf(&new), &[&old, &new]), Ok(vec![1]));
    assert_eq!(verify(&leaf(&old), &[&new]), Ok(vec![]));
    let below_new = below(&new, "department");
    assert_eq!(
        verify(&leaf(&below_new), &[&new, &below_new]),
        Ok(vec![1, 0])
    );
    let below_old = below(&old, "department");
    assert_eq!(verify(&leaf(&below_old), &[&new, &below_old]), Ok(vec![1]));
    for chain in [&[&forged][..], &[&old], &[&old, &forged], &[&new]] {
        let reason = CertificateError::BadSignature;
        let refusal = Err(Error::InvalidCertificate(reason));
        assert_eq!(verify(&leaf(&forged), chain), refusal);
    }
}

#[test]
fn a_root_whose_old_key_signed_its_new_one_is_followed() {
    let (old, new) = (root("root"), root("root"));
    let cross = renewed(&old, &new, "root");
    let verifier = verifier(&[&old]);
    let leaf = leaf(&new);
    for (chain, path) in [
        (vec![cross.clone()], vec![0]),
        (vec![new.der().clone(), cross.clone()], vec![1]),
        (vec![cross, new.der().clone(), old.der().clone()], vec![0]),
    ] {
        assert_eq!(verifier.verify(&leaf, &chain, now()), Ok(path));
    }
}

#[test]
fn a_ca_with_a_new_key_may_be_below_an_intermediate() {
    let root = root("root");
    let policy = below(&root, "policy");
    let (old, new) = (below(&policy, "issuing"), below(&policy, "issuing"));
    let verifier = verifier(&[&root, &old]);
    let chain = sent(&[&policy, &new]);
    assert_eq!(verifier.verify(&leaf(&new), &chain, now()), Ok(vec![1, 0]));
    assert!(verifier.verify(&leaf(&new), &chain[1..], now()).is_err());
}

#[test]
fn webpki_verifies_at_most_two_paths() {
    let root = root("root");
    let verifier = verifier(&[&root]);
    // Every certificate of a level has the names of all of the one above.
    let mut pile = Vec::new();
    let mut above = root;
    for level in 0..6 {
        let all: Vec<_> = (0..3).map(|_| below(&above, &level.to_string())).collect();
        pile.extend(all.iter().map(|ca| ca.der().clone()));
        above = all.into_iter().next().unwrap();
    }
    let leaf = leaf(&above);
    let parsed = EndEntityCert::try_from(&leaf).unwrap();
    let paths = verifier.paths(&parsed, &leaf, &pile, now()).unwrap();
    assert_eq!(paths.len(), PATHS_MAX);
    assert!(verifier.verify(&leaf, &pile, now()).is_ok());
}

#[test]
fn a_certificate_of_version_1_is_refused_with_a_remedy() {
    let root = root("root");
    let mut first = leaf(&root).to_vec();
    const VERSION_3: &[u8] = &[0xa0, 3, 2, 1, 2];
    let place = first.windows(5).position(|bytes| bytes == VERSION_3);
    first[place.unwrap() + 4] = 0;
    let error = verifier(&[&root])
        .verify(&first.into(), &[], now())
        .unwrap_err();
    let said = words::tls(&error);
    for word in ["version 1", "version 3 is needed", "-extfile"] {
        assert!(said.contains(word), "{said}");
    }
}

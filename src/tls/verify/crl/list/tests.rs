//! Which lists are read, and what they cover.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, CustomExtension, IsCa,
    KeyIdMethod, KeyPair,
};
use time::OffsetDateTime;

use super::*;

const HERE: &str = "http://a.test/1.crl";

fn issuer() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A list of one distribution point.
fn partial(issuer: &CertifiedIssuer<'static, KeyPair>, scope: Option<CrlScope>) -> RevocationList {
    RevocationList::read(partial_der(issuer, scope), &"a.crl".into()).unwrap()
}

fn partial_der(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    scope: Option<CrlScope>,
) -> CertificateRevocationListDer<'static> {
    let uris = vec![HERE.to_owned()];
    let params = CertificateRevocationListParams {
        this_update: OffsetDateTime::now_utc(),
        next_update: OffsetDateTime::now_utc() + time::Duration::days(1),
        crl_number: 1.into(),
        issuing_distribution_point: Some(CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint { uris },
            scope,
        }),
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).unwrap().der().clone()
}

#[test]
fn a_list_whose_restrictions_are_out_of_order_is_refused() {
    let der = partial_der(&issuer(), Some(CrlScope::CaCertsOnly)).to_vec();
    const ONLY_AUTHORITIES: &[u8] = &[0x82, 1, 0xff];
    let mut windows = der.windows(ONLY_AUTHORITIES.len());
    let place = windows.position(|bytes| bytes == ONLY_AUTHORITIES).unwrap();
    // Distribution point, full name, URI: each has a tag and a length.
    let begin = place - HERE.len() - 6;
    let mut other = der.clone();
    other[begin..place + 3].rotate_right(3);
    assert!(BorrowedCertRevocationList::from_der(&other).is_ok());
    let refusal = RevocationList::read(other.into(), &"a.crl".into());
    assert!(refusal.unwrap_err().contains("2.5.29.28"));
}

#[test]
fn a_list_with_an_unsupported_signature_algorithm_names_it() {
    const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    let list = partial(&issuer(), None);
    assert_eq!(list.unusable_signature(), None);
    let mut der = list.der.to_vec();
    for at in 0..der.len() - ECDSA_SHA256.len() {
        if der[at..].starts_with(ECDSA_SHA256) {
            der[at + ECDSA_SHA256.len() - 1] = 1;
        }
    }
    let list = RevocationList::read(der.into(), &"a.crl".into()).unwrap();
    let said = list.unusable_signature().unwrap();
    assert!(
        said.to_lowercase().contains("sha224") || said.contains("1.2.840"),
        "{said}"
    );
}

#[test]
fn a_partial_list_covers_only_certificates_of_its_scope() {
    let issuer = issuer();
    let certificate = |shape: fn(&mut CertificateParams)| {
        let mut params = CertificateParams::default();
        shape(&mut params);
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &issuer).unwrap().der().clone()
    };
    let plain = certificate(|_| {});
    let here = certificate(|params| {
        params.crl_distribution_points = vec![CrlDistributionPoint {
            uris: vec![HERE.to_owned()],
        }];
    });
    let elsewhere = certificate(|params| {
        params.crl_distribution_points = vec![CrlDistributionPoint {
            uris: vec!["http://a.test/2.crl".to_owned()],
        }];
    });
    let broken = certificate(|params| {
        let junk = CustomExtension::from_oid_content(&[2, 5, 29, 31], vec![0x30, 2, 5]);
        params.custom_extensions.push(junk);
    });
    use Coverage::{Full, None as Nothing, Possible};
    for (what, scope, is_leaf, covered) in [
        (&plain, None, true, Possible),
        (&here, None, true, Full),
        (&elsewhere, None, true, Nothing),
        (&broken, None, true, Nothing),
        (&here, Some(CrlScope::UserCertsOnly), true, Full),
        (&here, Some(CrlScope::UserCertsOnly), false, Nothing),
        (&here, Some(CrlScope::CaCertsOnly), true, Nothing),
        (&plain, Some(CrlScope::CaCertsOnly), false, Possible),
    ] {
        let list = partial(&issuer, scope);
        assert_eq!(list.covers(what, is_leaf), covered, "{scope:?} {is_leaf}");
    }
}

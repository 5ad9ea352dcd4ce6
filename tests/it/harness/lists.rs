//! Certificate revocation lists.

use rcgen::{
    CertificateRevocationList, CertificateRevocationListParams, CrlDistributionPoint,
    CrlIssuingDistributionPoint, KeyIdMethod, RevokedCertParams,
};
use time::{Duration, OffsetDateTime};

use super::Authority;

/// A builder of CRLs; by default issued a minute ago and valid for a week.
pub struct List {
    revoked: Vec<u64>,
    point: Option<String>,
    number: u64,
    made: OffsetDateTime,
    next: OffsetDateTime,
}

impl List {
    /// A CRL of the certificates with these serial numbers.
    pub fn of(revoked: &[u64]) -> Self {
        let now = OffsetDateTime::now_utc();
        Self {
            revoked: revoked.to_vec(),
            point: None,
            number: 1,
            made: now - Duration::minutes(1),
            next: now + Duration::days(7),
        }
    }

    /// Limits the CRL to the certificates of one distribution point.
    pub fn of_point(mut self, uri: &str) -> Self {
        self.point = Some(uri.to_owned());
        self
    }

    pub fn number(mut self, number: u64) -> Self {
        self.number = number;
        self
    }

    /// Sets the issue date this many days ago.
    pub fn made_days_ago(mut self, days: i64) -> Self {
        self.made = OffsetDateTime::now_utc() - Duration::days(days);
        self
    }

    /// Sets the issue date this many seconds ahead; valid for a week from then.
    pub fn made_in_seconds(mut self, seconds: i64) -> Self {
        self.made = OffsetDateTime::now_utc() + Duration::seconds(seconds);
        self.next = self.made + Duration::days(7);
        self
    }

    /// Sets the next update this many seconds ahead (or ago).
    pub fn next_in_seconds(mut self, seconds: i64) -> Self {
        self.next = OffsetDateTime::now_utc() + Duration::seconds(seconds);
        self
    }

    /// Makes it expired since an hour ago.
    pub fn expired(self) -> Self {
        self.made_days_ago(8).next_in_seconds(-3600)
    }

    pub fn pem(&self, issuer: &Authority) -> String {
        self.signed(issuer).pem().unwrap()
    }

    pub fn der(&self, issuer: &Authority) -> Vec<u8> {
        self.signed(issuer).der().to_vec()
    }

    fn signed(&self, issuer: &Authority) -> CertificateRevocationList {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: self.made,
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: self.made,
            next_update: self.next,
            crl_number: self.number.into(),
            issuing_distribution_point: self.point.clone().map(|uri| CrlIssuingDistributionPoint {
                distribution_point: CrlDistributionPoint { uris: vec![uri] },
                scope: None,
            }),
            revoked_certs: self.revoked.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(issuer.issuer()).unwrap()
    }
}

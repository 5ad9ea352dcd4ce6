//! A minimal DER reader that walks over a certificate without building a tree. A peer may send a
//! certificate of 60 KB, whose tree would take milliseconds to build before it is refused.

use std::ops::RangeInclusive;

use x509_parser::prelude::{FromDer, Validity};

/// One element: its tag, its content, and the whole encoding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) whole: &'a [u8],
}

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// Iterates over the elements of a content; ends at the first malformed one.
#[derive(Clone, Debug)]
pub(super) struct Elements<'a>(pub(super) &'a [u8]);

impl<'a> Elements<'a> {
    /// The content of the next element, if it has this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next()
            .filter(|element| element.tag == tag)
            .map(|element| element.content)
    }

    /// Whether everything was read; false after a malformed element.
    pub(super) const fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let (&tag, &first) = (self.0.first()?, self.0.get(1)?);
        let (header, length) = match first {
            0..=0x7f => (2, usize::from(first)),
            0x81..=0x84 => {
                let header = 2 + usize::from(first & 0x7f);
                let bytes = self.0.get(2..header)?;
                let length = bytes.iter().fold(0, |all, b| (all << 8) | usize::from(*b));
                (header, length)
            }
            _ => return None,
        };
        let end = header.checked_add(length)?;
        let whole = self.0.get(..end)?;
        self.0 = self.0.get(end..)?;
        Some(Element {
            tag,
            content: whole.get(header..)?,
            whole,
        })
    }
}

/// The content of the only element in `der`, if it has this tag.
pub(super) fn only(der: &[u8], tag: u8) -> Option<&[u8]> {
    let mut elements = Elements(der);
    let content = elements.expect(tag)?;
    elements.is_done().then_some(content)
}

/// A SEQUENCE with this content. rustls and webpki store names and keys without tag and length.
pub(super) fn sequence(content: &[u8]) -> Vec<u8> {
    element(SEQUENCE, content)
}

/// An element with this tag and content.
pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let skipped = length.iter().take_while(|b| **b == 0).count();
    let length = length.get(skipped..).unwrap_or_default();
    let mut der = vec![tag];
    match content.len() {
        0 => der.push(0),
        1..=0x7f => der.extend(length),
        _ => {
            // At most eight bytes of length.
            der.push(0x80 | length.len() as u8);
            der.extend(length);
        }
    }
    der.extend(content);
    der
}

/// The encoded parts of a certificate (RFC 5280 section 4.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Outline<'a> {
    /// The content without tag and length, as for the names.
    pub(super) serial: &'a [u8],
    pub(super) issuer: &'a [u8],
    validity: Element<'a>,
    pub(super) subject: &'a [u8],
    /// SubjectPublicKeyInfo.
    pub(super) key: &'a [u8],
    extensions: &'a [u8],
}

impl<'a> Outline<'a> {
    /// Splits a certificate into its parts; `None` if it is malformed.
    pub(super) fn of(certificate: &'a [u8]) -> Option<Self> {
        let mut signed = Elements(only(certificate, SEQUENCE)?);
        let mut parts = Elements(signed.expect(SEQUENCE)?);
        let mut ahead = parts.clone();
        if ahead.expect(VERSION).is_some() {
            parts = ahead;
        }
        let serial = parts.expect(INTEGER)?;
        parts.expect(SEQUENCE)?;
        let issuer = parts.expect(SEQUENCE)?;
        let validity = parts.next()?;
        let subject = parts.expect(SEQUENCE)?;
        let key = parts.expect(SEQUENCE)?;
        let extensions = parts
            .find(|part| part.tag == EXTENSIONS)
            .and_then(|part| only(part.content, SEQUENCE));
        Some(Self {
            serial,
            issuer,
            validity,
            subject,
            key,
            extensions: extensions.unwrap_or_default(),
        })
    }

    /// Its validity in seconds of unix time.
    pub(super) fn validity(&self) -> Option<RangeInclusive<i64>> {
        let (_, validity) = Validity::from_der(self.validity.whole).ok()?;
        Some(validity.not_before.timestamp()..=validity.not_after.timestamp())
    }

    /// Its subject key identifier (RFC 5280, section 4.2.1.2).
    pub(super) fn key_id(&self) -> Option<&'a [u8]> {
        const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 14];
        only(self.extension(SUBJECT_KEY_ID)?, OCTET_STRING)
    }

    /// The value of the first extension with this identifier.
    pub(super) fn extension(&self, id: &[u8]) -> Option<&'a [u8]> {
        Elements(self.extensions).find_map(|extension| {
            let mut fields = Elements(extension.content);
            if fields.expect(OID)? != id {
                return None;
            }
            let mut ahead = fields.clone();
            if ahead.expect(BOOLEAN).is_some() {
                fields = ahead;
            }
            fields.expect(OCTET_STRING)
        })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn a_sequence_of_any_length_is_read_back() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536, 70_000] {
            let content = vec![7; length];
            assert_eq!(only(&sequence(&content), SEQUENCE), Some(&content[..]));
        }
    }

    #[test]
    fn a_certificate_is_walked_over_and_a_cut_one_is_none() {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        let outline = Outline::of(&der).unwrap();
        assert_eq!(outline.issuer, outline.subject);
        const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
        let names = outline.extension(SUBJECT_ALT_NAME).unwrap();
        assert!(names.ends_with(b"a.test"));
        for length in 0..der.len() {
            assert!(Outline::of(&der[..length]).is_none(), "{length}");
        }
    }
}

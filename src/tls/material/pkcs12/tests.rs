//! Stores of OpenSSL: what is read of a good one, and what becomes of damaged and hostile ones.

use std::path::Path;

use super::*;
use crate::tls::material::file::Contents;

/// A key, its certificate and its CA behind the password `secret`, each part with one iteration.
const GOOD: &[u8] = include_bytes!("../../../../tests/it/tls/keystores/iter-1.p12");

fn password(text: &str) -> Password {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("password");
    std::fs::write(&path, text).unwrap();
    Password::of(&Contents::read(Path::new(&path)).unwrap()).unwrap_or_else(|e| panic!("{e:?}"))
}

#[track_caller]
fn refused(bytes: &[u8], secret: &Password, why: &str) {
    match open(bytes, secret) {
        Ok(_) => panic!("it is read, and should be refused: {why}"),
        Err(refusal) => assert!(refusal.reason.contains(why), "{refusal:?}"),
    }
}

#[test]
fn a_store_has_its_key_and_all_certificates() {
    assert!(is_store(GOOD));
    for end in ["", "\n", "\r\n"] {
        let store =
            open(GOOD, &password(&format!("secret{end}"))).unwrap_or_else(|e| panic!("{e:?}"));
        assert_eq!(store.certificates.len(), 2);
        assert!(only(&store.key, SEQUENCE).is_some());
    }
    for wrong in ["", "Secret", "secret ", "sécret"] {
        refused(GOOD, &password(wrong), "the password is wrong");
    }
}

/// No byte of a file changes which key or certificates are read without being noticed: the MAC covers them.
#[test]
fn a_store_with_a_changed_byte_is_refused_or_read_as_it_was() {
    let secret = password("secret");
    let whole = open(GOOD, &secret).unwrap_or_else(|e| panic!("{e:?}"));
    for at in 0..GOOD.len() {
        for bit in [0x01, 0x80] {
            let mut bytes = GOOD.to_vec();
            bytes[at] ^= bit;
            if let Ok(read) = open(&bytes, &secret) {
                assert_eq!(*read.key, *whole.key, "{at}");
                assert_eq!(read.certificates, whole.certificates, "{at}");
            }
        }
    }
}

#[test]
fn a_store_that_is_cut_is_refused() {
    let secret = password("secret");
    for len in 0..GOOD.len() {
        assert!(open(&GOOD[..len], &secret).is_err(), "{len}");
        assert!(!is_store(&GOOD[..len]), "{len}");
    }
    assert!(open(&[GOOD, b"x"].concat(), &secret).is_err());
}

/// The content in BER has no length before its end.
#[test]
fn a_store_in_ber_is_told_apart() {
    let ber = [&[0x30, 0x80][..], &GOOD[4..], &[0, 0]].concat();
    assert!(is_store(&ber));
    refused(&ber, &password("secret"), "BER");
}

#[test]
fn other_files_are_no_stores() {
    for bytes in [
        &b""[..],
        b"0",
        b"\x30\x80",
        b"-----BEGIN CERTIFICATE-----",
        &[0x30, 3, 2, 1, 3],
    ] {
        assert!(!is_store(bytes), "{bytes:?}");
        assert!(open(bytes, &password("")).is_err());
    }
}

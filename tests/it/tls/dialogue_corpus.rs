//! The fuzzing corpus of the dialogues before TLS, as a test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::noise;

#[path = "../../../fuzz/dialogues.rs"]
mod dialogues;

use dialogues::{End, must_stay_within_its_protocol};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/dialogues")
}

/// The inputs that fuzzing begins with: the number of the side, the peer's bytes, and how it ends.
fn seeds() -> Vec<(&'static str, u8, Vec<u8>, End)> {
    let starttls = |outer: u8, len: u8| {
        let oid = b"1.3.6.1.4.1.1466.20037";
        let head = [0x30, outer, 2, 1, 1, 0x77, len, 0x80, oid.len() as u8];
        [&head[..], oid].concat()
    };
    let of = |bytes: &[u8]| bytes.to_vec();
    vec![
        ("postgres-tls", 0, of(b"\0\0\0\x08\x04\xd2\x16\x2f"), End::Tls),
        ("postgres-direct", 0, of(b"\x16\x03\x01\x02\0"), End::Direct),
        ("postgres-gss", 0, of(b"\0\0\0\x08\x04\xd2\x16\x30"), End::More),
        (
            "postgres-gss-pipelined",
            0,
            of(b"\0\0\0\x08\x04\xd2\x16\x30\0\0\0\x08\x04\xd2\x16\x2f"),
            End::Refused,
        ),
        (
            "postgres-startup",
            0,
            of(b"\0\0\0\x16\0\x03\0\0user\0tester\0\0"),
            End::Refused,
        ),
        ("postgres-http", 0, of(b"GET / HTTP/1.1\r\n\r\n"), End::Unknown),
        ("ldap-tls", 1, starttls(0x1d, 0x18), End::Tls),
        ("ldap-bind", 1, of(b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0"), End::Refused),
        ("ldap-unbind", 1, of(b"\x30\x05\x02\x01\x02\x42\0"), End::Quit),
        ("smtp-tls", 2, of(b"EHLO a.test\r\nSTARTTLS\r\n"), End::Tls),
        ("smtp-mail", 2, of(b"HELO a\nMAIL FROM:<a@a.test>\nQUIT\n"), End::Quit),
        ("imap-tls", 3, of(b"a CAPABILITY\r\nb starttls\r\n"), End::Tls),
        ("imap-login", 3, of(b"a LOGIN x y\r\n( NOOP\r\nb LOGOUT\r\n"), End::Quit),
        ("pop3-tls", 4, of(b"CAPA\r\nSTLS\r\n"), End::Tls),
        ("pop3-user", 4, of(b"USER a\r\nSTLS now\r\n"), End::More),
        (
            "xmpp-tls",
            5,
            of(b"<?xml version='1.0'?><stream:stream to='a.test' xmlns='jabber:client' version='1.0'>\
                 <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
            End::Tls,
        ),
        (
            "xmpp-stanza",
            5,
            of(b"<stream:stream to='a.test' version='1.0'><iq type='get'/>"),
            End::Refused,
        ),
        ("ask-postgres-yes", 6, of(b"S"), End::Tls),
        ("ask-postgres-no", 6, of(b"N"), End::Refused),
        (
            "ask-ldap-yes",
            7,
            of(b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\0\x04\0\x04\0"),
            End::Tls,
        ),
        (
            "ask-smtp-yes",
            8,
            of(b"220-a\r\n220 b\r\n250-a\r\n250 STARTTLS\r\n220 go\r\n"),
            End::Tls,
        ),
        ("ask-smtp-no", 8, of(b"220 a\r\n250 a\r\n"), End::Refused),
        ("ask-imap-yes", 9, of(b"* OK x\r\n* CAPABILITY y\r\nA OK go\r\n"), End::Tls),
        ("ask-imap-preauth", 9, of(b"* PREAUTH x\r\n"), End::Refused),
        ("ask-pop3-yes", 10, of(b"+OK a\r\n+OK b\r\n"), End::Tls),
        (
            "ask-xmpp-yes",
            11,
            of(b"<stream:stream><stream:features><starttls/></stream:features><proceed/>"),
            End::Tls,
        ),
        ("ask-xmpp-error", 11, of(b"<stream:stream><stream:error>"), End::Refused),
        (
            "connect-yes",
            12,
            of(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\n"),
            End::Tls,
        ),
        (
            "connect-407",
            12,
            of(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"),
            End::Refused,
        ),
        ("connect-ssh", 12, of(b"SSH-2.0-x\r\n"), End::Unknown),
        ("connect-cut", 12, of(b"HTTP/1.1 200 OK\r\nA: b\r\n"), End::More),
        ("noise", 5, noise(300, 7), End::Refused),
    ]
}

/// Writes the corpus instead if `RESEAL_WRITE_CORPUS` is set.
#[test]
fn the_corpus_holds_the_dialogues() {
    let write = std::env::var_os("RESEAL_WRITE_CORPUS").is_some();
    if write {
        fs::create_dir_all(directory()).unwrap();
    }
    for (name, side, peer, end) in seeds() {
        let bytes = [&[side][..], &peer].concat();
        let path = directory().join(name);
        if write {
            fs::write(&path, &bytes).unwrap();
        }
        let stored = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(stored, bytes, "RESEAL_WRITE_CORPUS=1 writes {name} anew");
        assert_eq!(must_stay_within_its_protocol(&bytes), end, "{name}");
    }
}

#[test]
fn the_corpus_of_dialogues_stays_within_their_protocols() {
    let mut ends = BTreeSet::new();
    for entry in fs::read_dir(directory()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        ends.insert(must_stay_within_its_protocol(&bytes));
        // Each with another side, and each cut short.
        for side in 0..13 {
            let other = [&[side][..], &bytes[1..]].concat();
            must_stay_within_its_protocol(&other);
            must_stay_within_its_protocol(&other[..other.len() / 2]);
        }
    }
    assert_eq!(ends.len(), 6, "{ends:?}");
}

//! Kinds of blocks and files: which are read, skipped, or refused.

use super::*;

#[test]
fn blocks_of_other_kinds_are_refused_where_they_would_be_skipped() {
    let s = samples();
    let other = |label: &str| format!("-----BEGIN {label}-----\nMAA=\n-----END {label}-----\n");
    let beside = |block: &str| format!("{}{block}", s.cert);
    let lines = s.cert.lines().count();
    for block in [
        &s.list,
        &s.key,
        &other("DH PARAMETERS"),
        &other("EC PARAMETERS"),
    ] {
        refused(
            authorities(beside(block).as_bytes()),
            lines + 1,
            "is no certificate",
        );
    }
    for label in [
        "PUBLIC KEY",
        "CERTIFICATE REQUEST",
        "NEW CERTIFICATE REQUEST",
        "PKCS7",
        "CMS",
        "OPENSSH PRIVATE KEY",
        "DSA PRIVATE KEY",
        "ATTRIBUTE CERTIFICATE",
        "CERTIFICATES",
        "certificate",
        "PGP PUBLIC KEY BLOCK",
    ] {
        let block = other(label);
        refused(authorities(beside(&block).as_bytes()), lines + 1, label);
        refused(chain(beside(&block).as_bytes()), lines + 1, label);
        refused(
            key(format!("{}{block}", s.key).as_bytes()),
            s.key.lines().count() + 1,
            label,
        );
        refused(
            lists(format!("{}{block}", s.list).as_bytes()),
            s.list.lines().count() + 1,
            label,
        );
    }
    refused(
        lists(s.cert.as_bytes()),
        1,
        "`CERTIFICATE` is no revocation list",
    );
    refused(
        chain(beside(&s.list).as_bytes()),
        lines + 1,
        "is no certificate",
    );
    refused(
        key(format!("{}{}", s.key, s.list).as_bytes()),
        s.key.lines().count() + 1,
        "X509 CRL",
    );
}

#[test]
fn a_certificate_with_trust_settings_is_refused_with_a_remedy() {
    let s = samples();
    let with_settings = [&s.cert_der[..], &[0x30, 0x00]].concat();
    let text = pem("TRUSTED CERTIFICATE", &with_settings);
    refused(authorities(text.as_bytes()), 1, "trust settings");
    let help = authorities(text.as_bytes()).unwrap_err().help;
    assert!(help.contains("openssl x509 -in FILE -out"), "{help}");
    let text = pem("CERTIFICATE", &with_settings);
    refused(authorities(text.as_bytes()), 1, "does not hold");
}

#[test]
fn lists_are_read_by_both_labels_and_in_der_without_trailing_bytes() {
    let s = samples();
    let old = relabelled(&s.list, "X509 CRL", "CRL");
    assert_eq!(
        lists(format!("{}{old}", s.list).as_bytes()).unwrap().len(),
        2
    );
    assert_eq!(
        lists(format!("\u{feff}{}", s.list).as_bytes())
            .unwrap()
            .len(),
        1
    );
    assert_eq!(lists(&s.list_der).unwrap().len(), 1);
    let two = [&s.list_der[..], &s.list_der].concat();
    refused(lists(&two), None, "DER");
    refused(lists(&s.list_der[..s.list_der.len() - 1]), None, "DER");
    refused(lists(&s.cert_der), None, "a certificate in DER");
    let glued = format!("{}{}", s.list.trim_end(), s.list);
    refused(lists(glued.as_bytes()), s.list.lines().count(), "glued");
}

#[test]
fn a_key_file_has_one_key_and_may_have_other_output_of_openssl() {
    let s = samples();
    // The named curve P-256, as `openssl ecparam -genkey` writes it before the key.
    let curve = pem(
        "EC PARAMETERS",
        &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
    );
    for text in [
        s.key.clone(),
        format!("{curve}{}", s.key),
        format!("{}{}", s.cert, s.key),
        format!("{}{}", s.key, s.cert),
    ] {
        let found = key(text.as_bytes()).unwrap();
        assert_eq!(found.value.secret_der(), s.key_der);
    }
    let combined = format!("{}{curve}{}", s.cert, s.key);
    assert_eq!(chain(combined.as_bytes()).unwrap().len(), 1);

    let lines = s.key.lines().count();
    refused(
        key(format!("{}{}", s.key, s.key).as_bytes()),
        lines + 1,
        "second private key",
    );
    refused(key(s.cert.as_bytes()), None, "holds no private key");
    refused(key(curve.as_bytes()), None, "holds no private key");
    let wrong = relabelled(&s.key, "PRIVATE KEY", "RSA PRIVATE KEY");
    refused(
        key(wrong.as_bytes()),
        1,
        "does not hold what its label says",
    );
    let glued = format!("{}{}", s.cert.trim_end(), s.key);
    refused(key(glued.as_bytes()), s.cert.lines().count(), "glued");
    refused(chain(glued.as_bytes()), s.cert.lines().count(), "glued");
    let encrypted = pem("ENCRYPTED PRIVATE KEY", &[0x30, 0x00]);
    refused(key(encrypted.as_bytes()), 1, "encrypted");
    let traditional = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n";
    refused(key(traditional.as_bytes()), 1, "encrypted");
}

#[test]
fn other_formats_are_recognised_by_name() {
    let s = samples();
    let utf16 =
        |order: fn(u16) -> [u8; 2]| -> Vec<u8> { s.cert.encode_utf16().flat_map(order).collect() };
    refused(chain(&utf16(u16::to_le_bytes)), None, "UTF-16");
    refused(chain(&utf16(u16::to_be_bytes)), None, "UTF-16");
    refused(
        chain(&[b"\xff\xfe", &utf16(u16::to_le_bytes)[..]].concat()),
        None,
        "UTF-16",
    );
    refused(chain(&s.cert_der), None, "a certificate in DER");
    refused(chain(&s.list_der), None, "a revocation list in DER");
    refused(key(&s.key_der), None, "a private key in DER");
    refused(key(&s.cert_der), None, "a certificate in DER");
    let pkcs12 = [
        0x30, 0x09, 0x02, 0x01, 0x03, 0x30, 0x04, 0x06, 0x02, 0x2a, 0x03,
    ];
    refused(chain(&pkcs12), None, "PKCS#12");
    refused(key(&pkcs12), None, "PKCS#12");
    let pkcs7 = [0x30, 0x04, 0x06, 0x02, 0x2a, 0x03];
    refused(authorities(&pkcs7), None, "PKCS#7");
    refused(chain(b"\xfe\xed\xfe\xed\0\0\0\x02"), None, "Java keystore");
    refused(key(b"PuTTY-User-Key-File-3: ssh-rsa\n"), None, "PuTTY");
    refused(key(&[0; 64]), None, "no text");
    refused(chain(b""), None, "empty");
    refused(chain(b"\n\n"), None, "empty");
    refused(chain(b"0 of use\n"), None, "holds no certificate");
    // What text begins with may look like a tag of DER.
    assert_eq!(count(format!("00 my CA\n{}", s.cert)), 1);
    let nul = [s.cert.as_bytes(), b"\0\n"].concat();
    refused(chain(&nul), None, "no text");
}

#[test]
fn pem_in_place_of_der_is_recognised() {
    let s = samples();
    refused(
        refuse_pem(s.list.as_bytes(), "a list"),
        None,
        "a list must be in DER",
    );
    refused(refuse_pem(b"", "a list"), None, "empty");
    refuse_pem(&s.list_der, "a list").unwrap();
}

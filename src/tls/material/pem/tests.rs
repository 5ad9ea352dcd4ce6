//! What the PEM reader accepts, and what it refuses with which message.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use super::{Refusal, authorities, chain, key, lists, refuse_pem};

/// A certificate, its key, and a list that it has signed, in PEM and DER.
struct Samples {
    cert: String,
    key: String,
    list: String,
    cert_der: Vec<u8>,
    key_der: Vec<u8>,
    list_der: Vec<u8>,
}

fn samples() -> Samples {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let now = OffsetDateTime::now_utc();
    let list = CertificateRevocationListParams {
        this_update: now,
        next_update: now + Duration::days(1),
        crl_number: SerialNumber::from(1u64),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&ca).unwrap();
    Samples {
        cert: ca.as_ref().pem().replace("\r\n", "\n"),
        key: ca.key().serialize_pem().replace("\r\n", "\n"),
        list: list.pem().unwrap().replace("\r\n", "\n"),
        cert_der: ca.as_ref().der().to_vec(),
        key_der: ca.key().serialize_der(),
        list_der: list.der().to_vec(),
    }
}

fn count(text: impl AsRef<[u8]>) -> usize {
    authorities(text.as_ref()).unwrap().len()
}

#[track_caller]
fn refused<T>(read: Result<T, Refusal>, line: impl Into<Option<usize>>, words: &str) {
    let Err(refusal) = read else {
        panic!("it was read, and not refused for {words:?}")
    };
    assert_eq!(refusal.line, line.into(), "{refusal:?}");
    assert!(refusal.reason.contains(words), "{refusal:?}");
    assert!(!refusal.help.is_empty(), "{refusal:?}");
}

/// A block with this label and content.
fn pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
}

/// The text with its block called something else.
fn relabelled(pem: &str, from: &str, to: &str) -> String {
    pem.replace(&format!("BEGIN {from}-"), &format!("BEGIN {to}-"))
        .replace(&format!("END {from}-"), &format!("END {to}-"))
}

#[test]
fn line_ends_spaces_a_mark_and_text_around_blocks_change_nothing() {
    let Samples { cert, .. } = samples();
    let two = format!("{cert}{cert}");
    let indented = cert.replace('\n', "\n    ");
    let bulleted = "- an end-entity certificate\nThe end of the list\n===========\n";
    for text in [
        two.clone(),
        two.replace('\n', "\r\n"),
        two.replace('\n', "\r"),
        two.replace('\n', " \t\n"),
        two.replace('\n', "\n\n"),
        two.trim_end().to_owned(),
        format!("\u{feff}{cert}\u{feff}{cert}"),
        format!("    {indented}\n{cert}"),
        format!("{bulleted}{cert}Begin of issuers: CN=a, CN=b\n{cert}that is all"),
        format!("Bag Attributes\n    localKeyID: 01 00\n{cert}subject=CN = x\n{cert}"),
        format!(
            "{cert}{}",
            relabelled(&cert, "CERTIFICATE", "X509 CERTIFICATE")
        ),
        format!(
            "{cert}{}",
            relabelled(&cert, "CERTIFICATE", "TRUSTED CERTIFICATE")
        ),
    ] {
        assert_eq!(count(&text), 2, "{text}");
    }
    let latin1 = [b"caf\xe9 \x96 roots\n".as_slice(), two.as_bytes()].concat();
    assert_eq!(count(latin1), 2);
}

#[test]
fn comments_about_certificates_are_text() {
    let Samples { cert, .. } = samples();
    for comment in [
        "# END ENTITY CERTIFICATE",
        "END ENTITY CERTIFICATE",
        "-- END ENTITY CERTIFICATE",
        "--- End-Entity Certificate ---",
        "# ----- END-ENTITY CERTIFICATE -----",
        "-- CERTIFICATE",
        "# BEGIN CERTIFICATE of the root",
        "; BEGIN CERTIFICATE",
        "// end certificate",
        "-- the end of the certificates --",
        "---------- END OF CHAIN ----------",
        "- at the end: the root certificate",
        "----- the certificate at the end -----",
        "===== BEGIN CERTIFICATE =====",
        "Endpoint CERTIFICATE, weekend KEY",
        "-----",
    ] {
        let text = format!("{comment}\n{cert}{comment}\r\n\n{cert}{comment}");
        assert_eq!(count(&text), 2, "{comment}");
    }
}

#[test]
fn a_line_that_resembles_a_boundary_is_refused_with_its_number() {
    let Samples { cert, .. } = samples();
    let lines = cert.lines().count();
    let glued = format!("{}{cert}", cert.trim_end());
    refused(authorities(glued.as_bytes()), lines, "glued");
    for damaged in [
        "----BEGIN CERTIFICATE-----",
        "-----BEGIN CERTIFICATE----",
        "------BEGIN CERTIFICATE------",
        "---BEGIN CERTIFICATE---",
        "-BEGIN CERTIFICATE-",
        "- BEGIN CERTIFICATE -",
        "BEGIN CERTIFICATE",
        "BEGIN CERTIFICATE-----",
        "\u{2014}\u{2013}BEGIN CERTIFICATE\u{2014}\u{2013}",
        "\u{2014}BEGIN CERTIFICATE\u{2014}",
        "\u{2010}\u{2010}\u{2010}\u{2010}\u{2010}BEGIN CERTIFICATE-----",
        "-----begin certificate-----",
        "-----Begin Certificate-----",
        "----- BEGIN CERTIFICATE -----",
        "-----BEGIN  CERTIFICATE-----",
        "-----BEGIN\tCERTIFICATE-----",
        "-----BEGIN\u{a0}CERTIFICATE-----",
        "\u{200b}-----BEGIN CERTIFICATE-----",
        "\u{a0}-----BEGIN CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\\n",
        "-----BEGIN CERTIFICATE----- # mine",
        "-----BEGIN-----",
        "-----BEGIN -----",
        "# -----BEGIN CERTIFICATE-----",
        "x-----BEGIN CERTIFICATE-----",
        "-----END CERTIFICATE----",
        "----BEGIN CERTIFICATE----",
        "\u{2014}\u{2013}BEGIN CERTIFICATE-----",
        "\u{2013} BEGIN X509 CRL \u{2013}",
        "--end certificate--",
        "-- BEGIN TRUSTED CERTIFICATE",
        "# ----BEGIN CERTIFICATE----",
        "END CERTIFICATE",
        "-----END ENTITY CERTIFICATE-----",
        "-----END OF FILE-----",
        "-----END OF FILE",
        "x -----BEGIN OF FILE -----",
        "-----BEGIN OF-----BEGIN ENTITY",
        "-----BEGINCERTIFICATE-----",
        "-----BEGINCERTIFICATE-----BEGIN",
    ] {
        let text = cert.replacen("-----BEGIN CERTIFICATE-----", damaged, 1);
        let text = format!("{cert}{text}");
        refused(authorities(text.as_bytes()), lines + 1, "");
        let text = format!("a note\n{damaged}\n{cert}");
        refused(authorities(text.as_bytes()), 2, "");
    }
    let windows = [b"\x97\x96BEGIN CERTIFICATE\x97\x96\n", cert.as_bytes()].concat();
    refused(authorities(&windows), 1, "resembles");
}

#[test]
fn base64_without_a_boundary_is_refused() {
    let Samples { cert, .. } = samples();
    let lines = cert.lines().count();
    let bare = cert.split_once('\n').unwrap().1;
    refused(authorities(bare.as_bytes()), 1, "base64 outside");
    let commented = cert.replace("-----BEGIN CERTIFICATE-----", "# my CA");
    let text = format!("{cert}{commented}");
    refused(authorities(text.as_bytes()), lines + 2, "base64 outside");
    // A digest in base64 or hexadecimal is text.
    let digests = format!("{}\n{}\n", "aB3".repeat(14), "9f".repeat(32));
    assert_eq!(count(format!("{digests}{cert}")), 1);
}

#[test]
fn a_broken_block_anywhere_in_a_file_is_refused() {
    let Samples { cert, key: own, .. } = samples();
    let lines = cert.lines().count();
    let body: Vec<_> = cert.lines().collect();
    let block =
        |body: &str| format!("-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n");
    let inner = format!("{}\n", body[1..lines - 1].join("\n"));
    let short = inner.trim_end().strip_suffix('=').map(str::to_owned);
    let short = short.unwrap_or_else(|| inner.trim_end()[..inner.len() - 2].to_owned());
    for (broken, line, words) in [
        (block("AAAABBBBCCCC\n"), 1, "does not hold"),
        (block(""), 1, "is empty"),
        (block("\n \n"), 1, "is empty"),
        (block("MIIB@\n"), 2, "no base64"),
        (block("MIIB\u{2013}\n"), 2, "no base64"),
        (block(&format!("{short}\n")), 1, "not whole"),
        (block(&format!("{inner}AAAA\n")), 1, ""),
        (block(&format!("Comment: mine\n\n{inner}")), 2, "header"),
        (block(&format!("{inner}{inner}")), 1, ""),
        (cert.replace("END CERT", "END X509 CERT"), lines, "on line "),
        (
            cert.replace("END CERTIFICATE", "END PRIVATE KEY"),
            lines,
            "ends the block",
        ),
        (body[..lines - 1].join("\n"), 1, "no END line"),
        (body[..2].join("\n"), 1, "no END line"),
        (
            format!("{}\n{cert}", body[..3].join("\n")),
            1,
            "no END line",
        ),
        (format!("{}\n", body[lines - 1]), 1, "without a BEGIN"),
        (
            inner.replacen('\n', "-----END CERTIFICATE-----\n", 1),
            1,
            "",
        ),
        (cert.replace("\n-----END", "-----END"), lines - 1, ""),
    ] {
        for (text, before) in [(broken.clone(), 0), (format!("{cert}{broken}"), lines)] {
            refused(authorities(text.as_bytes()), before + line, words);
            refused(chain(text.as_bytes()), before + line, words);
            // Damage beside a key is damage, too.
            let beside = format!("{own}{text}");
            let own = own.lines().count();
            refused(key(beside.as_bytes()), own + before + line, words);
        }
        let text = format!("{broken}\n{cert}");
        assert!(authorities(text.as_bytes()).is_err(), "{text}");
    }
}

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

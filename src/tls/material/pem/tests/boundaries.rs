//! Boundaries and the text around blocks.

use super::*;

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

//! Unusable configuration files: messages, positions and exit codes.

mod addresses;

use crate::harness::{ConfigCheck, Directory, reseal, reseal_in};

const GOOD: &str = "\
endpoints:
  - name: edge
    listen: 127.0.0.1:0
    tls:
      certificates: [{ cert: good.pem, key: good.key }]
    routes:
      - { name: a, match: { sni: a.test }, mode: terminate, upstream: a }
upstreams:
  a: { origins: [\"127.0.0.1:9\"] }
";

/// The valid file with one text replaced.
#[track_caller]
fn with(old: &str, new: &str) -> ConfigCheck {
    assert!(GOOD.contains(old), "{old:?} is not in the file");
    ConfigCheck::new(&GOOD.replacen(old, new, 1))
}

#[test]
fn a_good_file_passes_with_a_summary() {
    let checked = ConfigCheck::new(GOOD);
    checked.must_be_good();
    let finished = checked.check(&[]);
    for word in [
        "edge",
        "127.0.0.1:0",
        "a.test",
        "terminate",
        "*.wild.test",
        "good",
    ] {
        assert!(
            finished.stdout.contains(word),
            "{word} in {}",
            finished.stdout
        );
    }
}

#[test]
fn the_printed_configuration_passes_check() {
    let checked = ConfigCheck::new(GOOD);
    let printed = checked.check(&["--print"]);
    printed.must_exit_with(0);
    assert!(
        printed.stdout.contains("half_close: "),
        "defaults are filled in: {}",
        printed.stdout
    );
    let again = checked.with_file("config.yaml", &printed.stdout, 0o600);
    again.check(&[]).must_exit_with(0);
    assert_eq!(again.check(&["--print"]).stdout, printed.stdout);
}

#[test]
fn an_unknown_key_is_an_error_with_a_suggestion() {
    with("    listen:", "    lissten:")
        .check(&[])
        .must_exit_with(1)
        .must_print("did you mean `listen`?");
    let checked = with("mode: terminate,", "mode: terminate, upstraem: b,");
    checked.must_report("upstraem", &["did you mean `upstream`?"]);
}

#[test]
fn an_unknown_word_is_an_error_with_a_suggestion() {
    with("mode: terminate", "mode: passthru").must_report(
        "passthru",
        &["unknown mode `passthru`", "did you mean `passthrough`?"],
    );
}

#[test]
fn an_unsupported_key_is_refused_and_not_ignored() {
    let checked = with("    tls:", "    limits: { shared: fleet }\n    tls:");
    checked.must_report("shared", &["shared", "not supported yet"]);
}

#[test]
fn a_missing_key_is_named() {
    with(", upstream: a }", " }")
        .check(&[])
        .must_exit_with(1)
        .must_print("upstream");
    ConfigCheck::new("upstreams: {}\n")
        .check(&[])
        .must_exit_with(1)
        .must_print("endpoints");
}

#[test]
fn broken_syntax_is_located() {
    let checked = with("sni: a.test }", "sni: a.test");
    let finished = checked.check(&[]);
    finished
        .must_exit_with(1)
        .must_print("config.yaml:")
        .must_print("error: ");
    checked.run().must_exit_with(2);
}

#[test]
fn typographic_characters_bare_brackets_and_latin_1_are_refused_with_a_hint() {
    with("127.0.0.1:0", "[::1]:8443")
        .check(&[])
        .must_exit_with(1)
        .must_print("quote it: `\"[::1]:8443\"`");
    for name in [
        "\u{201c}a.test\u{201d}",
        "\u{ab}a.test\u{bb}",
        "a\u{2013}b.test",
    ] {
        with("sni: a.test", &format!("sni: {name}"))
            .check(&[])
            .must_exit_with(1)
            .must_print("not a host name")
            .must_print("typographic");
    }
    with("sni: a.test", "sni: \"*\"")
        .check(&[])
        .must_exit_with(1)
        .must_print("set `default_route` of the endpoint");
    let checked = ConfigCheck::new(GOOD);
    let latin = [GOOD.as_bytes(), b"# caf\xe9\n"].concat();
    let line = GOOD.lines().count() + 1;
    checked
        .with_file("config.yaml", latin, 0o600)
        .check(&[])
        .must_exit_with(2)
        .must_print(&format!(
            "line {line} has the byte 0xe9; save the file as UTF-8"
        ));
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = GOOD
        .replace("mode: terminate", "mode: passthru")
        .replace("127.0.0.1:0", "127.0.0.1")
        .replace("origins:", "orgins:");
    let finished = ConfigCheck::new(&text).check(&[]);
    finished.must_exit_with(1);
    for word in ["`passthru`", "did you mean `origins`?", "has no port"] {
        finished.must_print(word);
    }
    assert!(
        finished.text().matches("error: ").count() >= 3,
        "{}",
        finished.text()
    );
}

#[test]
fn bad_names_patterns_digests_and_suites_are_reported_together_with_bad_keys_and_words() {
    let tls = "tls: { cipher_suites: [TLS_NULL], groups: [x448], alpn: [\"\"],
             client_auth: { mode: required, ca: ca.pem, allow: [{ dns: 10.0.0.1, uri: nouri, email: nobody },
               { sha256: abcd, spki_sha256: 12 }] } }";
    let text = format!(
        "log: {{ level: loud }}
endpoints:
  - name: edge
    listen: 127.0.0.1
    timeouts: {{ idel: 5m, hello: 5x }}
    {tls}
    routes:
      - {{ name: a, match: {{ sni: [\"a b\", 10.0.0.1] }}, mode: terminat, upstream: a }}
upstreams:
  a: {{ origins: [127.0.0.1:9], tls: {{ server_name: \"a b\", spki_sha256: zz }} }}
"
    );
    let finished = ConfigCheck::new(&text).check(&[]);
    finished.must_exit_with(1);
    for message in [
        "unknown level `loud`",
        "`127.0.0.1` has no port",
        "unknown key `idel`",
        "`5x` is not a whole number with one unit",
        "unknown cipher suite `TLS_NULL`",
        "unknown key exchange group `x448`",
        "this is empty",
        "`10.0.0.1` is an IP address, which no DNS name is",
        "`nouri` can never match: a URI begins with a scheme",
        "`nobody` can never match: it is not a mail address",
        "`abcd` is not a SHA-256 digest",
        "`12` is not a SHA-256 digest",
        "`a b` is not a host name",
        "`10.0.0.1` is an IP address, and clients send no server name for those",
        "unknown mode `terminat`",
        "`a b` is no host name that a certificate could have",
        "`zz` is not a SHA-256 digest",
    ] {
        finished.must_print(message);
    }
}

#[test]
fn problems_of_compilation_are_reported_at_once_too() {
    let text = GOOD
        .replace("upstream: a }", "upstream: b }")
        .replace("good.pem", "missing.pem");
    let finished = ConfigCheck::new(&text).check(&[]);
    finished.must_exit_with(1);
    finished
        .must_print("there is no upstream")
        .must_print("missing.pem: cannot be read");
}

#[test]
fn an_unset_variable_is_an_error_with_its_name() {
    with("127.0.0.1:9", "${NO_SUCH_VARIABLE_HERE}")
        .must_report("\"${NO", &["NO_SUCH_VARIABLE_HERE"]);
    with("127.0.0.1:9", "${NO_SUCH_VARIABLE_HERE:-127.0.0.1:9}").must_be_good();
}

#[test]
fn check_without_files_needs_none() {
    let checked = with("good.pem", "missing.pem");
    checked
        .check(&[])
        .must_exit_with(1)
        .must_print("missing.pem");
    checked.check(&["--no-files"]).must_exit_with(0);
}

#[test]
fn hostile_text_cannot_shape_what_is_printed() {
    let checked = with("mode: terminate", "mode: \"\\e[31mred\\a\"");
    let finished = checked.check(&[]);
    finished.must_exit_with(1);
    assert!(
        !finished.text().contains('\x1b') && !finished.text().contains('\x07'),
        "{:?}",
        finished.text()
    );
    for text in [
        "",
        "\0",
        "- - -\n",
        "{",
        "&a [*a]",
        "a: !!binary x\n",
        "\u{feff}x: 1\n",
    ] {
        let finished = ConfigCheck::new(text).check(&[]);
        finished.must_exit_with(1).must_print("error: ");
    }
}

#[test]
fn an_unreadable_file_is_reported() {
    for command in ["run", "check"] {
        let finished = reseal(&[command, "--config", "/nonexistent/config.yaml"]);
        finished
            .must_exit_with(2)
            .must_print("/nonexistent/config.yaml");
    }
    let directory = Directory::new();
    let path = directory.path().display().to_string();
    reseal(&["check", "--config", &path])
        .must_exit_with(2)
        .must_print(&path);
    let binary = directory
        .write("binary.yaml", b"\xff\xfe\x00")
        .display()
        .to_string();
    reseal(&["check", "--config", &binary])
        .must_exit_with(2)
        .must_print("UTF-8");
}

#[test]
fn run_without_a_file_explains_how_to_get_one() {
    let empty = Directory::new();
    for command in ["run", "check"] {
        let finished = reseal_in(empty.path(), &[command]);
        finished.must_exit_with(2);
        for word in [
            "--config",
            "RESEAL_CONFIG",
            "config.yaml",
            "reseal init",
            "reseal demo",
        ] {
            finished.must_print(word);
        }
    }
}

/// What is compared in a review: two routes of one mode differ in who comes in.
#[test]
fn the_summary_shows_source_alpn_and_client_auth() {
    let text = GOOD.replace(
        "      - { name: a, match: { sni: a.test }, mode: terminate, upstream: a }\n",
        "      - { name: a, match: { sni: a.test, source: 10.0.0.0/8, alpn: h2 }, mode: terminate, upstream: a,
          alpn: [h2, http/1.1], client_auth: { mode: required, ca: client-ca.pem, allow: { dns: x.test } },
          sources: { allow: [10.0.0.0/8, 10.1.0.0/16], deny: [10.2.0.1, 10.2.0.3, 10.2.0.5, 10.2.0.7] },
          limits: { per_source: 5, bandwidth: { down: 10MiB/s } } }
      - { name: b, match: { sni: b.wild.test }, mode: passthrough, upstream: b }\n",
    );
    let text = text + "  b: { origins: [\"127.0.0.1:9\"] }\n";
    let limits = "    limits: { connections: 9, dry_run: true }\n    tls:\n";
    let text = text.replacen("    tls:\n", limits, 1);
    let checked = ConfigCheck::new(&text).check(&[]);
    let rows: Vec<Vec<_>> = checked
        .stdout
        .lines()
        .skip(1)
        .take(3)
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect()
        })
        .collect();
    let titles = [
        "ENDPOINT",
        "LISTEN",
        "ROUTE",
        "MATCH",
        "SOURCE",
        "ALPN",
        "CLIENT AUTH",
        "SOURCES",
        "LIMITS",
        "MODE",
        "UPSTREAM",
    ];
    let a = [
        "edge",
        "127.0.0.1:0",
        "a",
        "a.test",
        "10.0.0.0/8",
        "if h2: h2,http/1.1",
        "required, 1 rule",
        "route: allow 10.0.0.0/8 10.1.0.0/16, deny 4 networks and lists",
        "connections 9, dry run; route: per_source 5, bandwidth.down 10MiB/s",
        "terminate",
        "a",
    ];
    let b = [
        "edge",
        "127.0.0.1:0",
        "b",
        "b.wild.test",
        "-",
        "-",
        "-",
        "-",
        "connections 9, dry run",
        "passthrough",
        "b",
    ];
    assert_eq!(rows, [&titles[..], &a[..], &b[..]], "{}", checked.text());
    // Columns without a value are left out.
    let plain = ConfigCheck::new(GOOD).check(&[]);
    assert!(!plain.stdout.contains("SOURCE"), "{}", plain.stdout);
}

#[test]
fn run_uses_the_file_in_the_working_directory() {
    let directory = Directory::new();
    directory.write("config.yaml", "endpoints: []\n");
    reseal_in(directory.path(), &["run"])
        .must_exit_with(2)
        .must_print(" config.yaml:1:1");
}

#[test]
fn common_yaml_mistakes_come_with_a_hint() {
    with("sni: a.test", "sni: *.example.test").must_report("*.example", &["quote it"]);
    let tab = with("    listen: 127", "\tlisten: 127");
    tab.check(&[])
        .must_exit_with(1)
        .must_print("config.yaml:3:1")
        .must_print("indent with spaces");
}

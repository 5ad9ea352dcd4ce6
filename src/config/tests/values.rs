//! Single values: what is accepted, how it is printed, and the errors for everything else.

use super::super::spec::{Health, Mode, TlsVersion, Trust, UpstreamAlpn};
use super::super::{Problems, parse};
use super::{FULL, SMALL, error_of, good, only, printed, some_variables};
use crate::config::reader::address::OriginAddress;
use crate::config::reader::generic::{AutoOr, Limit, OffOr};
use crate::config::reader::ip::Cidr;
use crate::config::reader::listen::Listen;
use crate::config::reader::read::Reader;
use crate::config::reader::values::{Count, Duration, Name, Output, Path, Permissions, Size, Text};

#[test]
fn dollars_are_literal_unless_they_begin_a_variable() {
    for (text, value) in [
        ("$$", "$"),
        ("$X", "$X"),
        ("a$", "a$"),
        ("$${PORT}", "${PORT}"),
        ("$$${PORT}", "$8443"),
        ("${NONE:-}x", "x"),
        ("${NONE:-a$b:-c}", "a$b:-c"),
    ] {
        let mut problems = Problems::default();
        let node = parse(&format!("'{text}'"), &mut problems).unwrap();
        assert_eq!(
            Reader::new(&some_variables, problems)
                .peek(&node)
                .as_deref(),
            Some(value)
        );
    }
    assert!(error_of::<Text>("${NONE}").starts_with("the variable `NONE` is not set"));
    assert!(error_of::<Text>("${PORT").starts_with("`${PORT` holds a `${` without its `}`"));
    assert!(
        error_of::<Text>("${1A}").starts_with("`${1A}` holds a variable without a proper name")
    );
    assert!(error_of::<Text>("${}").starts_with("`${}` holds a variable without a proper name"));
    assert!(
        error_of::<Text>("${A:-${B}}")
            .starts_with("`${A:-${B}}` holds a variable within a default")
    );
}

#[test]
fn words_that_yaml_tools_turn_into_booleans_are_understood() {
    for off in ["off", "no", "false", "'off'"] {
        let text = SMALL.replace(
            "    routes",
            &format!("    tls: {{ client_auth: {{ mode: {off} }} }}\n    routes"),
        );
        assert_eq!(
            good(&text).endpoints[0].tls.client_auth.mode.as_str(),
            "off"
        );
    }
    assert!(error_of::<Mode>("on").starts_with("unknown mode `on` (write one of"));
    assert!(
        error_of::<TlsVersion>("1.1")
            .ends_with("(TLS 1.1 and older are never spoken; the least is `1.2`)")
    );
}

#[test]
fn durations_have_a_unit_and_an_end() {
    for (text, again) in [
        ("250ms", "250ms"),
        ("5s", "5s"),
        ("120s", "2m"),
        ("60m", "1h"),
        ("0s", "0s"),
        ("0h", "0s"),
        ("87600h", "87600h"),
        ("1500ms", "1500ms"),
    ] {
        assert_eq!(printed::<Duration>(text), again);
    }
    assert_eq!(
        error_of::<Duration>("5"),
        "the duration `5` has no unit (add a unit: `5s`)"
    );
    assert!(error_of::<Duration>("abc").starts_with("`abc` is not a duration"));
    for odd in ["1.5s", "1h30m", "5d", "5 s", "5S"] {
        assert!(
            error_of::<Duration>(odd).contains("is not a whole number with one unit"),
            "{odd}"
        );
    }
    for long in ["87601h", "99999999999999999999s", "18446744073709551615h"] {
        assert!(error_of::<Duration>(long).ends_with("is longer than ten years"));
    }
    assert!(error_of::<Duration>("-5s").contains("is not a duration"));
    assert_eq!(
        error_of::<Duration>("[5s]"),
        "expected a duration such as `5s`, found a list (write a single value)"
    );
    assert_eq!(
        error_of::<Duration>("~"),
        "expected a duration such as `5s`, found nothing (write a value behind the key, or leave the key out)"
    );
    assert!(error_of::<Limit<Duration>>("0").contains("write `none`"));
    assert_eq!(printed::<Limit<Duration>>("none"), "none");
}

#[test]
fn counts_and_permissions_have_bounds() {
    assert_eq!(printed::<Count<1, 9>>("09"), "9");
    for odd in ["0", "10", "99999999999999999999999"] {
        assert!(
            error_of::<Count<1, 9>>(odd).ends_with("is out of bounds (write a number from 1 to 9)")
        );
    }
    for odd in ["x", "1_0", "+1", "1.0", "''"] {
        assert!(error_of::<Count<1, 9>>(odd).contains("is not a whole number"));
    }
    assert!(
        error_of::<AutoOr<Count<1, 9>>>("[]")
            .starts_with("expected a number from 1 to 9 or `auto`")
    );
    for (text, again) in [("0600", "0600"), ("660", "0660"), ("0o640", "0640")] {
        assert_eq!(printed::<Permissions>(text), again);
    }
    for odd in ["6", "0888", "1777", "+660", "rw-"] {
        assert!(
            error_of::<Permissions>(odd).contains("is not a set of permissions"),
            "{odd}"
        );
    }
}

#[test]
fn texts_names_paths_and_outputs_are_checked() {
    assert_eq!(error_of::<Text>("''"), "this is empty");
    assert_eq!(
        error_of::<Path>("\"a\\0b\""),
        "`a\0b` holds a control character"
    );
    assert_eq!(printed::<Name>("a.B_c-1"), "a.B_c-1");
    for odd in ["a b", "ä", "a/b", "''"] {
        assert!(error_of::<Name>(odd).contains("is not a name"));
    }
    assert!(error_of::<Name>(&"x".repeat(65)).contains("is not a name"));
    assert_eq!(printed::<Output>("access.log"), "access.log");
    assert_eq!(printed::<Output>("./stdot"), "./stdot");
    assert_eq!(
        error_of::<Output>("stdot"),
        "unknown output `stdot` (did you mean `stdout`?)"
    );
    assert!(error_of::<bool>("maybe").ends_with("is neither `true` nor `false`"));
}

#[test]
fn listening_addresses_are_read_in_every_form() {
    let spec = good(FULL);
    let listens: Vec<_> = spec.endpoints[0]
        .listen
        .iter()
        .map(|listen| listen.to_string())
        .collect();
    assert_eq!(
        listens,
        [
            "*:443",
            "[::1]:0",
            "127.0.0.1:8443",
            "unix:/run/a.sock",
            "systemd:web",
            "unix:/run/b.sock"
        ]
    );
    for (text, message) in [
        (
            "443",
            "`443` is a port without an address (`*:443` listens on every address)",
        ),
        ("'*'", "`*` has no port (add one: `*:443`)"),
        (
            "127.0.0.1",
            "`127.0.0.1` has no port (add one: `127.0.0.1:443`)",
        ),
        ("'::1'", "`::1` has no port (add one: `[::1]:443`)"),
        ("'[::1]'", "`[::1]` has no port (add one: `[::1]:443`)"),
        (
            "'::1:443'",
            "`::1:443` is ambiguous: the IPv6 address needs brackets (write `[::1]:443`)",
        ),
        (
            "'*:99999'",
            "`*:99999` has a port above 65535 (ports go from 1 to 65535)",
        ),
        (
            "1.2.3.4:x",
            "`1.2.3.4:x` does not end with a port (a port is a number up to 65535)",
        ),
        ("'unix:'", "`unix:` has no path"),
        (
            "[]",
            "expected an address such as `0.0.0.0:443`, found a list (write a single value)",
        ),
    ] {
        assert_eq!(error_of::<Listen>(text), message);
    }
    assert!(error_of::<Listen>("example.com:443").contains("is not an address to listen on"));
    assert!(error_of::<Listen>("'systemd:a b'").contains("does not name a socket"));
}

#[test]
fn origin_addresses_have_a_host_and_a_port() {
    for (text, again) in [
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("[::1]:80", "[::1]:80"),
        ("vault.internal:80", "vault.internal:80"),
        ("dns:vault:80", "vault:80"),
        ("dns:10.0.0.1:80", "10.0.0.1:80"),
        ("münchen.example:1", "münchen.example:1"),
        ("unix:/run/a", "unix:/run/a"),
    ] {
        assert_eq!(printed::<OriginAddress>(text), again);
    }
    for (text, message) in [
        (
            "10.0.0.1",
            "`10.0.0.1` has no port (add one: `10.0.0.1:443`)",
        ),
        ("vault", "`vault` has no port (add one: `vault:443`)"),
        ("'[::1]'", "`[::1]` has no port (add one: `[::1]:443`)"),
        (
            "'fe80::1:80'",
            "`fe80::1:80` is ambiguous: the IPv6 address needs brackets (write `[fe80::1]:80`)",
        ),
        ("'[::1]:0'", "`[::1]:0`: port 0 cannot be connected to"),
        ("'a:0'", "`a:0`: port 0 cannot be connected to"),
        (
            "'srv:a._tcp.x'",
            "`srv:a._tcp.x` does not name a service (such as `srv:_vault._tcp.example.com`)",
        ),
        (
            "'srv:_a._tcp.x:80'",
            "`srv:_a._tcp.x:80`: the port comes from the SRV records (such as `srv:_vault._tcp.example.com`)",
        ),
        (
            "'https://a:1'",
            "`https://a:1` is a URL, not an address (write `a:1`)",
        ),
        (
            "'a:b'",
            "`a:b` does not end with a port (a port is a number up to 65535)",
        ),
        (
            "'a:+1'",
            "`a:+1` does not end with a port (a port is a number up to 65535)",
        ),
        (
            "'[::1]:99999'",
            "`[::1]:99999` has a port above 65535 (ports go from 1 to 65535)",
        ),
    ] {
        assert_eq!(error_of::<OriginAddress>(text), message);
    }
    for odd in ["1.2.3:80", "a..b:80", "':80'", "'a b:80'", "'*:80'"] {
        assert!(
            error_of::<OriginAddress>(odd).contains("does not begin with a host name"),
            "{odd}"
        );
    }
}

#[test]
fn networks_have_no_bits_beyond_their_prefix() {
    for (text, again) in [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.1", "10.0.0.1/32"),
        ("::1", "::1/128"),
    ] {
        assert_eq!(printed::<Cidr>(text), again);
    }
    assert_eq!(
        error_of::<Cidr>("'2001:db8::1/32'"),
        "`2001:db8::1/32` has bits set beyond its prefix (did you mean `2001:db8::/32`?)"
    );
    assert!(error_of::<Cidr>("10.0.0.0/33").contains("is not a network"));
}

#[test]
fn values_with_forms_of_their_own_say_which() {
    assert_eq!(
        error_of::<OffOr<Health>>("12h"),
        "expected `off` or a map, found `12h`"
    );
    assert!(error_of::<UpstreamAlpn>("h2").contains("put protocols in a list"));
    assert!(error_of::<UpstreamAlpn>("[]").contains("write `none`"));
    assert!(error_of::<UpstreamAlpn>("{}").starts_with("expected `forward`, `none` or a list"));
    assert_eq!(
        error_of::<Trust>("{}"),
        "expected a path, found a map (write a single value)"
    );
    let text = SMALL.replace("'] }", "'], tls: { ca: [webpki] } }");
    assert!(only(&text).ends_with("`webpki` and `system` are not allowed in a list"));
}

#[test]
fn sizes_have_a_unit_and_bounds() {
    type Buffer = Size<4096, 0x3fff_ffff>;
    for (text, again) in [
        ("4KiB", "4KiB"),
        ("4096B", "4KiB"),
        ("5000B", "5000B"),
        ("1024KiB", "1MiB"),
        ("0100MiB", "100MiB"),
    ] {
        assert_eq!(printed::<Buffer>(text), again);
    }
    assert_eq!(
        error_of::<Buffer>("65536"),
        "the size `65536` has no unit (add a unit: `65536B`)"
    );
    assert!(error_of::<Buffer>("many").starts_with("`many` is not a size"));
    for odd in ["64k", "64KB", "64 KiB", "64kib", "1.5MiB"] {
        assert!(
            error_of::<Buffer>(odd).contains("is not a whole number with one unit"),
            "{odd}"
        );
    }
    for out in [
        "0B",
        "4095B",
        "1GiB",
        "99999999999999999999GiB",
        "18446744073709551615KiB",
    ] {
        assert!(
            error_of::<Buffer>(out).contains("is out of bounds"),
            "{out}"
        );
    }
    assert_eq!(printed::<Limit<Buffer>>("none"), "none");
}

//! Headers of version 1.

use super::*;

#[test]
fn version_1_gives_its_addresses() {
    for (line, expected) in [
        (
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
            pair("192.0.2.1:56324", "198.51.100.2:443"),
        ),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            pair("255.255.255.255:65535", "255.255.255.255:65535"),
        ),
        (
            "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n",
            pair("0.0.0.0:0", "0.0.0.0:0"),
        ),
        (
            "PROXY TCP6 2001:DB8::1 fe80::2 1 2\r\n",
            pair("[2001:db8::1]:1", "[fe80::2]:2"),
        ),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
             65535 65535\r\n",
            pair(
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
                "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
            ),
        ),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN \r\n", None),
        ("PROXY UNKNOWN what\rever\n stands here\r\n", None),
        (
            "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
             65535 65535\r\n",
            None,
        ),
    ] {
        assert_eq!(flow(line.as_bytes()), expected, "{line}");
    }
}

#[test]
fn version_1_is_read_strictly() {
    use Defect as D;
    for (line, defect) in [
        ("PROXY\r\n", D::Fields),
        ("PROXYTCP4 192.0.2.1 192.0.2.2 1 2\r\n", D::Fields),
        ("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n", D::Fields),
        ("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", D::Fields),
        ("PROXY TCP4\t192.0.2.1 192.0.2.2 1 2\r\n", D::Fields),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", D::Fields),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", D::Fields),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", D::Fields),
        ("PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n", D::Fields),
        ("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", D::Fields),
        ("PROXY UNKNOWNS\r\n", D::Fields),
        ("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", D::Address),
        ("PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n", D::Address),
        ("PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", D::Address),
        ("PROXY TCP4 2001:db8::1 192.0.2.2 1 2\r\n", D::Address),
        ("PROXY TCP6 192.0.2.1 2001:db8::1 1 2\r\n", D::Address),
        ("PROXY TCP6 fe80::1%eth0 2001:db8::1 1 2\r\n", D::Address),
        ("PROXY TCP6 [2001:db8::1] 2001:db8::1 1 2\r\n", D::Address),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", D::Port),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", D::Port),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", D::Port),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n", D::Port),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n\r\n", D::Port),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n", D::Port),
    ] {
        assert_eq!(
            decode(line.as_bytes()),
            Decoded::Invalid(defect),
            "{line:?}"
        );
    }
    // A line does not end with one of the two alone.
    for line in [
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWN\r",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
    ] {
        assert_eq!(decode(line.as_bytes()), Decoded::NeedMore, "{line:?}");
    }
}

/// P03: 107 bytes at most.
#[test]
fn a_line_of_version_1_ends_within_107_bytes() {
    let line = |len: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(len - 16)).into_bytes();
    assert_eq!(done(&line(107)).1, 107);
    assert_eq!(decode(&line(108)), Decoded::Invalid(Defect::Endless));
    assert_eq!(decode(&line(108)[..106]), Decoded::NeedMore);
    assert_eq!(decode(&line(108)[..107]), Decoded::Invalid(Defect::Endless));
}

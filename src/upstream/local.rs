//! Addresses that stand for this machine or its link, in every form that they have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is one of this machine or of its link, or leads to one through a translator: such an
/// address in an answer of DNS would let the owner of the name reach what trusts its neighbours, such as the
/// metadata service of a cloud at 169.254.169.254.
pub(super) fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_local_v4(ip),
        IpAddr::V6(ip) => is_local_v6(ip) || embedded(ip).into_iter().flatten().any(is_local_v4),
    }
}

/// Loopback, link-local, "this network" (RFC 1122 section 3.2.1.3; 0.0.0.0 reaches loopback), and what no
/// single host has.
fn is_local_v4(ip: Ipv4Addr) -> bool {
    let [first, ..] = ip.octets();
    first == 0 || ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || ip.is_broadcast()
}

fn is_local_v6(ip: Ipv6Addr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || ip.is_unicast_link_local() || ip.is_multicast()
}

/// The IPv4 addresses that an IPv6 address may stand for.
fn embedded(ip: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let join = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match [a, b, c, d, e, f] {
        // IPv4-mapped (RFC 4291 section 2.5.5.2), IPv4-compatible (2.5.5.1), and translated (RFC 2765).
        [0, 0, 0, 0, 0, 0 | 0xffff] | [0, 0, 0, 0, 0xffff, 0] => [join(g, h), None],
        // NAT64 (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0] => [join(g, h), None],
        // NAT64 of the network's own (RFC 8215), whose prefix has 48 to 96 bits (RFC 6052 section 2.2).
        [0x64, 0xff9b, 1, ..] => {
            let [_, first] = e.to_be_bytes();
            let [second, _] = f.to_be_bytes();
            let split = u16::from_be_bytes([first, second]);
            // Where one form has the address, the other one has zeros.
            match join(d, split).filter(|ip| !ip.is_unspecified()) {
                Some(early) if (g, h) == (0, 0) => [Some(early), None],
                early => [join(g, h), early],
            }
        }
        // 6to4 (RFC 3056).
        [0x2002, ..] => [join(b, c), None],
        // Teredo (RFC 4380 section 4), inverted.
        [0x2001, 0, ..] => [join(!g, !h), None],
        _ => [None, None],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_address_of_this_machine_or_its_link_is_one() {
        for text in [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0.0.0.0",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::127.0.0.1",
            "64:ff9b:1:7f00:0:100::",
            "64:ff9b:1::",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001:0:1::80ff:fffe",
        ] {
            assert!(is_local(text.parse().unwrap()), "{text}");
        }
        for text in [
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "192.0.2.1",
            "100.64.0.1",
            "fd00::1",
            "2001:db8::1",
            "2606:4700::1111",
            "::ffff:10.0.0.1",
            "64:ff9b::192.0.2.1",
            "64:ff9b:1::192.0.2.1",
            "64:ff9b:1:c000:2:100::",
            "2002:c000:201::1",
        ] {
            assert!(!is_local(text.parse().unwrap()), "{text}");
        }
    }
}

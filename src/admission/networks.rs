//! Sets of networks, and the rules on the addresses of clients that are made of them. Pure.
//!
//! Two networks are either disjoint or one contains the other. Without those that others contain, the rest is
//! disjoint, so that a search of the sorted first addresses finds the only network that can hold an address:
//! 5 bytes for each IPv4 network, 17 for each IPv6 network, no pointers.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A set of networks of both families, with a name for its place in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks {
    origin: Box<str>,
    v4: Sorted<u32>,
    v6: Sorted<u128>,
}

impl Networks {
    /// The set of these networks; `origin` says where they are written. IPv4-mapped networks have to be given
    /// as IPv4.
    pub fn new(origin: impl Into<Box<str>>, networks: impl IntoIterator<Item = IpNet>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network.trunc() {
                IpNet::V4(net) => v4.push((net.addr().to_bits(), net.prefix_len())),
                IpNet::V6(net) => v6.push((net.addr().to_bits(), net.prefix_len())),
            }
        }
        Self {
            origin: origin.into(),
            v4: Sorted::new(v4),
            v6: Sorted::new(v6),
        }
    }

    /// The widest network that holds an address. An IPv4-mapped address is in IPv4 networks.
    pub fn find(&self, address: IpAddr) -> Option<IpNet> {
        match address.to_canonical() {
            IpAddr::V4(ip) => {
                let (first, prefix) = self.v4.find(ip.to_bits())?;
                Some(IpNet::V4(Ipv4Net::new(first.into(), prefix).ok()?))
            }
            IpAddr::V6(ip) => {
                let (first, prefix) = self.v6.find(ip.to_bits())?;
                Some(IpNet::V6(Ipv6Net::new(first.into(), prefix).ok()?))
            }
        }
    }

    /// The networks, none of which contains another.
    fn iter(&self) -> impl Iterator<Item = IpNet> {
        let v4 = self.v4.iter();
        let v4 = v4.filter_map(|(first, prefix)| Ipv4Net::new(first.into(), prefix).ok());
        let v6 = self.v6.iter();
        let v6 = v6.filter_map(|(first, prefix)| Ipv6Net::new(first.into(), prefix).ok());
        v4.map(IpNet::V4).chain(v6.map(IpNet::V6))
    }
}

/// Disjoint networks in order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sorted<A> {
    /// The first address of each.
    first: Box<[A]>,
    /// The length of each one's prefix.
    prefix: Box<[u8]>,
}

/// The bits of an address.
trait Bits: Copy + Ord {
    /// These bits without those beyond a prefix of this length.
    fn masked(self, prefix: u8) -> Self;
}

impl Bits for u32 {
    fn masked(self, prefix: u8) -> Self {
        let beyond = Self::BITS.saturating_sub(prefix.into());
        self & Self::MAX.checked_shl(beyond).unwrap_or(0)
    }
}

impl Bits for u128 {
    fn masked(self, prefix: u8) -> Self {
        let beyond = Self::BITS.saturating_sub(prefix.into());
        self & Self::MAX.checked_shl(beyond).unwrap_or(0)
    }
}

impl<A: Bits> Sorted<A> {
    fn new(mut networks: Vec<(A, u8)>) -> Self {
        // A network comes right before those that it contains.
        networks.sort_unstable();
        networks.dedup_by(|(first, _), (kept, prefix)| first.masked(*prefix) == *kept);
        let (first, prefix): (Vec<_>, Vec<_>) = networks.into_iter().unzip();
        Self {
            first: first.into(),
            prefix: prefix.into(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (A, u8)> {
        let prefixes = self.prefix.iter().copied();
        self.first.iter().copied().zip(prefixes)
    }

    fn find(&self, address: A) -> Option<(A, u8)> {
        let behind = self.first.partition_point(|first| *first <= address);
        let index = behind.checked_sub(1)?;
        let (first, prefix) = (*self.first.get(index)?, *self.prefix.get(index)?);
        (address.masked(prefix) == first).then_some((first, prefix))
    }
}

/// Which addresses may connect: those of `allow`, if there is such a list, but none of `deny`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRules {
    /// Who may connect; absent: everyone.
    pub allow: Option<Vec<Arc<Networks>>>,
    /// Who may not, even if allowed.
    pub deny: Vec<Arc<Networks>>,
}

/// Why an address may not connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceDenial {
    /// It is in this network, which is written here.
    Denied(IpNet, Box<str>),
    /// It is in none of the allowed networks.
    NotAllowed,
}

impl SourceRules {
    /// Whether an address may connect.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn check(&self, address: IpAddr) -> Result<(), SourceDenial> {
        let denied = self.deny.iter();
        let denied = denied.filter_map(|list| Some((list.find(address)?, list)));
        if let Some((network, list)) = denied.min_by_key(|(network, _)| network.prefix_len()) {
            return Err(SourceDenial::Denied(network, list.origin.clone()));
        }
        match &self.allow {
            Some(lists) if lists.iter().all(|list| list.find(address).is_none()) => {
                Err(SourceDenial::NotAllowed)
            }
            _ => Ok(()),
        }
    }
}

impl SourceRules {
    /// Whether one denied network contains each allowed one.
    pub fn admits_nobody(&self) -> bool {
        let is_denied = |net: IpNet| {
            let mut denying = self.deny.iter().filter_map(|list| list.find(net.addr()));
            denying.any(|denied| denied.prefix_len() <= net.prefix_len())
        };
        let allowed = self.allow.iter().flatten();
        self.allow.is_some() && allowed.flat_map(|list| list.iter()).all(is_denied)
    }
}

impl fmt::Display for SourceDenial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(network, origin) => write!(f, "in {network} of {origin}"),
            Self::NotAllowed => f.write_str("in no network of `sources.allow`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Numbers that look random, the same in each run.
    fn numbers() -> impl Iterator<Item = u64> {
        let mut state = 1_u64;
        std::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        })
    }

    #[test]
    fn an_address_is_found_in_the_widest_network_that_holds_it() {
        let set = Networks::new(
            "x",
            nets(&[
                "10.1.0.0/16",
                "10.0.0.0/8",
                "192.0.2.7/32",
                "2001:db8::/32",
                "2001:db8:1::/48",
                "0.0.0.0/32",
                "255.255.255.255/32",
                "10.0.0.0/8",
            ]),
        );
        for (address, network) in [
            ("10.1.2.3", Some("10.0.0.0/8")),
            ("10.255.255.255", Some("10.0.0.0/8")),
            ("::ffff:10.1.2.3", Some("10.0.0.0/8")),
            ("11.0.0.0", None),
            ("9.255.255.255", None),
            ("192.0.2.7", Some("192.0.2.7/32")),
            ("192.0.2.8", None),
            ("0.0.0.0", Some("0.0.0.0/32")),
            ("255.255.255.255", Some("255.255.255.255/32")),
            ("2001:db8:1::1", Some("2001:db8::/32")),
            ("2001:db9::", None),
            ("::10.1.2.3", None),
        ] {
            let expected = network.map(|network| network.parse().unwrap());
            assert_eq!(set.find(ip(address)), expected, "{address}");
        }
        let all = Networks::new("x", nets(&["0.0.0.0/0", "::/0"]));
        assert!(all.find(ip("203.0.113.9")).is_some() && all.find(ip("::1")).is_some());
        let none = Networks::new("x", []);
        assert!(none.iter().next().is_none() && none.find(ip("203.0.113.9")).is_none());
    }

    #[test]
    fn the_sorted_search_agrees_with_a_look_at_every_network() {
        let mut numbers = numbers();
        for _ in 0..200 {
            let mut random = || numbers.next().unwrap_or_default();
            let list: Vec<IpNet> = (0..30)
                .map(|_| {
                    let (bits, len) = (random(), random());
                    if bits & 1 == 0 {
                        // Few different first bits, so that networks contain each other.
                        let address = (bits as u32 & 0x0707_0707).to_be();
                        let net = Ipv4Net::new(address.into(), (len % 33) as u8);
                        IpNet::V4(net.unwrap().trunc())
                    } else {
                        let address = u128::from(bits & 0x0303_0303_0303) << 80;
                        let net = Ipv6Net::new(address.into(), (len % 129) as u8);
                        IpNet::V6(net.unwrap().trunc())
                    }
                })
                .collect();
            let set = Networks::new("x", list.iter().copied());
            for _ in 0..200 {
                let bits = random();
                let address: IpAddr = if bits & 1 == 0 {
                    IpAddr::V4((bits as u32 & 0x0707_0707).to_be().into())
                } else {
                    IpAddr::V6((u128::from(bits & 0x0303_0303_0303) << 80).into())
                };
                let holding = list.iter().filter(|net| net.contains(&address));
                let widest = holding.min_by_key(|net| net.prefix_len()).copied();
                assert_eq!(set.find(address), widest, "{address} in {list:?}");
            }
        }
    }

    #[test]
    fn deny_wins_and_an_absent_allow_list_allows_everyone() {
        let list = |texts: &[&str]| vec![Arc::new(Networks::new("here", nets(texts)))];
        let both = SourceRules {
            allow: Some(list(&["10.0.0.0/8"])),
            deny: list(&["10.6.6.0/24"]),
        };
        assert_eq!(both.check(ip("10.1.1.1")), Ok(()));
        let denied = both.check(ip("10.6.6.6")).unwrap_err();
        assert_eq!(denied.to_string(), "in 10.6.6.0/24 of here");
        assert_eq!(both.check(ip("192.0.2.1")), Err(SourceDenial::NotAllowed));
        assert_eq!(both.check(ip("2001:db8::1")), Err(SourceDenial::NotAllowed));
        assert!(!both.admits_nobody());
        let none = SourceRules {
            allow: Some(list(&["10.6.6.0/25", "10.6.6.128/25"])),
            ..both.clone()
        };
        assert!(none.admits_nobody());
        let deny = SourceRules {
            allow: None,
            ..both
        };
        assert!(!deny.admits_nobody());
        assert_eq!(deny.check(ip("192.0.2.1")), Ok(()));
    }
}

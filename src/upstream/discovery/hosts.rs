//! /etc/hosts, as the C library reads it (hosts(5)). Pure.

use std::collections::HashMap;
use std::net::IpAddr;

use super::text::{Unused, lines};

/// The addresses of the names in /etc/hosts.
#[derive(Debug, Default)]
pub(super) struct Hosts(HashMap<Box<str>, Vec<IpAddr>>);

impl Hosts {
    /// Reads the file. Also returns the lines that it cannot use.
    pub(super) fn parse(bytes: &[u8]) -> (Self, Vec<Unused>) {
        let mut hosts = Self::default();
        let mut unused = Vec::new();
        for (line, text) in lines(bytes) {
            let text = text.split_once('#').map_or(&*text, |(before, _)| before);
            let mut words = text.split_whitespace();
            let Some(address) = words.next() else {
                continue;
            };
            match address.parse::<IpAddr>() {
                Ok(ip) => words.for_each(|name| hosts.add(name, ip.to_canonical())),
                Err(_) => unused.push(Unused {
                    line,
                    why: format!("\"{}\" is no IP address", address.escape_debug()),
                }),
            }
        }
        (hosts, unused)
    }

    fn add(&mut self, name: &str, ip: IpAddr) {
        let known = self.0.entry(key(name).into()).or_default();
        if !known.contains(&ip) {
            known.push(ip);
        }
    }

    /// The addresses of a name, in the order of the file.
    pub(super) fn get(&self, name: &str) -> &[IpAddr] {
        self.0.get(&*key(name)).map_or(&[], Vec::as_slice)
    }
}

/// Names are compared without case, and without the dot that makes them absolute.
fn key(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_of_a_line_has_its_address() {
        let file = b"\xef\xbb\xbf127.0.0.1 localhost\r\n\
            10.0.0.1\tDB.example.test db local_db # 10.0.0.9 other\n\
            #10.0.0.8 db\n\
            ::1 localhost ip6-localhost\n\
            10.0.0.2 db\n\
            10.0.0.2 db";
        let (hosts, unused) = Hosts::parse(file);
        assert_eq!(unused, []);
        let of = |name| {
            hosts
                .get(name)
                .iter()
                .map(IpAddr::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(of("db.example.test"), ["10.0.0.1"]);
        assert_eq!(of("db.example.test."), ["10.0.0.1"]);
        assert_eq!(of("Local_DB"), ["10.0.0.1"]);
        assert_eq!(of("db"), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(of("localhost"), ["127.0.0.1", "::1"]);
        assert_eq!(of("other"), [""; 0]);
    }

    #[test]
    fn a_line_that_cannot_be_used_costs_that_line_alone() {
        let file =
            b"10.0.0.300 a\nfe80::1%eth0 b\nd\xe9j\xe0 vu\n10.0.0.1 caf\xe9 good\n10.0.0.2\n\0\n";
        let (hosts, unused) = Hosts::parse(file);
        let numbers: Vec<_> = unused.iter().map(|unused| unused.line).collect();
        assert_eq!(numbers, [1, 2, 3, 6]);
        assert_eq!(unused[0].why, "\"10.0.0.300\" is no IP address");
        assert_eq!(hosts.get("good").len(), 1);
        assert_eq!(hosts.get("a").len(), 0);
    }
}

//! Which connections match a filter, and their order.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use super::rates::Rates;
use crate::admin::{ConnFilter, ConnKey, ConnQuery, StageFilter};
use crate::connection::ConnInfo;
use crate::connection::opening::Opening;
use crate::connection::table::Conn;
use crate::observe::access_log::{AccessRecord, Client, CompactAddr, Traffic};
use crate::outcome::Stage;
use crate::relay::Command;
use crate::tls::info::CertificateFacts;

/// A connection as it was when it was looked for.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: u64,
    pub(super) stage: Stage,
    pub(super) age: Duration,
    /// How long no byte has moved; before the relay, how long it has been in its stage.
    pub(super) idle: Duration,
    pub(super) traffic: Traffic,
    entry: Entry,
}

#[derive(Debug)]
enum Entry {
    Opening(Arc<Opening>),
    Established(Arc<Conn<ConnInfo>>),
}

impl Found {
    pub(super) fn opening(opening: Arc<Opening>) -> Self {
        let draft = opening.draft();
        let found = Self {
            id: draft.record.id,
            stage: draft.stage,
            age: age(&draft.record),
            idle: draft.entered.elapsed(),
            traffic: Traffic::default(),
            entry: Entry::Opening(Arc::clone(&opening)),
        };
        drop(draft);
        found
    }

    pub(super) fn established(connection: Arc<Conn<ConnInfo>>) -> Self {
        let age = age(&connection.info.record);
        let (up, down) = connection.handle.traffic();
        Self {
            id: connection.info.record.id,
            stage: Stage::Relay,
            age,
            // It is kept in whole seconds of another clock.
            idle: connection.handle.idle().min(age),
            traffic: Traffic { up, down },
            entry: Entry::Established(connection),
        }
    }

    /// Reads its record. `read` must not block: before the relay, the connection waits for it.
    pub(super) fn with<T>(&self, read: impl FnOnce(&AccessRecord) -> T) -> T {
        match &self.entry {
            Entry::Opening(opening) => read(&opening.draft().record),
            Entry::Established(connection) => read(&connection.info.record),
        }
    }

    /// The generation of the configuration that it was accepted with, as far as it is kept.
    pub(super) fn generation(&self) -> Option<u64> {
        match &self.entry {
            Entry::Opening(_) => None,
            Entry::Established(connection) => Some(connection.info.generation),
        }
    }

    /// Why it is about to end.
    pub(super) fn leaving(&self) -> Option<String> {
        match &self.entry {
            Entry::Opening(opening) => opening.is_killed().then(|| "killed".to_owned()),
            Entry::Established(connection) => {
                connection.handle.command().map(|command| match command {
                    Command::Drain { .. } => "drain".to_owned(),
                    Command::End { reason, .. } => reason.to_string(),
                })
            }
        }
    }

    /// Ends it.
    pub(super) fn end(&self, command: Command) {
        match &self.entry {
            Entry::Opening(opening) => opening.kill(),
            Entry::Established(connection) => connection.handle.send(command),
        }
    }
}

fn age(record: &AccessRecord) -> Duration {
    record.time.elapsed().unwrap_or(Duration::ZERO)
}

/// Whether a connection meets every condition.
pub(super) fn matches(found: &Found, filter: &ConnFilter) -> bool {
    let in_stage = |stage: StageFilter| match stage {
        StageFilter::Setup => found.stage != Stage::Relay,
        StageFilter::Is(stage) => found.stage == stage,
    };
    filter.id.is_none_or(|id| found.id == id)
        && filter.stage.is_none_or(in_stage)
        && filter.older_than.is_none_or(|least| found.age >= least)
        && filter.idle_for.is_none_or(|least| found.idle >= least)
        && found.with(|record| is_about(record, filter))
}

fn is_about(record: &AccessRecord, filter: &ConnFilter) -> bool {
    let is = |wanted: &Option<String>, value: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| value == Some(wanted))
    };
    let cert = record.client_cert.as_deref();
    is(&filter.endpoint, Some(&record.endpoint))
        && is(&filter.upstream, record.upstream.as_deref())
        && filter
            .route
            .as_deref()
            .is_none_or(|wanted| is_route(wanted, &record.endpoint, record.route.as_deref()))
        && filter
            .origin
            .as_deref()
            .is_none_or(|wanted| is_origin(record, wanted))
        && filter.source.is_none_or(|network| match record.client {
            Client::Ip(address) => network.contains(&address.ip().to_canonical()),
            Client::Unix(_) => false,
        })
        && filter
            .sni
            .as_deref()
            .is_none_or(|wanted| is_sni(wanted, record.sni.as_deref()))
        && filter
            .certificate
            .as_deref()
            .is_none_or(|wanted| cert.is_some_and(|cert| is_named(cert, wanted)))
        && filter
            .serial
            .as_deref()
            .is_none_or(|wanted| cert.is_some_and(|c| c.serial.trim_start_matches('0') == wanted))
}

/// Whether a route is the one of a name, or of ENDPOINT/NAME.
pub(in crate::control) fn is_route(wanted: &str, endpoint: &str, route: Option<&str>) -> bool {
    let Some(route) = route else { return false };
    let of_endpoint = || wanted.strip_prefix(endpoint)?.strip_prefix('/');
    route == wanted || of_endpoint() == Some(route)
}

/// Whether a server name is the wanted one, or ends as it says after `*`.
pub(in crate::control) fn is_sni(wanted: &str, sni: Option<&str>) -> bool {
    let Some(sni) = sni else { return false };
    match wanted.strip_prefix('*') {
        Some(end) => {
            let start = sni.len().checked_sub(end.len());
            let tail = start.and_then(|start| sni.get(start..));
            tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end))
        }
        None => sni.eq_ignore_ascii_case(wanted),
    }
}

/// Whether an origin has this name or address.
fn is_origin(record: &AccessRecord, wanted: &str) -> bool {
    record.origin.as_deref() == Some(wanted)
        || record.origin_address.as_ref().is_some_and(|address| {
            wanted
                .parse()
                .is_ok_and(|wanted: std::net::SocketAddr| *address == CompactAddr::from(wanted))
        })
}

/// Whether a certificate has this name: its subject, a common name, or an alternative name.
fn is_named(cert: &CertificateFacts, wanted: &str) -> bool {
    let has_common_name = || {
        let mut attributes = attributes(&cert.subject).into_iter();
        attributes.any(|attribute| attribute.strip_prefix("CN=") == Some(wanted))
    };
    let is_alternative =
        |san: &String| san == wanted || san.split_once(':').is_some_and(|(_, name)| name == wanted);
    cert.subject == wanted || has_common_name() || cert.sans.iter().any(is_alternative)
}

/// The attributes of a subject, without the backslashes of its notation (RFC 4514).
fn attributes(subject: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut attribute = String::new();
    let mut chars = subject.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => attribute.extend(chars.next()),
            ',' | '+' => found.push(std::mem::take(&mut attribute)),
            // It separates, after a comma.
            ' ' if attribute.is_empty() => {}
            c => attribute.push(c),
        }
    }
    found.push(attribute);
    found
}

/// Sorts as a query says: texts upwards, numbers downwards.
pub(super) fn sort(found: &mut [Found], query: &ConnQuery, rates: Option<&Rates>) {
    let numbers = |of: &dyn Fn(&Found) -> u64, found: &mut [Found]| {
        found.sort_by_cached_key(|found| (Reverse(of(found)), found.id));
    };
    match query.sort {
        ConnKey::Age => found.sort_by_cached_key(|found| (Reverse(found.age), found.id)),
        ConnKey::Idle => found.sort_by_cached_key(|found| (Reverse(found.idle), found.id)),
        ConnKey::Id => found.sort_by_key(|found| found.id),
        ConnKey::Bytes => numbers(&|f| f.traffic.up.saturating_add(f.traffic.down), found),
        ConnKey::Up => numbers(&|f| f.traffic.up, found),
        ConnKey::Down => numbers(&|f| f.traffic.down, found),
        ConnKey::Rate => {
            let rate = |found: &Found| {
                let rate = rates.map(|rates| rates.of(found.id, found.traffic));
                rate.map_or(0, |rate| rate.up.saturating_add(rate.down))
            };
            numbers(&rate, found);
        }
        ConnKey::Stage => found.sort_by_key(|found| (found.stage, found.id)),
        ConnKey::Source => found.sort_by_cached_key(|found| {
            let client = found.with(|record| record.client);
            let address = match client {
                Client::Ip(address) => Some(address.ip()),
                Client::Unix(_) => None,
            };
            (address, found.id)
        }),
        key => found.sort_by_cached_key(|found| (value(found, key), found.id)),
    }
    if query.reverse {
        found.reverse();
    }
}

/// The value by which a connection is grouped; `None` if it is not known. Bytes from the wire are not
/// escaped.
pub(super) fn value(found: &Found, key: ConnKey) -> Option<String> {
    match key {
        ConnKey::Stage => return Some(found.stage.word().to_owned()),
        ConnKey::Age => return Some(step(found.age).to_owned()),
        ConnKey::Idle => return Some(step(found.idle).to_owned()),
        _ => {}
    }
    let text = |text: Option<&str>| text.map(str::to_owned);
    found.with(|record| match key {
        ConnKey::Endpoint => text(Some(&record.endpoint)),
        ConnKey::Route => {
            let route = record.route.as_deref()?;
            Some(format!("{}/{route}", record.endpoint))
        }
        ConnKey::Upstream => text(record.upstream.as_deref()),
        ConnKey::Origin => text(record.origin.as_deref()),
        ConnKey::Mode => text(record.mode),
        ConnKey::Sni => text(record.sni.as_deref()),
        ConnKey::Certificate => record.client_cert.as_ref().map(|cert| cert.subject.clone()),
        ConnKey::Serial => record.client_cert.as_ref().map(|cert| cert.serial.clone()),
        ConnKey::Source => Some(match record.client {
            Client::Ip(address) => address.ip().to_canonical().to_string(),
            client @ Client::Unix(_) => client.to_string(),
        }),
        _ => None,
    })
}

/// Times in steps, so that they can be counted.
const fn step(time: Duration) -> &'static str {
    match time.as_secs() {
        0..10 => "below 10 s",
        10..60 => "10 s to 1 min",
        60..600 => "1 min to 10 min",
        600..3600 => "10 min to 1 h",
        3600..86_400 => "1 h to 1 d",
        _ => "1 d and more",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_has_several_names() {
        let cert = CertificateFacts {
            subject: "O=Example, CN=robot+UID=7".to_owned(),
            sans: vec!["DNS:robot.test".to_owned(), "URI:spiffe://a/b".to_owned()],
            ..CertificateFacts::default()
        };
        for name in [
            "O=Example, CN=robot+UID=7",
            "robot",
            "robot.test",
            "DNS:robot.test",
            "spiffe://a/b",
        ] {
            assert!(is_named(&cert, name), "{name}");
        }
        for name in ["", "CN=robot", "rob", "Example", "7", "ROBOT", "test"] {
            assert!(!is_named(&cert, name), "{name}");
        }
        let cert = CertificateFacts {
            subject: r"O=a\, CN\=admin, CN=Doe\, Jane\+1\\x".to_owned(),
            ..CertificateFacts::default()
        };
        assert!(is_named(&cert, &cert.subject));
        assert!(is_named(&cert, r"Doe, Jane+1\x"));
        for name in ["admin", "Doe", "Jane", r"Doe\, Jane\+1\\x"] {
            assert!(!is_named(&cert, name), "{name}");
        }
    }

    #[test]
    fn a_route_may_be_named_with_its_endpoint() {
        assert!(is_route("web", "edge", Some("web")));
        assert!(is_route("edge/web", "edge", Some("web")));
        for wanted in ["edge", "edge/", "other/web", "edge/web/", ""] {
            assert!(!is_route(wanted, "edge", Some("web")), "{wanted}");
        }
        assert!(!is_route("web", "edge", None));
    }

    #[test]
    fn a_server_name_matches_in_any_case_and_by_its_end() {
        assert!(is_sni("A.test", Some("a.test")));
        assert!(is_sni("*.test", Some("a.b.TEST")));
        assert!(is_sni("*", Some("a")));
        assert!(!is_sni("*.test", Some("test")));
        assert!(!is_sni("*.test", Some("é")));
        assert!(!is_sni("*", None));
    }
}

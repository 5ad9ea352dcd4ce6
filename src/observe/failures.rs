//! The latest connections that failed or were refused, for operators.
//!
//! Each worker keeps its own, behind a lock that no other worker takes. What a failure costs a worker is
//! bounded: of one reason it keeps so many at once and in a second, and only counts the others. When its
//! place is used up, the oldest of the most frequent reason makes room, so that a flood of one reason does
//! not push out the others.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::access_log::{AccessRecord, Client, Traffic};
use crate::outcome::{Outcome, Reason};
use crate::sync::Mutex;

/// How many failures a worker keeps: what an operator scrolls through, in at most 2 MiB.
pub const KEPT: usize = 1024;

/// How many failures of one reason a worker keeps at once, and in each second after those.
const BURST: u64 = KEPT as u64;
const PER_SECOND: u64 = 1000;

/// The longest text that is kept, in bytes: twice what is shown, since an escape is longer than its
/// character.
const TEXT_MAX: usize = 512;

/// The failures of the process.
#[derive(Clone, Debug)]
pub struct Failures(Arc<[Arc<FailureShard>]>);

/// The failures of one worker.
#[derive(Debug, Default)]
pub struct FailureShard(Mutex<Ring>);

/// A connection that failed or was refused. Texts come from the wire: escape them before use.
#[derive(Debug)]
pub struct FailureRecord {
    /// When it ended.
    pub at: SystemTime,
    /// Its identifier in the access log.
    pub id: u64,
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// The client.
    pub client: Client,
    /// The server name.
    pub sni: Option<Box<str>>,
    /// The route's name.
    pub route: Option<Arc<str>>,
    /// The upstream's name.
    pub upstream: Option<Arc<str>>,
    /// The origin that was tried last.
    pub origin: Option<Arc<str>>,
    /// Subject and serial number of the certificate that the client presented.
    pub client_cert: Option<Box<[Box<str>; 2]>>,
    /// The bytes that were moved.
    pub traffic: Traffic,
    /// How it ended.
    pub outcome: Outcome,
}

#[derive(Debug, Default)]
struct Ring {
    /// By the index of the reason.
    reasons: Vec<Kept>,
    /// How many are kept, of all reasons.
    count: usize,
    /// How many were only counted.
    skipped: u64,
}

/// The failures of one reason, the oldest first.
#[derive(Debug)]
struct Kept {
    failures: VecDeque<Arc<FailureRecord>>,
    /// How many more are kept in this second, and the second.
    left: u64,
    second: u64,
}

impl Failures {
    /// Of this many workers.
    pub fn new(workers: usize) -> Self {
        Self((0..workers.max(1)).map(|_| Arc::default()).collect())
    }

    /// The failures of a worker.
    pub fn shard(&self, worker: usize) -> Arc<FailureShard> {
        let last = self.0.len().saturating_sub(1);
        self.0.get(worker.min(last)).cloned().unwrap_or_default()
    }

    /// All that are kept, the latest first.
    pub fn latest(&self) -> Vec<Arc<FailureRecord>> {
        let mut all = Vec::new();
        for shard in self.0.iter() {
            let ring = shard.0.lock();
            all.extend(
                ring.reasons
                    .iter()
                    .flat_map(|kept| kept.failures.iter().cloned()),
            );
        }
        all.sort_by_key(|failure| std::cmp::Reverse((failure.at, failure.id)));
        all
    }

    /// How many were counted only, as too many came at once.
    pub fn skipped(&self) -> u64 {
        self.0.iter().map(|shard| shard.0.lock().skipped).sum()
    }
}

impl FailureShard {
    /// Keeps a connection that ended as `outcome` says, if that is a failure.
    pub fn add(&self, record: AccessRecord, traffic: Traffic, outcome: Outcome) {
        if outcome.fault.is_none() || !outcome.reason.is_failure() {
            return;
        }
        let at = record.time + record.total;
        let mut ring = self.0.lock();
        if ring.admits(outcome.reason, at) {
            let reason = outcome.reason;
            ring.push(
                reason,
                Arc::new(FailureRecord::of(record, at, traffic, outcome)),
            );
        }
    }
}

impl Ring {
    /// Whether one more of this reason is kept.
    fn admits(&mut self, reason: Reason, at: SystemTime) -> bool {
        if self.reasons.is_empty() {
            self.reasons.resize_with(Reason::ALL.len(), Kept::default);
        }
        let since = at.duration_since(SystemTime::UNIX_EPOCH);
        let second = since.unwrap_or(Duration::ZERO).as_secs();
        let Some(kept) = self.reasons.get_mut(reason as usize) else {
            return false;
        };
        let passed = second.saturating_sub(kept.second);
        kept.second = kept.second.max(second);
        kept.left = BURST.min(kept.left.saturating_add(passed.saturating_mul(PER_SECOND)));
        if kept.left == 0 {
            self.skipped += 1;
            return false;
        }
        kept.left -= 1;
        true
    }

    fn push(&mut self, reason: Reason, failure: Arc<FailureRecord>) {
        if self.count < KEPT {
            self.count += 1;
        } else if let Some(most) = self
            .reasons
            .iter_mut()
            .max_by_key(|kept| kept.failures.len())
        {
            most.failures.pop_front();
        }
        if let Some(kept) = self.reasons.get_mut(reason as usize) {
            kept.failures.push_back(failure);
        }
    }
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            failures: VecDeque::new(),
            left: BURST,
            second: 0,
        }
    }
}

impl FailureRecord {
    /// What an operator needs of a record. A certificate can have very long names, of which little is kept.
    fn of(record: AccessRecord, at: SystemTime, traffic: Traffic, mut outcome: Outcome) -> Self {
        if let Some(detail) = &mut outcome.detail
            && detail.len() > TEXT_MAX
        {
            *detail = start(detail).to_owned();
        }
        let names = |cert: &crate::tls::info::CertificateFacts| {
            Box::new([start(&cert.subject).into(), start(&cert.serial).into()])
        };
        Self {
            at,
            id: record.id,
            endpoint: record.endpoint,
            client: record.client,
            sni: record.sni.map(|sni| match sni.len() {
                0..=TEXT_MAX => sni,
                _ => start(&sni).into(),
            }),
            route: record.route,
            upstream: record.upstream,
            origin: record.origin,
            client_cert: record.client_cert.as_deref().map(names),
            traffic,
            outcome,
        }
    }
}

/// The start of a text.
fn start(text: &str) -> &str {
    let end = (0..=TEXT_MAX.min(text.len())).rev();
    let end = end.into_iter().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::observe::access_log::StageTimes;
    use crate::outcome::{Stage, WouldRefuse};

    fn end(shard: &FailureShard, id: u64, reason: Reason, ms: u64) {
        let record = AccessRecord {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000 + ms),
            id,
            endpoint: "edge".into(),
            client: Client::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))),
            peer: None,
            local: None,
            sni: Some("é".repeat(1000).into()),
            tls: None,
            client_cert: None,
            route: None,
            mode: None,
            upstream: None,
            origin: None,
            origin_address: None,
            origin_local: None,
            origin_tls: None,
            ja4: None,
            would_refuse: WouldRefuse::default(),
            stages: StageTimes::default(),
            total: Duration::ZERO,
        };
        let outcome = Outcome {
            stage: Stage::Hello,
            reason,
            fault: reason.fault(),
            detail: Some("x".repeat(10_000)),
            limit: None,
        };
        shard.add(record, Traffic::default(), outcome);
    }

    #[test]
    fn at_least_a_thousand_are_kept_the_latest_first() {
        let failures = Failures::new(2);
        for id in 0..1024 {
            end(&failures.shard(1), id, Reason::NotTls, id);
        }
        let latest = failures.latest();
        assert_eq!(latest.len(), 1024);
        assert_eq!((latest[0].id, latest[1023].id), (1023, 0));
        assert_eq!(failures.skipped(), 0);
    }

    #[test]
    fn a_flood_of_one_reason_leaves_the_others_and_is_counted() {
        let failures = Failures::new(1);
        let shard = failures.shard(0);
        end(&shard, 7, Reason::OriginRefused, 0);
        for id in 0..100_000 {
            end(&shard, 100 + id, Reason::LimitRate, 0);
        }
        let latest = failures.latest();
        assert_eq!(latest.len(), KEPT);
        assert_eq!(latest.iter().filter(|kept| kept.id == 7).count(), 1);
        assert_eq!(failures.skipped(), 100_000 - BURST);
        // A second later there is room for new ones.
        end(&shard, 8, Reason::LimitRate, 1000);
        assert_eq!(failures.latest()[0].id, 8);
    }

    #[test]
    fn what_an_operator_did_and_good_ends_are_no_failures() {
        let failures = Failures::new(1);
        for reason in [Reason::Ok, Reason::Drain, Reason::Killed, Reason::ProbeEof] {
            end(&failures.shard(0), 1, reason, 0);
        }
        assert!(failures.latest().is_empty());
    }

    #[test]
    fn long_texts_of_a_client_are_cut() {
        let failures = Failures::new(1);
        end(&failures.shard(0), 1, Reason::UnknownSni, 0);
        let kept = failures.latest().remove(0);
        assert!(kept.sni.as_ref().is_some_and(|sni| sni.len() <= TEXT_MAX));
        assert_eq!(
            kept.outcome.detail.as_ref().map(String::len),
            Some(TEXT_MAX)
        );
    }
}

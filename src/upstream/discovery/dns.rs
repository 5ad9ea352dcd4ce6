//! The machine's resolver: what /etc/resolv.conf, its variables of the environment and /etc/hosts say. The
//! files are read again when they change.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

use super::answer::{Answer, Families, Query, Record};
use super::failure::{Failure, Search, failure};
use super::hosts::Hosts;
use super::resolv_conf::ResolvConf;
use super::servers::Servers;
use super::text::{self, Stamp, Unused};
use crate::sync::Mutex;

/// The files that say how names are resolved, and the one that says what this machine is called.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";
const HOSTNAME: &str = "/proc/sys/kernel/hostname";

/// An answer names no more addresses than these; the rest is ignored.
const ADDRESSES_MAX: usize = 256;

/// How long one query may take, whatever the retries of resolv.conf add up to.
const QUERY_TIMEOUT: Duration = Duration::from_secs(15);

/// How long the addresses of one family wait for those of the other: as long as one address of a name
/// waits for the next while connecting.
const FAMILY_WAIT: Duration = Duration::from_millis(250);

/// How long an answer of /etc/hosts holds.
const HOSTS_TTL: Duration = Duration::from_secs(5);

/// How long an answer holds at most in which a family is missing.
const UNANSWERED_TTL: Duration = Duration::from_secs(30);

/// The machine's resolver.
#[derive(Default)]
pub(super) struct Dns(Mutex<Option<(Stamps, Arc<Files>)>>);

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dns").finish_non_exhaustive()
    }
}

/// The states of resolv.conf and of hosts.
type Stamps = [Stamp; 2];

/// What was made of one state of the files.
struct Files {
    hosts: Hosts,
    conf: ResolvConf,
    servers: Servers,
}

impl Dns {
    /// Asks, and waits for the answer, for a bounded time.
    pub(super) async fn ask(&self, query: &Query) -> Result<Answer, Arc<str>> {
        let files = self.files()?;
        let answer = match query {
            Query::Host(host) => of_host(files, Arc::clone(host)).await,
            Query::Srv(service) => of_service(&files, service).await,
        };
        let mut answer = answer.map_err(Failure::why)?;
        if answer.found.is_empty() {
            return Err("the name has no address".into());
        }
        answer.found.truncate(ADDRESSES_MAX);
        prefer_reachable(&mut answer.found);
        Ok(answer)
    }

    fn files(&self) -> Result<Arc<Files>, Arc<str>> {
        let stamps = [RESOLV_CONF, HOSTS].map(Stamp::of);
        let mut known = self.0.lock();
        if let Some((_, files)) = known.as_ref().filter(|(known, _)| *known == stamps) {
            return Ok(Arc::clone(files));
        }
        let denied = [RESOLV_CONF, HOSTS]
            .into_iter()
            .find(|file| is_denied(file));
        if let (Some((known, files)), Some(file)) = (known.as_mut(), denied) {
            // A sandbox keeps the process from a file that was put in the place of another one.
            warn!(
                file,
                "a file may not be read any more, so its previous content stays in use for resolving names: restart"
            );
            *known = stamps;
            return Ok(Arc::clone(files));
        }
        let files = Arc::new(Files::read().map_err(|error| failure(&error).why())?);
        *known = Some((stamps, Arc::clone(&files)));
        Ok(files)
    }
}

impl Files {
    fn read() -> Result<Self, NetError> {
        let hosts = read_as(HOSTS, Hosts::parse);
        let hostname = std::fs::read_to_string(HOSTNAME).unwrap_or_default();
        let mut conf = read_as(RESOLV_CONF, |bytes| {
            ResolvConf::parse(bytes, hostname.trim())
        });
        let variable = |name| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
        for (variable, why) in conf.amend(variable) {
            warn!(%variable, %why, "a part of an environment variable is not used for resolving names");
        }
        let servers = Servers::of(&conf)?;
        Ok(Self {
            hosts,
            conf,
            servers,
        })
    }

    /// Asks for one kind of record of an absolute name.
    async fn lookup(&self, name: &str, kind: RecordType) -> Result<Lookup, Failure> {
        // Labels are bytes (RFC 2181 section 11): what is a host name is not judged here.
        let name = Name::from_labels(name.split('.').map(str::as_bytes))
            .map_err(|_| Failure::Refused("this is no name that DNS can hold".into()))?;
        let asking = self.servers.lookup(&name, kind);
        let answer = timeout(QUERY_TIMEOUT, asking).await;
        answer.unwrap_or(Err(Failure::Timeout))
    }

    /// Asks for the addresses of one family.
    async fn lookup_addresses(&self, name: &str, kind: RecordType) -> Result<Lookup, Failure> {
        let found = self.lookup(name, kind).await?;
        let is_empty = addresses_in(&found).next().is_none();
        match is_empty {
            true => Err(Failure::None("the name has no address".into())),
            false => Ok(found),
        }
    }

    /// Both kinds of addresses of an absolute name, asked for side by side. Once one family has come, the
    /// other one is waited for only briefly: some servers and firewalls never answer for IPv6.
    async fn addresses(&self, name: &str) -> Result<Answer, Failure> {
        let mut v4 = pin!(self.lookup_addresses(name, RecordType::A));
        if !self.conf.aaaa {
            return v4.await.map(|found| answer_of(&found, Families::default()));
        }
        let mut v6 = pin!(self.lookup_addresses(name, RecordType::AAAA));
        let (v4, v6) = tokio::select! {
            v4 = &mut v4 => {
                let v6 = second(&v4, v6).await;
                (v4, v6)
            }
            v6 = &mut v6 => {
                let v4 = second(&v6, v4).await;
                (v4, v6)
            }
        };
        let is_unanswered = |answer: &Result<_, Failure>| {
            matches!(answer, Err(Failure::Refused(_) | Failure::Timeout))
        };
        let unanswered = Families {
            v4: is_unanswered(&v4),
            v6: is_unanswered(&v6),
        };
        match (v4, v6) {
            (Ok(v4), Ok(v6)) => {
                let (mut both, v6) = (answer_of(&v4, unanswered), answer_of(&v6, unanswered));
                both.found.extend(v6.found);
                both.ttl = both.ttl.min(v6.ttl);
                Ok(both)
            }
            (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(answer_of(&one, unanswered)),
            (Err(v4 @ Failure::None(_)), Err(v6)) => Err(match v6 {
                Failure::None(_) => v4,
                v6 => v6,
            }),
            (Err(v4), Err(_)) => Err(v4),
        }
    }
}

/// Waits for the second of two answers: as long as it takes if the first one has no addresses.
async fn second<F>(first: &Result<Lookup, Failure>, answer: Pin<&mut F>) -> F::Output
where
    F: Future<Output = Result<Lookup, Failure>>,
{
    if first.is_ok() {
        timeout(FAMILY_WAIT, answer)
            .await
            .unwrap_or(Err(Failure::Timeout))
    } else {
        answer.await
    }
}

fn addresses_in(lookup: &Lookup) -> impl Iterator<Item = IpAddr> {
    let records = lookup.answers().iter();
    records.filter_map(|record| record.data.ip_addr())
}

fn answer_of(lookup: &Lookup, unanswered: Families) -> Answer {
    let ttl = left(lookup);
    let is_whole = unanswered == Families::default();
    Answer {
        found: addresses_in(lookup)
            .map(|ip| record(ip.to_canonical()))
            .collect(),
        ttl: if is_whole {
            ttl
        } else {
            ttl.min(UNANSWERED_TTL)
        },
        unanswered,
    }
}

fn record(ip: IpAddr) -> Record {
    Record {
        address: SocketAddr::new(ip, 0),
        priority: 0,
        weight: 1,
    }
}

/// The addresses of a host: those of /etc/hosts, which need no server, or those of DNS.
async fn of_host(files: Arc<Files>, host: Arc<str>) -> Result<Answer, Failure> {
    let at_once = |found: Vec<IpAddr>| Answer {
        found: found.into_iter().map(record).collect(),
        ttl: HOSTS_TTL,
        unanswered: Families::default(),
    };
    if let Ok(ip) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(at_once(vec![ip.to_canonical()]));
    }
    let ascii = match host.is_ascii() {
        true => host.to_string(),
        false => idna::domain_to_ascii(&host)
            .map_err(|_| Failure::Refused("this is no name that DNS can hold".into()))?,
    };
    match files.hosts.get(&ascii) {
        [] => {}
        found => return Ok(at_once(found.to_vec())),
    }
    let mut search = Search::new(&files.conf, &ascii);
    while let Some(name) = search.next() {
        match files.addresses(&name).await {
            Ok(answer) => return Ok(answer),
            Err(why) => search.failed(why),
        }
    }
    Err(search.failure())
}

/// The addresses of every host of a service. Those whose names cannot be resolved are left out, as
/// long as there are others.
async fn of_service(files: &Arc<Files>, service: &str) -> Result<Answer, Failure> {
    let records = services(files, service).await?;
    let mut hosts = JoinSet::new();
    for record in records.answers().iter().take(ADDRESSES_MAX) {
        let RData::SRV(service) = &record.data else {
            continue;
        };
        // RFC 2782: a root name says that the service is not offered, and no port is 0.
        if service.target.is_root() || service.port == 0 {
            continue;
        }
        let (files, service) = (Arc::clone(files), service.clone());
        let target = service.target.iter().map(String::from_utf8_lossy);
        let host = target.collect::<Vec<_>>().join(".") + ".";
        hosts.spawn(async move { (of_host(files, host.into()).await, service) });
    }
    let mut answer = Answer {
        found: Vec::new(),
        ttl: left(&records),
        unanswered: Families::default(),
    };
    let mut failed = None;
    while let Some(Ok((host, service))) = hosts.join_next().await {
        let host = match host {
            Ok(host) => host,
            Err(why) => {
                failed = Some(why);
                continue;
            }
        };
        answer.ttl = answer.ttl.min(host.ttl);
        answer.unanswered = answer.unanswered.and(host.unanswered);
        answer
            .found
            .extend(host.found.into_iter().map(|found| Record {
                address: SocketAddr::new(found.address.ip(), service.port),
                priority: service.priority,
                weight: service.weight.max(1),
            }));
    }
    match failed {
        Some(why) if answer.found.is_empty() => Err(why),
        _ => Ok(answer),
    }
}

/// The SRV records of a name.
async fn services(files: &Files, service: &str) -> Result<Lookup, Failure> {
    let mut search = Search::new(&files.conf, service);
    while let Some(name) = search.next() {
        match files.lookup(&name, RecordType::SRV).await {
            Ok(records) => return Ok(records),
            Err(why) => search.failed(why),
        }
    }
    Err(search.failure())
}

fn left(lookup: &Lookup) -> Duration {
    lookup
        .valid_until()
        .saturating_duration_since(Instant::now())
}

fn is_denied(path: &str) -> bool {
    let opened = std::fs::File::open(path);
    opened.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

/// Reads one of the files, and tells the log what of it is not used.
fn read_as<T>(path: &str, parse: impl Fn(&[u8]) -> (T, Vec<Unused>)) -> T {
    let bytes = text::read(path).unwrap_or_else(|error| {
        warn!(file = %path, %error, "a file is not used for resolving names");
        Vec::new()
    });
    let (parsed, unused) = parse(&bytes);
    text::tell(path, &unused);
    parsed
}

/// Leaves out addresses that this machine has no way to, such as those of a family that it does not
/// speak, unless there are no others (RFC 6724, rule 1). No packet is sent for that.
fn prefer_reachable(found: &mut Vec<Record>) {
    let is_reachable = |found: &Record| {
        let local: SocketAddr = match found.address {
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
        };
        UdpSocket::bind(local).is_ok_and(|socket| socket.connect(found.address).is_ok())
    };
    let reachable: Vec<_> = found.iter().copied().filter(is_reachable).collect();
    if !reachable.is_empty() {
        *found = reachable;
    }
}

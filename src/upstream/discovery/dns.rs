//! The machine's resolver: what /etc/resolv.conf and /etc/hosts say, read again when they change.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::answer::{Answer, Query, Record};

use crate::sync::Mutex;

/// The files that say how names are resolved.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// An answer names no more addresses than these; the rest is ignored.
const ADDRESSES_MAX: usize = 256;

/// The machine's resolver.
#[derive(Default)]
pub(super) struct Dns(Mutex<Option<Made>>);

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dns").finish_non_exhaustive()
    }
}

/// A resolver, and when the files that it was made from were written.
struct Made {
    of: [Option<SystemTime>; 2],
    resolver: TokioResolver,
}

impl Dns {
    /// Asks, and waits for the answer; the caller bounds the time.
    pub(super) async fn ask(&self, query: &Query) -> Result<Answer, Arc<str>> {
        let resolver = self.resolver()?;
        let answer = match query {
            Query::Host(host, port) => of_host(&resolver, host, *port).await,
            Query::Srv(service) => of_service(&resolver, service).await,
        };
        let mut answer = answer?;
        if answer.found.is_empty() {
            return Err("the name has no address".into());
        }
        answer.found.truncate(ADDRESSES_MAX);
        prefer_reachable(&mut answer.found);
        Ok(answer)
    }

    fn resolver(&self) -> Result<TokioResolver, Arc<str>> {
        let of = written();
        let mut made = self.0.lock();
        if let Some(made) = made.as_ref().filter(|made| made.of == of) {
            return Ok(made.resolver.clone());
        }
        let resolver = make().map_err(|error| why(&error))?;
        let new = made.insert(Made { of, resolver });
        Ok(new.resolver.clone())
    }
}

fn written() -> [Option<SystemTime>; 2] {
    [RESOLV_CONF, HOSTS].map(|file| Path::new(file).metadata().and_then(|m| m.modified()).ok())
}

fn make() -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|_| {
        // Without a usable file it is as with the C library: a server on this machine.
        let local = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![local]);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    });
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // The caller decides how long an answer is used.
    options.cache_size = 0;
    builder.build()
}

async fn of_host(resolver: &TokioResolver, host: &str, port: u16) -> Result<Answer, Arc<str>> {
    let answer = resolver.lookup_ip(host).await;
    let answer = answer.map_err(|error| why(&error))?;
    let found = answer.iter().map(|ip: IpAddr| Record {
        address: SocketAddr::new(ip.to_canonical(), port),
        priority: 0,
        weight: 1,
    });
    Ok(Answer {
        found: found.collect(),
        ttl: left(answer.valid_until()),
    })
}

/// The addresses of every host of a service. Those whose names cannot be resolved are left out, as
/// long as there are others.
async fn of_service(resolver: &TokioResolver, service: &str) -> Result<Answer, Arc<str>> {
    let name =
        Name::from_utf8(service).map_err(|_| Arc::from("this is no name that DNS can hold"))?;
    let records = resolver.lookup(name, RecordType::SRV).await;
    let records = records.map_err(|error| why(&error))?;
    let mut answer = Answer {
        found: Vec::new(),
        ttl: left(records.valid_until()),
    };
    let mut trouble = None;
    for record in records.answers() {
        let RData::SRV(service) = &record.data else {
            continue;
        };
        // RFC 2782: a root name says that the service is not offered, and no port is 0.
        if service.target.is_root() || service.port == 0 {
            continue;
        }
        match of_host(resolver, &service.target.to_string(), service.port).await {
            Ok(host) => {
                answer.ttl = answer.ttl.min(host.ttl);
                answer
                    .found
                    .extend(host.found.into_iter().map(|found| Record {
                        priority: service.priority,
                        weight: service.weight.max(1),
                        ..found
                    }));
            }
            Err(why) => trouble = Some(why),
        }
        if answer.found.len() >= ADDRESSES_MAX {
            break;
        }
    }
    match trouble {
        Some(why) if answer.found.is_empty() => Err(why),
        _ => Ok(answer),
    }
}

/// Why there is no answer, without the terms of the resolver library.
fn why(error: &NetError) -> Arc<str> {
    if error.is_nx_domain() {
        return "there is no such name".into();
    }
    if error.is_no_records_found() {
        return "the name has no such records".into();
    }
    match error {
        NetError::Timeout => "the resolver has not answered in time".into(),
        NetError::Busy => "the resolver is busy".into(),
        NetError::NoConnections => "no resolver can be reached".into(),
        NetError::Io(error) => format!("the resolver cannot be reached: {error}").into(),
        NetError::Dns(DnsError::ResponseCode(code)) => {
            format!("the resolver refuses: {code}").into()
        }
        // What the library says of these has debug forms of its types in it.
        _ => "the name, or the resolver's answer, breaks the rules of DNS".into(),
    }
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
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

#[cfg(test)]
mod tests {
    use std::io;

    use hickory_resolver::proto::ProtoError;
    use hickory_resolver::proto::op::ResponseCode;

    use super::*;

    #[test]
    fn errors_of_the_resolver_come_out_in_words() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        for (error, words) in [
            (NetError::Timeout, "not answered in time"),
            (NetError::NoConnections, "no resolver"),
            (NetError::Io(refused.into()), "connection refused"),
            (
                NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)),
                "Server Failure",
            ),
            (
                NetError::Proto(ProtoError::from("Label: Err(Errors { [1, 2] })")),
                "the rules of DNS",
            ),
        ] {
            let said = why(&error);
            assert!(said.contains(words), "{said}");
            assert!(!said.contains(['{', '[', '(']), "{said}");
        }
    }
}

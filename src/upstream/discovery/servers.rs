//! The name servers of resolv.conf, and how they are asked: one after the other, as the C library does.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RecordType};

use super::failure::{Failure, failure};
use super::resolv_conf::ResolvConf;

/// The servers. The resolver library bounds all servers of one resolver together by the timeout that each
/// has, so that a silent one leaves no time for the next: each is a resolver of its own.
pub(super) struct Servers {
    servers: Vec<TokioResolver>,
    attempts: usize,
    rotates: bool,
    next: AtomicUsize,
}

impl Servers {
    pub(super) fn of(conf: &ResolvConf) -> Result<Self, NetError> {
        let servers = conf.servers.iter().map(|ip| resolver(*ip, conf));
        Ok(Self {
            servers: servers.collect::<Result<_, _>>()?,
            attempts: conf.attempts,
            rotates: conf.rotate,
            next: AtomicUsize::new(0),
        })
    }

    /// Asks the servers in turn, as often as `attempts` says, until one answers: of two that know different
    /// names, the first one decides. An error is no answer (resolv.conf(5)).
    pub(super) async fn lookup(&self, name: &Name, kind: RecordType) -> Result<Lookup, Failure> {
        let first = match self.rotates {
            true => self.next.fetch_add(1, Ordering::Relaxed),
            false => 0,
        };
        let mut failed = Failure::Timeout;
        for turn in 0..self.attempts * self.servers.len() {
            let server = &self.servers[(first + turn) % self.servers.len()];
            match server.lookup(name.clone(), kind).await {
                Ok(found) => return Ok(found),
                Err(error) => match failure(&error) {
                    none @ Failure::None(_) => return Err(none),
                    // That a server answered with an error says more than that another one is silent.
                    why if failed == Failure::Timeout => failed = why,
                    _ => {}
                },
            }
        }
        Err(failed)
    }
}

fn resolver(server: IpAddr, conf: &ResolvConf) -> Result<TokioResolver, NetError> {
    let server = match conf.tcp {
        true => NameServerConfig::tcp(server),
        false => NameServerConfig::udp_and_tcp(server),
    };
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let provider = TokioRuntimeProvider::default();
    let mut builder = TokioResolver::builder_with_config(config, provider);
    let options = builder.options_mut();
    options.timeout = conf.timeout;
    // This counts retries.
    options.attempts = 0;
    options.edns0 = conf.edns0;
    options.use_hosts_file = ResolveHosts::Never;
    // The caller decides how long an answer is used.
    options.cache_size = 0;
    builder.build()
}

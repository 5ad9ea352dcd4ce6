//! Limits of the machine: descriptors, cores, addresses and socket buffers.

use std::io;
use std::net::{IpAddr, UdpSocket};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use crate::snapshot::Snapshot;
use crate::transport::PIPES_PER_WORKER;

/// Descriptors that every process needs: standard streams, logs, signals, the control runtime, and
/// some for certificates and name resolution.
const RESERVE: usize = 20;

/// Descriptors of a worker's runtime.
const PER_WORKER: usize = 4;

/// Each connection is two sockets.
const PER_CONNECTION: usize = 2;

/// Raises the soft descriptor limit to the hard one.
pub(crate) fn raise() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}

/// How many connections fit beside `sockets` listening sockets: the configured number, clamped with a
/// warning, or what the descriptor limit allows.
pub(crate) fn connections(
    configured: Option<usize>,
    workers: usize,
    sockets: usize,
) -> Result<usize, String> {
    // Without a limit the kernel's own (nr_open, a million by default) still holds.
    let descriptors = getrlimit(Resource::Nofile)
        .maximum
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(1 << 20);
    // Splice pipes are optional: where descriptors are few, there are few pipes.
    let pipes = (2 * PIPES_PER_WORKER * workers).min(descriptors / 8);
    let reserve = RESERVE + PER_WORKER * workers + sockets + pipes;
    let room = descriptors.saturating_sub(reserve) / PER_CONNECTION;
    if room == 0 {
        return Err(format!(
            "the descriptor limit of {descriptors} leaves no room for connections: {workers} workers and \
             the sockets of endpoints and admin ({sockets} descriptors) need {reserve}; \
             raise the limit (ulimit -n, LimitNOFILE) or lower `process.workers`"
        ));
    }
    let room = room.min(tokio::sync::Semaphore::MAX_PERMITS);
    match configured {
        Some(wanted) if wanted > room => {
            warn!(
                wanted,
                room,
                descriptors,
                "process.limits.connections is more than the descriptor limit allows and is clamped"
            );
            Ok(room)
        }
        Some(wanted) => Ok(wanted),
        None => Ok(room),
    }
}

/// The cores that this process may use; the standard library counts affinity and cgroup quota.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// What a configuration needs and this machine currently lacks, one sentence each.
pub(crate) fn warnings(snapshot: &Snapshot) -> Vec<String> {
    let mut told = foreign_sources(snapshot);
    told.extend(clamped_buffers(snapshot));
    told
}

/// Warns about source addresses that this machine does not currently have: connecting from them fails.
fn foreign_sources(snapshot: &Snapshot) -> Vec<String> {
    let is_foreign = |source: &IpAddr| {
        let bound = UdpSocket::bind((*source, 0));
        bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
    };
    let mut told = Vec::new();
    for upstream in &snapshot.upstreams {
        let origins = &upstream.definition;
        for source in origins.connect.sources.iter().filter(|ip| is_foreign(ip)) {
            told.push(format!(
                "upstream `{}`: `source_addresses` has {source}, which is no address of this machine",
                origins.name
            ));
        }
    }
    told
}

/// Warns about socket buffer sizes that the kernel silently clamps.
fn clamped_buffers(snapshot: &Snapshot) -> Vec<String> {
    let endpoints = snapshot.endpoints.iter();
    let endpoints =
        endpoints.map(|endpoint| (format!("endpoint `{}`", endpoint.name), endpoint.tcp));
    let upstreams = snapshot
        .upstreams
        .iter()
        .map(|upstream| &upstream.definition);
    let upstreams = upstreams.map(|origins| (format!("upstream `{}`", origins.name), origins.tcp));
    let (send_max, receive_max) = (kernel_limit("wmem_max"), kernel_limit("rmem_max"));
    let mut told = Vec::new();
    for (place, tcp) in endpoints.chain(upstreams) {
        let keys = [
            ("send_buffer", tcp.send_buffer, "wmem_max", send_max),
            (
                "receive_buffer",
                tcp.receive_buffer,
                "rmem_max",
                receive_max,
            ),
        ];
        for (key, wanted, sysctl, max) in keys {
            if let (Some(wanted), Some(max)) = (wanted, max)
                && wanted > max
            {
                told.push(format!(
                    "{place}: `tcp.{key}` is {wanted} bytes, and the kernel makes {max} of it: \
                     raise net.core.{sysctl}"
                ));
            }
        }
    }
    told
}

/// A kernel limit for all sockets; `None` where there is no /proc.
fn kernel_limit(name: &str) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok()?;
    text.trim().parse().ok()
}

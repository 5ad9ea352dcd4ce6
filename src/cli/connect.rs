//! `--connect` of `check` and `explain`: connects to origins as connections of clients do, and tells how each
//! answered.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Handle};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::output::table;
use crate::config::Spec;
use crate::config::compile::Negotiated;
use crate::config::spec::server_name;
use crate::health::{Check, HealthPolicy, Reached, reach};
use crate::hostname::HostPattern;
use crate::observe::escape;
use crate::outcome::{Failure, Reason};
use crate::proxy_protocol::{OWN_V1, OWN_V2, SendHeader};
use crate::snapshot::{Mode, Route, Snapshot, Upstream};
use crate::tls::connector::TlsConnector;
use crate::upstream::{OriginEvent, OriginStatus, PickError, PickRequest, Threshold, Upstreams};

/// How long all names may take to be resolved.
const RESOLVE_MAX: Duration = Duration::from_secs(10);

/// How many origins are connected to at a time.
const AT_A_TIME: usize = 64;

/// How one origin answered, at one of its addresses.
pub(super) struct Answer {
    upstream: Arc<str>,
    origin: Arc<str>,
    address: String,
    /// The name that its certificate had to have.
    server_name: Option<String>,
    /// The HTTP proxy that was asked for it.
    through: Option<SocketAddr>,
    result: Result<Reached, Failure>,
}

/// Connects to every origin of a configuration, at each of its addresses.
pub(super) fn to_all(spec: &Spec, snapshot: &Snapshot) -> io::Result<Vec<Answer>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (pools, _events) = pools(snapshot);
        let permits = Arc::new(Semaphore::new(AT_A_TIME));
        let mut running = JoinSet::new();
        // All names are being resolved.
        let resolved_by = Instant::now() + RESOLVE_MAX;
        for upstream in &snapshot.upstreams {
            let name = &*upstream.definition.name;
            let Some(pool) = pools.pool(name) else {
                continue;
            };
            let _ = timeout_at(resolved_by, pool.answered()).await;
            let negotiated = Negotiated::with(spec, |route| route.upstream_name() == Some(name));
            let policy = policy(upstream, Leg::of(snapshot, upstream), &negotiated);
            let policy = Arc::new(policy);
            let client = client_name(spec, upstream);
            for origin in pool.status() {
                let (number, permits) = (running.len(), Arc::clone(&permits));
                let (policy, client) = (Arc::clone(&policy), client.clone());
                running.spawn(async move {
                    let _permit = permits.acquire().await;
                    (number, answer(&policy, &origin, client.as_ref()).await)
                });
            }
        }
        let mut answers = running.join_all().await;
        answers.sort_by_key(|(number, _)| *number);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    })
}

/// A client whose connection is to be carried on.
pub(super) struct Client {
    pub(super) source: Option<IpAddr>,
    pub(super) name: Option<ServerName<'static>>,
    /// The protocol that it has negotiated.
    pub(super) alpn: Option<Vec<u8>>,
    /// The labels of its name that the origin's address is made of, if it is made of any.
    pub(super) labels: Option<String>,
}

/// Connects to the origin that a connection over this route would get first.
pub(super) fn to_taken(snapshot: &Snapshot, route: &Route, client: &Client) -> io::Result<Answer> {
    let upstream = &route.upstream;
    let negotiated = Negotiated {
        protocols: client.alpn.iter().cloned().collect(),
        by_all: true,
    };
    let policy = policy(upstream, Leg::of_mode(&route.mode), &negotiated);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (pools, _events) = pools(snapshot);
        let name = &upstream.definition.name;
        let failed = |reason: Reason, why: &str| Answer {
            upstream: Arc::clone(name),
            origin: "-".into(),
            address: "-".to_owned(),
            server_name: None,
            through: None,
            result: Err(Failure::new(reason).detail(why)),
        };
        let pool = match &client.labels {
            Some(labels) => pools.pool_for(name, labels).ok(),
            None => pools.pool(name),
        };
        let Some(pool) = pool else {
            return Ok(failed(Reason::NoOrigin, "no route uses the upstream"));
        };
        let request = PickRequest::new(client.source);
        let picked = timeout(route.origin_timeout, pool.acquire(&request, |_| {})).await;
        let origin = match picked {
            Ok(Ok(pick)) => pool.origin(pick.slot.origin_id()),
            Ok(Err(PickError::Unresolvable(why))) => {
                return Ok(failed(Reason::OriginResolve, &why));
            }
            Ok(Err(_)) | Err(_) => None,
        };
        Ok(match origin {
            Some(origin) => answer(&policy, &origin, client.name.as_ref()).await,
            None => failed(Reason::OriginResolve, "the resolver has not answered"),
        })
    })
}

/// The pools of a process that has just started, and what is told of their origins.
fn pools(snapshot: &Snapshot) -> (Upstreams, UnboundedReceiver<OriginEvent>) {
    let (pools, events) = Upstreams::new(Handle::current());
    let definitions = snapshot.upstreams.iter();
    pools.apply(definitions.map(|upstream| &upstream.definition));
    (pools, events)
}

/// What is spoken to the origins of an upstream.
#[derive(Clone, Copy)]
struct Leg {
    /// TLS of ours.
    is_tls: bool,
    /// TLS, ours or the client's own.
    is_sealed: bool,
}

impl Leg {
    fn of_mode(mode: &Mode) -> Self {
        let is_tls = matches!(mode, Mode::Reencrypt(_) | Mode::Originate);
        Self {
            is_tls,
            is_sealed: is_tls || matches!(mode, Mode::Passthrough),
        }
    }

    /// What all routes to an upstream speak: TLS of ours, if one does.
    fn of(snapshot: &Snapshot, upstream: &Upstream) -> Self {
        let mut leg = Self {
            is_tls: false,
            is_sealed: false,
        };
        let routes = snapshot.endpoints.iter().flat_map(|e| e.routes.iter());
        for route in routes.filter(|route| std::ptr::eq(&*route.upstream, upstream)) {
            let one = Self::of_mode(&route.mode);
            leg.is_tls |= one.is_tls;
            leg.is_sealed |= one.is_sealed;
        }
        leg
    }
}

/// How connections are made, as a check that is made once.
fn policy(upstream: &Upstream, leg: Leg, negotiated: &Negotiated) -> HealthPolicy {
    let definition = &upstream.definition;
    let tls = upstream.tls.as_deref().filter(|_| leg.is_tls);
    HealthPolicy {
        check: Check::Connect,
        tls: tls.map(|tls| tls.for_checks(&negotiated.protocols, negotiated.by_all, |_| true)),
        negotiate: upstream.negotiate.clone().filter(|_| leg.is_sealed),
        tunnel: upstream.tunnel.clone().filter(|_| leg.is_sealed),
        opening: match upstream.send_proxy_protocol {
            None => &[],
            Some(SendHeader::V1) => OWN_V1,
            Some(SendHeader::V2(_)) => OWN_V2,
        },
        port: None,
        interval: definition.connect.timeout,
        timeout: definition.connect.timeout,
        threshold: Threshold { rise: 1, fall: 1 },
        close: false,
        tcp: definition.tcp,
        sources: definition.connect.sources.clone(),
    }
}

/// The server name of a client, for an upstream that passes it on: the first one that a route names.
fn client_name(spec: &Spec, upstream: &Upstream) -> Option<ServerName<'static>> {
    let is_passed_on = upstream
        .tls
        .as_deref()
        .is_some_and(TlsConnector::sends_client_name);
    if !is_passed_on {
        return None;
    }
    let routes = spec.endpoints.iter().flat_map(|e| e.routes.iter());
    let mut names = routes
        .filter(|route| route.upstream_name() == Some(&*upstream.definition.name))
        .flat_map(|route| route.server_names());
    names.find_map(|pattern| match pattern {
        HostPattern::Exact(name) => server_name(name.as_str()),
        HostPattern::Wildcard(_) | HostPattern::Deep(_) => None,
    })
}

async fn answer(
    policy: &HealthPolicy,
    origin: &OriginStatus,
    client: Option<&ServerName<'static>>,
) -> Answer {
    let tls = policy.tls.as_ref();
    let client = client.filter(|_| tls.is_some_and(TlsConnector::sends_client_name));
    let name = client.or(origin.definition.server_name.as_ref());
    let name = name.filter(|_| tls.is_some());
    let result = match &origin.unresolved {
        Some(why) => Err(Failure::new(Reason::OriginResolve).detail(&**why)),
        None => reach(policy, origin, client).await,
    };
    Answer {
        upstream: Arc::clone(&origin.upstream),
        origin: Arc::clone(&origin.definition.name),
        address: origin.address.to_string(),
        server_name: name.map(|name| name.to_str().into_owned()),
        through: policy.tunnel.as_ref().map(|tunnel| tunnel.proxy),
        result,
    }
}

impl Answer {
    /// The reason with which a connection of a client would have ended; `ok` if it would have gone on.
    pub(super) fn reason(&self) -> Reason {
        self.result
            .as_ref()
            .map_or_else(|f| f.reason, |_| Reason::Ok)
    }

    /// The reason and what is known beside it, for people.
    pub(super) fn line(&self) -> String {
        let (address, reason, detail) = (&self.address, self.reason(), self.detail());
        format!("{} at {address}: {reason}: {detail}", self.origin)
    }

    fn detail(&self) -> String {
        let reached = match &self.result {
            Ok(reached) => reached,
            Err(failure) => {
                let detail = failure.detail.as_deref();
                return escape::text(detail.unwrap_or_else(|| failure.reason.meaning()));
            }
        };
        let mut parts = Vec::new();
        match &reached.tls {
            Some(tls) => {
                parts.extend(tls.version.map(str::to_owned));
                parts.extend(tls.group.map(str::to_owned));
                let alpn = tls.alpn.as_deref();
                parts.extend(alpn.map(|alpn| format!("ALPN {}", String::from_utf8_lossy(alpn))));
                parts.extend(self.server_name.iter().map(|name| format!("as {name}")));
            }
            None => parts.push("connected".to_owned()),
        }
        let through = self.through.iter();
        parts.extend(through.map(|proxy| format!("through the HTTP proxy {proxy}")));
        if reached.spoke {
            parts.push("it speaks first".to_owned());
        }
        parts.push(format!("{:.1} ms", milliseconds(reached.took)));
        escape::text(&parts.join(", "))
    }

    pub(super) fn json(&self) -> Value {
        let reached = self.result.as_ref().ok();
        let failure = self.result.as_ref().err();
        let tls = reached.and_then(|reached| reached.tls.as_ref());
        json!({
            "upstream": &*self.upstream,
            "origin": &*self.origin,
            "address": self.address,
            "server_name": self.server_name,
            "through": self.through.map(|proxy| proxy.to_string()),
            "reason": self.reason().code(),
            "detail": failure.and_then(|failure| failure.detail.as_deref()).map(escape::text),
            "ms": reached.map(|reached| milliseconds(reached.took)),
            "speaks_first": reached.map(|reached| reached.spoke),
            "tls": tls.map(|tls| json!({
                "version": tls.version,
                "cipher": tls.cipher,
                "group": tls.group,
                "alpn": tls.alpn.as_deref().map(String::from_utf8_lossy),
            })),
        })
    }
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

/// A line for each answer.
pub(super) fn lines(answers: &[Answer]) -> String {
    let titles = ["UPSTREAM", "ORIGIN", "ADDRESS", "REASON", "DETAIL"];
    let mut rows = vec![titles.map(str::to_owned)];
    rows.extend(answers.iter().map(|answer| {
        [
            answer.upstream.to_string(),
            answer.origin.to_string(),
            answer.address.clone(),
            answer.reason().to_string(),
            answer.detail(),
        ]
    }));
    table(&rows)
}

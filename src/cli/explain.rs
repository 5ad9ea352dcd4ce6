//! `reseal explain`: shows how a connection would be handled, by the code that handles it.

use std::fmt::Write;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};

use super::{Exit, eprint_line, print, run, start};
use crate::config::compile::{Files, LoadOptions, Purpose};
use crate::config::{self, Spec, load};
use crate::connection::decision;
use crate::hostname::HostName;
use crate::observe::format::unix_timestamp;
use crate::outcome::Reason;
use crate::route::{Match, Query};
use crate::snapshot::{Endpoint, Listen, Protocol, Route, Snapshot, Upstream};
use crate::tls::acceptor::TlsAcceptor;
use crate::tls::connector::{OriginAlpn, TlsConnector};
use crate::tls::hello::{self, Hello};
use crate::tls::info::CertificateFacts;
use crate::tls::sessions::Sessions;
use crate::tls::verify::client::Admitted;
use crate::tls::{classify, material, unix_now, words};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration file [default: $RESEAL_CONFIG, ./config.yaml, /etc/reseal/config.yaml]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Endpoint that the client connects to
    #[arg(long, value_name = "NAME")]
    endpoint: String,
    /// Server name that the client sends
    #[arg(long, value_name = "NAME", conflicts_with = "hello")]
    sni: Option<String>,
    /// ALPN protocol that the client offers; repeatable
    #[arg(long, value_name = "PROTOCOL", conflicts_with = "hello")]
    alpn: Vec<String>,
    /// Client's address
    #[arg(long, value_name = "IP")]
    source: Option<IpAddr>,
    /// Client's certificate and its issuers, in PEM
    #[arg(long, value_name = "FILE")]
    client_cert: Option<PathBuf>,
    /// Captured ClientHello (TLS records), instead of --sni and --alpn
    #[arg(long, value_name = "FILE")]
    hello: Option<PathBuf>,
}

pub(super) fn main(args: &Args) -> Exit {
    let Some(path) = run::find(args.config.as_deref()) else {
        return Exit::Refused;
    };
    let sessions = Sessions::default();
    let loaded = match load::file(
        &path,
        LoadOptions::first(Files::Read, Purpose::Check, &sessions),
    ) {
        Ok(loaded) => loaded,
        Err(error) => return start::unreadable(&path, &error),
    };
    let (Some(spec), Some(snapshot)) = (&loaded.spec, &loaded.snapshot) else {
        eprint_line(&loaded.report());
        return Exit::Refused;
    };
    match explain(args, spec, snapshot) {
        Ok((text, reason)) => {
            print(&text);
            if reason.is_none() {
                Exit::Good
            } else {
                Exit::Bad
            }
        }
        Err(invalid) => {
            eprint_line(&format!("reseal: {invalid}"));
            Exit::Refused
        }
    }
}

/// The explanation, and the reason if the connection would be refused.
fn explain(
    args: &Args,
    spec: &Spec,
    snapshot: &Snapshot,
) -> Result<(String, Option<Reason>), String> {
    let endpoint = snapshot.endpoint(&args.endpoint).ok_or_else(|| {
        let names = snapshot.endpoints.iter().map(|e| format!("`{}`", e.name));
        let names: Vec<_> = names.collect();
        format!(
            "there is no endpoint `{}`; there is {}",
            args.endpoint,
            names.join(", ")
        )
    })?;
    let mut said = Explanation::default();
    let reason = match greeting(args)? {
        Ok(hello) => decide(args, spec, endpoint, &hello, &mut said)?,
        Err(reason) => Some(reason),
    };
    let verdict = match reason {
        None => "allowed".to_owned(),
        Some(reason) => format!("refused: {reason} ({})", reason.meaning()),
    };
    said.line("verdict", &verdict);
    Ok((said.0, reason))
}

/// The ClientHello; or the reason for which it is refused at once.
fn greeting(args: &Args) -> Result<Result<Hello, Reason>, String> {
    match &args.hello {
        Some(path) => {
            let bytes = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
            Ok(hello::captured(bytes).map_err(|failure| failure.reason))
        }
        None => Ok(Ok(Hello {
            // rustls lowercases server names.
            server_name: args.sni.as_ref().map(|name| name.to_ascii_lowercase()),
            alpn: args.alpn.iter().map(|p| p.clone().into_bytes()).collect(),
            ..Hello::default()
        })),
    }
}

fn decide(
    args: &Args,
    spec: &Spec,
    endpoint: &Endpoint,
    hello: &Hello,
    said: &mut Explanation,
) -> Result<Option<Reason>, String> {
    said.line("endpoint", &endpoint.name);
    let said_hello = args.sni.is_some() || args.hello.is_some() || !args.alpn.is_empty();
    if endpoint.protocol == Protocol::Tcp && said_hello {
        return Err(format!(
            "`{}` has `protocol: tcp`: it reads no ClientHello",
            endpoint.name
        ));
    }
    let name = match decision::name(hello.server_name.as_deref()) {
        Ok(name) => name,
        Err(failure) => return Ok(Some(failure.reason)),
    };
    if endpoint.protocol == Protocol::Tls {
        let sent = hello.server_name.as_deref().unwrap_or("none");
        let used = name.as_ref().map_or("none", HostName::as_str);
        let note = if sent == used {
            String::new()
        } else {
            format!(" (sent: {sent})")
        };
        said.line("server name", &format!("{used}{note}"));
    }
    let query = Query {
        name: name.as_ref(),
        alpn: &hello.alpn,
        source: args.source,
    };
    if args.source.is_none()
        && let Some(route) = depends_on_source(endpoint, &query)
    {
        return Err(format!(
            "whether the route `{route}` matches depends on the client's address: add --source IP"
        ));
    }
    let chosen = decision::route(endpoint, &query);
    let winner = chosen.as_ref().ok().copied();
    said.routes(spec, endpoint, &query, winner.map(|route| &**route));
    let route = match chosen {
        Ok(route) => route,
        Err(failure) => return Ok(Some(failure.reason)),
    };
    said.line("mode", route.mode.word());
    let mut reason = None;
    match route.mode.acceptor() {
        Some(side) => {
            let client_cert = args.client_cert.as_deref();
            reason = said.client_tls(side, &route.upstream, name.as_ref(), hello, client_cert)?;
        }
        None if args.client_cert.is_some() => {
            said.line(
                "client auth",
                "none: the client's TLS is not terminated here",
            );
        }
        None => {}
    }
    said.upstream(spec, route);
    said.timeouts(endpoint, route);
    Ok(reason)
}

/// The first route that the client's address could make win or lose.
fn depends_on_source(endpoint: &Endpoint, query: &Query<'_>) -> Option<Arc<str>> {
    // A client of a unix socket has no address.
    let is_unix = |listen: &Listen| matches!(listen, Listen::Unix { .. });
    if endpoint.listen.iter().all(is_unix) {
        return None;
    }
    for (when, route) in endpoint.routes.candidates(query.name) {
        if when.is_offered(query) {
            return (!when.sources.is_empty()).then(|| Arc::clone(&route.name));
        }
    }
    None
}

/// Lines of a name and a value.
#[derive(Default)]
struct Explanation(String);

impl Explanation {
    fn line(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.0, "{name:<14}{value}");
    }

    /// Every route in file order, and why it wins or loses.
    fn routes(
        &mut self,
        spec: &Spec,
        endpoint: &Endpoint,
        query: &Query<'_>,
        winner: Option<&Route>,
    ) {
        let candidates = endpoint.routes.candidates(query.name);
        let listed = spec
            .endpoints
            .iter()
            .find(|e| *e.name.as_str() == *endpoint.name);
        for route in listed.iter().flat_map(|endpoint| endpoint.routes.iter()) {
            let name = route.name.as_str();
            let found = candidates.iter().find(|(_, route)| *route.name == *name);
            let why = match found {
                _ if winner.is_some_and(|winner| *winner.name == *name) => "wins".to_owned(),
                Some((when, _)) => loses(when, query),
                None => "is not for this server name".to_owned(),
            };
            self.line("route", &format!("{name}: {why}"));
        }
    }

    /// The certificate, the negotiated protocol, and the decision of client auth.
    fn client_tls(
        &mut self,
        side: &TlsAcceptor,
        upstream: &Upstream,
        name: Option<&HostName>,
        hello: &Hello,
        client_cert: Option<&Path>,
    ) -> Result<Option<Reason>, String> {
        let now = UnixTime::now();
        match side.certificate().for_client(name, unix_now()) {
            Some(certificate) => {
                let names: Vec<_> = certificate.names.iter().map(ToString::to_string).collect();
                let until = unix_timestamp(certificate.pair.not_after);
                self.line(
                    "certificate",
                    &format!(
                        "{} for {}, until {until}",
                        certificate.name,
                        names.join(" ")
                    ),
                );
            }
            None => self.line("certificate", "none for this name"),
        }
        let alpn = side.negotiate(&hello.alpn);
        let protocol = match &alpn {
            Ok(Some(protocol)) => String::from_utf8_lossy(protocol).into_owned(),
            Ok(None) => "none".to_owned(),
            Err(reason) => reason.to_string(),
        };
        self.line("protocol", &protocol);
        if let Ok(Some(negotiated)) = &alpn {
            self.origin_protocol(upstream, negotiated);
        }
        let chain = client_cert
            .map(material::certificates)
            .transpose()
            .map_err(|error| match error.help {
                Some(help) => format!("{}\n  help: {help}", error.message),
                None => error.message,
            })?;
        let verdict = self.client_auth(side, chain.as_deref(), now);
        Ok(alpn.err().or(verdict))
    }

    /// The ALPN that is offered to the origin, given what the client negotiated.
    fn origin_protocol(&mut self, upstream: &Upstream, negotiated: &[u8]) {
        let list = |list: &[Vec<u8>]| {
            let words: Vec<_> = list.iter().map(|p| String::from_utf8_lossy(p)).collect();
            words.join(", ")
        };
        let protocol = String::from_utf8_lossy(negotiated);
        let text = match upstream.tls.as_deref().map(TlsConnector::alpn) {
            None => format!("plaintext without ALPN: it must expect {protocol}"),
            Some(OriginAlpn::Forward) => {
                format!("is offered {protocol}, and must select it (else origin_alpn)")
            }
            Some(OriginAlpn::Fixed(offered)) if offered.iter().any(|p| p == negotiated) => {
                format!("is offered {}, and may select any or none", list(offered))
            }
            Some(OriginAlpn::Fixed(offered)) => format!(
                "is offered {}, and not {protocol}, which the client speaks",
                list(offered)
            ),
            Some(OriginAlpn::Absent) => {
                format!("is offered no ALPN, and must expect {protocol}")
            }
        };
        self.line("origin ALPN", &text);
    }

    fn client_auth(
        &mut self,
        side: &TlsAcceptor,
        chain: Option<&[CertificateDer<'_>]>,
        now: UnixTime,
    ) -> Option<Reason> {
        let verifier = side.verifier();
        let (text, reason) = match verifier.admit(chain, now) {
            Ok(Admitted::NoAuth) => ("off: no certificate is requested".to_owned(), None),
            Ok(Admitted::NoCert) => ("admitted without a certificate".to_owned(), None),
            Ok(Admitted::TrustedCa) => ("admitted: a trusted CA signed it".to_owned(), None),
            Ok(Admitted::ByRule(n)) => {
                let rule = verifier.rules().and_then(|rules| rules.0.get(n));
                let rule = rule.map_or_else(String::new, ToString::to_string);
                (format!("admitted by rule {}: {rule}", n + 1), None)
            }
            Err(error) => {
                let reason = classify::client(&error);
                (
                    format!("refused: {reason}: {}", words::tls(&error)),
                    Some(reason),
                )
            }
        };
        self.line("client auth", &text);
        if let (Some(Reason::ClientCertNotAllowed), Some(rules), Some(leaf)) =
            (reason, verifier.rules(), chain.and_then(<[_]>::first))
        {
            let facts = CertificateFacts::of(leaf);
            let names = format!("{}; {}", facts.subject, facts.sans.join(" "));
            self.line("its names", &names);
            for (n, rule) in rules.0.iter().enumerate() {
                let unmet = rule.unmet(leaf).join(", ");
                self.line("rule", &format!("{}: {rule}: not met: {unmet}", n + 1));
            }
        }
        reason
    }

    fn upstream(&mut self, spec: &Spec, route: &Route) {
        let origins = &route.upstream.definition;
        self.line("upstream", &origins.name);
        for origin in &origins.origins {
            let verified = match &origin.server_name {
                Some(name) => format!(", verified as {}", name.to_str()),
                None => String::new(),
            };
            self.line(
                "origin",
                &format!("{} at {}{verified}", origin.name, origin.address),
            );
        }
        let upstream = spec.upstreams.get(&origins.name);
        if let (Some(upstream), true) = (upstream, route.upstream.tls.is_some()) {
            self.line("origin TLS", "");
            for line in config::print_part(&upstream.tls.value).lines() {
                let _ = writeln!(self.0, "  {line}");
            }
        }
    }

    fn timeouts(&mut self, endpoint: &Endpoint, route: &Route) {
        let limit = |limit: Option<Duration>| limit.map_or_else(|| "none".to_owned(), seconds);
        self.line(
            "timeouts",
            &format!(
                "hello {}, client {}, origin {}, idle {}, half_close {}, lifetime {}",
                seconds(endpoint.hello_timeout),
                seconds(route.client_timeout),
                seconds(route.origin_timeout),
                limit(route.idle),
                limit(route.half_close),
                limit(route.lifetime),
            ),
        );
    }
}

/// Why a route that is tried for the name does not match.
fn loses(when: &Match, query: &Query<'_>) -> String {
    match (when.is_offered(query), when.is_from(query)) {
        (false, _) => "the client offers none of its protocols (match.alpn)",
        (_, false) if query.source.is_none() => "its match.source needs an address: --source IP",
        (_, false) => "the client's address is not in its match.source",
        (true, true) => "an earlier route wins",
    }
    .to_owned()
}

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}

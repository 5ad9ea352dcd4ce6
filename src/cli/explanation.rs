//! The text of `reseal explain`.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use serde_json::Value;

use super::connect::Answer;
use crate::admission::LimitKind;
use crate::config::{self, Spec, spec};
use crate::connection::decision::limit_reason;
use crate::hostname::{HostName, HostPattern};
use crate::observe::format::unix_timestamp;
use crate::outcome::Reason;
use crate::route::{Match, Query};
use crate::snapshot::{Endpoint, Route, Upstream};
use crate::tls::acceptor::TlsAcceptor;
use crate::tls::connector::{OriginAlpn, TlsConnector};
use crate::tls::hello::Hello;
use crate::tls::info::CertificateFacts;
use crate::tls::verify::client::Admitted;
use crate::tls::{classify, material, unix_now, words};

/// Lines of a name and a value, and what is printed of them as JSON.
#[derive(Default)]
pub(super) struct Explanation {
    pub(super) text: String,
    pub(super) route: Option<Arc<str>>,
    pub(super) answer: Option<Answer>,
}

impl Explanation {
    pub(super) fn line(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.text, "{name:<14}{value}");
    }

    /// The routes in file order, and why each wins or loses: those that match the server name, or all.
    pub(super) fn routes(
        &mut self,
        spec: &Spec,
        endpoint: &Endpoint,
        query: &Query<'_>,
        winner: Option<&Route>,
        all: bool,
    ) {
        let candidates = endpoint.routes.candidates(query);
        let other = match query.speaks_tls {
            true => "for this server name",
            false => "for clients without TLS",
        };
        let mut listed = spec.endpoints.iter();
        let Some(listed) = listed.find(|e| *e.name.as_str() == *endpoint.name) else {
            return;
        };
        let owner = query
            .name
            .and_then(|name| endpoint.routes.owning_pattern(name));
        let mut others = 0;
        for route in listed.routes.iter() {
            let name = route.name.as_str();
            let found = candidates.iter().find(|(_, route)| *route.name == *name);
            let is_default = listed.default_route.as_ref();
            let is_default = is_default.is_some_and(|default| default.route.as_str() == name);
            let why = match (found, &owner) {
                _ if winner.is_some_and(|winner| *winner.name == *name) => "wins".to_owned(),
                (Some((when, _)), _) => loses(when, query),
                (None, Some(owner)) if matching(route, query.name).next().is_some() => {
                    format!("matches, but `{owner}` is more specific and owns the name")
                }
                (None, Some(owner)) if is_default => {
                    format!("is the default route, but `{owner}` owns the name")
                }
                _ if listed.is_not_tls(route) => "is for clients without TLS".to_owned(),
                _ if all => format!("is not {other}"),
                _ => {
                    others += 1;
                    continue;
                }
            };
            self.line("route", &format!("{name}: {why}"));
        }
        match others {
            0 => {}
            1 => self.line("other routes", &format!("1, not {other}; --all lists it")),
            _ => self.line(
                "other routes",
                &format!("{others}, not {other}; --all lists them"),
            ),
        }
    }

    /// The server name by which the route is chosen, and the one that was sent, if it differs.
    pub(super) fn server_name(&mut self, sent: Option<&str>, used: Option<&HostName>) {
        let sent = sent.unwrap_or("none");
        let used = used.map_or("none", HostName::as_str);
        let note = match sent == used {
            true => String::new(),
            false => format!(" (sent: {sent})"),
        };
        self.line("server name", &format!("{used}{note}"));
    }

    /// How a client of an endpoint for any protocol is taken for one without TLS.
    pub(super) fn without_tls(&mut self, sniff: Duration) {
        let sniff = seconds(sniff);
        self.line(
            "client",
            &format!(
                "without TLS: its first bytes are no TLS record, or none comes within {sniff}"
            ),
        );
    }

    /// What happens to the client's TLS; the reason, if it is refused.
    pub(super) fn client(
        &mut self,
        route: &Route,
        name: Option<&HostName>,
        hello: &Hello,
        client_cert: Option<&Path>,
    ) -> Result<Option<Reason>, String> {
        if let Some(side) = route.mode.acceptor() {
            return self.client_tls(side, &route.upstream, name, hello, client_cert);
        }
        if client_cert.is_some() {
            self.line(
                "client auth",
                "none: the client's TLS is not terminated here",
            );
        }
        Ok(None)
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
        let is_pending = side.certificate().is_pending(name);
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
            None if is_pending => self.line("certificate", "not issued yet"),
            None => self.line("certificate", "none for this name"),
        }
        let alpn = side.negotiate(&hello.alpn);
        let protocol = match &alpn {
            Ok(Some(protocol)) => String::from_utf8_lossy(protocol).into_owned(),
            Ok(None) => "none".to_owned(),
            Err(reason) => reason.to_string(),
        };
        self.line("ALPN", &protocol);
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
        let pending = is_pending.then_some(Reason::CertificatePending);
        Ok(pending.or_else(|| alpn.err()).or(verdict))
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

    pub(super) fn upstream(&mut self, spec: &Spec, route: &Route, labels: Option<&str>) {
        let configured = &route.upstream.definition;
        let made = labels.and_then(|labels| configured.made(labels));
        let origins = made.as_ref().unwrap_or(configured);
        self.line("upstream", &origins.name);
        for origin in &origins.origins {
            let speaks_tls = made.is_none() || route.upstream.tls.is_some();
            let verified = match origin.server_name.as_ref().filter(|_| speaks_tls) {
                Some(name) => format!(", verified as {}", name.to_str()),
                None => String::new(),
            };
            self.line(
                "origin",
                &format!("{} at {}{verified}", origin.name, origin.address),
            );
        }
        if let Some(tunnel) = &route.upstream.tunnel {
            self.line(
                "through",
                &format!("the HTTP proxy {} (CONNECT)", tunnel.proxy),
            );
        }
        let upstream = spec.upstreams.get(&origins.name);
        if let (Some(upstream), true) = (upstream, route.upstream.tls.is_some()) {
            self.line("origin TLS", "");
            for line in config::print_part(&upstream.tls.value).lines() {
                let _ = writeln!(self.text, "  {line}");
            }
        }
    }

    /// The limits of the endpoint and of the route, and how full they are if a running process has said so.
    /// Returns the reason if one of them would refuse the client.
    pub(super) fn limits(
        &mut self,
        endpoint: &Endpoint,
        route: &Route,
        running: &[Value],
    ) -> Option<Reason> {
        let mut refused = None;
        for (place, limits) in [("endpoint", &endpoint.limits), ("route", &route.limits)] {
            let Some(limits) = limits else { continue };
            let mut all = Vec::new();
            for (name, value) in limits.all() {
                let is_it = |fill: &&Value| fill["of"] == place && fill["limit"] == *name;
                let fill = running.iter().find(is_it);
                let next = fill.and_then(|fill| fill["next"].as_str());
                if next == Some("refused") {
                    let kinds = LimitKind::ALL.into_iter();
                    let mut kinds = kinds.filter(|kind| kind.word() == name);
                    refused = refused.or_else(|| kinds.next().map(limit_reason));
                }
                let used = fill.and_then(|fill| fill["used"].as_u64());
                let used = used.map(|used| format!("{used} in use"));
                let full = next.filter(|next| *next != "admitted");
                let full = full.map(|next| format!("reached: the next client is {next}"));
                let notes: Vec<_> = used.into_iter().chain(full).collect();
                all.push(match notes.is_empty() {
                    true => format!("{name} {value}"),
                    false => format!("{name} {value} ({})", notes.join(", ")),
                });
            }
            if limits.dry_run {
                all.push("dry run".to_owned());
            }
            self.line("limits", &format!("{place}: {}", all.join(", ")));
        }
        refused
    }

    /// The delays of the route, if it has any.
    pub(super) fn delays(&mut self, route: &Route) {
        if let Some(delays) = &route.delays {
            let all = [
                ("connect", delays.connect),
                ("first_byte", delays.first_byte),
                ("chunk", delays.chunk),
            ];
            let set = all.into_iter().filter(|(_, delay)| !delay.is_zero());
            let set: Vec<_> = set
                .map(|(key, delay)| format!("{key} {}", seconds(delay)))
                .collect();
            self.line("delay", &set.join(", "));
        }
    }

    pub(super) fn timeouts(&mut self, endpoint: &Endpoint, route: &Route) {
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

/// The patterns of a route that match the name.
fn matching<'a>(
    route: &'a spec::Route,
    name: Option<&HostName>,
) -> impl Iterator<Item = &'a HostPattern> {
    let patterns = route.matches.sni.iter().flat_map(|sni| sni.iter());
    let patterns = patterns.map(|pattern| &pattern.value);
    patterns.filter(move |pattern| name.is_some_and(|name| pattern.matches(name)))
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

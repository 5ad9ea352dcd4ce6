//! A configuration that a command composes, and its YAML. Knows Reseal's keys, and no other program's.

use std::fmt::Write;
use std::net::SocketAddr;

use crate::cli::flow::{list, map, one_or_many, scalar};
use crate::observe::escape;

/// A line or an argument that has no counterpart, or none that is certain.
#[derive(Clone, Debug)]
pub(super) struct LeftOut {
    /// Where it is: `line 12`.
    pub(super) place: String,
    /// The text, without secrets.
    pub(super) text: String,
    /// Why, and what to do instead. Empty for a line that goes with another one.
    pub(super) why: String,
}

/// Keys with their values in flow style, in the order in which they are printed.
pub(super) type Keys = Vec<(&'static str, String)>;

/// A configuration.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// What it is, for the reader.
    pub(super) title: String,
    /// What was left out of the process as a whole.
    pub(super) left_out: Vec<LeftOut>,
    pub(super) process: Keys,
    pub(super) log: Keys,
    pub(super) access_log: Keys,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) upstreams: Vec<Upstream>,
}

/// An endpoint; without a listener, only what was left out of it.
#[derive(Debug, Default)]
pub(super) struct Endpoint {
    pub(super) name: String,
    pub(super) left_out: Vec<LeftOut>,
    /// Lines for the reader.
    pub(super) remarks: Vec<String>,
    pub(super) listen: Option<String>,
    /// The protocol in which TLS begins.
    pub(super) negotiate: Option<String>,
    pub(super) limits: Keys,
    pub(super) timeouts: Keys,
    /// TLS with clients; absent on `protocol: tcp`.
    pub(super) tls: Option<ServerTls>,
    pub(super) routes: Vec<Route>,
}

/// TLS with clients.
#[derive(Debug, Default)]
pub(super) struct ServerTls {
    pub(super) certificates: Vec<Certificate>,
    /// Versions, suites, groups, resumption.
    pub(super) policy: Keys,
    /// The route and the certificate for an absent or unknown server name have this name.
    pub(super) default: String,
}

#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) name: String,
    pub(super) cert: String,
    pub(super) key: Option<String>,
    pub(super) password_file: Option<String>,
    /// Server names that it is for; empty leaves that to the certificate.
    pub(super) names: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Route {
    pub(super) name: String,
    pub(super) left_out: Vec<LeftOut>,
    pub(super) remarks: Vec<String>,
    /// Patterns of server names; empty if it is the default route.
    pub(super) sni: Vec<String>,
    pub(super) mode: &'static str,
    pub(super) client_auth: Keys,
    pub(super) limits: Keys,
    pub(super) timeouts: Keys,
    pub(super) delay: Keys,
    pub(super) upstream: String,
}

#[derive(Debug, Default)]
pub(super) struct Upstream {
    pub(super) name: String,
    pub(super) remarks: Vec<String>,
    pub(super) origins: Vec<String>,
    /// All keys but `tls`.
    pub(super) keys: Keys,
    pub(super) tls: Keys,
}

impl Document {
    /// Everything that was left out.
    pub(super) fn all_left_out(&self) -> impl Iterator<Item = &LeftOut> {
        let of_endpoints = self.endpoints.iter().flat_map(|endpoint| {
            let routes = endpoint.routes.iter().flat_map(|route| &route.left_out);
            endpoint.left_out.iter().chain(routes)
        });
        self.left_out.iter().chain(of_endpoints)
    }

    /// The file.
    pub(super) fn print(&self) -> String {
        let title = escape::text(&self.title);
        let mut out = Out::default();
        out.line(0, &format!("# {title}. Read it, then: reseal check FILE"));
        out.left_out(0, &self.left_out);
        out.block(0, "process", &self.process);
        out.block(0, "log", &self.log);
        out.block(0, "access_log", &self.access_log);
        out.line(0, "");
        out.line(0, "endpoints:");
        for (place, endpoint) in self.endpoints.iter().enumerate() {
            if place > 0 {
                out.line(0, "");
            }
            out.endpoint(endpoint);
        }
        out.line(0, "");
        out.line(0, "upstreams:");
        for (place, upstream) in self.upstreams.iter().enumerate() {
            if place > 0 {
                out.line(0, "");
            }
            out.upstream(upstream);
        }
        out.0
    }
}

#[derive(Default)]
struct Out(String);

impl Out {
    fn line(&mut self, indent: usize, text: &str) {
        let _ = writeln!(self.0, "{:indent$}{text}", "");
    }

    fn keys(&mut self, indent: usize, keys: &Keys) {
        for (key, value) in keys {
            self.line(indent, &format!("{key}: {value}"));
        }
    }

    /// `key: { .. }`, unless it is empty.
    fn block(&mut self, indent: usize, key: &str, keys: &Keys) {
        if !keys.is_empty() {
            self.line(indent, &format!("{key}: {}", map(keys)));
        }
    }

    fn left_out(&mut self, indent: usize, all: &[LeftOut]) {
        for left_out in all {
            // Nothing in the text may end the comment.
            let text = escape::text(&left_out.text);
            self.line(
                indent,
                &format!("# not converted: {}: {text}", left_out.place),
            );
            if !left_out.why.is_empty() {
                self.line(indent, &format!("#   {}", escape::own(&left_out.why)));
            }
        }
    }

    fn remarks(&mut self, indent: usize, remarks: &[String]) {
        for remark in remarks {
            self.line(indent, &format!("# {}", escape::own(remark)));
        }
    }

    fn endpoint(&mut self, endpoint: &Endpoint) {
        self.left_out(2, &endpoint.left_out);
        let Some(listen) = &endpoint.listen else {
            return;
        };
        self.remarks(2, &endpoint.remarks);
        self.line(2, &format!("- name: {}", scalar(&endpoint.name)));
        self.line(4, &format!("listen: {}", scalar(listen)));
        if endpoint.tls.is_none() {
            self.line(4, "protocol: tcp");
        }
        if let Some(protocol) = &endpoint.negotiate {
            self.line(4, &format!("negotiate: {protocol}"));
        }
        self.block(4, "limits", &endpoint.limits);
        self.block(4, "timeouts", &endpoint.timeouts);
        if let Some(tls) = &endpoint.tls {
            self.tls(tls);
        }
        self.line(4, "routes:");
        for route in &endpoint.routes {
            self.route(route);
        }
    }

    fn tls(&mut self, tls: &ServerTls) {
        let default = scalar(&tls.default);
        let default = [("route", default.clone()), ("certificate", default)];
        self.line(4, &format!("default_route: {}", map(&default)));
        self.line(4, "tls:");
        self.line(6, "certificates:");
        for certificate in &tls.certificates {
            let mut keys = vec![
                ("name", scalar(&certificate.name)),
                ("cert", scalar(&certificate.cert)),
            ];
            keys.extend(certificate.key.iter().map(|key| ("key", scalar(key))));
            let password = certificate.password_file.iter();
            keys.extend(password.map(|file| ("password_file", scalar(file))));
            if !certificate.names.is_empty() {
                let names: Vec<_> = certificate.names.iter().map(|name| scalar(name)).collect();
                keys.push(("names", list(&names)));
            }
            self.line(8, &format!("- {}", map(&keys)));
        }
        self.keys(6, &tls.policy);
    }

    fn route(&mut self, route: &Route) {
        self.left_out(6, &route.left_out);
        self.remarks(6, &route.remarks);
        self.line(6, &format!("- name: {}", scalar(&route.name)));
        if !route.sni.is_empty() {
            let names = scalars(route.sni.iter().map(String::as_str));
            self.block(8, "match", &vec![("sni", names)]);
        }
        self.line(8, &format!("mode: {}", route.mode));
        self.block(8, "client_auth", &route.client_auth);
        self.block(8, "limits", &route.limits);
        self.block(8, "timeouts", &route.timeouts);
        self.block(8, "delay", &route.delay);
        self.line(8, &format!("upstream: {}", scalar(&route.upstream)));
    }

    fn upstream(&mut self, upstream: &Upstream) {
        self.line(2, &format!("{}:", scalar(&upstream.name)));
        let origins: Vec<_> = upstream
            .origins
            .iter()
            .map(|origin| scalar(origin))
            .collect();
        self.line(4, &format!("origins: {}", list(&origins)));
        self.keys(4, &upstream.keys);
        self.remarks(4, &upstream.remarks);
        if !upstream.tls.is_empty() {
            self.line(4, "tls:");
            self.keys(6, &upstream.tls);
        }
    }
}

/// Scalars, one or a list of them.
pub(super) fn scalars<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let values: Vec<_> = values.into_iter().map(scalar).collect();
    one_or_many(&values)
}

/// The file for the password of a store.
pub(super) fn password_file(store: &str) -> String {
    format!("{store}.password")
}

/// Why the login of an HTTP proxy is left out.
pub(super) const LOGIN: &str =
    "`authorization_file` names a file with `Basic ` and the base64 of USER:PASSWORD";

/// The value of `negotiate` for an HTTP proxy, with the file of its login if it wants one.
pub(super) fn http_proxy(proxy: SocketAddr, wants_login: bool, service: &str) -> String {
    let mut keys = vec![("proxy", scalar(&proxy.to_string()))];
    if wants_login {
        keys.push(("authorization_file", scalar(&format!("{service}.auth"))));
    }
    map(&[("connect", map(&keys))])
}

/// Rules of `allow`, each of which is enough: one for each key that has values.
pub(super) fn rules<'a>(
    lists: impl IntoIterator<Item = (&'static str, &'a [String])>,
) -> Option<String> {
    let lists = lists.into_iter().filter(|(_, values)| !values.is_empty());
    let rules = lists.map(|(key, values)| {
        let values = values.iter().map(String::as_str);
        map(&[(key, scalars(values))])
    });
    let rules: Vec<_> = rules.collect();
    (!rules.is_empty()).then(|| one_or_many(&rules))
}

//! A builder of configurations.

use std::fmt::{Display, Write};

use super::identity::write_authorities;
use super::{Directory, Identity, Proxy, pki};

/// A builder of a configuration and the directory with its files. Methods apply to the last endpoint, route
/// or upstream.
pub struct ProxyBuilder {
    pub(super) directory: Directory,
    pub(super) launcher: Vec<String>,
    pub(super) arguments: Vec<String>,
    pub(super) listeners: usize,
    waits: bool,
    whole: Option<String>,
    top: Vec<String>,
    endpoints: Vec<Endpoint>,
    upstreams: Vec<Upstream>,
    identities: usize,
}

struct Endpoint {
    name: String,
    protocol: &'static str,
    listen: String,
    lines: Vec<String>,
    tls: Vec<String>,
    certificates: Vec<String>,
    routes: Vec<Route>,
}

struct Route {
    name: String,
    mode: &'static str,
    upstream: String,
    matches: Vec<String>,
    lines: Vec<String>,
}

struct Upstream {
    name: String,
    origins: String,
    lines: Vec<String>,
    tls: Option<String>,
}

impl ProxyBuilder {
    pub(super) fn new() -> Self {
        Self {
            directory: Directory::new(),
            launcher: Vec::new(),
            arguments: Vec::new(),
            listeners: 0,
            waits: true,
            whole: None,
            top: Vec::new(),
            endpoints: Vec::new(),
            upstreams: Vec::new(),
            identities: 0,
        }
    }

    /// Begins an endpoint; routes go to the last one.
    pub fn endpoint(mut self, name: &str, protocol: &'static str) -> Self {
        self.endpoints.push(Endpoint {
            name: name.to_owned(),
            protocol,
            listen: "127.0.0.1:0".to_owned(),
            lines: Vec::new(),
            tls: Vec::new(),
            certificates: Vec::new(),
            routes: Vec::new(),
        });
        self
    }

    /// Sets the listening address of the endpoint, instead of a free port.
    pub fn listen(mut self, listen: &str) -> Self {
        self.last_endpoint().listen = listen.to_owned();
        self
    }

    pub fn terminate(self, sni: &str, origin: &impl Display) -> Self {
        self.route("terminate", sni, origin).certificate_for(&[sni])
    }

    /// Adds a route with TLS to an origin that has a certificate for `origin.test`.
    pub fn reencrypt(self, sni: &str, origin: &impl Display) -> Self {
        self.route("reencrypt", sni, origin)
            .certificate_for(&[sni])
            .origin_tls("{ ca: origin-ca.pem, server_name: origin.test }")
    }

    pub fn passthrough(self, sni: &str, origin: &impl Display) -> Self {
        self.route("passthrough", sni, origin)
    }

    pub fn forward(self, origin: &impl Display) -> Self {
        self.endpoint("forward", "tcp").route("forward", "", origin)
    }

    pub fn originate(self, origin: &impl Display) -> Self {
        self.endpoint("originate", "tcp")
            .route("originate", "", origin)
            .origin_tls("{ ca: origin-ca.pem, server_name: origin.test }")
    }

    /// Adds a route with its own upstream. Without a name it matches by the keys added later.
    pub fn route(mut self, mode: &'static str, sni: &str, origin: &impl Display) -> Self {
        if self.endpoints.is_empty() {
            self = self.endpoint("edge", "tls");
        }
        let upstream = format!("upstream-{}", self.upstreams.len());
        self.upstreams.push(Upstream {
            name: upstream.clone(),
            origins: format!("[\"{origin}\"]"),
            lines: Vec::new(),
            tls: None,
        });
        let matches = if sni.is_empty() {
            vec![]
        } else {
            vec![format!("sni: [\"{sni}\"]")]
        };
        let name = if sni.is_empty() {
            mode.to_owned()
        } else {
            sni.replace('*', "any")
        };
        self.last_endpoint().routes.push(Route {
            name,
            mode,
            upstream,
            matches,
            lines: Vec::new(),
        });
        self
    }

    /// Names the last route.
    pub fn named(mut self, name: &str) -> Self {
        self.last_route().name = name.to_owned();
        self
    }

    /// Adds to the last route's `match`.
    pub fn matching(mut self, line: &str) -> Self {
        self.last_route().matches.push(line.to_owned());
        self
    }

    /// Adds a key to the last route.
    pub fn on_route(mut self, line: &str) -> Self {
        self.last_route().lines.push(line.to_owned());
        self
    }

    /// Adds a key to the last endpoint.
    pub fn on_endpoint(mut self, line: &str) -> Self {
        self.last_endpoint().lines.push(line.to_owned());
        self
    }

    /// Adds a key to the last endpoint's `tls`.
    pub fn on_tls(mut self, line: &str) -> Self {
        self.last_endpoint().tls.push(line.to_owned());
        self
    }

    /// Adds a key to the last route's upstream.
    pub fn on_upstream(mut self, line: &str) -> Self {
        self.last_upstream().lines.push(line.to_owned());
        self
    }

    /// Replaces the origins of the last route's upstream.
    pub fn origins(mut self, list: &str) -> Self {
        self.last_upstream().origins = list.to_owned();
        self
    }

    /// Replaces the TLS settings for the last route's origins.
    pub fn origin_tls(mut self, block: &str) -> Self {
        self.last_upstream().tls = Some(block.to_owned());
        self
    }

    /// Adds a top-level key.
    pub fn top(mut self, line: &str) -> Self {
        self.top.push(line.to_owned());
        self
    }

    /// Gives the endpoint a certificate for these names.
    pub fn certificate_for(self, names: &[&str]) -> Self {
        self.identity(&pki().edge(names))
    }

    /// Gives the endpoint this certificate. The first one is named `identity-0`.
    pub fn identity(mut self, identity: &Identity) -> Self {
        let stem = format!("identity-{}", self.identities);
        self.identities += 1;
        self.directory.write(&format!("{stem}.pem"), &identity.cert);
        self.directory.write(&format!("{stem}.key"), &identity.key);
        let entry = format!("{{ cert: {stem}.pem, key: {stem}.key }}");
        self.last_endpoint().certificates.push(entry);
        self
    }

    /// Adds this entry to the endpoint's certificates.
    pub fn with_certificate(mut self, entry: &str) -> Self {
        self.last_endpoint().certificates.push(entry.to_owned());
        self
    }

    /// Writes a file beside the configuration.
    pub fn file(self, name: &str, contents: impl AsRef<[u8]>) -> Self {
        self.directory.write(name, contents);
        self
    }

    /// Uses this text instead of a composed one.
    pub fn yaml(mut self, text: &str) -> Self {
        self.whole = Some(text.to_owned());
        self
    }

    /// Adds an argument of `reseal run`.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// This configuration over the files of another one.
    pub(super) fn over(directory: Directory, text: &str) -> Self {
        Self {
            directory,
            whole: Some(text.to_owned()),
            ..Self::new()
        }
    }

    /// Sets an environment variable of the program; after [`ProxyBuilder::under`].
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        let set = ["env".to_owned(), format!("{name}={value}")];
        self.launcher.splice(0..0, set);
        self
    }

    /// Runs the program under another one, such as `prlimit`.
    pub fn under(mut self, launcher: &[&str]) -> Self {
        self.launcher = launcher.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Does not wait until the program listens: its log goes elsewhere.
    pub fn without_waiting(mut self) -> Self {
        self.waits = false;
        self
    }

    /// The path of a file of the configuration.
    pub fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// Starts the proxy and waits until it listens.
    #[track_caller]
    pub fn start(mut self) -> Proxy {
        let text = self.text();
        if self.waits {
            self.listeners = text.matches("listen:").count();
        }
        write_authorities(&self.directory, &text);
        self.directory.write("config.yaml", in_sandbox(&text));
        Proxy::launch(self, text)
    }

    fn last_endpoint(&mut self) -> &mut Endpoint {
        self.endpoints.last_mut().expect("an endpoint to add to")
    }

    fn last_route(&mut self) -> &mut Route {
        self.last_endpoint()
            .routes
            .last_mut()
            .expect("a route to add to")
    }

    fn last_upstream(&mut self) -> &mut Upstream {
        self.upstreams.last_mut().expect("an upstream to add to")
    }

    fn text(&self) -> String {
        if let Some(whole) = &self.whole {
            return whole.clone();
        }
        let mut out = String::from("log: { format: json }\n");
        for line in &self.top {
            let _ = writeln!(out, "{line}");
        }
        out.push_str("endpoints:\n");
        for endpoint in &self.endpoints {
            endpoint.write(&mut out);
        }
        out.push_str("upstreams:\n");
        for upstream in &self.upstreams {
            let _ = writeln!(
                out,
                "  {}:\n    origins: {}",
                upstream.name, upstream.origins
            );
            lines(&mut out, "    ", &upstream.lines);
            if let Some(tls) = &upstream.tls {
                let _ = writeln!(out, "    tls: {tls}");
            }
        }
        out
    }
}

/// The configuration with the sandbox that `RESEAL_TEST_SANDBOX` names, unless it has one of its own.
pub(super) fn in_sandbox(text: &str) -> String {
    let mode = std::env::var("RESEAL_TEST_SANDBOX").unwrap_or_default();
    if mode.is_empty() || text.contains("sandbox:") || !text.contains("endpoints:") {
        return text.to_owned();
    }
    for (block, inner) in [("process: { ", ", "), ("process:\n", "\n")] {
        if let Some((before, after)) = text.split_once(block) {
            let indent = if inner == "\n" { "  " } else { "" };
            return format!("{before}{block}{indent}sandbox: {mode}{inner}{after}");
        }
    }
    format!("{text}\nprocess: {{ sandbox: {mode} }}\n")
}

impl Endpoint {
    fn write(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "  - name: {}\n    listen: {}\n    protocol: {}",
            self.name, self.listen, self.protocol
        );
        lines(out, "    ", &self.lines);
        if !self.tls.is_empty() || !self.certificates.is_empty() {
            out.push_str("    tls:\n");
            lines(out, "      ", &self.tls);
            let _ = writeln!(
                out,
                "      certificates: [{}]",
                self.certificates.join(", ")
            );
        }
        out.push_str("    routes:\n");
        for route in &self.routes {
            let _ = writeln!(
                out,
                "      - name: {}\n        mode: {}\n        upstream: {}",
                route.name, route.mode, route.upstream
            );
            if !route.matches.is_empty() {
                let _ = writeln!(out, "        match: {{ {} }}", route.matches.join(", "));
            }
            lines(out, "        ", &route.lines);
        }
    }
}

fn lines(out: &mut String, indent: &str, lines: &[String]) {
    for line in lines {
        let _ = writeln!(out, "{indent}{line}");
    }
}

//! Command lines of ghostunnel, its modes `server` and `client`. Where an argument without a counterpart
//! would change whom the tunnel believes, nothing is converted.

mod arguments;
mod words;

use std::net::SocketAddr;

use self::arguments::Argument;
use crate::cli::document::{
    Certificate, Document, Endpoint, Keys, LOGIN, LeftOut, Route, ServerTls, Upstream, http_proxy,
    password_file, rules, scalars,
};
use crate::cli::flow::{map, scalar};

/// The name of the endpoint, its route and its upstream.
const NAME: &str = "tunnel";

/// What the arguments say.
#[derive(Debug, Default)]
struct Tunnel {
    is_client: bool,
    listen: Option<String>,
    target: Option<String>,
    cert: Option<String>,
    key: Option<String>,
    password_file: Option<String>,
    ca: Option<String>,
    /// Rules on the peer's certificate by the key of `allow`: any of them admits.
    rules: Vec<(&'static str, Vec<String>)>,
    allows_all: bool,
    is_anonymous: bool,
    server_name: Option<String>,
    /// Keys that authenticate an origin alone, without its chain.
    pins: Vec<String>,
    max_version: Option<&'static str>,
    proxy_header: bool,
    /// The HTTP proxy before the origin, and whether it wants a login.
    http_proxy: Option<(SocketAddr, bool)>,
    connect_timeout: Option<String>,
    timeouts: Keys,
    limits: Keys,
    process: Keys,
    left_out: Vec<LeftOut>,
    is_blocked: bool,
}

/// The configuration of a command line.
pub(super) fn convert(args: &[String]) -> Result<Document, String> {
    let is_program = |first: &&String| first.rsplit('/').next() == Some("ghostunnel");
    let skipped = args.iter().take(1).filter(is_program).count();
    let args = args.get(skipped..).unwrap_or_default();
    let arguments = arguments::read(args);
    let mode = arguments
        .iter()
        .position(|argument| argument.flag.is_empty());
    let mode = mode.and_then(|at| arguments.get(at));
    let mut tunnel = Tunnel {
        is_client: match mode.map(|mode| mode.value.as_str()) {
            Some("server") => false,
            Some("client") => true,
            _ => return Err("ghostunnel: the mode is missing: `server` or `client`".to_owned()),
        },
        ..Tunnel::default()
    };
    let number = mode.map(|mode| mode.number);
    let flags = arguments
        .iter()
        .filter(|argument| Some(argument.number) != number);
    for argument in flags.clone() {
        tunnel.read(argument);
    }
    let mut document = Document {
        title: "Converted from a command line of ghostunnel".to_owned(),
        ..Document::default()
    };
    if let Some(why) = tunnel.missing() {
        return Err(format!("ghostunnel: {why}"));
    }
    if tunnel.is_blocked {
        let mut noted = tunnel.left_out;
        let left_out = flags.map(|argument| {
            let own = argument.left_out("");
            let at = noted.iter().position(|noted| noted.place == own.place);
            at.map_or(own, |at| noted.remove(at))
        });
        document.left_out = left_out.collect();
    } else {
        tunnel.add_to(&mut document);
    }
    Ok(document)
}

impl Tunnel {
    fn block(&mut self, argument: &Argument, why: &str) {
        self.left_out.push(argument.left_out(why));
        self.is_blocked = true;
    }

    fn leave_out(&mut self, argument: &Argument, why: &str) {
        self.left_out.push(argument.left_out(why));
    }

    fn read(&mut self, argument: &Argument) {
        let value = || Some(argument.value.clone());
        match argument.flag.as_str() {
            "listen" => match words::listen(&argument.value) {
                Some(listen) => self.listen = Some(listen),
                None => self.block(argument, "an endpoint listens on IP:PORT, unix:PATH or systemd:NAME"),
            },
            "target" => match words::target(&argument.value) {
                Some(target) => self.target = Some(target),
                None => self.block(argument, "an origin is HOST:PORT or unix:PATH"),
            },
            "cert" => self.cert = value(),
            "key" => self.key = value(),
            "cacert" => self.ca = value(),
            "keystore" => match argument.value.to_ascii_lowercase() {
                name if name.ends_with(".pem") => self.cert = value(),
                name if name.ends_with(".p12") || name.ends_with(".pfx") => {
                    self.cert = value();
                    self.password_file = Some(password_file(&argument.value));
                }
                _ => self.block(
                    argument,
                    "a keystore is PEM or PKCS#12: keytool -importkeystore -srckeystore FILE -destkeystore FILE.p12 \
                     -deststoretype PKCS12",
                ),
            },
            "storepass" => self.leave_out(
                argument,
                "`password_file` names a file with it, which has to be written; a key in PEM needs none",
            ),
            "override-server-name" => self.server_name = value(),
            "allow-all" => self.allows_all = true,
            "disable-authentication" => self.is_anonymous = true,
            "proxy-protocol" => self.proxy_header = true,
            "proxy" | "connect-proxy" if self.is_client => self.through(argument),
            "disable-landlock" => self.process.push(("sandbox", "off".to_owned())),
            "max-tls-version" => self.newest(argument),
            "allow-spki-pin" | "verify-spki-pin" => self.pin(argument),
            flag => match words::rule(flag) {
                Some(key) => self.rule(argument, key),
                None => self.number_or_other(argument),
            },
        }
    }

    fn through(&mut self, argument: &Argument) {
        self.http_proxy = words::http_proxy(&argument.value);
        match self.http_proxy {
            Some((_, true)) => self.leave_out(argument, LOGIN),
            Some((_, false)) => {}
            None => self.block(
                argument,
                "a proxy on the way to the origin is http://IP:PORT",
            ),
        }
    }

    fn rule(&mut self, argument: &Argument, key: &'static str) {
        if key == "uri" && argument.value.contains("**") {
            return self.block(
                argument,
                "`*` stands for one segment of a path, and nothing for several",
            );
        }
        let value = argument.value.clone();
        match self.rules.iter_mut().find(|(known, _)| *known == key) {
            Some((_, values)) => values.push(value),
            None => self.rules.push((key, vec![value])),
        }
    }

    fn newest(&mut self, argument: &Argument) {
        match argument.value.as_str() {
            "TLS1.3" => self.max_version = None,
            "TLS1.2" if self.is_client => {
                self.leave_out(argument, "TLS 1.3 is always offered to origins");
            }
            "TLS1.2" => self.max_version = Some("\"1.2\""),
            _ => self.block(argument, "only TLS 1.2 and 1.3 are spoken"),
        }
    }

    fn pin(&mut self, argument: &Argument) {
        let (algorithm, digest) = argument.value.split_once(':').unwrap_or_default();
        if !self.is_client {
            return self.block(
                argument,
                "here a pin admits only certificates of the `ca`, too: `client_auth: { ca: FILE, allow: \
                 { spki_sha256: DIGEST } }`",
            );
        }
        if !algorithm.eq_ignore_ascii_case("sha256") {
            return self.block(argument, "pins are SHA-256");
        }
        self.pins.push(digest.to_owned());
    }

    fn number_or_other(&mut self, argument: &Argument) {
        let flag = argument.flag.as_str();
        if flag == "max-concurrent-conns" {
            return match argument.value.parse::<u32>() {
                Ok(0) => {}
                Ok(number) => self.limits = vec![("connections", number.to_string())],
                Err(_) => self.leave_out(argument, "it is no number"),
            };
        }
        if ![
            "connect-timeout",
            "close-timeout",
            "shutdown-timeout",
            "max-conn-lifetime",
        ]
        .contains(&flag)
        {
            return match words::no_counterpart(flag) {
                _ if words::holds(flag, &argument.value) => {}
                Some((why, true)) => self.block(argument, why),
                Some((why, false)) => self.leave_out(argument, why),
                None => self.block(argument, "this flag is not known"),
            };
        }
        let Some(duration) = words::duration(&argument.value) else {
            return self.leave_out(argument, "it is no duration such as 10s or 1m30s");
        };
        match (flag, duration) {
            ("max-conn-lifetime", None) => {}
            (_, None) => self.leave_out(argument, "0 is no duration"),
            ("connect-timeout", duration) => self.connect_timeout = duration,
            ("close-timeout", Some(duration)) => self.timeouts.push(("half_close", duration)),
            ("max-conn-lifetime", Some(duration)) => self.timeouts.push(("lifetime", duration)),
            (_, Some(duration)) => {
                self.process.push(("drain", map(&[("stop", duration)])));
            }
        }
    }

    /// What ghostunnel, or Reseal in its place, cannot do without.
    fn missing(&self) -> Option<&'static str> {
        if self.is_blocked {
            return None;
        }
        if self.listen.is_none() {
            return Some("--listen is missing");
        }
        if self.target.is_none() {
            return Some("--target is missing");
        }
        if self.is_client {
            let is_unix = self
                .target
                .as_ref()
                .is_some_and(|target| target.starts_with("unix:"));
            let nameless = is_unix && self.server_name.is_none();
            return nameless.then_some(
                "--override-server-name is missing: a unix socket has no name to verify",
            );
        }
        if self.cert.is_none() {
            return Some("--cert is missing: a server needs a certificate");
        }
        if self.is_anonymous {
            return None;
        }
        if self.rules.is_empty() && !self.allows_all {
            return Some(
                "who is allowed is missing: --allow-all, --allow-cn and others, or --disable-authentication",
            );
        }
        let no_ca = self.ca.is_none();
        no_ca.then_some(
            "--cacert is missing: client certificates are verified against a CA that is named",
        )
    }

    fn add_to(self, document: &mut Document) {
        let mut timeouts = self.timeouts.clone();
        // ghostunnel closes no idle connection.
        timeouts.insert(0, ("idle", "none".to_owned()));
        let tls = (!self.is_client).then(|| ServerTls {
            certificates: vec![Certificate {
                name: NAME.to_owned(),
                cert: self.cert.clone().unwrap_or_default(),
                key: self.key.clone(),
                password_file: self.password_file.clone(),
                names: Vec::new(),
            }],
            policy: self
                .max_version
                .map(|version| ("max_version", version.to_owned()))
                .into_iter()
                .collect(),
            default: NAME.to_owned(),
        });
        let route = Route {
            name: NAME.to_owned(),
            mode: if self.is_client {
                "originate"
            } else {
                "terminate"
            },
            client_auth: self.client_auth(),
            upstream: NAME.to_owned(),
            ..Route::default()
        };
        document.upstreams.push(self.upstream());
        document.left_out = self.left_out;
        document.process = self.process;
        document.endpoints.push(Endpoint {
            name: NAME.to_owned(),
            listen: self.listen,
            limits: self.limits,
            timeouts,
            tls,
            routes: vec![route],
            ..Endpoint::default()
        });
    }

    fn client_auth(&self) -> Keys {
        if self.is_client || self.is_anonymous {
            return Keys::new();
        }
        let mut keys = vec![("mode", "required".to_owned())];
        keys.extend(self.ca.iter().map(|ca| ("ca", scalar(ca))));
        if !self.allows_all {
            keys.extend(self.allow().map(|rules| ("allow", rules)));
        }
        keys
    }

    fn allow(&self) -> Option<String> {
        rules(self.rules.iter().map(|(key, values)| (*key, &**values)))
    }

    fn upstream(&self) -> Upstream {
        let mut keys = Keys::new();
        let timeout = self.connect_timeout.clone();
        keys.extend(timeout.map(|timeout| ("connect", map(&[("timeout", timeout)]))));
        if self.proxy_header {
            keys.push(("send_proxy_protocol", "v2".to_owned()));
        }
        let mut tls = Keys::new();
        if self.is_client {
            // Without --cacert, ghostunnel takes the store of the system.
            let ca = self
                .ca
                .as_ref()
                .map_or_else(|| "system".to_owned(), |ca| scalar(ca));
            if self.pins.is_empty() {
                tls.push(("ca", ca));
            } else {
                tls.push(("verify", "danger-none".to_owned()));
                tls.push(("spki_sha256", scalars(self.pins.iter().map(String::as_str))));
            }
            tls.extend(
                self.server_name
                    .iter()
                    .map(|name| ("server_name", scalar(name))),
            );
            if let Some(cert) = &self.cert {
                let mut pair = vec![("cert", scalar(cert))];
                pair.extend(self.key.iter().map(|key| ("key", scalar(key))));
                let password = self.password_file.iter();
                pair.extend(password.map(|file| ("password_file", scalar(file))));
                tls.push(("client_certificate", map(&pair)));
            }
            tls.extend(self.allow().map(|rules| ("allow", rules)));
            if let Some((proxy, wants_login)) = self.http_proxy {
                tls.push(("negotiate", http_proxy(proxy, wants_login, NAME)));
            }
        }
        Upstream {
            name: NAME.to_owned(),
            origins: self.target.clone().into_iter().collect(),
            keys,
            tls,
            ..Upstream::default()
        }
    }
}

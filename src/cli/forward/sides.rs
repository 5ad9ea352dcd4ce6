//! The schemes of the addresses, and which flags go with them.

use super::args::Args;

/// The two sides: where TLS is spoken, and the addresses without their schemes.
#[derive(Debug)]
pub(super) struct Sides<'a> {
    pub(super) listen: String,
    pub(super) terminates: bool,
    pub(super) origins: Vec<&'a str>,
    pub(super) seals: bool,
}

impl<'a> Sides<'a> {
    /// Fails if some origins are reached with TLS and others without.
    pub(super) fn of(args: &'a Args) -> Result<Self, String> {
        let unix = args.unix.as_ref().map(|path| format!("unix:{path}"));
        let (listen, terminates) = scheme(args.listen.as_deref().unwrap_or_default());
        let (origins, schemes): (Vec<_>, Vec<_>) = args.to.iter().map(|to| scheme(to)).unzip();
        let seals = schemes.contains(&true);
        if seals && schemes.contains(&false) {
            return Err(
                "some --to have tls:// and others do not: a plain copy of what goes to the others \
                 sealed would be no secret"
                    .to_owned(),
            );
        }
        Ok(Self {
            listen: unix.unwrap_or_else(|| listen.to_owned()),
            terminates,
            origins,
            seals,
        })
    }

    /// Whether the flags about TLS fit both schemes.
    pub(super) fn fit(&self, args: &Args) -> Result<(), String> {
        self.listener_fits(args)?;
        self.origins_fit(args)?;
        let has_tls = self.terminates || self.seals;
        let (listen, to) = (&self.listen, self.first_origin());
        for (given, flag) in [
            (!args.alpn.is_empty(), "--alpn"),
            (args.negotiate.is_some(), "--negotiate"),
        ] {
            if given && !has_tls {
                return Err(format!(
                    "{flag} needs --listen tls://{listen} or --to tls://{to}"
                ));
            }
        }
        Ok(())
    }

    fn listener_fits(&self, args: &Args) -> Result<(), String> {
        let clients = &args.clients;
        let listen = &self.listen;
        if self.terminates && clients.cert.is_none() {
            return Err("a tls:// listener needs --cert FILE (and --key FILE)".to_owned());
        }
        if self.terminates && args.delay.is_some() {
            return Err(
                "--delay is for tests of applications, and a tls:// listener has real clients: listen \
                 without tls://"
                    .to_owned(),
            );
        }
        if clients.cert.is_some() && !self.terminates && self.seals {
            return Err(format!(
                "--cert needs --listen tls://{listen}; a client certificate for the origin is \
                 --client-cert FILE"
            ));
        }
        let has_rules = clients.rules().iter().any(|(_, values)| !values.is_empty());
        for (given, flag, on_origins) in [
            (clients.cert.is_some(), "--cert", "--client-cert"),
            (clients.client_ca.is_some(), "--client-ca", "--ca"),
            (!clients.crl.is_empty(), "--crl", "--verify-crl"),
            (has_rules, "--allow-…", "--verify-…"),
        ] {
            if given && !self.terminates {
                let instead = match self.seals {
                    true => format!("; for the certificate of the origin there is {on_origins}"),
                    false => String::new(),
                };
                return Err(format!("{flag} needs --listen tls://{listen}{instead}"));
            }
            let is_about_clients = flag != "--cert" && flag != "--client-ca";
            if given && is_about_clients && clients.client_ca.is_none() {
                return Err(format!(
                    "{flag} needs --client-ca FILE: a certificate that nobody verifies proves nothing"
                ));
            }
        }
        Ok(())
    }

    fn origins_fit(&self, args: &Args) -> Result<(), String> {
        let origins = &args.origins;
        let has_rules = origins.rules().iter().any(|(_, values)| !values.is_empty());
        for (given, flag) in [
            (origins.client_cert.is_some(), "--client-cert"),
            (origins.ca.is_some(), "--ca"),
            (origins.server_name.is_some(), "--server-name"),
            (!origins.verify_crl.is_empty(), "--verify-crl"),
            (has_rules, "--verify-…"),
        ] {
            if given && !self.seals {
                return Err(format!("{flag} needs --to tls://{}", self.first_origin()));
            }
        }
        Ok(())
    }

    fn first_origin(&self) -> &str {
        self.origins.first().copied().unwrap_or_default()
    }
}

fn scheme(text: &str) -> (&str, bool) {
    match text.strip_prefix("tls://") {
        Some(rest) => (rest, true),
        None => (text.strip_prefix("tcp://").unwrap_or(text), false),
    }
}

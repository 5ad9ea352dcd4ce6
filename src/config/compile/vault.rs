//! PKI engines, and the certificates that they issue: what there is of them already, and what has yet to be
//! issued.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::compiler::{Compiler, Files};
use super::pairs::PairPlaces;
use super::reading::cached;
use super::secrets::secrecy;
use crate::config::reader::problem::Span;
use crate::config::reader::read::Located;
use crate::config::reader::values;
use crate::config::spec::{ClientIdentity, Vault, VaultAuth, VaultCertificate};
use crate::tls::pair::Pair;
use crate::tls::pair_files::PairFiles;
use crate::tls::usage::Presented;
use crate::vault::{self, Auth, Engine, Identity, Secret};

impl Compiler<'_> {
    /// The client certificate that an engine issues; the inner `None` if it is not there yet.
    pub(super) fn issued(
        &mut self,
        at: Span,
        spec: &VaultCertificate,
    ) -> Option<Option<Arc<Pair>>> {
        let engine = self.engine(&spec.vault)?;
        if spec.names.is_empty() {
            self.problems
                .error(spec.names.at, "an empty list of names")
                .help("name what the certificate is for, such as the host name of this machine");
            return None;
        }
        let names = spec.names.iter().map(|name| name.value.0.clone());
        let identity = Identity::new(&engine, names.collect(), spec.ttl.as_ref().map(|ttl| ttl.0));
        if self.files == Files::Skip {
            return None;
        }
        // However many upstreams present it, there is one.
        if !self
            .identities
            .iter()
            .any(|known| known.file == identity.file)
        {
            self.identities.push(Arc::new(identity.clone()));
        }
        let path = identity.file.clone();
        let before = self.running_issued(&path);
        let found = self.material(at, cached!(managed), path, |_, problems| {
            Ok(match vault::read(&identity) {
                Ok(Some(pair)) => match before {
                    Some(before) if *before == pair => Some(before),
                    _ => Some(Arc::new(pair)),
                },
                // What is presented stays until there is another one.
                Ok(None) => before,
                Err(why) => {
                    problems.warning(at, format!("{why}; another one is asked for"));
                    before
                }
            })
        });
        let found = found.flatten();
        match &found {
            Some(pair) => self.presented(at, pair, Presented::ToOrigins),
            None => {
                self.problems
                    .notice(at, "the certificate was not issued yet")
                    .help("until it is there, connections to these origins are refused");
            }
        }
        Some(found)
    }

    fn running_issued(&self, file: &PathBuf) -> Option<Arc<Pair>> {
        let running = &self.running?.materials.managed;
        running.get(file)?.found.clone().flatten()
    }

    /// The engine of this name.
    fn engine(&mut self, name: &Located<values::Name>) -> Option<Arc<Engine>> {
        let spec = self.spec;
        let Some(engine) = spec.vault.get(name.as_str()) else {
            let known: Vec<_> = spec.vault.0.iter().map(|(name, _)| name.as_str()).collect();
            if known.is_empty() {
                self.problems
                    .error(name.at, "there is no engine of this name")
                    .help("name it at the top: `vault: { NAME: { address: URL, role: ROLE, auth: … } }`");
            } else {
                self.unknown(name.at, "engine", name.as_str(), &known);
            }
            return None;
        };
        let address = self.address(engine);
        let authorities = self.authorities(&engine.ca);
        let auth = self.auth(&engine.auth);
        Some(Arc::new(Engine {
            name: name.as_str().into(),
            address: address?,
            authorities: authorities?,
            mount: engine.mount.0.trim_matches('/').to_owned(),
            role: engine.role.0.clone(),
            auth: auth?,
            state: self.resolve(&engine.state),
            revokes: engine.revoke.value,
        }))
    }

    /// The URL of a server without the slash at its end.
    fn address(&mut self, spec: &Vault) -> Option<String> {
        let url = &spec.address.0;
        if url
            .path_and_query()
            .is_some_and(|path| path.as_str() != "/")
        {
            self.problems
                .error(spec.address.at, "the URL of the server has a path")
                .help("leave it out: `mount` is the path of the engine");
            return None;
        }
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_here = host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
        if url.scheme_str() != Some("https") && !is_here {
            self.problems
                .error(spec.address.at, "without TLS everybody on the path could read the secrets that are sent")
                .help("write `https://`, and `ca: FILE` if a private CA has signed the server's certificate");
            return None;
        }
        Some(url.to_string().trim_end_matches('/').to_owned())
    }

    fn auth(&mut self, spec: &Located<VaultAuth>) -> Option<Auth> {
        let mount = |method: &str| {
            let mount = spec.mount.as_ref().map_or(method, |mount| mount.0.as_str());
            mount.trim_matches('/').to_owned()
        };
        match (&spec.token_file, &spec.cert, &spec.approle) {
            (Some(file), None, None) => Some(Auth::Token(self.vault_secret(file)?)),
            (None, Some(cert), None) => {
                let cert_path = self.resolve(cert);
                let files = PairFiles {
                    key: spec
                        .key
                        .as_ref()
                        .map_or_else(|| cert_path.clone(), |key| self.resolve(key)),
                    cert: cert_path,
                    ocsp: None,
                    password: None,
                };
                let places = PairPlaces {
                    key: spec.key.as_ref().map_or(cert.at, |key| key.at),
                    ..PairPlaces::all(cert.at)
                };
                let pair = self.certified(places, files)?;
                let mount = mount("cert");
                Some(Auth::Certificate { pair, mount })
            }
            (None, None, Some(approle)) => Some(Auth::AppRole {
                role_id: approle.role_id.0.clone(),
                secret_id: self.vault_secret(&approle.secret_id_file)?,
                mount: mount("approle"),
            }),
            _ => {
                self.problems
                    .error(
                        spec.at,
                        "there must be one of `token_file`, `cert` and `approle`",
                    )
                    .help("they are the ways to log in");
                None
            }
        }
    }

    /// A token or a secret, in a file of its own.
    fn vault_secret(&mut self, file: &Located<values::Path>) -> Option<Secret> {
        let path = self.resolve(file);
        let policy = self.spec.process.key_permissions.value;
        self.material(
            file.at,
            cached!(vault_secrets),
            path.clone(),
            |reader, problems| {
                let content = reader.read(&path)?;
                secrecy(policy, file.at, content.exposed("secret"), problems)?;
                let text = std::str::from_utf8(&content.bytes)
                    .unwrap_or_default()
                    .trim();
                let is_one = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
                if !is_one {
                    let error = content.error("this is no token and no secret");
                    return Err(error
                        .help("it holds the token or the secret alone, on one line")
                        .into());
                }
                Ok(Secret(Zeroizing::new(text.to_owned())))
            },
        )
    }
}

impl Compiler<'_> {
    /// Reports engines that no certificate names.
    pub(super) fn unused_engines(&mut self) {
        let named: Vec<_> = self
            .spec
            .upstreams
            .0
            .iter()
            .filter_map(
                |(_, upstream)| match &upstream.tls.client_certificate.as_ref()?.value {
                    ClientIdentity::Vault(certificate) => Some(certificate.vault.as_str()),
                    ClientIdentity::Named(_) => None,
                },
            )
            .collect();
        for (name, _) in &self.spec.vault.0 {
            if !named.contains(&name.as_str()) {
                self.problems
                    .warning(name.at, format!("no certificate is issued by `{}`", name.as_str()))
                    .help("upstreams: { NAME: { tls: { client_certificate: { vault: NAME, names: [HOST] } } } }");
            }
        }
    }
}

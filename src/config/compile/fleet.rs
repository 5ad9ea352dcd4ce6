//! The fleet that an instance belongs to.

use std::path::Path;
use std::sync::Arc;

use super::compiler::{Compiler, LoadOptions};
use super::pairs::PairPlaces;
use super::reading::{ReadError, cached};
use super::secrets::secrecy;
use crate::config::reader::problem::Problems;
use crate::config::reader::read::Located;
use crate::config::reader::values;
use crate::config::spec::{self, FleetStore, Spec, Trust};
use crate::fleet::{self, FleetSettings, Login, SealKey, SealKeys, StoreSettings};
use crate::tls::material::file::FileReader;
use crate::tls::material::password::Password;
use crate::tls::pair::Pair;
use crate::tls::pair_files::PairFiles;
use crate::tls::requests::client_config;
use crate::tls::usage::Presented;

/// The name of the machine.
const HOST: &str = "/proc/sys/kernel/hostname";

/// Compiles `fleet` alone: for who pushes documents, and need not be able to read what else the file names.
pub fn settings(
    spec: &Spec,
    dir: &Path,
    options: LoadOptions<'_>,
    problems: &mut Problems,
) -> Option<Arc<FleetSettings>> {
    Compiler::new(spec, dir, options, problems)
        .fleet()
        .flatten()
}

impl Compiler<'_> {
    /// The fleet, if there is one. The outer `None` means that there are errors, or files were skipped.
    pub(super) fn fleet(&mut self) -> Option<Option<Arc<FleetSettings>>> {
        let Some(spec) = &self.spec.fleet else {
            return Some(None);
        };
        if !fleet::IS_BUILT_IN {
            let problem = self
                .problems
                .error(spec.at, "this build of Reseal has no fleets");
            problem.help("build it with the feature `fleet`, or take the package");
            return None;
        }
        let store = self.store(&spec.etcd);
        let keys = self.seal_keys(spec);
        let instance = self.instance(spec);
        Some(Some(Arc::new(FleetSettings {
            store: store?,
            instance: instance?,
            group: spec.group.as_str().to_owned(),
            cache: self.resolve(&spec.cache),
            apply_within: spec.apply_within.0,
            keys: keys?,
        })))
    }

    fn instance(&mut self, spec: &Located<spec::Fleet>) -> Option<String> {
        if let Some(name) = &spec.instance {
            return Some(name.as_str().to_owned());
        }
        let host = std::fs::read_to_string(HOST).unwrap_or_default();
        let host = host.trim();
        if host.is_empty()
            || !host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        {
            let problem = self.problems.error(
                spec.at,
                "the name of this machine cannot be that of an instance",
            );
            problem.help("name it: `instance: NAME`");
            return None;
        }
        Some(host.to_owned())
    }

    fn store(&mut self, spec: &Located<FleetStore>) -> Option<StoreSettings> {
        if spec.endpoints.is_empty() {
            let problem = self
                .problems
                .error(spec.endpoints.at, "an empty list of endpoints");
            problem.help("name at least one member of the cluster");
            return None;
        }
        let is_tls = spec.endpoints.iter().any(|endpoint| endpoint.is_tls);
        self.store_lints(spec, is_tls);
        let login = self.login(spec);
        let tls = match is_tls {
            true => {
                let authorities = self.authorities(&spec.ca);
                let pair = match &spec.cert {
                    Some(cert) => self.store_certificate(spec, cert).map(Some),
                    None => Some(None),
                };
                match client_config(authorities?, pair?.as_deref()) {
                    Ok(config) => Some(config),
                    Err(error) => {
                        self.problems.error(spec.at, error.to_string());
                        return None;
                    }
                }
            }
            false => None,
        };
        Some(StoreSettings {
            endpoints: spec
                .endpoints
                .iter()
                .map(|endpoint| endpoint.value.clone())
                .collect(),
            prefix: spec.prefix.trim_end_matches('/').to_owned(),
            tls,
            login: login?,
        })
    }

    fn store_lints(&mut self, spec: &Located<FleetStore>, is_tls: bool) {
        let without_tls = [
            (spec.ca.value != Trust::Webpki).then_some((spec.ca.at, "ca")),
            spec.cert.as_ref().map(|cert| (cert.at, "cert")),
            spec.key.as_ref().map(|key| (key.at, "key")),
        ];
        for (at, key) in without_tls.into_iter().flatten().filter(|_| !is_tls) {
            let problem = self
                .problems
                .warning(at, format!("`{key}` has no effect with `http://`"));
            problem.help("write the endpoints with `https://`");
        }
        if let (Some(key), None) = (&spec.key, &spec.cert) {
            let problem = self.problems.error(key.at, "`key` without `cert`");
            problem.help("name the certificate: `cert: FILE`");
        }
        let is_clear = spec.endpoints.iter().any(|endpoint| {
            let host = &endpoint.place.host;
            let ip = host.parse::<std::net::IpAddr>();
            !endpoint.is_tls && !ip.map_or(host == "localhost", |ip| ip.is_loopback())
        });
        if let Some(user) = spec.user.as_ref().filter(|_| is_clear) {
            let problem = self
                .problems
                .warning(user.at, "the password is sent without encryption");
            problem.help("write the endpoints with `https://`");
        }
    }

    fn store_certificate(
        &mut self,
        spec: &FleetStore,
        cert: &Located<values::Path>,
    ) -> Option<Arc<Pair>> {
        let (at, key) = (cert.at, spec.key.as_ref());
        let cert = self.resolve(cert);
        let files = PairFiles {
            key: key.map_or_else(|| cert.clone(), |key| self.resolve(key)),
            ocsp: None,
            password: None,
            cert,
        };
        let places = PairPlaces {
            key: key.map_or(at, |key| key.at),
            ..PairPlaces::all(at)
        };
        let pair = self.certified(places, files)?;
        self.presented(at, &pair, Presented::ToOrigins);
        Some(pair)
    }

    /// The outer `None` means that there are errors.
    fn login(&mut self, spec: &FleetStore) -> Option<Option<Login>> {
        let (user, file) = match (&spec.user, &spec.password_file) {
            (None, None) => return Some(None),
            (Some(user), Some(file)) => (user, file),
            (Some(user), None) => {
                let problem = self
                    .problems
                    .error(user.at, "`user` without `password_file`");
                problem.help("a user of etcd without a password is that of a client certificate, which etcd's JSON \
                              gateway does not pass on");
                return None;
            }
            (None, Some(file)) => {
                self.problems
                    .error(file.at, "`password_file` without `user`");
                return None;
            }
        };
        let path = self.resolve(file);
        let policy = self.spec.process.key_permissions.value;
        let read = |reader: &mut FileReader, problems: &mut Problems| {
            let contents = reader.read(&path)?;
            secrecy(policy, file.at, contents.exposed("password"), problems)?;
            let password = Password::of(&contents)?;
            Ok::<_, ReadError>(Arc::new(password.into_text()))
        };
        let password = self.material(file.at, cached!(passwords), path.clone(), read)?;
        Some(Some(Login {
            user: user.0.clone(),
            password,
        }))
    }

    fn seal_keys(&mut self, spec: &spec::Fleet) -> Option<SealKeys> {
        let files = &spec.seal_key;
        if files.is_empty() {
            self.problems.error(files.at, "an empty list of keys");
            return None;
        }
        let mut keys = Vec::new();
        for file in files.iter() {
            let path = self.resolve(file);
            let policy = self.spec.process.key_permissions.value;
            let read = |reader: &mut FileReader, problems: &mut Problems| {
                let make = || {
                    format!(
                        "make one, and give it to every instance: `openssl rand -out {} 32`",
                        path.display()
                    )
                };
                let secret = reader.read(&path).map_err(|e| e.help(make()))?;
                secrecy(policy, file.at, secret.exposed("sealing key"), problems)?;
                let short = || {
                    let least = SealKey::LEN_MIN;
                    secret
                        .error(format_args!(
                            "a sealing key has at least {least} bytes, this has {}",
                            secret.bytes.len()
                        ))
                        .help(make())
                };
                Ok(SealKey::of(&secret.bytes).ok_or_else(short)?)
            };
            keys.push(self.material(file.at, cached!(seal_keys), path.clone(), read));
        }
        // What is missing was reported, or files were skipped.
        keys.into_iter().collect::<Option<_>>().map(SealKeys)
    }
}

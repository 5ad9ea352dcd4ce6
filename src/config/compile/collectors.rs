//! The collector of OpenTelemetry that gets the records of the access log.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::compiler::Compiler;
use super::reading::{ReadError, cached};
use super::secrets::secrecy;
use crate::config::reader::problem::Problems;
use crate::config::reader::read::Located;
use crate::config::reader::values;
use crate::config::spec::{self, Trust};
use crate::observe::export::{Headers, OtlpSettings, OtlpTerms};
use crate::tls::material::file::{FileReader, MaterialError};
use crate::tls::requests::client_config;

impl Compiler<'_> {
    /// `None` if there is none, or if there are errors.
    pub(super) fn otlp(&mut self) -> Option<OtlpSettings> {
        let located = &self.spec.access_log.otlp;
        let spec = located.get()?;
        self.otlp_lints(spec);
        let headers = match &spec.headers_file {
            Some(file) => self.headers(file),
            None => Some(Headers::default()),
        };
        let tls = match spec.endpoint.is_tls {
            true => {
                let authorities = self.authorities(&spec.ca)?;
                match client_config(authorities, None) {
                    Ok(config) => Some(config),
                    Err(error) => {
                        self.problems.error(located.at, error.to_string());
                        return None;
                    }
                }
            }
            false => None,
        };
        Some(OtlpSettings {
            endpoint: spec.endpoint.value.clone(),
            ca: self.named_authorities(&spec.ca),
            headers_file: spec.headers_file.as_ref().map(|file| self.resolve(file)),
            terms: Arc::new(OtlpTerms {
                tls,
                headers: headers?,
            }),
        })
    }

    /// The CAs as the configuration names them.
    fn named_authorities(&self, trust: &Trust) -> String {
        match trust {
            Trust::Webpki => "webpki".to_owned(),
            Trust::System => "system".to_owned(),
            Trust::Files(files) => format!("{:?}", self.paths(files)),
        }
    }

    fn otlp_lints(&mut self, spec: &spec::Otlp) {
        if spec.endpoint.is_tls {
            return;
        }
        if spec.ca.value != Trust::Webpki {
            self.problems
                .warning(spec.ca.at, "`ca` has no effect with `http://`")
                .help("write the endpoint with `https://`");
        }
        let host = spec.endpoint.place.host.parse::<IpAddr>();
        let is_local = host.map_or(spec.endpoint.place.host == "localhost", |ip| {
            ip.is_loopback()
        });
        if let Some(file) = spec.headers_file.as_ref().filter(|_| !is_local) {
            self.problems
                .warning(
                    file.at,
                    "the headers of `headers_file` are sent without encryption",
                )
                .help("write the endpoint with `https://`");
        }
    }

    fn headers(&mut self, file: &Located<values::Path>) -> Option<Headers> {
        let path = self.resolve(file);
        let policy = self.spec.process.key_permissions.value;
        let read = |reader: &mut FileReader, problems: &mut Problems| {
            let contents = reader.read(&path)?;
            secrecy(
                policy,
                file.at,
                contents.exposed("file of headers"),
                problems,
            )?;
            Ok::<_, ReadError>(headers(&path, &contents.bytes)?)
        };
        self.material(file.at, cached!(headers), path.clone(), read)
    }
}

fn headers(path: &Path, text: &[u8]) -> Result<Headers, MaterialError> {
    const HELP: &str = "write a line such as `Authorization: Bearer TOKEN`";
    let headers = Headers::parse(text)
        .map_err(|error| MaterialError::at_line(path, error.line, error.what).help(HELP))?;
    if headers.is_empty() {
        return Err(MaterialError::new(path, "it holds no header").help(HELP));
    }
    Ok(headers)
}

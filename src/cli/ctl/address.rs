//! Addresses of the admin socket.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use hyper::http::uri::Authority;
use rustls::CertificateError;
use rustls::pki_types::ServerName;

use crate::snapshot::admin::socket_in;

/// The runtime directory of the packages.
const RUNTIME_DIRECTORY: &str = "/run/reseal";

/// An address of the admin socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AdminAddress {
    Unix(PathBuf),
    Tcp(String),
    Tls(String),
}

impl AdminAddress {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        let (is_tls, address) = match text.strip_prefix("https://") {
            Some(address) => (true, Some(address)),
            None => (false, text.strip_prefix("http://")),
        };
        match address.map(|address| address.trim_end_matches('/')) {
            Some(address) if !address.is_empty() && !address.contains(['/', '@']) => {
                Ok(match is_tls {
                    true => Self::Tls(address.to_owned()),
                    false => Self::Tcp(address.to_owned()),
                })
            }
            _ => Err(format!(
                "`{text}` is neither unix:PATH nor http://ADDRESS:PORT nor https://ADDRESS:PORT"
            )),
        }
    }

    /// The default address of the configuration and the packages.
    pub(super) fn default_address(runtime_directories: Option<&str>) -> Self {
        let ours = runtime_directories.and_then(socket_in);
        Self::Unix(
            ours.or_else(|| socket_in(RUNTIME_DIRECTORY))
                .unwrap_or_default(),
        )
    }

    pub(super) fn unreachable(&self, error: &io::Error) -> String {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "`admin.permissions`, `owner` and `group` say who may connect."
            }
            _ => {
                "Does the process run, and does its configuration have `admin.listen`? \
                 --config FILE finds the address there, --admin gives it."
            }
        };
        format!("cannot connect to {self}: {error}\n{hint}")
    }

    /// An error of a library, with what caused it.
    pub(super) fn failed(&self, error: &(dyn Error + 'static)) -> String {
        let mut text = format!("{self}: {error}");
        let mut hint = tls_hint(error);
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            hint = hint.or_else(|| tls_hint(error));
            cause = error.source();
        }
        match hint {
            Some(hint) => format!("{text}\n{hint}"),
            None => text,
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Tls(address) => write!(f, "https://{address}"),
        }
    }
}

/// The way out of an error of TLS, which may come with the answer (RFC 8446 section 4.4.2.4).
fn tls_hint(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let inner = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    let rustls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match rustls.or_else(|| error.downcast_ref())? {
        rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => {
            Some(
                "The certificate is not that of `admin.tls` in the configuration: a renewed one is read within \
             30 s; --ca FILE names its CA.",
            )
        }
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            Some("--ca FILE names the CA of its certificate.")
        }
        rustls::Error::AlertReceived(_) => Some(
            "--cert FILE and --key FILE are the certificate that `admin.tls.client_ca` demands.",
        ),
        _ => None,
    }
}

/// The host of an address with a port, as TLS verifies it.
pub(super) fn server_name(place: &str) -> Option<ServerName<'static>> {
    let authority: Authority = place.parse().ok()?;
    authority.port()?;
    let host = authority.host();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(bare.to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_tls_verifies_is_that_of_the_address() {
        for (place, name) in [
            ("admin.test:9", Some("admin.test")),
            ("127.0.0.1:9", Some("127.0.0.1")),
            ("[::1]:9", Some("::1")),
            ("admin.test", None),
            ("[::1]", None),
            ("a b:9", None),
        ] {
            let found = server_name(place).map(|name| name.to_str().into_owned());
            assert_eq!(found.as_deref(), name, "{place}");
        }
    }

    #[test]
    fn addresses_parse_and_print_alike() {
        let tcp = AdminAddress::parse("http://127.0.0.1:9090/").unwrap();
        assert_eq!(tcp, AdminAddress::Tcp("127.0.0.1:9090".to_owned()));
        let tls = AdminAddress::parse("https://admin.test:9090").unwrap();
        assert_eq!(tls, AdminAddress::Tls("admin.test:9090".to_owned()));
        assert_eq!(tls.to_string(), "https://admin.test:9090");
        let unix = AdminAddress::parse("unix:/run/x.sock").unwrap();
        assert_eq!(unix.to_string(), "unix:/run/x.sock");
        for wrong in [
            "",
            "/run/x.sock",
            "https://",
            "https://a@b:1",
            "http://",
            "http://a/b",
        ] {
            assert!(AdminAddress::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            AdminAddress::default_address(Some("/run/a:/run/b")),
            AdminAddress::Unix("/run/a/admin.sock".into())
        );
        assert_eq!(
            AdminAddress::default_address(None),
            AdminAddress::Unix("/run/reseal/admin.sock".into())
        );
    }
}

//! What the configuration says: an engine, and the certificates that it issues. Immutable.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use zeroize::Zeroizing;

use crate::state::Kept;
use crate::tls::digest;
use crate::tls::pair::Pair;
use crate::tls::verify::authorities::Authorities;

/// A PKI engine, and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Where the server is: `https://HOST:PORT`, without a path.
    pub address: String,
    /// Who vouches for the server.
    pub authorities: Arc<Authorities>,
    /// The path of the engine.
    pub mount: String,
    /// The role by which it issues.
    pub role: String,
    /// How this process logs in.
    pub auth: Auth,
    /// The directory of its state.
    pub state: PathBuf,
    /// Whether certificates are revoked at the end of the process.
    pub revokes: bool,
}

impl Engine {
    /// The port of the server.
    pub fn port(&self) -> u16 {
        let uri: Option<Uri> = self.address.parse().ok();
        let port = uri.as_ref().and_then(Uri::port_u16);
        let usual = match self.address.starts_with("https:") {
            true => 443,
            false => 80,
        };
        port.unwrap_or(usual)
    }
}

/// How a process logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// It has a token.
    Token(Secret),
    /// By a client certificate.
    Certificate {
        /// The certificate.
        pair: Arc<Pair>,
        /// The path of the method.
        mount: String,
    },
    /// By a role and its secret.
    AppRole {
        /// The role.
        role_id: String,
        /// The secret.
        secret_id: Secret,
        /// The path of the method.
        mount: String,
    },
}

/// A token or another secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Zeroizing<String>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A certificate that an engine issues. However many upstreams present it, it is issued once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who issues it.
    pub engine: Arc<Engine>,
    /// What it is for, the common name first; at least one.
    pub names: Vec<String>,
    /// How long it lives; absent: as long as the role says.
    pub ttl: Option<Duration>,
    /// The file that holds the chain and the key.
    pub file: PathBuf,
}

impl Identity {
    /// The certificate of an engine for these names. The file that holds it is that of engine, role and
    /// names.
    pub fn new(engine: &Arc<Engine>, names: Vec<String>, ttl: Option<Duration>) -> Self {
        const SHOWN_MAX: usize = 60;
        let parts = [&engine.address, &engine.mount, &engine.role]
            .into_iter()
            .chain(&names);
        let mut digits = String::new();
        for byte in &digest::parts(parts.map(|part| part.as_bytes()))[..8] {
            digits.push_str(&format!("{byte:02x}"));
        }
        let shown: String = names
            .iter()
            .flat_map(|name| name.chars())
            .take(SHOWN_MAX)
            .collect();
        let shown = shown.replace(
            |c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-',
            "_",
        );
        let file = engine
            .state
            .join(format!("{}-{shown}-{digits}.pem", engine.name));
        Self {
            engine: Arc::clone(engine),
            names,
            ttl,
            file,
        }
    }

    /// The directory of its file.
    pub fn state(&self) -> &Path {
        &self.engine.state
    }
}

impl Kept for Identity {
    fn file(&self) -> &Path {
        &self.file
    }
}

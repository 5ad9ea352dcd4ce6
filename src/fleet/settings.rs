//! What the configuration says about a fleet.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use zeroize::Zeroizing;

use super::seal::SealKeys;
use crate::observe::export::HostPort;

/// A member of the store's cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreEndpoint {
    /// Whether it speaks TLS.
    pub is_tls: bool,
    /// Where it is.
    pub place: HostPort,
}

impl fmt::Display for StoreEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.place)
    }
}

/// A user of the store with a password.
#[derive(Clone)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password.
    pub password: Arc<Zeroizing<String>>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.user)
    }
}

/// How the store is reached.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// The members of the cluster, at least one.
    pub endpoints: Vec<StoreEndpoint>,
    /// Before all keys, without a slash at its end.
    pub prefix: String,
    /// The policy of TLS, if any endpoint speaks it.
    pub tls: Option<Arc<ClientConfig>>,
    /// Who we are, if the store has users.
    pub login: Option<Login>,
}

/// The fleet that this process is an instance of.
#[derive(Debug)]
pub struct FleetSettings {
    /// How the store is reached.
    pub store: StoreSettings,
    /// The name of the instance.
    pub instance: String,
    /// Its group.
    pub group: String,
    /// The directory of the last good document.
    pub cache: PathBuf,
    /// Within which time a new document is applied.
    pub apply_within: Duration,
    /// What documents are sealed with.
    pub keys: SealKeys,
}

impl FleetSettings {
    /// Whether both differ in the contents of files alone.
    pub fn is_alike(&self, other: &Self) -> bool {
        let user = |settings: &Self| {
            settings
                .store
                .login
                .as_ref()
                .map(|login| login.user.clone())
        };
        self.store.endpoints == other.store.endpoints
            && self.store.prefix == other.store.prefix
            && user(self) == user(other)
            && self.instance == other.instance
            && self.group == other.group
            && self.cache == other.cache
            && self.apply_within == other.apply_within
    }
}

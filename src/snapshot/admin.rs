//! The settings of the admin socket and the metrics listener.

mod access;
mod token;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

pub use self::access::{Access, AdminTls};
pub use self::token::{Role, Tokens, strongest};

/// The admin and metrics listeners.
#[derive(Clone, Debug, Default)]
pub struct AdminSettings {
    /// The admin socket, if any.
    pub listen: Option<AdminListen>,
    /// The listener for `/metrics`, `/healthz` and `/readyz`, if any.
    pub metrics: Option<SocketAddr>,
}

impl AdminSettings {
    /// The certificate that the admin listener presents.
    pub fn tls(&self) -> Option<&AdminTls> {
        match &self.listen {
            Some(AdminListen::Tcp { access, .. }) => access.tls.as_ref(),
            _ => None,
        }
    }

    /// Whether both are about the same listeners, with the same owners and permissions. Who may use them can
    /// differ.
    pub fn has_listeners_of(&self, other: &Self) -> bool {
        let is_same = match (&self.listen, &other.listen) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => ours.is_same_as(theirs),
            _ => false,
        };
        is_same && self.metrics == other.metrics
    }
}

/// The address of the admin socket.
#[derive(Clone, Debug)]
pub enum AdminListen {
    /// A unix socket: a user who may connect to it has full control.
    Unix {
        /// Its path.
        path: PathBuf,
        /// Its permission bits.
        permissions: u32,
        /// Its owner, by name or number.
        owner: Option<String>,
        /// Its group, by name or number.
        group: Option<String>,
    },
    /// A TCP address.
    Tcp {
        /// The address.
        address: SocketAddr,
        /// Who may use it.
        access: Arc<Access>,
    },
}

impl AdminListen {
    fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Unix {
                    path,
                    permissions,
                    owner,
                    group,
                },
                Self::Unix {
                    path: other_path,
                    permissions: other_permissions,
                    owner: other_owner,
                    group: other_group,
                },
            ) => {
                (path, permissions, owner, group)
                    == (other_path, other_permissions, other_owner, other_group)
            }
            (Self::Tcp { address, .. }, Self::Tcp { address: other, .. }) => address == other,
            _ => false,
        }
    }
}

/// The path of the admin socket in the first directory of `RUNTIME_DIRECTORY`, which service managers set.
pub fn socket_in(runtime_directories: &str) -> Option<PathBuf> {
    let first = runtime_directories.split(':').next();
    let first = first.filter(|first| !first.is_empty())?;
    Some(Path::new(first).join("admin.sock"))
}

/// The access that is in force. Reloads change it, also for sockets that are open already.
#[derive(Clone, Debug)]
pub struct LiveAccess {
    /// The address as configured.
    address: SocketAddr,
    access: Arc<ArcSwap<Access>>,
}

impl LiveAccess {
    /// The access of a listener with this configured address.
    pub fn new(address: SocketAddr, access: Arc<Access>) -> Self {
        Self {
            address,
            access: Arc::new(ArcSwap::new(access)),
        }
    }

    /// The access now.
    pub fn load(&self) -> Arc<Access> {
        self.access.load_full()
    }

    /// Takes over the access of new settings, unless they are those of another listener: that needs a
    /// restart.
    pub fn update(&self, settings: &AdminSettings) {
        if let Some(AdminListen::Tcp { address, access }) = &settings.listen
            && *address == self.address
        {
            self.access.store(Arc::clone(access));
        }
    }
}

//! What a configuration needs of the machine while it runs.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::policy::Room;

/// What a configuration needs of the machine while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Files and directories that are read.
    pub read: BTreeSet<PathBuf>,
    /// Log files.
    pub logs: BTreeSet<PathBuf>,
    /// Files of listening unix sockets.
    pub sockets: BTreeSet<PathBuf>,
    /// Directories and files that may be written for another reason.
    pub write: BTreeSet<PathBuf>,
    /// TCP ports that are listened on; 0 is any port that the kernel chooses.
    pub bind: BTreeSet<u16>,
    /// Whether any port may be listened on: which ones, is not in the file.
    pub binds_any: bool,
    /// TCP ports that are connected to.
    pub connect: BTreeSet<u16>,
    /// Whether connections are made from an address that the configuration names.
    pub from_addresses: bool,
    /// Whether the owner of a socket's file is looked up by name.
    pub accounts: bool,
}

impl Rights {
    /// These, and those of `room`.
    pub(super) fn with(&self, room: &Room) -> Self {
        let mut all = self.clone();
        all.read.extend(room.read.iter().cloned());
        all.write.extend(room.write.iter().cloned());
        all.connect.extend(&room.connect);
        all.bind.extend(&room.bind);
        all
    }
}

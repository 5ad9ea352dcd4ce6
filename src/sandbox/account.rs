//! The user that the process becomes.

use std::ffi::CString;
use std::io;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::sys;

/// A user, and a group in place of the user's own, by names or numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunAs {
    /// The user.
    pub user: String,
    /// The group.
    pub group: Option<String>,
}

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name, if it has one: its groups are found by it.
    name: Option<CString>,
    uid: u32,
    gid: u32,
    /// Whether the configuration names the group.
    is_group_named: bool,
}

impl RunAs {
    /// Looks the user and the group up.
    ///
    /// # Errors
    ///
    /// One sentence, if there is no such user or group, or if a number without an entry comes without a
    /// group.
    pub fn find(&self) -> Result<Account, String> {
        let Self { user, group } = self;
        let cannot = |what: &str, name: &str, error: io::Error| {
            format!("the {what} `{name}` cannot be looked up: {error}")
        };
        let entry = match user.parse() {
            Ok(uid) => sys::user_by_id(uid),
            Err(_) => c_string(user).and_then(|name| sys::user_by_name(&name)),
        };
        let entry = entry.map_err(|error| cannot("user", user, error))?;
        let gid = match group.as_deref() {
            None => None,
            Some(group) => match group.parse() {
                Ok(gid) => Some(gid),
                Err(_) => {
                    let found = c_string(group).and_then(|name| sys::group_id(&name));
                    let found = found.map_err(|error| cannot("group", group, error))?;
                    Some(found.ok_or_else(|| format!("there is no group `{group}`"))?)
                }
            },
        };
        match (entry, user.parse(), gid) {
            (Some(entry), ..) => Ok(Account {
                gid: gid.unwrap_or(entry.gid),
                is_group_named: gid.is_some(),
                uid: entry.uid,
                name: Some(entry.name),
            }),
            (None, Ok(uid), Some(gid)) => Ok(Account {
                name: None,
                uid,
                gid,
                is_group_named: true,
            }),
            (None, Ok(uid), None) => Err(format!(
                "the user {uid} has no entry that says its group: write `{uid}:GROUP`"
            )),
            (None, Err(_), _) => Err(format!("there is no user `{user}`")),
        }
    }
}

impl Account {
    /// Its number.
    pub const fn uid(&self) -> u32 {
        self.uid
    }

    /// The number of its group.
    pub const fn gid(&self) -> u32 {
        self.gid
    }

    /// Why this process cannot become the user, if it cannot: one sentence.
    pub fn is_out_of_reach(&self) -> Option<String> {
        let own = rustix::process::geteuid().as_raw();
        let what = if own == 0 {
            return None;
        } else if own != self.uid {
            "become another user"
        } else if self.is_group_named && rustix::process::getegid().as_raw() != self.gid {
            "change its group"
        } else {
            return None;
        };
        let name = own_name();
        Some(format!(
            "only root can {what}, and this process runs as `{name}`"
        ))
    }

    /// Those of these files that the user may not read. Nobody but root and the user itself can say: for
    /// others there are none.
    pub fn unreadable<'a>(&self, files: &[&'a Path]) -> Vec<&'a Path> {
        let look = || {
            let files = files.iter().copied();
            files.filter(|file| !is_readable(file)).collect()
        };
        match rustix::process::geteuid().as_raw() {
            own if own == self.uid => look(),
            0 => sys::as_user(self.name.as_deref(), self.uid, self.gid, look).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// Becomes the user, for good, with its groups.
    ///
    /// # Errors
    ///
    /// One sentence. What the process runs as is undefined then.
    pub(super) fn enter(&self) -> Result<(), String> {
        if let Some(why) = self.is_out_of_reach() {
            return Err(format!("process.user: {why}"));
        }
        let own = rustix::process::geteuid().as_raw();
        if own != 0 {
            // It is that user already, and may not change its groups.
            return Ok(());
        }
        sys::become_user(self.name.as_deref(), self.uid, self.gid)
            .map_err(|error| format!("process.user: the user cannot be changed: {error}"))
    }
}

/// Whether this thread may read a file.
fn is_readable(file: &Path) -> bool {
    accessat(CWD, file, Access::READ_OK, AtFlags::EACCESS).is_ok()
}

/// The name of the user that this process runs as, or the number.
pub(super) fn own_name() -> String {
    let uid = rustix::process::geteuid().as_raw();
    match sys::user_by_id(uid) {
        Ok(Some(entry)) => entry.name.to_string_lossy().into_owned(),
        _ => uid.to_string(),
    }
}

fn c_string(name: &str) -> io::Result<CString> {
    CString::new(name).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_as(user: &str, group: Option<&str>) -> Result<Account, String> {
        let group = group.map(str::to_owned);
        RunAs {
            user: user.to_owned(),
            group,
        }
        .find()
    }

    #[test]
    fn users_and_groups_are_names_or_numbers() {
        let root = run_as("root", None).unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(run_as("0", None).unwrap(), root);
        let other = run_as("root", Some("7")).unwrap();
        assert_eq!((other.uid, other.gid), (0, 7));
        let unnamed = run_as("4123456789", Some("12")).unwrap();
        assert_eq!(
            (unnamed.name, unnamed.uid, unnamed.gid),
            (None, 4_123_456_789, 12)
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        for (user, group, why) in [
            ("no-such-user", None, "there is no user `no-such-user`"),
            (
                "root",
                Some("no-such-group"),
                "there is no group `no-such-group`",
            ),
            ("4123456789", None, "write `4123456789:GROUP`"),
            ("a\0b", None, "cannot be looked up"),
        ] {
            let error = run_as(user, group).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}

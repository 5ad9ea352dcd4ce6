//! The name of this machine.

use std::fs;

/// The longest HOSTNAME (RFC 5424 section 6).
const HOSTNAME_MAX: usize = 255;

/// The machine's name; `-`, which stands for none, if it is unknown or cannot be written.
pub(super) fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let is_printable = name.bytes().all(|byte| byte.is_ascii_graphic());
    if name.is_empty() || name.len() > HOSTNAME_MAX || !is_printable {
        return "-".to_owned();
    }
    name.to_owned()
}

//! Paths of unix sockets that cannot be used as such.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;

use super::compiler::{Compiler, Files};
use crate::config::reader::address::OriginAddress;
use crate::config::reader::admin_address::AdminAddress;
use crate::config::reader::listen::Listen;
use crate::config::reader::problem::{Span, quoted};
use crate::config::reader::values::Path;

/// The longest path of a unix socket, without the NUL at its end (unix(7)).
const PATH_MAX: usize = 107;

impl Compiler<'_> {
    /// Reports each path of a unix socket that the kernel does not take or that Linux programs read as an
    /// abstract name, and warns about origins at files that are no sockets.
    pub(super) fn unix_sockets(&mut self) {
        let spec = self.spec;
        for listen in spec.endpoints.iter().flat_map(|e| e.listen.iter()) {
            if let Listen::Unix(unix) = &listen.value {
                self.socket_path(unix.unix.at, &unix.unix);
            }
        }
        if let Some(listen) = &spec.admin.listen
            && let AdminAddress::Unix(path) = &listen.value
        {
            self.socket_path(listen.at, path);
        }
        let upstreams = spec.upstreams.0.iter();
        for origin in upstreams.flat_map(|(_, upstream)| upstream.origins.iter()) {
            if let OriginAddress::Unix(path) = &origin.address.value {
                self.socket_path(origin.at, path);
                self.socket_to_dial(origin.at, path);
            }
        }
    }

    fn socket_path(&mut self, at: Span, path: &Path) {
        let resolved = self.resolve(path);
        if path.0.as_os_str().as_bytes().starts_with(b"@") {
            let name = path.0.to_string_lossy();
            self.problems
                .error(
                    at,
                    format!("{}: abstract unix sockets are not supported", quoted(&name)),
                )
                .help(format!(
                    "any user may bind an abstract name; `unix:./{name}` is a file of that name"
                ));
        } else if resolved.as_os_str().len() > PATH_MAX {
            let len = resolved.as_os_str().len();
            let what = format!("the path of this unix socket has {len} bytes, with its directory");
            self.problems
                .error(at, what)
                .help(format!("the kernel takes at most {PATH_MAX}"));
        }
    }

    /// An origin's socket may appear later, but not in the place of another file.
    fn socket_to_dial(&mut self, at: Span, path: &Path) {
        if self.files == Files::Skip {
            return;
        }
        let path = self.resolve(path);
        if fs::metadata(&path).is_ok_and(|meta| !meta.file_type().is_socket()) {
            let what = format!("{} is not a socket", path.display());
            self.problems
                .warning(at, what)
                .help("connections to this origin fail until it is one");
        }
    }
}

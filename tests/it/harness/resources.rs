//! Directories, ports and addresses that belong to one test.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

/// A temporary directory, removed with its last clone. It is world-readable, because servers that tests start
/// drop to their own users.
#[derive(Clone, Debug)]
pub struct Directory(Arc<TempDir>);

impl Directory {
    pub fn new() -> Self {
        let directory = TempDir::with_prefix("reseal-it-").unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self(Arc::new(directory))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file that only its owner may read, as private keys require.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        self.write_with_mode(name, contents, 0o600)
    }

    pub fn write_with_mode(&self, name: &str, contents: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

/// A listening address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddr {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl ListenAddr {
    /// Reads an address as the program writes it.
    pub fn parse(text: &str) -> Self {
        match text.strip_prefix("unix:") {
            Some(path) => Self::Unix(path.into()),
            None => Self::Tcp(
                text.replace("*:", "127.0.0.1:")
                    .parse()
                    .unwrap_or_else(|_| panic!("{text} is not an address")),
            ),
        }
    }

    pub fn tcp(&self) -> SocketAddr {
        match self {
            Self::Tcp(address) => *address,
            Self::Unix(path) => panic!("{} is not a TCP address", path.display()),
        }
    }

    pub fn port(&self) -> u16 {
        self.tcp().port()
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A port reserved by a bound socket that does not listen: the kernel assigns it to no other socket, a
/// program can still listen on it (both set SO_REUSEADDR), and until then connections are refused.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    _socket: Socket,
}

impl Port {
    pub fn reserve() -> Self {
        Self::bind(Domain::IPV4, Ipv4Addr::LOCALHOST.into())
    }

    /// One that no socket has at any address, connections that have just ended included.
    pub fn reserve_at_all_addresses() -> Self {
        Self::bind(Domain::IPV6, Ipv6Addr::UNSPECIFIED.into())
    }

    fn bind(domain: Domain, address: IpAddr) -> Self {
        let socket = Socket::new(domain, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
        let bound = socket.local_addr().unwrap().as_socket().unwrap();
        Self {
            address: (Ipv4Addr::LOCALHOST, bound.port()).into(),
            _socket: socket,
        }
    }

    /// The same port, reserved for as long as the result lives, too.
    pub fn again(&self) -> Self {
        Self {
            address: self.address,
            _socket: self._socket.try_clone().unwrap(),
        }
    }

    pub fn number(&self) -> u16 {
        self.address.port()
    }

    /// Listens on it.
    pub fn listen(&self) -> TcpListener {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&self.address.into()).unwrap();
        socket.listen(16).unwrap();
        socket.into()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The bytes in the send and receive queues of the chosen IPv4 sockets, by local and peer address. The
/// receive queue of a listening socket has connections that were not accepted yet.
pub fn queued(is_chosen: impl Fn(SocketAddr, SocketAddr) -> bool) -> (u64, u64) {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let mut sum = (0, 0);
    for line in table.lines().skip(1) {
        let fields: Vec<_> = line.split_whitespace().collect();
        let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let address = |text: &str| {
            let (ip, port) = text.split_once(':').unwrap();
            let ip = u32::from_str_radix(ip, 16).unwrap().to_ne_bytes();
            SocketAddr::from((ip, u16::from_str_radix(port, 16).unwrap()))
        };
        if is_chosen(address(fields[1]), address(fields[2])) {
            let (to_send, to_read) = fields[4].split_once(':').unwrap();
            sum = (sum.0 + hex(to_send), sum.1 + hex(to_read));
        }
    }
    sum
}

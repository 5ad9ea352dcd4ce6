//! A connected socket to a syslog server. It blocks, within bounds.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::address::{HostPort, SyslogAddress};

/// How long a connect or a write may take.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) enum Socket {
    Unix(UnixDatagram),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// How far some messages have come.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// How many of them the kernel has, or are given up.
    pub(super) count: usize,
    /// How many were given up because no datagram can hold them.
    pub(super) too_long: u64,
    /// Why not all have been sent.
    pub(super) error: Option<io::Error>,
}

impl Socket {
    pub(super) fn connect(to: &SyslogAddress) -> io::Result<Self> {
        match to {
            SyslogAddress::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path).map_err(|error| {
                    let is_stream = error.raw_os_error() == Some(Errno::PROTOTYPE.raw_os_error());
                    match is_stream {
                        true => io::Error::other("it is no socket for datagrams"),
                        false => error,
                    }
                })?;
                socket.set_write_timeout(Some(TIMEOUT))?;
                Ok(Self::Unix(socket))
            }
            SyslogAddress::Udp(place) => first_of(place, |address| {
                let local: SocketAddr = match address {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(local)?;
                socket.connect(address)?;
                socket.set_write_timeout(Some(TIMEOUT))?;
                Ok(Self::Udp(socket))
            }),
            SyslogAddress::Tcp(place) => first_of(place, |address| {
                let socket = TcpStream::connect_timeout(&address, TIMEOUT)?;
                socket.set_write_timeout(Some(TIMEOUT))?;
                socket.set_nodelay(true)?;
                Ok(Self::Tcp(socket))
            }),
        }
    }

    /// Whether the server has ended the connection: what is written then is lost without an error.
    pub(super) fn has_ended(&self) -> bool {
        let Self::Tcp(socket) = self else {
            return false;
        };
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match recv(socket, &mut [0; 1], flags) {
            // A server sends nothing; what it sends all the same is in the way of its end.
            Ok(_) => true,
            Err(error) => error != Errno::WOULDBLOCK && error != Errno::INTR,
        }
    }

    /// Sends messages, in order.
    pub(super) fn send(&mut self, messages: &[String]) -> Sent {
        match self {
            Self::Unix(socket) => datagrams(messages, |message| socket.send(message)),
            Self::Udp(socket) => datagrams(messages, |message| socket.send(message)),
            Self::Tcp(socket) => counted(socket, messages),
        }
    }
}

/// Connects to the first address of a host that can be connected to.
fn first_of(
    place: &HostPort,
    connect: impl Fn(SocketAddr) -> io::Result<Socket>,
) -> io::Result<Socket> {
    let mut failed = None;
    for address in place.addresses()? {
        match connect(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| io::Error::other("the name has no address")))
}

/// Sends a datagram for each message.
fn datagrams(messages: &[String], send: impl Fn(&[u8]) -> io::Result<usize>) -> Sent {
    let mut sent = Sent::default();
    while let Some(message) = messages.get(sent.count) {
        match send(message.as_bytes()) {
            Ok(_) => sent.count += 1,
            Err(error) if error.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error()) => {
                sent.count += 1;
                sent.too_long += 1;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                sent.error = Some(error);
                break;
            }
        }
    }
    sent
}

/// Sends all messages, each after its length. One of which the kernel has a part counts as not sent: the
/// server takes none of it.
fn counted(stream: &mut impl Write, messages: &[String]) -> Sent {
    let mut frames = Vec::new();
    let mut ends = Vec::with_capacity(messages.len());
    for message in messages {
        frames.extend_from_slice(message.len().to_string().as_bytes());
        frames.push(b' ');
        frames.extend_from_slice(message.as_bytes());
        ends.push(frames.len());
    }
    let mut written = 0;
    let mut error = None;
    while let Some(rest) = frames.get(written..).filter(|rest| !rest.is_empty()) {
        match stream.write(rest) {
            Ok(count @ 1..) => written += count,
            Ok(0) => error = Some(io::ErrorKind::WriteZero.into()),
            Err(again) if again.kind() == io::ErrorKind::Interrupted => {}
            Err(failed) => error = Some(failed),
        }
        if error.is_some() {
            break;
        }
    }
    Sent {
        count: ends.iter().filter(|end| **end <= written).count(),
        too_long: 0,
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that takes this many bytes, three at a time.
    struct Narrow(usize, Vec<u8>);

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(3).min(self.0);
            if count == 0 && !bytes.is_empty() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.0 -= count;
            self.1.extend(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn messages_on_a_stream_are_counted_and_a_part_of_one_is_not_sent() {
        let messages = ["abcde".to_owned(), "f".to_owned(), "gh".to_owned()];
        let whole = "5 abcde1 f2 gh";
        for room in 0..=whole.len() {
            let mut stream = Narrow(room, Vec::new());
            let sent = counted(&mut stream, &messages);
            assert_eq!(stream.1, &whole.as_bytes()[..room]);
            let expected = [7, 10, 14].iter().filter(|end| **end <= room).count();
            assert_eq!(sent.count, expected, "{room}");
            assert_eq!(sent.error.is_none(), room == whole.len());
        }
    }

    #[test]
    fn a_message_that_no_datagram_can_hold_is_given_up_and_the_next_one_sent() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let place = HostPort {
            host: "127.0.0.1".to_owned(),
            port: receiver.local_addr().unwrap().port(),
        };
        let mut socket = Socket::connect(&SyslogAddress::Udp(place)).unwrap();
        let sent = socket.send(&["x".repeat(70_000), "next".to_owned()]);
        assert_eq!((sent.count, sent.too_long), (2, 1));
        assert!(sent.error.is_none());
        let mut buffer = [0; 100];
        let count = receiver.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"next");
    }
}

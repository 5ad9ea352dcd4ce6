//! The side of the successor.

use std::collections::HashSet;
use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{set_socket_passcred, socket_acceptconn, socket_type};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketType, recvmsg,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::frame;
use super::offer::{BATCH, Offered, Role, SILENCE};
use super::peer;

/// How long after its sockets the end of a process is reported, generously.
const END_REPORTED: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// The sockets of a running process, which serves until [`Taking::complete`].
#[derive(Debug)]
pub struct Taking {
    stream: UnixStream,
    /// The running process; absent if it is in another namespace.
    process: Option<OwnedFd>,
    pid: i32,
    generation: u64,
    ports: HashSet<u16>,
    /// Each address until it is taken.
    offered: Vec<Option<Offered>>,
    taken: Vec<usize>,
}

impl Taking {
    /// Asks the process that listens at `path` for its sockets. Root may also ask one of the user `becomes`.
    ///
    /// # Errors
    ///
    /// No process listens there; or the one that does is of another user, does not speak the protocol,
    /// refuses, or is silent.
    pub fn begin(path: &Path, becomes: Option<u32>) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // A connect, too, waits no longer: the queue of a process that hangs may be full.
        socket.set_write_timeout(Some(SILENCE))?;
        socket.connect(&SockAddr::unix(path)?)?;
        let stream = UnixStream::from(OwnedFd::from(socket));
        let listener = peer::trusted_listener(&stream, becomes)?;
        let deadline = Instant::now() + SILENCE;
        let mut this = Self {
            stream,
            process: None,
            pid: listener,
            generation: 0,
            ports: HashSet::new(),
            offered: Vec::new(),
            taken: Vec::new(),
        };
        set_socket_passcred(&this.stream, true)?;
        this.send(&frame::request())?;
        this.stream.set_read_timeout(Some(time_left(deadline)?))?;
        if let Some(pid) = peer::next_sender(&this.stream).map_err(silence)? {
            this.pid = pid;
        }
        set_socket_passcred(&this.stream, false)?;
        let pid = Pid::from_raw(this.pid);
        this.process = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let offer = this.receive(deadline)?;
        if let Some(why) = frame::other_version(&offer) {
            return Err(io::Error::other(why));
        }
        let (generation, sockets) = frame::read_offer(&offer)?;
        this.generation = generation;
        let count = sockets.iter().map(|(_, count)| count).sum();
        let mut descriptors = this.receive_descriptors(count, deadline)?.into_iter();
        for (mut offered, count) in sockets {
            offered.sockets = descriptors.by_ref().take(count).collect();
            this.ports.extend(offered.sockets.iter().filter_map(port));
            this.offered.push(Some(offered));
        }
        Ok(this)
    }

    /// The running process.
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// The generation of its configuration.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The ports on which it listens.
    pub const fn ports(&self) -> &HashSet<u16> {
        &self.ports
    }

    /// Takes the sockets with this key, or of the unix socket with this file. systemd passes several under
    /// one name.
    pub fn take(&mut self, role: Role, key: &str, file: Option<(u64, u64)>) -> Vec<Offered> {
        let mut found = Vec::new();
        for (index, place) in self.offered.iter_mut().enumerate() {
            let is_wanted = |offered: &mut Offered| {
                let is_there = match file {
                    Some(_) => offered.file == file,
                    None => offered.file.is_none() && offered.key == key,
                };
                offered.role == role && is_there
            };
            if let Some(offered) = place.take_if(is_wanted) {
                self.taken.push(index);
                found.push(offered);
            }
        }
        found
    }

    /// Tells the running process that this one is ready. Returns once it has stopped accepting.
    ///
    /// # Errors
    ///
    /// The running process has given up waiting, and goes on accepting.
    pub fn complete(mut self) -> io::Result<()> {
        let ready = frame::ready(&self.taken);
        let deadline = Instant::now() + SILENCE;
        let answer = self.send(&ready).and_then(|()| self.receive(deadline));
        match answer {
            Ok(answer) if frame::is_released(&answer) => Ok(()),
            Ok(_) => Err(frame::invalid()),
            // It ended in between, so no other process accepts.
            Err(_) if self.has_ended() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the running process has ended. The kernel closes the sockets of a process that is killed just
    /// before it reports the end.
    fn has_ended(&self) -> bool {
        let Some(process) = &self.process else {
            return false;
        };
        let mut ended = [PollFd::new(process, PollFlags::IN)];
        poll(&mut ended, Some(&END_REPORTED)).is_ok_and(|count| count > 0)
    }

    fn send(&mut self, message: &Value) -> io::Result<()> {
        self.stream.write_all(&frame::encode(message)?)
    }

    fn receive(&mut self, deadline: Instant) -> io::Result<Value> {
        let mut head = [0; frame::HEAD];
        self.read_exact(&mut head, deadline)?;
        // An old program, or another one, answers with HTTP.
        if head == *b"HTTP" {
            return Err(frame::invalid());
        }
        let mut body = vec![0; frame::body_len(head)?];
        self.read_exact(&mut body, deadline)?;
        frame::decode(&body)
    }

    fn read_exact(&mut self, mut bytes: &mut [u8], deadline: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.set_read_timeout(Some(time_left(deadline)?))?;
            match self.stream.read(bytes) {
                Ok(0) => return Err(io::Error::other("it has closed the connection")),
                Ok(len) => bytes = bytes.get_mut(len..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(silence(error)),
            }
        }
        Ok(())
    }

    fn receive_descriptors(&self, count: usize, deadline: Instant) -> io::Result<Vec<OwnedFd>> {
        let mut received = Vec::new();
        while received.len() < count {
            self.stream.set_read_timeout(Some(time_left(deadline)?))?;
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut byte = [0];
            let message = recvmsg(
                &self.stream,
                &mut [IoSliceMut::new(&mut byte)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            );
            let message = message.map_err(|error| silence(error.into()))?;
            let before = received.len();
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    received.extend(descriptors);
                }
            }
            if message.flags.contains(ReturnFlags::CTRUNC) {
                return Err(io::Error::other(
                    "its sockets are more than the limit on open files allows",
                ));
            }
            if received.len() == before {
                return Err(frame::invalid());
            }
        }
        let are_listening = received.iter().all(is_listening);
        if received.len() == count && are_listening {
            Ok(received)
        } else {
            Err(frame::invalid())
        }
    }
}

fn is_listening(socket: &OwnedFd) -> bool {
    socket_type(socket).is_ok_and(|kind| kind == SocketType::STREAM)
        && socket_acceptconn(socket).unwrap_or(false)
}

fn port(socket: &OwnedFd) -> Option<u16> {
    let address = SockRef::from(&socket.as_fd()).local_addr().ok()?;
    Some(address.as_socket()?.port())
}

fn time_left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(silent());
    }
    Ok(left)
}

/// The error of a read: one that has waited for its whole time says so.
fn silence(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => silent(),
        _ => error,
    }
}

fn silent() -> io::Error {
    let seconds = SILENCE.as_secs();
    io::Error::other(format!("no answer within {seconds} s"))
}

//! Which process is at the other end of a connection.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;

use rustix::net::sockopt::socket_peercred;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::geteuid;

/// The process that has made the socket there listen; 0 if it is in another namespace. The process that
/// serves it now may be a later one, which was given the socket.
///
/// # Errors
///
/// It is not of this process's user, nor of root, nor, if this process is of root, of the user `becomes`:
/// that one may do no more than this process will in a moment.
pub(super) fn trusted_listener(stream: &UnixStream, becomes: Option<u32>) -> io::Result<i32> {
    let peer = socket_peercred(stream)?;
    let own = geteuid();
    let is_same = own.is_root() && becomes == Some(peer.uid.as_raw());
    if peer.uid == own || peer.uid.is_root() || is_same {
        return Ok(peer.pid.as_raw_pid());
    }
    let way_out = if own.is_root() {
        ", or name that user in `process.user`"
    } else {
        ""
    };
    Err(io::Error::other(format!(
        "the process there is of user {}, and this one of user {}: start it as that user{way_out}",
        peer.uid.as_raw(),
        own.as_raw()
    )))
}

/// The process that sends the next byte, which stays there to be read; `None` at the end of the stream, and
/// for a process in another namespace. The socket must have `SO_PASSCRED`.
pub(super) fn next_sender(stream: &UnixStream) -> io::Result<Option<i32>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::PEEK,
    )?;
    let sender = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(sender) => Some(sender.pid.as_raw_pid()),
        _ => None,
    });
    Ok(sender.filter(|pid| *pid > 0))
}

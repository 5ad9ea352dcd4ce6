//! Both sides in one process.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use rustix::io::{FdFlags, fcntl_getfd};
use socket2::SockRef;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::time::Instant;

use super::offer::BATCH;
use super::*;

/// A listening socket for takeovers.
struct Place {
    listener: UnixListener,
    path: PathBuf,
    _directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        Self {
            listener: UnixListener::bind(&path).unwrap(),
            path,
            _directory: directory,
        }
    }

    async fn request(&self) -> std::io::Result<Giving> {
        Giving::read_request(self.listener.accept().await.unwrap().0).await
    }

    /// A successor on a thread of its own.
    fn successor<T: Send + 'static>(
        &self,
        run: impl FnOnce(std::io::Result<Taking>) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let path = self.path.clone();
        thread::spawn(move || run(Taking::begin(&path, None)))
    }

    /// A peer that sends these bytes, and what it receives.
    fn raw(&self, bytes: &'static [u8]) -> JoinHandle<String> {
        let path = self.path.clone();
        thread::spawn(move || {
            let mut stream = UnixStream::connect(path).unwrap();
            stream.write_all(bytes).unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            String::from_utf8_lossy(&answer).into_owned()
        })
    }
}

fn listeners(count: usize) -> Vec<OwnedFd> {
    let listen = || TcpListener::bind("127.0.0.1:0").unwrap().into();
    (0..count).map(|_| listen()).collect()
}

fn port(socket: &OwnedFd) -> u16 {
    let address = SockRef::from(socket).local_addr().unwrap();
    address.as_socket().unwrap().port()
}

fn offered(key: &str, sockets: Vec<OwnedFd>) -> Offered {
    Offered {
        role: Role::Endpoint,
        key: key.to_owned(),
        address: key.to_owned(),
        file: None,
        sockets,
    }
}

#[tokio::test]
async fn every_socket_arrives_at_its_address_and_no_child_inherits_it() {
    let place = Place::new();
    let successor = place.successor(|taking| {
        let mut taking = taking.unwrap();
        assert_eq!(taking.generation(), 7);
        assert!(taking.take(Role::Admin, "many", None).is_empty());
        assert!(taking.take(Role::Endpoint, "other", None).is_empty());
        let mut taken = taking.take(Role::Endpoint, "many", None);
        let sockets = taken.pop().unwrap().sockets;
        assert!(taking.take(Role::Endpoint, "many", None).is_empty());
        for socket in &sockets {
            assert!(fcntl_getfd(socket).unwrap().contains(FdFlags::CLOEXEC));
        }
        let ports: Vec<_> = sockets.iter().map(port).collect();
        assert!(ports.iter().all(|port| taking.ports().contains(port)));
        taking.complete().unwrap();
        ports
    });
    let mut giving = place.request().await.unwrap();
    assert_eq!(giving.pid(), Some(std::process::id()));
    // More than the kernel sends at once.
    let all = [
        offered("one", listeners(1)),
        offered("many", listeners(BATCH + 7)),
        offered("unused", listeners(1)),
    ];
    let taken = giving.offer(7, &all).await.unwrap();
    assert_eq!(taken, [1]);
    giving.release().await.unwrap();
    let expected: Vec<_> = all[1].sockets.iter().map(port).collect();
    assert_eq!(successor.join().unwrap(), expected);
}

#[tokio::test]
async fn a_successor_that_ends_is_noticed_at_once() {
    let place = Place::new();
    let successor = place.successor(|taking| drop(taking.unwrap()));
    let mut giving = place.request().await.unwrap();
    let error = giving.offer(1, &[offered("one", listeners(1))]).await;
    assert_eq!(error.unwrap_err().to_string(), "the new process has ended");
    successor.join().unwrap();
}

#[tokio::test]
async fn a_successor_that_is_silent_has_failed_after_30_seconds() {
    let place = Place::new();
    let silent = place.raw(b"\0\0\0\x0e{\"takeover\":1}");
    let mut giving = place.request().await.unwrap();
    tokio::time::pause();
    let start = Instant::now();
    let error = giving.offer(1, &[offered("one", listeners(1))]).await;
    let error = error.unwrap_err().to_string();
    assert_eq!(error, "the new process was not ready within 30 s");
    // The timer of the runtime counts whole milliseconds.
    assert!(start.elapsed() <= SILENCE + std::time::Duration::from_millis(1));
    drop(giving);
    assert!(silent.join().unwrap().ends_with("\"takeover\":1}"));
}

#[tokio::test]
async fn a_running_process_that_gives_up_keeps_the_service() {
    let place = Place::new();
    let successor = place.successor(|taking| taking.unwrap().complete().unwrap_err().to_string());
    let mut giving = place.request().await.unwrap();
    let taken = giving.offer(1, &[]).await.unwrap();
    assert_eq!(taken, Vec::<usize>::new());
    drop(giving);
    assert_eq!(successor.join().unwrap(), "it has closed the connection");
}

#[tokio::test]
async fn another_version_is_refused_with_the_way_out() {
    let place = Place::new();
    let answer = place.raw(b"\0\0\0\x0f{\"takeover\":99}");
    let error = place.request().await.unwrap_err().to_string();
    assert!(error.contains("(1 and 99): stop the old one"), "{error}");
    assert!(answer.join().unwrap().contains("(1 and 99)"));
}

#[tokio::test]
async fn what_is_no_message_is_refused_without_reading_on() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\0\xff\xff\xff",
        b"\0\0\0\x01{",
        b"\0\0\0\x02[]",
    ] {
        let place = Place::new();
        let answer = place.raw(bytes);
        assert!(place.request().await.is_err(), "{bytes:?}");
        answer.join().unwrap();
    }
}

#[tokio::test]
async fn only_listening_sockets_are_taken() {
    for socket in [
        UnixStream::pair().unwrap().0.into(),
        std::fs::File::open("/dev/null").unwrap().into(),
    ] {
        let place = Place::new();
        let successor = place.successor(|taking| taking.map(|_| ()).unwrap_err().to_string());
        let mut giving = place.request().await.unwrap();
        let refused = giving.offer(1, &[offered("one", vec![socket])]).await;
        assert!(refused.is_err());
        let why = successor.join().unwrap();
        assert_eq!(
            why,
            "the other process does not speak the takeover protocol"
        );
    }
}

#[tokio::test]
async fn a_successor_must_not_name_what_was_not_offered() {
    let place = Place::new();
    let path = place.path.clone();
    let peer = thread::spawn(move || {
        let mut stream = UnixStream::connect(path).unwrap();
        stream
            .write_all(b"\0\0\0\x0e{\"takeover\":1}\0\0\0\x0d{\"ready\":[1]}")
            .unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let mut giving = place.request().await.unwrap();
    let error = giving.offer(1, &[offered("one", listeners(1))]).await;
    assert!(error.is_err());
    drop(giving);
    peer.join().unwrap();
}

#[tokio::test]
async fn an_old_program_that_answers_with_http_is_named() {
    let place = Place::new();
    let successor = place.successor(|taking| taking.map(|_| ()).unwrap_err().to_string());
    let (stream, _) = place.listener.accept().await.unwrap();
    let mut stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
        .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        .unwrap();
    let why = successor.join().unwrap();
    assert_eq!(
        why,
        "the other process does not speak the takeover protocol"
    );
}

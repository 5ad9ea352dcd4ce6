//! Listening sockets that systemd passes.

use std::net::TcpListener;

use crate::harness::{Directory, ListenAddr, Origin, Proxy, Stream, output};

/// Descriptors that a child inherits as 3, 4 and so on, as if systemd had passed them.
struct Passed {
    sockets: Vec<std::os::fd::OwnedFd>,
    places: Vec<ListenAddr>,
}

impl Passed {
    fn new(count: usize) -> Self {
        let listeners: Vec<_> = (0..count)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        Self {
            places: listeners
                .iter()
                .map(|listener| ListenAddr::Tcp(listener.local_addr().unwrap()))
                .collect(),
            sockets: listeners
                .iter()
                .map(|listener| {
                    // Moved away from the numbers that the sockets will get.
                    let socket = rustix::io::fcntl_dupfd_cloexec(listener, 100).unwrap();
                    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::empty()).unwrap();
                    socket
                })
                .collect(),
        }
    }

    /// A program that passes the sockets under these names to the command that follows it.
    fn launcher(&self, names: &str) -> Vec<String> {
        let mut script = String::new();
        for (number, socket) in (3..).zip(&self.sockets) {
            let own = std::os::fd::AsRawFd::as_raw_fd(socket);
            script.push_str(&format!("exec {number}<&{own} {own}<&-\n"));
        }
        let count = self.sockets.len();
        // `exec` keeps the pid of the shell.
        script.push_str(&format!(
            "LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES={names} exec \"$0\" \"$@\""
        ));
        ["bash", "-c", &script].map(str::to_owned).to_vec()
    }
}

#[test]
fn every_socket_that_systemd_passes_under_one_name_is_served() {
    let origin = Origin::echo();
    for (names, served) in [("web", 1), ("web:web", 2), ("web:other:web", 2)] {
        let passed = Passed::new(names.split(':').count());
        let launcher = passed.launcher(names);
        let launcher: Vec<_> = launcher.iter().map(String::as_str).collect();
        let proxy = Proxy::builder()
            .forward(&origin)
            .listen("systemd:web")
            .under(&launcher)
            .start();
        let places: Vec<_> = passed
            .places
            .iter()
            .zip(names.split(':'))
            .filter_map(|(place, name)| (name == "web").then_some(place))
            .collect();
        assert_eq!(places.len(), served);
        for place in places {
            // More than one connection, so that more than one worker gets some.
            for _ in 0..8 {
                let client = Stream::dial(place).unwrap();
                client.must_echo(b"through systemd's socket");
                client.end();
            }
            let address = format!("\"{place}\"");
            proxy.log_line(|line| line.contains("listening") && line.contains(&address));
        }
    }
}

#[test]
fn a_name_under_which_systemd_passes_no_socket_cannot_be_listened_on() {
    let directory = Directory::new();
    let config = directory.write(
        "config.yaml",
        "endpoints: [{ name: e, listen: \"systemd:absent\", protocol: tcp, routes: [{ name: r, \
         mode: forward, upstream: u }] }]\n\
         upstreams: { u: { origins: [\"127.0.0.1:9\"] } }\n",
    );
    let config = config.display().to_string();
    let run = [env!("CARGO_BIN_EXE_reseal"), "run", "--config", &config];
    for (names, count) in [("web", 1), ("web:more", 2)] {
        let passed = Passed::new(count);
        let launcher = passed.launcher(names);
        let arguments = launcher.iter().skip(1).map(String::as_str).chain(run);
        let arguments: Vec<_> = arguments.collect();
        output("bash", &arguments, "")
            .must_exit_with(3)
            .must_print("systemd passes no socket of that name");
    }
}

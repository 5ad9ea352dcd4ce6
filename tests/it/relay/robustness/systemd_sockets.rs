//! Listening sockets that systemd passes.

use crate::harness::{Directory, Origin, PassedSockets, Proxy, Stream, output};

#[test]
fn every_socket_that_systemd_passes_under_one_name_is_served() {
    let origin = Origin::echo();
    for (names, served) in [("web", 1), ("web:web", 2), ("web:other:web", 2)] {
        let passed = PassedSockets::new(names.split(':').count());
        let launcher = passed.launcher(names);
        let launcher: Vec<_> = launcher.iter().map(String::as_str).collect();
        let proxy = Proxy::builder()
            .forward(&origin)
            .listen("systemd:web")
            .under(&launcher)
            .start();
        let places: Vec<_> = passed
            .places()
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
        let passed = PassedSockets::new(count);
        let launcher = passed.launcher(names);
        let arguments = launcher.iter().skip(1).map(String::as_str).chain(run);
        let arguments: Vec<_> = arguments.collect();
        output("bash", &arguments, "")
            .must_exit_with(3)
            .must_print("systemd passes no socket of that name");
    }
}

//! Origins in a pool: what their checks cost, and whether picking one of many costs more than one of few.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use super::Bench;
use crate::configs;
use crate::load::Work;
use crate::machine::{cpu, settle};
use crate::origin::{self, NAME};
use crate::peers::{Peer, Running, Setting, free_address};
use crate::report::Results;

const SIZES: [u32; 3] = [1, 100, 5000];
const CONNECTIONS: u64 = 3000;
/// How long checks are measured: two of each origin.
const CHECKED: Duration = Duration::from_secs(10);

/// The policies, by their names in Reseal, HAProxy and nginx.
const POLICIES: [[&str; 3]; 2] = [
    ["round_robin", "roundrobin", ""],
    ["least_connections", "leastconn", "least_conn;"],
];

pub(super) fn measure(bench: &Bench<'_>, results: &mut Results) {
    let port = origin::start_everywhere(bench.scratch);
    for size in SIZES {
        let origins: Vec<_> = (1..=size)
            .map(|n| SocketAddr::from((Ipv4Addr::from_bits(0x7f01_0000 + n), port)))
            .collect();
        let case = format!("{size} origins");
        for peer in &bench.peers {
            for policy in POLICIES {
                let Some(running) = start(bench, peer, &origins, policy, false) else {
                    continue;
                };
                settle(running.pid());
                let figure = Work::Connections(CONNECTIONS).measure(&running, bench.scratch);
                let case = format!("{case}, {}", policy[0]);
                results.add("passthrough connection, us", &case, peer.name, figure);
            }
            // The free nginx has no active checks.
            if peer.name == "nginx" {
                continue;
            }
            let Some(running) = start(bench, peer, &origins, POLICIES[0], true) else {
                continue;
            };
            thread::sleep(CHECKED);
            let before = cpu(running.pid());
            thread::sleep(CHECKED);
            let spent = cpu(running.pid()) - before;
            let per_second = spent * 1e3 / CHECKED.as_secs_f64();
            results.add(
                "checks each 5 s, ms of CPU a second",
                &case,
                peer.name,
                per_second,
            );
        }
    }
}

fn start(
    bench: &Bench<'_>,
    peer: &Peer,
    origins: &[SocketAddr],
    policy: [&str; 3],
    checks: bool,
) -> Option<Running> {
    let address = free_address();
    let [reseal_policy, haproxy_policy, nginx_policy] = policy;
    let text = match peer.name {
        "haproxy" => haproxy(address, origins, haproxy_policy, checks),
        "nginx" => {
            let main = configs::nginx_main(bench.scratch, &Setting::default())?;
            main + &nginx(address, origins, nginx_policy)
        }
        _ => reseal(address, origins, reseal_policy, checks),
    };
    let what = format!("{} origins", origins.len());
    peer.run(&text, address, bench.scratch, &what, &Setting::default())
}

fn reseal(address: SocketAddr, origins: &[SocketAddr], policy: &str, checks: bool) -> String {
    let mut list = String::new();
    for origin in origins {
        let _ = writeln!(list, "      - \"{origin}\"");
    }
    let health = if checks {
        "    health: { check: tcp, interval: 5s }\n"
    } else {
        ""
    };
    format!(
        "access_log: {{ output: none }}\nlog: {{ output: none }}\nendpoints:\n  - name: edge\n    listen: {address}\n    \
         routes:\n      - {{ name: r, match: {{ sni: {NAME} }}, mode: passthrough, upstream: up }}\n\
         upstreams:\n  up:\n    balance: {policy}\n{health}    origins:\n{list}"
    )
}

fn haproxy(address: SocketAddr, origins: &[SocketAddr], policy: &str, checks: bool) -> String {
    let check = if checks { " check inter 5s" } else { "" };
    let mut servers = String::new();
    for (n, origin) in origins.iter().enumerate() {
        let _ = writeln!(servers, "  server s{n} {origin}{check}");
    }
    format!(
        "defaults\n  mode tcp\n  timeout client 300s\n  timeout server 300s\n  timeout connect 5s\n\
         frontend f\n  bind {address}\n  tcp-request inspect-delay 5s\n  \
         tcp-request content accept if {{ req.ssl_hello_type 1 }}\n  use_backend b if {{ req.ssl_sni -i {NAME} }}\n\
         backend b\n  balance {policy}\n{servers}"
    )
}

fn nginx(address: SocketAddr, origins: &[SocketAddr], policy: &str) -> String {
    let mut servers = String::new();
    for origin in origins {
        let _ = writeln!(servers, "server {origin};");
    }
    format!(
        "stream {{ tcp_nodelay on; upstream up {{ zone up 16m; {policy}\n{servers}}}\nserver {{ listen {address} \
         reuseport; ssl_preread on; proxy_pass up; }} }}\n"
    )
}

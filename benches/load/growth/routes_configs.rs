//! The configurations of very many routes, each with an own name and certificate.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;

use super::routes::{Site, name};
use crate::configs;
use crate::peers::Setting;

pub(super) fn text(
    proxy: &str,
    site: &Site,
    address: SocketAddr,
    origin: SocketAddr,
) -> Option<String> {
    match proxy {
        "haproxy" => Some(haproxy(site, address, origin)),
        "nginx" => nginx(site, address),
        _ => Some(reseal(site, address, origin)),
    }
}

impl Site {
    fn files(&self, n: usize) -> Vec<String> {
        let kinds: &[&str] = if self.with_rsa {
            &["ecdsa", "rsa"]
        } else {
            &["ecdsa"]
        };
        let file = |kind: &&str| self.pair(n, kind).display().to_string();
        kinds.iter().map(file).collect()
    }
}

fn reseal(site: &Site, address: SocketAddr, origin: SocketAddr) -> String {
    let mut certificates = String::new();
    let mut routes = String::new();
    for n in 0..site.count {
        for file in site.files(n) {
            let _ = writeln!(certificates, "        - {{ cert: {file} }}");
        }
        let _ = writeln!(
            routes,
            "      - {{ name: r{n}, match: {{ sni: {} }}, mode: terminate, upstream: up }}",
            name(n)
        );
    }
    format!(
        "access_log: {{ output: none }}\nlog: {{ output: none }}\nprocess: {{ reload: {{ watch: off }} }}\n\
         endpoints:\n  - name: edge\n    listen: {address}\n    tls:\n      certificates:\n{certificates}    \
         routes:\n{routes}upstreams: {{ up: {{ origins: [\"{origin}\"] }} }}\n"
    )
}

fn haproxy(site: &Site, address: SocketAddr, origin: SocketAddr) -> String {
    let mut map = String::new();
    for n in 0..site.count {
        let _ = writeln!(map, "{} b", name(n));
    }
    let dir = site.dir.display();
    fs::write(site.dir.join("routes.map"), map).expect("a map");
    format!(
        "global\n  ssl-default-bind-options ssl-min-ver TLSv1.2\ndefaults\n  mode tcp\n  timeout client 300s\n  \
         timeout server 300s\n  timeout connect 5s\nfrontend f\n  bind {address} ssl crt {dir}/pairs strict-sni\n  \
         use_backend %[ssl_fc_sni,lower,map({dir}/routes.map)]\nbackend b\n  server s {origin}\n"
    )
}

/// Its stream module has one server for each listening address, so this is its web server, without an origin.
fn nginx(site: &Site, address: SocketAddr) -> Option<String> {
    let mut servers = String::new();
    for n in 0..site.count {
        let _ = write!(
            servers,
            "server {{ listen {address} ssl{}; server_name {}; ",
            if n == 0 { " reuseport" } else { "" },
            name(n)
        );
        for file in site.files(n) {
            let _ = write!(
                servers,
                "ssl_certificate {file}; ssl_certificate_key {file}; "
            );
        }
        servers.push_str("return 204; }\n");
    }
    let main = configs::nginx_main(&site.dir, &Setting::default())?;
    Some(format!(
        "{main}http {{ access_log off; ssl_protocols TLSv1.2 TLSv1.3; server_names_hash_max_size 131072; \
         server_names_hash_bucket_size 128;\n{servers}}}\n"
    ))
}

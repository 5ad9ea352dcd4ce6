//! Squid between Reseal and its origins (CONNECT), with curl in front and nginx behind.

use super::web::{curl, nginx};
use crate::harness::{Directory, Port, Proxy, ProxyBuilder, Service, command, output, reseal_in};

/// Who may use the proxy: `reseal`, with the password `open sesame`.
const AUTHORIZATION: &str = "Basic cmVzZWFsOm9wZW4gc2VzYW1l";
const PASSWORDS: &str = "reseal:$apr1$abcdefgh$T64oOxnD8c28.dQa.2Lty1\n";

/// Squid, which connects its one user with these ports. It alone knows the address of `origin.corp.test`.
fn squid(directory: &Directory, ports: &[u16]) -> Service {
    let file = |name: &str, text: &str| {
        let path = directory.write_with_mode(name, text, 0o644);
        path.display().to_string()
    };
    let passwords = file("passwords", PASSWORDS);
    let hosts = file("hosts", "127.0.0.1 origin.corp.test\n");
    let ports = ports
        .iter()
        .map(u16::to_string)
        .collect::<Vec<_>>()
        .join(" ");
    Service::start(|port| {
        // No name server answers there.
        let text = format!(
            "http_port 127.0.0.1:{port}\nvisible_hostname squid.test\nhosts_file {hosts}\n\
             dns_nameservers 127.53.53.53\ndns_timeout 1 second\ndns_retransmit_interval 1 second\n\
             pid_filename none\ncache_log /dev/null\naccess_log none\nnetdb_filename none\n\
             coredump_dir none\npinger_enable off\ncache deny all\nshutdown_lifetime 0 seconds\n\
             auth_param basic program /usr/lib/squid/basic_ncsa_auth {passwords}\n\
             auth_param basic children 1 startup=1\nauth_param basic realm squid.test\n\
             acl known proxy_auth REQUIRED\nacl allowed port {ports}\nacl tunnel method CONNECT\n\
             http_access deny !allowed\nhttp_access allow tunnel known\nhttp_access deny all\n"
        );
        let config = file("squid.conf", &text);
        let mut squid = command("squid");
        squid.args(["-N", "-d", "1", "-f", &config]);
        squid
    })
}

/// The routes of `draft` lead through the proxy, with this authorization.
fn through(draft: ProxyBuilder, squid: &Service, authorization: Option<&str>) -> Proxy {
    let shown = match authorization {
        Some(_) => ", authorization_file: squid.auth",
        None => "",
    };
    draft
        .file("squid.auth", authorization.unwrap_or_default())
        .origin_tls(&format!(
            "{{ ca: origin-ca.pem, server_name: origin.test, alpn: none, negotiate: {{ connect: {{ proxy: \
             \"{squid}\"{shown} }} }} }}"
        ))
        .start()
}

#[test]
fn pages_come_through_squid_in_every_mode_with_tls_to_the_origin() {
    let directory = Directory::new();
    let nginx = nginx(&directory, true);
    let squid = squid(&directory, &[nginx.port()]);
    let origin = format!("origin.corp.test:{}", nginx.port());
    let with = |draft| through(draft, &squid, Some(AUTHORIZATION));
    let relayed = |proxy: &Proxy| {
        let record = proxy.outcome();
        record
            .must_have("stage", "relay")
            .must_have("origin", &origin);
    };
    // The server name that arrives is ours in one mode, and the client's in the other.
    for (draft, sni) in [
        (Proxy::builder().reencrypt("a.test", &origin), "origin.test"),
        (Proxy::builder().passthrough("a.test", &origin), "a.test"),
    ] {
        let proxy = with(draft);
        for version in ["1.2", "1.3"] {
            let tls = ["--http1.1", "--tls-max", version];
            curl(&proxy, "", &tls)
                .must_exit_with(0)
                .must_print(&format!("HTTP/1.1 {sni}"));
            relayed(&proxy);
        }
        let size = ["--output", "/dev/null", "--write-out", "%{size_download}"];
        curl(&proxy, "large", &size)
            .must_exit_with(0)
            .must_print("5242880");
        relayed(&proxy);
        reseal_in(
            proxy.directory().path(),
            &["check", "--connect", "config.yaml"],
        )
        .must_exit_with(0)
        .must_print(&format!("through the HTTP proxy {squid}"));
    }
    let proxy = with(Proxy::builder().originate(&origin));
    let url = format!("http://{}/", proxy.listen_addr("originate"));
    output(
        "curl",
        &["-sS", "--max-time", "15", "--noproxy", "*", &url],
        "",
    )
    .must_exit_with(0)
    .must_print("HTTP/1.1 origin.test");
    relayed(&proxy);
}

#[test]
fn what_squid_refuses_is_told_in_the_record() {
    let directory = Directory::new();
    // Nothing listens there.
    let ports = [Port::reserve(), Port::reserve()];
    let [closed, denied] = ports.each_ref().map(Port::number);
    let squid = squid(&directory, &[closed]);
    for (port, authorization, reason, status) in [
        (
            closed,
            None,
            "origin_tls_refused",
            "407 Proxy Authentication Required",
        ),
        (
            closed,
            Some("Basic cmVzZWFsOndyb25n"),
            "origin_tls_refused",
            "407 Proxy Authentication Required",
        ),
        (
            denied,
            Some(AUTHORIZATION),
            "origin_tls_refused",
            "403 Forbidden",
        ),
        (
            closed,
            Some(AUTHORIZATION),
            "origin_unreachable",
            "503 Service Unavailable",
        ),
    ] {
        let draft = Proxy::builder()
            .originate(&format!("origin.corp.test:{port}"))
            .on_upstream("connect: { attempts: 1 }");
        let proxy = through(draft, &squid, authorization);
        proxy.dial("originate").receive_to_end();
        let record = proxy.outcome();
        record.must_be(reason).must_have("stage", "connect");
        let detail = record.text("detail");
        assert!(
            detail.contains(&format!("the proxy {squid} answered CONNECT by {status}")),
            "{record:?}"
        );
    }
}

/// Squid 5 answers by 500 here, and later versions by 503.
#[test]
fn a_name_that_squid_cannot_look_up_is_followed_by_the_next_origin() {
    let directory = Directory::new();
    let nginx = nginx(&directory, true);
    let port = nginx.port();
    let squid = squid(&directory, &[port]);
    let origins = format!("[\"nowhere.invalid:{port}\", \"origin.corp.test:{port}\"]");
    let draft = Proxy::builder()
        .reencrypt("a.test", &"nowhere.invalid")
        .origins(&origins)
        .on_upstream("balance: first");
    let proxy = through(draft, &squid, Some(AUTHORIZATION));
    curl(&proxy, "", &["--http1.1"])
        .must_exit_with(0)
        .must_print("HTTP/1.1 origin.test");
    let record = proxy.outcome();
    record.must_have("origin", &format!("origin.corp.test:{port}"));
}

#[test]
fn checks_come_through_squid_once_the_authorization_is_right() {
    let directory = Directory::new();
    let nginx = nginx(&directory, true);
    let squid = squid(&directory, &[nginx.port()]);
    let draft = Proxy::builder()
        .originate(&format!("origin.corp.test:{}", nginx.port()))
        .on_upstream("health: { check: { http: { path: / } }, interval: 200ms, rise: 1, fall: 1 }")
        .top("process: { reload: { debounce: 50ms } }");
    let proxy = through(draft, &squid, Some("Basic cmVzZWFsOndyb25n"));
    proxy.log_line(|line| line.contains("an origin is down") && line.contains("407"));
    proxy.directory().write("squid.auth", AUTHORIZATION);
    proxy.log_line(|line| line.contains("an origin is up again"));
}

//! PROXY headers from and to HAProxy and nginx.

use std::process::Command;

use crate::harness::proxy_header::ReceivedHeader;
use crate::harness::{Client, Directory, Origin, Proxy, Service, command, echo, pki};

/// HAProxy with this configuration, where `{port}` is its listening port.
fn haproxy(directory: &Directory, sections: &str) -> Service {
    Service::start(|port| {
        let text = format!(
            "global\n  maxconn 100\ndefaults\n  timeout connect 10s\n  timeout client 20s\n  timeout server \
             20s\n{}\n",
            sections.replace("{port}", &port.to_string())
        );
        let file = directory.write("haproxy.cfg", text);
        let mut command: Command = command("haproxy");
        command.arg("-db").arg("-f").arg(file);
        command
    })
}

/// One plain HTTP request over this connection; the body of the response.
#[track_caller]
fn get(stream: &crate::harness::Stream) -> String {
    stream.send(b"GET / HTTP/1.0\r\n\r\n");
    let (answer, _) = stream.receive_to_end();
    stream.end();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{answer:?}"));
    assert!(head.contains(" 200 "), "{head}");
    body.trim().to_owned()
}

/// Every kind of header that HAProxy sends is accepted.
#[test]
fn haproxy_in_front_names_the_client() {
    let (sender, headers) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let origin = Origin::plain().serve(move |stream| {
        let _ = sender
            .lock()
            .unwrap()
            .send(ReceivedHeader::receive(&stream));
        echo(&stream);
    });
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_endpoint("accept_proxy_protocol: { from: [127.0.0.1] }")
        .on_upstream("send_proxy_protocol: v2")
        .start();
    let directory = Directory::new();
    for options in [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options unique-id,crc32c,authority",
        "send-proxy-v2-ssl-cn proxy-v2-options \
         ssl,cert-cn,ssl-cipher,cert-sig,cert-key,unique-id,crc32c,authority",
    ] {
        let front = haproxy(
            &directory,
            &format!(
                "frontend in\n  mode tcp\n  bind 127.0.0.1:{{port}}\n  unique-id-format %{{+X}}o%ci-%cp\n  \
                 default_backend out\n\
                 backend out\n  mode tcp\n  server one {} {options}",
                proxy.listen_addr("edge")
            ),
        );
        let client = Client::new(&front.listen_addr(), "a.test").connect();
        client.must_echo(b"through both");
        client.end();
        client.receive_to_end();
        let record = proxy.outcome_from(client.local());
        record.must_be("ok").must_have("local", &front.to_string());
        assert!(
            record.text("peer").starts_with("127.0.0.1:"),
            "{options}: {record:?}"
        );
        let announced = headers.recv().unwrap();
        assert_eq!(announced.source(), client.local(), "{options}");
        assert_eq!(
            announced.destination(),
            front.listen_addr().tcp(),
            "{options}"
        );
    }
}

/// HAProxy's own health checks send LOCAL: HAProxy is the client.
#[test]
fn health_checks_of_haproxy_in_front_are_local() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_endpoint("accept_proxy_protocol: { from: [127.0.0.1] }")
        .start();
    let directory = Directory::new();
    let _front = haproxy(
        &directory,
        &format!(
            "frontend in\n  mode tcp\n  bind 127.0.0.1:{{port}}\n  default_backend out\n\
             backend out\n  mode tcp\n  server one {} send-proxy-v2 check inter 100ms",
            proxy.listen_addr("edge")
        ),
    );
    // The checks have no client but HAProxy; one connection is the harness's probe of its port.
    let checks = std::iter::from_fn(|| Some(proxy.outcome())).filter(|record| !record.has("peer"));
    for record in checks.take(3) {
        let reason = record.reason();
        assert!(
            ["probe_eof", "client_reset"].contains(&reason),
            "a check ends as {reason}: {record:?}"
        );
        record.must_have("stage", "hello");
    }
}

const REPLY: &str = concat!(
    r#"lf-string "%[src]:%[src_port] %[dst]:%[dst_port] "#,
    r#"%[fc_rcvd_proxy] %[fc_pp_authority] %[fc_pp_unique_id]""#,
);

fn answering(directory: &Directory, bind: &str) -> Service {
    haproxy(
        directory,
        &format!(
            "frontend in\n  mode http\n  bind 127.0.0.1:{{port}} accept-proxy {bind}\n  http-request return \
             status 200 content-type text/plain {REPLY}"
        ),
    )
}

/// HAProxy reads our headers; it verifies the checksum, too.
#[test]
fn haproxy_behind_reads_our_headers() {
    let directory = Directory::new();
    let identity = pki().origin(&["origin.test"]);
    let pem = directory.write("both.pem", identity.cert.clone() + &identity.key);
    let plain = answering(&directory, "");
    let tls = answering(&directory, &format!("ssl crt {}", pem.display()));
    let tlvs = "tlvs: [alpn, authority, ssl, unique_id, crc32c, client_cert]";
    let draft = Proxy::builder()
        .terminate("a.test", &plain)
        .on_tls("client_auth: { mode: required, ca: client-ca.pem }")
        .on_upstream(&format!("send_proxy_protocol: {{ version: v2, {tlvs} }}"))
        .reencrypt("b.test", &tls)
        .on_upstream(&format!("send_proxy_protocol: {{ version: v2, {tlvs} }}"))
        .terminate("c.test", &plain)
        .on_upstream("send_proxy_protocol: v1");
    let proxy = draft.start();
    for name in ["a.test", "b.test", "c.test"] {
        let alice = pki().client("alice");
        let client = proxy.client(name).certificate(&alice).connect();
        let answer = get(&client);
        let record = proxy.outcome();
        let facts = match name {
            "c.test" => String::new(),
            name => format!("{name} {}", record.text("id")),
        };
        let (from, to) = (client.local(), proxy.listen_addr("edge"));
        assert_eq!(answer, format!("{from} {to} 1 {facts}").trim());
    }
}

#[test]
fn nginx_behind_reads_our_headers() {
    let directory = Directory::new();
    let root = directory.path().display().to_string();
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let nginx = Service::start(|port| {
        let text = format!(
            "daemon off; master_process off; pid {root}/nginx.pid; error_log stderr; {user}\n\
             events {{ }}\n\
             http {{\n\
               access_log off;\n\
               client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path \
               {root}/fastcgi;\n\
               uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;\n\
               server {{\n\
                 listen 127.0.0.1:{port} proxy_protocol;\n\
                 location / {{ return 200 \"$proxy_protocol_addr:$proxy_protocol_port \
                 $proxy_protocol_server_addr:$proxy_protocol_server_port\\n\"; }}\n\
               }}\n\
             }}\n"
        );
        let file = directory.write("nginx.conf", text);
        let mut command: Command = command("nginx");
        command.arg("-p").arg(directory.path()).arg("-c").arg(file);
        command
    });
    let all = "{ version: v2, tlvs: [alpn, authority, ssl, unique_id, crc32c, client_cert] }";
    for policy in ["v1", "v2", all] {
        let proxy = Proxy::builder()
            .terminate("a.test", &nginx)
            .on_tls("alpn: http/1.1")
            .on_upstream(&format!("send_proxy_protocol: {policy}"))
            .start();
        let client = proxy.client("a.test").alpn(&["http/1.1"]).connect();
        let answer = get(&client);
        let (from, to) = (client.local(), proxy.listen_addr("edge"));
        assert_eq!(answer, format!("{from} {to}"), "{policy}");
    }
}

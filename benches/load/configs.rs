//! The configurations of the proxies for the same work.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::origin::NAME;
use crate::peers::{Mode, Setting};

pub(crate) fn reseal(
    mode: Mode,
    address: SocketAddr,
    origin: SocketAddr,
    setting: &Setting,
) -> String {
    let tls = match mode {
        Mode::Passthrough => String::new(),
        _ => format!("    tls: {{ certificates: [{{ cert: {NAME}.pem, key: {NAME}.key }}] }}\n"),
    };
    let trust = match mode {
        Mode::Reencrypt => format!("\n    tls: {{ ca: ca.pem, server_name: {NAME} }}"),
        _ => String::new(),
    };
    let log = match &setting.log {
        Some(file) => file.display().to_string(),
        None => "none".to_owned(),
    };
    let mut text = format!("access_log: {{ output: {log} }}\n");
    if let Some(workers) = setting.workers {
        let _ = writeln!(text, "process: {{ workers: {workers} }}");
    }
    if let Some(metrics) = setting.metrics {
        let _ = writeln!(text, "admin: {{ metrics: \"{metrics}\" }}");
    }
    text + &format!(
        "endpoints:\n  - name: edge\n    listen: {address}\n\
         {tls}    routes:\n      - {{ name: r, match: {{ sni: {NAME} }}, mode: {}, upstream: origin }}\n\
         upstreams:\n  origin:\n    origins: [\"{origin}\"]{trust}\n",
        mode.word()
    )
}

pub(crate) fn haproxy(
    mode: Mode,
    address: SocketAddr,
    origin: SocketAddr,
    dir: &Path,
    setting: &Setting,
) -> String {
    let dir = dir.display();
    let both = format!("{dir}/both.pem");
    let read =
        |extension| fs::read_to_string(format!("{dir}/{NAME}.{extension}")).unwrap_or_default();
    let _ = fs::write(&both, read("pem") + &read("key"));
    let bind = if mode == Mode::Passthrough {
        String::new()
    } else {
        format!(" ssl crt {both}")
    };
    let inspect = match mode {
        Mode::Passthrough => format!(
            "  tcp-request inspect-delay 5s\n  tcp-request content accept if {{ req.ssl_hello_type 1 }}\n  \
             use_backend b if {{ req.ssl_sni -i {NAME} }}\n"
        ),
        _ => "  default_backend b\n".to_owned(),
    };
    let tls_to_origin = match mode {
        Mode::Reencrypt => format!(" ssl verify required ca-file {dir}/ca.pem sni str({NAME})"),
        _ => String::new(),
    };
    let threads = setting
        .workers
        .map_or(String::new(), |n| format!("  nbthread {n}\n"));
    let log = match &setting.log {
        Some(_) => "  log stdout format raw local0\n  option tcplog\n",
        None => "",
    };
    let metrics = setting.metrics.map_or(String::new(), |metrics| {
        format!(
            "frontend metrics\n  mode http\n  bind {metrics}\n  http-request use-service \
             prometheus-exporter if {{ path /metrics }}\n"
        )
    });
    format!(
        "global\n  ssl-default-bind-options ssl-min-ver TLSv1.2\n{threads}defaults\n  mode tcp\n{log}  \
         timeout client 300s\n  timeout server 300s\n  timeout connect 5s\n  option splice-auto\n\
         frontend f\n  bind {address}{bind}\n{inspect}backend b\n  server s {origin}{tls_to_origin}\n{metrics}"
    )
}

/// What every configuration of nginx begins with; none if it has no stream module.
pub(crate) fn nginx_main(dir: &Path, setting: &Setting) -> Option<String> {
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    Path::new(module).exists().then_some(())?;
    let workers = setting
        .workers
        .map_or_else(|| "auto".to_owned(), |n| n.to_string());
    let dir = dir.display();
    Some(format!(
        "load_module {module};\ndaemon off; worker_processes {workers}; pid {dir}/nginx.pid; \
         error_log {dir}/nginx.log error;\nevents {{ worker_connections 30000; }}\n"
    ))
}

pub(crate) fn nginx(
    mode: Mode,
    address: SocketAddr,
    origin: SocketAddr,
    dir: &Path,
    setting: &Setting,
) -> Option<String> {
    let main = nginx_main(dir, setting)?;
    let dir = dir.display();
    let (ssl, tls) = match mode {
        Mode::Passthrough => ("", "ssl_preread on; ".to_owned()),
        _ => (
            " ssl",
            format!(
                "ssl_certificate {dir}/{NAME}.pem; ssl_certificate_key {dir}/{NAME}.key; \
                 ssl_protocols TLSv1.2 TLSv1.3; "
            ),
        ),
    };
    let tls_to_origin = match mode {
        Mode::Reencrypt => format!(
            "proxy_ssl on; proxy_ssl_verify on; proxy_ssl_trusted_certificate {dir}/ca.pem; \
             proxy_ssl_name {NAME}; proxy_ssl_server_name on; "
        ),
        _ => String::new(),
    };
    let log = setting.log.as_ref().map_or(String::new(), |file| {
        format!(
            "log_format line '$time_iso8601 $remote_addr:$remote_port $server_addr:$server_port \
             $upstream_addr $ssl_server_name $ssl_protocol $ssl_cipher $status $bytes_received \
             $bytes_sent $session_time $upstream_connect_time'; access_log {} line; ",
            file.display()
        )
    });
    let metrics = setting.metrics.map_or(String::new(), |metrics| {
        format!(
            "http {{ access_log off; server {{ listen {metrics}; location /metrics {{ stub_status; }} }} }}\n"
        )
    });
    Some(format!(
        "{main}stream {{ {log}proxy_timeout 300s; tcp_nodelay on; server {{ listen {address}{ssl} reuseport; \
         {tls}{tls_to_origin}proxy_pass {origin}; }} }}\n{metrics}"
    ))
}

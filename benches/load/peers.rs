//! The proxies, each with a configuration for the same work.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::origin::{NAME, Origins};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    Passthrough,
    Terminate,
    Reencrypt,
}

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::Passthrough, Self::Terminate, Self::Reencrypt];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Passthrough => "passthrough",
            Self::Terminate => "terminate",
            Self::Reencrypt => "reencrypt",
        }
    }

    const fn origin(self, origins: &Origins) -> SocketAddr {
        match self {
            Self::Terminate => origins.plain,
            Self::Passthrough | Self::Reencrypt => origins.tls,
        }
    }
}

/// A proxy that is installed on this machine.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    program: PathBuf,
}

/// A running proxy, killed on drop.
pub(crate) struct Running {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.pid().to_string()).status();
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Peer {
    /// Reseal, the floor, and HAProxy and nginx (with its stream module) if they are installed.
    pub(crate) fn found() -> Vec<Self> {
        let mut peers = vec![
            Self {
                name: "reseal",
                program: env!("CARGO_BIN_EXE_reseal").into(),
            },
            Self {
                name: "floor",
                program: std::env::current_exe().expect("this program's path"),
            },
        ];
        for name in ["haproxy", "nginx"] {
            let places = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
            let found = places
                .iter()
                .map(|dir| Path::new(dir).join(name))
                .find(|p| p.exists());
            if let Some(program) = found {
                peers.push(Self { name, program });
            }
        }
        peers
    }

    pub(crate) fn start(&self, mode: Mode, origins: &Origins, dir: &Path) -> Option<Running> {
        let address = free_address();
        if self.name == "floor" {
            let origin = (mode != Mode::Reencrypt).then(|| mode.origin(origins))?;
            let mut floor = Command::new(&self.program);
            floor
                .arg("floor")
                .args([address, origin].map(|a| a.to_string()));
            if mode == Mode::Terminate {
                floor.arg(dir.join(format!("{NAME}.pem")));
            }
            return self.wait(floor, mode, address);
        }
        let (text, arguments) = match self.name {
            "haproxy" => (
                haproxy(mode, address, mode.origin(origins), dir),
                vec!["-db", "-f"],
            ),
            "nginx" => (nginx(mode, address, mode.origin(origins), dir)?, vec!["-c"]),
            _ => (
                reseal(mode, address, mode.origin(origins)),
                vec!["run", "--config"],
            ),
        };
        let config = dir.join(format!("{}.conf", self.name));
        fs::write(&config, text).expect("a configuration file");
        let mut command = Command::new(&self.program);
        command.args(arguments).arg(&config);
        self.wait(command, mode, address)
    }

    /// Starts it and waits until it accepts.
    fn wait(&self, mut command: Command, mode: Mode, address: SocketAddr) -> Option<Running> {
        let child = command
            // Without root, the memory of a process that is not dumpable cannot be measured.
            .env("RESEAL_DUMPABLE", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut running = Running { child, address };
        let end = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            if Instant::now() > end || matches!(running.child.try_wait(), Ok(Some(_))) {
                eprintln!("{} does not start for {}", self.name, mode.word());
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(running)
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}

fn reseal(mode: Mode, address: SocketAddr, origin: SocketAddr) -> String {
    let tls = match mode {
        Mode::Passthrough => String::new(),
        _ => format!("    tls: {{ certificates: [{{ cert: {NAME}.pem, key: {NAME}.key }}] }}\n"),
    };
    let trust = match mode {
        Mode::Reencrypt => format!("\n    tls: {{ ca: ca.pem, server_name: {NAME} }}"),
        _ => String::new(),
    };
    format!(
        "access_log: {{ output: none }}\nendpoints:\n  - name: edge\n    listen: {address}\n\
         {tls}    routes:\n      - {{ name: r, match: {{ sni: {NAME} }}, mode: {}, upstream: origin }}\n\
         upstreams:\n  origin:\n    origins: [\"{origin}\"]{trust}\n",
        mode.word()
    )
}

fn haproxy(mode: Mode, address: SocketAddr, origin: SocketAddr, dir: &Path) -> String {
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
    format!(
        "global\n  ssl-default-bind-options ssl-min-ver TLSv1.2\ndefaults\n  mode tcp\n  timeout client \
         300s\n  timeout server 300s\n  timeout connect 5s\n  option splice-auto\n\
         frontend f\n  bind {address}{bind}\n{inspect}backend b\n  server s {origin}{tls_to_origin}\n"
    )
}

/// `None` if nginx has no stream module.
fn nginx(mode: Mode, address: SocketAddr, origin: SocketAddr, dir: &Path) -> Option<String> {
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    Path::new(module).exists().then_some(())?;
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
    Some(format!(
        "load_module {module};\ndaemon off; worker_processes auto; pid {dir}/nginx.pid; \
         error_log {dir}/nginx.log error;\nevents {{ worker_connections 30000; }}\n\
         stream {{ proxy_timeout 300s; tcp_nodelay on; server {{ listen {address}{ssl} reuseport; \
         {tls}{tls_to_origin}proxy_pass {origin}; }} }}\n"
    ))
}

//! The keys of `process`.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::config::reader::fields::spec;
use crate::config::reader::generic::{AutoOr, OneOrMany};
use crate::config::reader::invalid::Invalid;
use crate::config::reader::read::Leaf;
use crate::config::reader::values::{Count, Duration, Path, check_text};
use crate::config::reader::words::keyword;
use crate::sandbox::{Mode, RunAs};
use crate::snapshot::Watched;

spec! {
    /// The process as a whole.
    pub struct Process {
        /// Threads that serve connections. `auto` is one for each core that this process may use.
        default workers: AutoOr<Count<1, 1024>> = "auto"
            because "a second thread on a core only adds switches between them",
        /// Limits over all endpoints.
        default limits: ProcessLimits = "{}",
        /// How connections end when Reseal stops or their configuration is removed.
        default drain: Drain = "{}",
        /// What to do about a private key or secret that every user of the machine may read (a group may),
        /// and about a file that every user may write: a certificate, key, CA bundle, list, secret, token, or
        /// the configuration itself.
        default key_permissions: KeyPermissions = "refuse"
            because "a key that every user can read proves no identity",
        /// Files with secrets of at least 32 bytes that instances share to resume each other's TLS sessions.
        /// The first issues tickets, all accept them. Absent: a random secret of this process.
        optional ticket_secret: OneOrMany<Path>,
        /// When changed files are re-read without a request.
        default reload: Reload = "{}",
        /// The user that Reseal becomes once it has read its files, bound its addresses and opened its logs:
        /// `USER` with its groups, or `USER:GROUP`, by names or numbers. Only root can. `none`: it stays who
        /// starts it.
        default user: User = "none"
            because "most start it as its user already, by `User=` of a systemd unit or of a container",
        /// Which rights Reseal gives up then.
        default sandbox: Sandbox = "best-effort"
            because "it holds wherever the kernel can, and gets in the way of nothing that is done every day",
        example "{ workers: 4 }";
        instead
            "threads" | "nbthread" | "nbproc" | "worker_processes" | "concurrency" => "workers",
            "maxconn" | "max_connections" | "worker_connections" =>
                "`limits: { connections: N }` bounds connections",
            "group" => "`user: USER:GROUP` names both",
            "chroot" => "use `RootDirectory=` in the systemd unit",
            "setuid" => "user",
            "setgid" => "`user: USER:GROUP` names both",
            "daemon" | "daemonize" | "background" => "it runs in the foreground; systemd or `&` puts it into the background",
            "pidfile" | "pid_file" | "pid" => "there is no PID file: systemd knows the process",
            "shutdown_timeout" | "graceful_timeout" | "hard_stop_after" =>
                "`drain: { stop: TIME }` bounds the stop",
            "watch" => "`reload: { watch: all }` says what is watched";
    }
}

spec! {
    /// Limits over all endpoints.
    pub struct ProcessLimits {
        /// Connections at a time. `auto` is what the limit on open files allows; more than that is reduced to
        /// it, with a warning.
        default connections: AutoOr<Count<1, 10_000_000>> = "auto"
            because "the limit on open files is there already, and is the one that counts",
        /// TLS handshakes with clients at a time, counted from the whole ClientHello on. One source gets at
        /// most as many as are free, so at most half of them.
        default handshakes: Count<1, 1_000_000> = "1024"
            because "they keep every core busy, and a burst of clients still gets answers within seconds",
    }
}

spec! {
    /// How connections end when Reseal stops or their configuration is removed.
    pub struct Drain {
        /// After TERM: how long Reseal is not ready but still accepts.
        default lame_duck: Duration = "0s"
            because "without a load balancer that reads `/readyz`, it would only delay the stop",
        /// Then: how long connections may finish.
        default stop: Duration = "20s"
            because "Kubernetes kills a pod after 30s",
        /// How long connections may go on after a reload removed their endpoint, route or origin.
        default removed: Duration = "10m"
            because "long transfers finish, and what was removed does not live for days",
        /// While draining, a connection without a byte in either direction for this long is closed.
        default idle_after: Duration = "30s"
            because "most requests are answered within it",
    }
}

spec! {
    /// When changed files are re-read without a request.
    pub struct Reload {
        /// Which files are watched.
        default watch: Watched = "materials"
            because "certificates renew by themselves; an edited configuration should be checked first",
        /// How long a changed file has to stay unchanged before it is read.
        default debounce: Duration = "500ms"
            because "certificate and key are written one after the other",
    }
}

spec! {
    /// Which rights Reseal gives up.
    pub struct Sandbox or mode {
        /// Whether it may run without giving them up.
        default mode: Mode = "best-effort"
            because "kernels before 6.12 lack parts of it",
        /// What is kept beyond what the configuration needs, for later reloads.
        default also: Room = "{}",
        example "{ mode: required, also: { read: [DIRECTORY], bind: [PORT] } }";
        instead
            "read" | "write" | "connect" | "bind" => "`also: { read: [..] }` keeps it for later reloads",
            "enabled" => "mode";
    }
}

spec! {
    /// What is kept for later reloads.
    pub struct Room {
        /// Files and directories that may be read, with everything below them.
        default read: OneOrMany<Path> = "[]"
            because "a renewal beside the files that are named can be read anyway",
        /// Directories in which log files and sockets may be made, and files that may be written.
        default write: OneOrMany<Path> = "[]"
            because "logs and sockets seldom move",
        /// TCP ports that may be connected to.
        default connect: OneOrMany<Count<1, 65535>> = "[]"
            because "the ports of origins are in the file",
        /// TCP ports that may be listened on.
        default bind: OneOrMany<Count<1, 65535>> = "[]"
            because "the addresses of endpoints are in the file",
        example "{ read: [DIRECTORY], bind: [PORT] }";
        instead
            "listen" | "ports" => "bind",
            "files" | "directories" => "read";
    }
}

keyword! {
    impl Mode("mode") {
        /// Everything that the configuration does not need, reading and connecting included. Refuses to start
        /// (exit code 2) where the kernel lacks a part: Linux before 6.12, or without Landlock or seccomp.
        Required = "required",
        /// Writing, executing, listening on other ports, and reaching other processes, as far as the kernel
        /// can.
        BestEffort = "best-effort",
        /// Nothing.
        Off = "off",
        instead
            "on" => "best-effort",
            "true" => "best-effort",
            "strict" => "required",
            "enforce" => "required",
            "none" => "off";
    }
}

/// A user to become, or `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// None.
    None,
    /// This one.
    As(RunAs),
}

impl User {
    /// The user, if there is one.
    pub const fn get(&self) -> Option<&RunAs> {
        match self {
            Self::None => None,
            Self::As(user) => Some(user),
        }
    }
}

impl Leaf for User {
    fn what() -> Cow<'static, str> {
        "`USER`, `USER:GROUP` or `none`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        if text == "none" {
            return Ok(Self::None);
        }
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let is_name = |name: &str| !name.is_empty() && !name.contains([':', '/', ' ']);
        if !is_name(user) || !group.is_none_or(is_name) {
            return Err(Invalid::new("{} is not a user").help("write `USER` or `USER:GROUP`"));
        }
        Ok(Self::As(RunAs {
            user: user.to_owned(),
            group: group.map(str::to_owned),
        }))
    }

    fn schema() -> Value {
        // YAML tools convert a numeric user to a number.
        json!({ "type": ["string", "integer"], "minLength": 1 })
    }

    fn render(&self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::As(RunAs { user, group: None }) => user.clone(),
            Self::As(RunAs {
                user,
                group: Some(group),
            }) => format!("{user}:{group}"),
        }
    }
}

keyword! {
    impl Watched("choice") {
        /// Certificates, keys, CA bundles, revocation lists, OCSP responses and secrets.
        Materials = "materials",
        /// These, and the configuration file.
        All = "all",
        /// None: a reload has to be requested.
        Nothing = "off",
    }
}

keyword! {
    /// What to do about a private key that every user may read.
    pub enum KeyPermissions("policy") {
        /// The configuration is refused.
        Refuse = "refuse",
        /// A warning.
        Warn = "warn",
    }
}

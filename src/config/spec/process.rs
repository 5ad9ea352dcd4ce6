//! The keys of `process`.

use crate::config::reader::fields::spec;
use crate::config::reader::generic::{AutoOr, OneOrMany};
use crate::config::reader::values::{Count, Duration, Path};
use crate::config::reader::words::keyword;
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
        later user => "until then, start Reseal as that user: `User=` in its systemd unit",
            sandbox => "until then, use the settings of the systemd unit in docs/operations.md";
        example "{ workers: 4 }";
        instead
            "threads" | "nbthread" | "nbproc" | "worker_processes" | "concurrency" => "workers",
            "maxconn" | "max_connections" | "worker_connections" =>
                "`limits: { connections: N }` bounds connections",
            "group" => "until Reseal changes its group itself, use `Group=` in its systemd unit",
            "chroot" => "use `RootDirectory=` in the systemd unit",
            "setuid" => "use `User=` in the systemd unit",
            "setgid" => "use `Group=` in the systemd unit",
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

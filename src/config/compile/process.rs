//! Process settings, log and access log. Their values cannot conflict, so nothing is reported here.

use std::path::Path;

use crate::config::reader::read::Located;
use crate::config::reader::values::{self, Count};
use crate::config::spec::{self, AccessEvent};
use crate::observe::access_log::AccessLogSettings;
use crate::observe::export::{OtlpSettings, SyslogAddress, SyslogSettings};
use crate::observe::logging::LogSettings;
use crate::observe::sink::Output;
use crate::sandbox::{Policy, Room};
use crate::snapshot::{DrainPolicy, ProcessSettings, WatchPolicy};

pub(super) fn settings(spec: &spec::Process, dir: &Path) -> ProcessSettings {
    let size = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    ProcessSettings {
        workers: spec.workers.set().map(|count| size(count.0)),
        connections: spec.limits.connections.set().map(|count| size(count.0)),
        handshakes: size(spec.limits.handshakes.0),
        drain: DrainPolicy {
            lame_duck: spec.drain.lame_duck.0,
            stop: spec.drain.stop.0,
            removed: spec.drain.removed.0,
            idle_after: spec.drain.idle_after.0,
        },
        watch: WatchPolicy {
            what: spec.reload.watch.value,
            debounce: spec.reload.debounce.0,
        },
        run_as: spec.user.get().cloned(),
        sandbox: sandbox(&spec.sandbox, dir),
    }
}

fn sandbox(spec: &spec::Sandbox, dir: &Path) -> Policy {
    let paths = |paths: &[Located<values::Path>]| {
        paths.iter().map(|path| dir.join(&path.value.0)).collect()
    };
    let ports = |ports: &[Located<Count<1, 65535>>]| {
        let ports = ports.iter().map(|port| u16::try_from(port.value.0));
        ports.filter_map(Result::ok).collect()
    };
    Policy {
        mode: spec.mode.value,
        also: Room {
            read: paths(&spec.also.read),
            write: paths(&spec.also.write),
            connect: ports(&spec.also.connect),
            bind: ports(&spec.also.bind),
        },
    }
}

pub(super) fn log(spec: &spec::Log, dir: &Path) -> LogSettings {
    LogSettings {
        level: spec.level.value,
        format: spec.format.set().copied(),
        output: output(&spec.output, dir),
    }
}

pub(super) fn access_log(
    spec: &spec::AccessLog,
    dir: &Path,
    otlp: Option<OtlpSettings>,
) -> AccessLogSettings {
    let has = |event| spec.events.iter().any(|listed| listed.value == event);
    AccessLogSettings {
        format: spec.format.value,
        output: output(&spec.output, dir),
        open: has(AccessEvent::Open),
        close: has(AccessEvent::Close),
        every: spec.every.value.0,
        probes: spec.sample_probes.value.0,
        refused: spec.sample_refused.value.0,
        syslog: spec.syslog.get().map(|syslog| self::syslog(syslog, dir)),
        otlp,
    }
}

fn syslog(spec: &spec::Syslog, dir: &Path) -> SyslogSettings {
    SyslogSettings {
        to: match &spec.to.value {
            SyslogAddress::Unix(path) => SyslogAddress::Unix(dir.join(path)),
            place => place.clone(),
        },
        facility: spec.facility.value,
    }
}

fn output(output: &values::Output, dir: &Path) -> Output {
    match output {
        values::Output::Stdout => Output::Stdout,
        values::Output::Stderr => Output::Stderr,
        values::Output::None => Output::None,
        values::Output::File(path) => Output::File(dir.join(&**path)),
    }
}

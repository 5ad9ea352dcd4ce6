//! Process settings, log and access log. Their values cannot conflict, so nothing is reported here.

use std::path::Path;

use crate::config::reader::values;
use crate::config::spec::{self, AccessEvent};
use crate::observe::access_log::AccessLogSettings;
use crate::observe::logging::LogSettings;
use crate::observe::sink::Output;
use crate::snapshot::{DrainPolicy, ProcessSettings, WatchPolicy};

pub(super) fn settings(spec: &spec::Process) -> ProcessSettings {
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
    }
}

pub(super) fn log(spec: &spec::Log, dir: &Path) -> LogSettings {
    LogSettings {
        level: spec.level.value,
        format: spec.format.set().copied(),
        output: output(&spec.output, dir),
    }
}

pub(super) fn access_log(spec: &spec::AccessLog, dir: &Path) -> AccessLogSettings {
    let has = |event| spec.events.iter().any(|listed| listed.value == event);
    AccessLogSettings {
        format: spec.format.value,
        output: output(&spec.output, dir),
        open: has(AccessEvent::Open),
        close: has(AccessEvent::Close),
        probes: spec.sample_probes.value.0,
        refused: spec.sample_refused.value.0,
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

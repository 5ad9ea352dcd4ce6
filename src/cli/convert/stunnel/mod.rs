//! Configurations of stunnel. An option without a counterpart is left out; where a service would then mean
//! something else, or admit more, the whole service is.

mod compose;
mod judge;
mod lines;
mod service;
mod through;
mod tls;
mod words;

use std::mem;

use self::lines::{Line, Section};
use self::service::Service;
use self::words::Switch;
use crate::cli::document::{Document, Endpoint};
use crate::cli::flow::scalar;

/// The configuration of a file. Fails for what is none of stunnel's.
pub(super) fn convert(name: &str, bytes: &[u8]) -> Result<Document, String> {
    let mut sections = lines::sections(bytes)?.into_iter();
    let global = sections.next().unwrap_or_default();
    let mut document = Document {
        title: format!("Converted from {name}"),
        ..Document::default()
    };
    let sections: Vec<_> = sections.collect();
    if sections.is_empty() {
        return inetd(document, &global);
    }
    // What services inherit.
    let mut inherited = Service::default();
    for line in &global.lines {
        if !of_process(&mut document, line) {
            inherited.option(line);
        }
    }
    run_as(&mut document, &global);
    document.left_out.append(&mut inherited.left_out);
    let mut services = Vec::new();
    for section in &sections {
        let mut service = inherited.clone();
        service.name = free_name(section, &services);
        section.lines.iter().for_each(|line| service.option(line));
        judge::judge(&mut service, section);
        services.push((service, section));
    }
    for (service, section) in services {
        add(&mut document, service, section);
    }
    Ok(document)
}

/// A file without a section is for a stunnel that inetd starts.
fn inetd(mut document: Document, global: &Section) -> Result<Document, String> {
    let is_service = |line: &Line| matches!(line.key.as_str(), "connect" | "exec" | "accept");
    if !global.lines.iter().any(is_service) {
        return Err("it has no service: is it a configuration of stunnel?".to_owned());
    }
    for line in &global.lines {
        let why = match is_service(line) {
            true => {
                "inetd starts no Reseal: it listens by itself; name the service in brackets, and `accept`"
            }
            false => "",
        };
        document.left_out.push(line.left_out(why));
    }
    Ok(document)
}

/// The user and the group that the process becomes; the last line of each decides.
fn run_as(document: &mut Document, global: &Section) {
    let last = |key: &str| global.lines.iter().rev().find(|line| line.key == key);
    let (user, group) = (last("setuid"), last("setgid"));
    let is_name = |line: &Line| !line.value.is_empty() && !line.value.contains(':');
    match (user, group) {
        (Some(user), None) if is_name(user) => document.process.push(("user", scalar(&user.value))),
        (Some(user), Some(group)) if is_name(user) && is_name(group) => {
            let both = format!("{}:{}", user.value, group.value);
            document.process.push(("user", scalar(&both)));
        }
        _ => {
            let lines = [user, group].into_iter().flatten();
            let left_out = lines.map(|line| line.left_out("`process.user` is USER or USER:GROUP"));
            document.left_out.extend(left_out);
        }
    }
}

/// Reads an option of the process. Whether it is one.
fn of_process(document: &mut Document, line: &Line) -> bool {
    let value = line.value.as_str();
    let why = match line.key.as_str() {
        "output" => {
            let output = match value {
                "/dev/stdout" => "stdout",
                "/dev/stderr" => "stderr",
                path => path,
            };
            document.log.retain(|(key, _)| *key != "output");
            document.log.push(("output", scalar(output)));
            return true;
        }
        "debug" => match level(value) {
            Some(level) => {
                document.log.retain(|(key, _)| *key != "level");
                document.log.insert(0, ("level", level.to_owned()));
                return true;
            }
            None => "`log: { level: .. }` is error, warn, info, debug or trace",
        },
        "syslog" if words::switch(value) == Switch::No => return true,
        "syslog" => "logs go to standard error, from where systemd takes them",
        "foreground" | "fips" | "log" | "compression" if words::holds(&line.key, value) => {
            return true;
        }
        "foreground" => "it stays in the foreground: systemd puts it into the background",
        "log" => "a log is appended to",
        "pid" => "there is no PID file: systemd knows the process",
        "chroot" => "`RootDirectory=` of the systemd unit",
        // `run_as` has read them.
        "setuid" | "setgid" => return true,
        "include" => "convert each file of that directory",
        "service" | "taskbar" | "iconactive" | "iconerror" | "iconidle" => {
            "it is about stunnel's own process"
        }
        "egd" | "rndbytes" | "rndfile" | "rndoverwrite" => "random numbers come from the kernel",
        "engine" | "enginectrl" | "enginedefault" | "provider" | "providerparameter" | "setenv" => {
            "engines and providers of OpenSSL are not loaded"
        }
        "fips" => "the FIPS mode of OpenSSL has no counterpart",
        _ => return false,
    };
    document.left_out.push(line.left_out(why));
    true
}

/// The log level of `debug = [FACILITY.]LEVEL`.
fn level(value: &str) -> Option<&'static str> {
    let level = value.rsplit_once('.').map_or(value, |(_, level)| level);
    Some(match level.to_ascii_lowercase().as_str() {
        "0" | "1" | "2" | "3" | "emerg" | "alert" | "crit" | "err" => "error",
        "4" | "warning" => "warn",
        "5" | "6" | "notice" | "info" => "info",
        "7" | "debug" => "debug",
        _ => return None,
    })
}

/// The name of a section in letters that a name may have, and that no other service has.
fn free_name(section: &Section, others: &[(Service, &Section)]) -> String {
    const LEN_MAX: usize = 60;
    let name = section.header.as_ref().map_or("", Line::name);
    let letter = |c: char| match c {
        c if c.is_ascii_alphanumeric() || "._-".contains(c) => c,
        _ => '-',
    };
    let name: String = name.chars().take(LEN_MAX).map(letter).collect();
    let name = if name.is_empty() {
        "service".to_owned()
    } else {
        name
    };
    let is_taken = |name: &str| others.iter().any(|(other, _)| other.name == name);
    let mut free = name.clone();
    let mut number = 1;
    while is_taken(&free) {
        number += 1;
        free = format!("{name}-{number}");
    }
    free
}

/// Adds a service to the document, or, if it is blocked, all of its lines.
fn add(document: &mut Document, mut service: Service, section: &Section) {
    if !service.is_blocked && compose::add(document, &mut service) {
        return;
    }
    let mut noted = mem::take(&mut service.left_out);
    let lines = section.header.iter().chain(&section.lines);
    let own = lines.map(|line| {
        let place = line.place();
        let at = noted.iter().position(|noted| noted.place == place);
        at.map_or_else(|| line.left_out(""), |at| noted.remove(at))
    });
    let mut left_out: Vec<_> = own.collect();
    // What is wrong with lines that it inherits.
    left_out.append(&mut noted);
    document.endpoints.push(Endpoint {
        left_out,
        ..Endpoint::default()
    });
}

//! `reseal check`.

mod network;

use std::path::Path;

use serde_json::json;

use super::config_file::ConfigFile;
use super::connect::{self, Answer};
use super::exit::Exit;
use super::output::{eprint_line, print, table};
use super::{ctl, routes, start};
use crate::config::compile::{Files, LoadOptions, Materials, Purpose};
use crate::config::load::Loaded;
use crate::config::{self, Spec, load};
use crate::hostname::HostPattern;
use crate::observe::escape;
use crate::observe::format::unix_timestamp;
use crate::outcome::Reason;
use crate::snapshot::Snapshot;
use crate::tls::pair::stem;
use crate::tls::sessions::Sessions;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Print the effective configuration, with all defaults
    #[arg(long)]
    print: bool,
    /// Leave this machine out: certificates, keys and other files, directories, users and addresses
    #[arg(long)]
    no_files: bool,
    /// Contact nobody: neither the directories of `acme` nor what `crl` and `ocsp` have fetched
    #[arg(long)]
    no_network: bool,
    /// Treat warnings as errors
    #[arg(long)]
    strict: bool,
    /// Show what a reload of the process that runs this file would change
    #[arg(long)]
    against_running: bool,
    /// Connect to every origin as connections do (TLS, name, client certificate, negotiate, PROXY header),
    /// and print a line for each; exit 1 if one fails
    #[arg(long, conflicts_with_all = ["print", "no_files", "against_running"])]
    connect: bool,
    /// Print how the origins answered as JSON, and nothing else
    #[arg(long, requires = "connect")]
    json: bool,
}

pub(super) fn main(args: &Args) -> Exit {
    let Some(path) = args.config.find() else {
        return Exit::Refused;
    };
    let files = if args.no_files {
        Files::Skip
    } else {
        Files::Read
    };
    let mut loaded = match load::file(
        &path,
        LoadOptions::first(files, Purpose::Check, &Sessions::default()),
    ) {
        Ok(loaded) => loaded,
        Err(error) => return start::unreadable(&path, &error),
    };
    if !args.no_files && !loaded.problems.has_errors() {
        loaded.warn_unreadable();
    }
    if !args.no_network {
        network::ask(&mut loaded);
    }
    let problems = &loaded.problems;
    if !problems.is_empty() {
        eprint_line(&loaded.report());
    }
    if problems.has_errors() || (args.strict && problems.has_warnings()) {
        return Exit::Bad;
    }
    if args.against_running {
        return against_running(&path, &loaded);
    }
    match (&loaded.spec, &loaded.snapshot) {
        (Some(spec), _) if args.print => print(&config::print(spec)),
        (Some(spec), None) => print(&format!(
            "{}: good (files not read)\n{}",
            path.display(),
            routes::table(spec)
        )),
        (Some(spec), Some(snapshot)) if args.json => connections(spec, snapshot, true),
        (Some(spec), Some(snapshot)) => {
            let certificates = certificates(snapshot, &loaded.materials);
            let printed = print(&format!(
                "{}: good\n{}{certificates}",
                path.display(),
                routes::table(spec)
            ));
            match args.connect {
                true => connections(spec, snapshot, false),
                false => printed,
            }
        }
        // A spec without errors always exists.
        (None, _) => Exit::Internal,
    }
}

/// Connects to every origin, and prints how each answered.
fn connections(spec: &Spec, snapshot: &Snapshot, as_json: bool) -> Exit {
    let answers = match connect::to_all(spec, snapshot) {
        Ok(answers) => answers,
        Err(error) => {
            eprint_line(&format!("reseal: cannot connect: {error}"));
            return Exit::Internal;
        }
    };
    let printed = print(&match as_json {
        true => {
            let origins: Vec<_> = answers.iter().map(Answer::json).collect();
            format!("{:#}\n", json!({ "origins": origins }))
        }
        false => format!("\n{}", connect::lines(&answers)),
    });
    match answers.iter().all(|answer| answer.reason() == Reason::Ok) {
        true => printed,
        false => Exit::Bad,
    }
}

fn against_running(path: &Path, loaded: &Loaded) -> Exit {
    match ctl::plan(path, &ctl::Place::of(path, loaded.spec.as_deref())) {
        Ok(plan) => print(&plan),
        Err(invalid) => {
            eprint_line(&format!("reseal: {invalid}"));
            Exit::Bad
        }
    }
}

/// The certificates in use and the trusted CAs and CRLs, one table for each kind.
fn certificates(snapshot: &Snapshot, materials: &Materials) -> String {
    let texts = |names: &[HostPattern]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut presented = Vec::new();
    for endpoint in &snapshot.endpoints {
        for certificate in &endpoint.certificates {
            let addresses = certificate.pair.addresses.iter().map(ToString::to_string);
            let mut names = texts(&certificate.names);
            names.extend(addresses);
            presented.push([
                certificate.name.clone(),
                endpoint.name.to_string(),
                names.join(" "),
                unix_timestamp(certificate.pair.not_after),
            ]);
        }
    }
    let to_origins = snapshot.upstreams.iter().filter_map(|upstream| {
        let pair = upstream.certificate()?;
        let subject = pair.chain.first().map(|leaf| escape::name(&leaf.subject));
        Some([
            stem(pair.source.as_ref()),
            upstream.definition.name.to_string(),
            subject.unwrap_or_default(),
            unix_timestamp(pair.not_after),
        ])
    });
    let authorities = materials.authority_ends().into_iter();
    let authorities = authorities.map(|((file, subject), validity)| {
        let end = unix_timestamp(validity.not_after);
        [escape::name(&subject), file, end]
    });
    let lists = materials.list_ends().into_iter();
    let lists =
        lists.map(|((file, issuer), end)| [escape::name(&issuer), file, unix_timestamp(end)]);
    [
        titled(["CERTIFICATE", "ENDPOINT", "NAMES", "EXPIRES"], presented),
        titled(
            ["CERTIFICATE", "UPSTREAM", "SUBJECT", "EXPIRES"],
            to_origins,
        ),
        titled(["CA", "FILE", "EXPIRES"], authorities),
        titled(["REVOCATION LIST OF", "FILE", "NEXT UPDATE"], lists),
    ]
    .concat()
}

/// A table after an empty line; nothing if it has no rows.
fn titled<const N: usize>(
    titles: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut all = vec![titles.map(str::to_owned)];
    all.extend(rows);
    if all.len() == 1 {
        return String::new();
    }
    format!("\n{}", table(&all))
}

//! What `reseal check` asks over the network: whether CAs answer, and with something of use.

use std::collections::BTreeMap;
use std::io;

use tokio::runtime::{Builder, Runtime};

use crate::acme::{self, Finding};
use crate::config::Spec;
use crate::config::load::Loaded;
use crate::config::reader::problem::Span;
use crate::config::spec::{HttpUrl, ListSource, OcspSource};
use crate::observe::escape;
use crate::revocation::{self, Reach, Source, Wanted};
use crate::upstream::Lookup;

/// Asks the CAs that a configuration names. One that does not answer today may tomorrow: that is a warning.
pub(super) fn ask(loaded: &mut Loaded) {
    let Some(snapshot) = &loaded.snapshot else {
        return;
    };
    if snapshot.managed.is_empty() && snapshot.fetched.is_empty() {
        return;
    }
    let (Some(spec), Ok(runtime)) = (loaded.spec.clone(), runtime()) else {
        return;
    };
    issuers(loaded, &spec, &runtime);
    sources(loaded, &spec, &runtime);
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Asks the issuers that certificates name for their directories.
fn issuers(loaded: &mut Loaded, spec: &Spec, runtime: &Runtime) {
    let managed = loaded
        .snapshot
        .iter()
        .flat_map(|snapshot| &snapshot.managed);
    let issuers: BTreeMap<_, _> = managed
        .map(|managed| (managed.issuer.name.clone(), managed.issuer.clone()))
        .collect();
    for (name, issuer) in issuers {
        let Some(spec) = spec.acme.get(&name) else {
            continue;
        };
        match runtime.block_on(acme::probe(&issuer, &Lookup::default())) {
            Finding::Good => {}
            Finding::Unreachable(why) => {
                let message = format!("the directory of the CA cannot be had now: {why}");
                let problem = loaded.problems.warning(spec.directory.at, message);
                problem.help(
                    "`--no-network` does not ask; `ca: FILE` says who vouches for a private CA",
                );
            }
            Finding::Unfit(why) => {
                loaded.problems.error(spec.directory.at, why);
            }
        }
    }
}

/// Fetches what is fetched about revocation, and judges it.
fn sources(loaded: &mut Loaded, spec: &Spec, runtime: &Runtime) {
    let fetched = loaded
        .snapshot
        .iter()
        .flat_map(|snapshot| &snapshot.fetched);
    let fetched: Vec<_> = fetched.cloned().collect();
    for source in fetched {
        let Err(why) = runtime.block_on(revocation::probe(&source, &Lookup::default())) else {
            continue;
        };
        let Some(at) = place(spec, &source) else {
            continue;
        };
        let url = escape::text(&source.url);
        let message = format!("{url} cannot be fetched now: {why}");
        let problem = loaded.problems.warning(at, message);
        problem.help("`--no-network` does not ask; what was fetched before stays in use");
    }
}

/// Where the file names a source.
fn place(spec: &Spec, source: &Source) -> Option<Span> {
    let is_it = |url: Option<&HttpUrl>| match url {
        Some(url) => url.0 == *source.url,
        None => source.reach == Reach::Public,
    };
    let is_list = |list: &ListSource| match list {
        ListSource::Url(list) => is_it(Some(&*list.url)),
        ListSource::Certificates(_) => is_it(None),
        ListSource::File(_) => false,
    };
    let is_response = |response: &OcspSource| match response {
        OcspSource::Fetch(fetch) => is_it(fetch.url.as_deref()),
        OcspSource::File(_) => false,
    };
    match &source.wanted {
        Wanted::Lists(_) => {
            let mut lists = spec.list_sources();
            lists.find(|list| is_list(&list.value)).map(|list| list.at)
        }
        Wanted::Staple(_) => {
            let mut responses = spec.ocsp_sources();
            let found = responses.find(|response| is_response(&response.value));
            found.map(|response| response.at)
        }
    }
}

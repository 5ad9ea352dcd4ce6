//! What a configuration needs of the machine while it runs, for the sandbox.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::admin::AdminListen;
use super::{Listen, Snapshot};
use crate::observe::sink::Output;
use crate::sandbox::Rights;
use crate::upstream::Address;

/// The port of name servers, which answer over TCP what does not fit a datagram.
const DNS: u16 = 53;

impl Snapshot {
    /// What this configuration needs of the machine while it runs, except for the files that it is made of.
    pub fn rights(&self) -> Rights {
        let mut rights = Rights::default();
        for listen in self.endpoints.iter().flat_map(|endpoint| &endpoint.listen) {
            match listen {
                Listen::Address(address) => drop(rights.bind.insert(address.port())),
                Listen::Everywhere(port) => drop(rights.bind.insert(*port)),
                Listen::Unix {
                    path, owner, group, ..
                } => socket(&mut rights, path, &[owner, group]),
                // It is bound already, and a reload gets no other.
                Listen::Systemd(_) => {}
            }
        }
        match &self.admin.listen {
            Some(AdminListen::Unix {
                path, owner, group, ..
            }) => socket(&mut rights, path, &[owner, group]),
            Some(AdminListen::Tcp { address, .. }) => drop(rights.bind.insert(address.port())),
            None => {}
        }
        rights
            .bind
            .extend(self.admin.metrics.map(|address| address.port()));
        let outputs = [&self.log.output, &self.access_log.output];
        rights.logs = outputs.into_iter().filter_map(file).collect();
        rights.connect = self.ports();
        if let Some(fleet) = &self.fleet {
            // What a later document listens on is not known yet.
            rights.binds_any = true;
            rights.write.insert(fleet.cache.clone());
            let endpoints = fleet.store.endpoints.iter();
            rights
                .connect
                .extend(endpoints.map(|endpoint| endpoint.place.port));
        }
        rights.connect.extend(self.access_log.ports());
        rights
            .bind
            .extend(self.http_places().iter().map(|place| place.address.port()));
        for state in self.states() {
            rights.read.insert(state.to_owned());
            rights.write.insert(state.to_owned());
        }
        rights.from_addresses = self.upstreams.iter().any(|upstream| {
            let checks = upstream.health.as_ref();
            !upstream.definition.connect.sources.is_empty()
                || checks.is_some_and(|health| !health.sources.is_empty())
        });
        rights
    }

    /// The ports that origins, the directories of CAs and what is fetched have by the file, and those of name
    /// servers.
    fn ports(&self) -> BTreeSet<u16> {
        let mut ports = BTreeSet::from([DNS]);
        for upstream in &self.upstreams {
            if let Some(proxy) = upstream.definition.connect.proxy {
                ports.insert(proxy.port());
                continue;
            }
            for origin in &upstream.definition.origins {
                match &origin.address {
                    Address::Ip(address) => drop(ports.insert(address.port())),
                    Address::Host(_, port) | Address::Made(_, port) => drop(ports.insert(*port)),
                    // The ports of a service are not in the file; the compiler demands that they are named.
                    Address::Srv(_) | Address::Unix(_) => {}
                }
            }
            ports.extend(upstream.health.as_ref().and_then(|health| health.port));
        }
        ports.extend(
            self.managed
                .iter()
                .flat_map(|managed| managed.issuer.ports()),
        );
        ports.extend(
            self.identities
                .iter()
                .map(|identity| identity.engine.port()),
        );
        ports.extend(self.fetched.iter().map(|source| source.port()));
        ports
    }
}

fn socket(rights: &mut Rights, path: &std::path::Path, accounts: &[&Option<String>]) {
    rights.sockets.insert(path.to_owned());
    let is_name = |account: &str| account.parse::<u32>().is_err();
    let mut accounts = accounts.iter().copied().flatten();
    rights.accounts |= accounts.any(|account| is_name(account));
}

fn file(output: &Output) -> Option<PathBuf> {
    match output {
        Output::File(path) => Some(path.clone()),
        Output::Stdout | Output::Stderr | Output::None => None,
    }
}

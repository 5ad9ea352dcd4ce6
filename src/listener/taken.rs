//! Listening sockets that the process before this one passes.

use super::bind::endpoint_cannot_listen;
use super::socket::{BindError, BoundSocket, Listens};
use super::unix;
use crate::snapshot::{Endpoint, Listen, ListenKey};
use crate::takeover::{Offered, Role, Taking};

/// The sockets of one listening address of an endpoint that the running process has; none if it does not
/// listen there. They and the file of a unix socket stay as they are: the takeover may fail.
pub fn take(
    taking: &mut Taking,
    endpoint: &Endpoint,
    key: &ListenKey,
    listen: &Listen,
) -> Result<Vec<BoundSocket>, BindError> {
    let key = key.to_string();
    let offered = match listen {
        Listen::Unix { path, .. } => match unix::identity(path) {
            file @ Some(_) => taking.take(Role::Endpoint, &key, file),
            None => Vec::new(),
        },
        _ => taking.take(Role::Endpoint, &key, None),
    };
    let bound = offered.into_iter().map(|offered| {
        bound(offered, listen).map_err(|error| BindError {
            endpoint: endpoint.name.to_string(),
            message: endpoint_cannot_listen(&key, &error),
        })
    });
    bound.collect()
}

fn bound(offered: Offered, listen: &Listen) -> std::io::Result<BoundSocket> {
    let (address, file) = match (listen, offered.file) {
        (Listen::Unix { path, .. }, Some(identity)) => (
            format!("unix:{}", path.display()),
            Some(unix::taken(path, identity)?),
        ),
        _ => (offered.address, None),
    };
    Ok(BoundSocket {
        address,
        sockets: offered.sockets,
        inherited: matches!(listen, Listen::Systemd(_)),
        listens: Listens::Already,
        file,
    })
}

//! The start of an instance of a fleet: with the last good document, which is in the cache on disk. The store is
//! asked later, when clients are served already.

use std::sync::Arc;

use tracing::{error, info, warn};

use crate::config::compile::LoadOptions;
use crate::config::load::{Loaded, Source};
use crate::fleet::{Document, FleetSettings, FleetState, Revocations, cache};
use crate::snapshot::Snapshot;
use crate::tls::sessions::TicketSecret;

/// What a process starts with.
pub(super) struct Beginning {
    pub(super) source: Source,
    pub(super) loaded: Loaded,
    pub(super) snapshot: Snapshot,
    /// What it knows of its fleet, if it belongs to one.
    pub(super) fleet: Option<Arc<FleetState>>,
    /// The secrets of tickets that the fleet shares.
    pub(super) tickets: Vec<TicketSecret>,
    /// Why it does not begin with a document that it has.
    trouble: Option<String>,
}

impl Beginning {
    /// The start with a local file. An instance of a fleet gets the document of its cache.
    pub(super) fn new(
        source: Source,
        loaded: Loaded,
        snapshot: Snapshot,
        options: LoadOptions<'_>,
    ) -> Self {
        let local = Self {
            source,
            loaded,
            snapshot,
            fleet: None,
            tickets: Vec::new(),
            trouble: None,
        };
        match local.snapshot.fleet.clone() {
            Some(settings) => local.in_fleet(&settings, options),
            None => local,
        }
    }

    fn in_fleet(self, settings: &FleetSettings, options: LoadOptions<'_>) -> Self {
        let source = Source::Fleet {
            path: self.source.path().to_owned(),
            document: None,
        };
        let tickets = cache::read_tickets(settings);
        let tickets = tickets.map_or_else(Vec::new, |epochs| epochs.secrets());
        let (revocations, unread) = match cache::read_revocations(settings) {
            Ok(revocations) => (revocations, None),
            Err(why) => (Revocations::new(), Some(why)),
        };
        let fleet = |document: Option<&Arc<Document>>| {
            FleetState::beginning_with(document, revocations.clone())
        };
        let without = |trouble: Option<String>| Self {
            source: source.clone(),
            fleet: Some(fleet(None)),
            tickets: tickets.clone(),
            trouble: trouble.or_else(|| unread.clone()),
            ..self
        };
        // Before anybody connects.
        options.sessions.revoked().replace(fleet(None).revoked());
        if let Err(error) = cache::make_directory(settings) {
            let directory = settings.cache.display();
            return without(Some(format!("{directory} cannot be made: {error}")));
        }
        let document = match cache::read(settings) {
            Ok(Some(document)) => Arc::new(document),
            Ok(None) => return without(None),
            Err(why) => return without(Some(why)),
        };
        let begun = fleet(Some(&document));
        let source = source.with(document);
        let options = LoadOptions {
            tickets: &tickets,
            ..options
        };
        let mut loaded = match source.load(options) {
            Ok(loaded) => loaded,
            Err(error) => return without(Some(error.to_string())),
        };
        match loaded.snapshot.take() {
            Some(snapshot) => Self {
                source,
                loaded,
                snapshot,
                fleet: Some(begun),
                tickets: tickets.clone(),
                trouble: unread,
            },
            None => without(Some(loaded.report())),
        }
    }

    /// Logs what the instance begins with.
    pub(super) fn log(&self) {
        let Some(fleet) = &self.fleet else {
            return;
        };
        match (&self.trouble, fleet.now().serving) {
            (Some(trouble), _) => error!(error = trouble, "the cache of the fleet cannot be used"),
            (None, Some(document)) => info!(document, "serving the document of the cache"),
            (None, None) => {
                warn!("no document of the fleet is in the cache: the store is waited for")
            }
        }
    }
}

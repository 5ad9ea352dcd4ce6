//! An instance follows its fleet: lists what is wanted, applies it, says what it has, and waits for a change.
//!
//! The list is the truth; a watch only says when to look again, and a list is made every minute anyway. So a
//! watch that is lost, compacted or silent costs time and nothing else. Whatever the store does, what is served
//! stays until another document was applied whole.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use super::cache;
use super::document::Document;
use super::etcd::{Etcd, EtcdError, Range};
use super::keys::Keys;
use super::pointer::Pointer;
use super::presence::{Presence, saying};
use super::revocation::Revocation;
use super::settings::FleetSettings;
use super::state::{FleetState, Refused};
use super::store::{Store, StoreError};
use super::tickets::TicketEpochs;
use crate::phase::{Phase, PhaseRx};
use crate::revoked::Revoked;
use crate::tls::sessions::TicketSecret;

/// How often the lease is kept alive. With the timeout of a request, a member that hangs is noticed within 7 s.
const BEAT: Duration = Duration::from_secs(3);

/// After how many of these the number of connections is said.
const BEATS_PER_SAYING: u32 = 3;

/// How often everything is looked at again, whatever the watch says.
const LIST: Duration = Duration::from_secs(60);

/// The pause after the store was lost, the first and the longest one.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long the end of the process waits for the store.
const LEAVE: Duration = Duration::from_secs(1);

/// A document that is to be applied. The answer is why it is refused, or nothing.
#[derive(Debug)]
pub struct Offer {
    /// The document.
    pub document: Arc<Document>,
    /// Takes the answer.
    pub answer: oneshot::Sender<Result<(), String>>,
}

/// What the control loop is asked for.
#[derive(Debug)]
pub enum FleetRequest {
    /// A document is to be applied.
    Apply(Offer),
    /// The set of those who are revoked has changed: their connections are to be closed.
    CloseRevoked,
    /// All endpoints are to be closed and drained, or to be opened again.
    Drain(bool),
    /// Tickets are to be issued and accepted with these.
    Tickets(Vec<TicketSecret>),
}

/// An instance that follows its fleet.
pub struct Follower<S, C> {
    /// The settings of the moment; `None` if there are none any more.
    pub settings: S,
    /// Counts the connections.
    pub connections: C,
    /// Takes requests.
    pub requests: mpsc::Sender<FleetRequest>,
    /// Who is revoked.
    pub revoked: Arc<Revoked>,
    /// What is known.
    pub state: Arc<FleetState>,
    /// The phase of the process: an instance that stops leaves the fleet.
    pub phases: PhaseRx,
}

/// What outlives a connection to the store.
#[derive(Default)]
struct Memory {
    /// The member that was used last.
    member: usize,
    presence: Presence,
    beats: u32,
    /// When a generation is to be applied.
    due: Option<(String, Instant)>,
    /// The revision of the secrets of tickets that are used.
    tickets: Option<u64>,
    /// Why the store did not take what the instance last said.
    unsaid: Option<String>,
    /// Whether a conflict of names was logged.
    is_conflict_logged: bool,
}

impl<S, C> Follower<S, C>
where
    S: Fn() -> Option<Arc<FleetSettings>>,
    C: Fn() -> usize,
{
    /// Follows until the process stops.
    pub async fn follow(mut self) {
        let mut phases = self.phases.clone();
        let mut memory = Memory::default();
        let stopping = async {
            let is_over = |phase: &Phase| !matches!(phase, Phase::Run | Phase::LameDuck);
            let _ = phases.wait_for(is_over).await;
        };
        tokio::select! {
            () = self.reconnect(&mut memory) => {}
            () = stopping => {}
        }
        if let Some(settings) = (self.settings)() {
            let mut etcd = Etcd::new(&settings.store, memory.member);
            let _ = timeout(LEAVE, memory.presence.leave(&mut etcd)).await;
        }
    }

    /// Returns when there are no settings.
    async fn reconnect(&mut self, memory: &mut Memory) {
        let mut pause = PAUSE_MIN;
        while let Some(settings) = (self.settings)() {
            let heard = self.state.now().heard;
            let mut etcd = Etcd::new(&settings.store, memory.member);
            let lost = self.serve(&mut etcd, &settings, memory).await;
            memory.member = etcd.member();
            let Err(lost) = lost else { continue };
            memory.member = memory.member.wrapping_add(1);
            if self.state.now().heard > heard {
                pause = PAUSE_MIN;
            }
            self.lose(&lost);
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn lose(&self, lost: &EtcdError) {
        let trouble = lost.to_string();
        let is_first = self.state.now().trouble.is_none();
        if is_first {
            warn!(
                error = trouble,
                "the fleet's store is lost; what is served stays"
            );
        }
        self.state.update(|known| known.trouble = Some(trouble));
    }

    fn hear(&self) {
        let was_lost = self.state.now().trouble.is_some();
        self.state.update(|known| {
            known.heard = std::time::Instant::now();
            known.trouble = None;
        });
        if was_lost {
            info!("the fleet's store is heard again");
        }
    }

    /// Follows at one member, until that cannot serve, or a reload has changed the settings: keys, certificates
    /// and passwords are renewed by it.
    async fn serve(
        &mut self,
        etcd: &mut Etcd,
        settings: &Arc<FleetSettings>,
        memory: &mut Memory,
    ) -> Result<(), EtcdError> {
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            match self.once(etcd, settings, memory, &mut beats).await {
                Ok(()) => {}
                // It is listed again, at a revision of today.
                Err(error) if error.is_compacted() => {}
                Err(error) => return Err(error),
            }
            if (self.settings)().is_none_or(|now| !Arc::ptr_eq(&now, settings)) {
                return Ok(());
            }
        }
    }

    /// Lists, applies, and waits until there may be something new.
    async fn once(
        &mut self,
        etcd: &mut Etcd,
        settings: &Arc<FleetSettings>,
        memory: &mut Memory,
        beats: &mut Interval,
    ) -> Result<(), EtcdError> {
        let store = Store::of(settings, etcd);
        let want = store.keys.want();
        let pointer_key = store.keys.pointer();
        let list = etcd.list(&want, false).await?;
        self.hear();
        self.revocations(settings, &list).await;
        self.drain(settings, &list).await;
        self.tickets(settings, &list, memory).await;
        let pointer = list.entries.iter().find(|entry| entry.key == pointer_key);
        let pointer = pointer.and_then(|entry| Pointer::read(&entry.value));
        self.say(etcd, settings, memory, true).await?;
        match pointer {
            Some(pointer) => {
                let wanted = pointer.wanted(&settings.instance, &settings.group);
                let wanted = wanted.to_owned();
                let id = wanted.clone();
                self.state.update(|known| {
                    known.wanted = Some(wanted);
                    known.is_empty = false;
                });
                self.apply(etcd, settings, memory, (&id, list.revision), beats)
                    .await?;
            }
            None => self.nothing_wanted(),
        }
        let mut watch = etcd.watch(&want, list.revision + 1).await?;
        let again = Instant::now() + LIST;
        let due = memory.due.as_ref().map_or(again, |(_, due)| *due);
        let again = sleep_until(again.min(due));
        tokio::pin!(again);
        loop {
            tokio::select! {
                changed = watch.changed() => return changed,
                () = &mut again => return Ok(()),
                _ = beats.tick() => self.beat(etcd, settings, memory).await?,
            }
            if etcd.endpoint() != watch.endpoint() {
                // A request went to another member: the watch goes there, too.
                return Ok(());
            }
        }
    }

    /// Puts the revocations of the store in force, and keeps them for the next start.
    async fn revocations(&self, settings: &Arc<FleetSettings>, list: &Range) {
        let prefix = Keys::below(&settings.store.prefix).revoked();
        let entries = list
            .entries
            .iter()
            .filter(|entry| entry.key.starts_with(&prefix));
        let heard = entries.filter_map(|entry| {
            let opened = Revocation::open(&entry.key, &entry.value, &settings.keys);
            if opened.is_none() {
                warn!(
                    key = entry.key,
                    "a revocation cannot be opened, and is left out"
                );
            }
            opened.map(|revocation| (revocation.who.key(), revocation))
        });
        let changed = self.state.revocations_heard(heard.collect());
        self.enforce();
        let Some(encoded) = changed else { return };
        let settings = Arc::clone(settings);
        let written = spawn_blocking(move || cache::write_revocations(&settings, &encoded)).await;
        if let Ok(Err(error)) = written {
            warn!(%error, "the revocations are not in the cache: a start without the store would lack them");
        }
    }

    /// Closes the connections of those who are revoked now, if that has changed.
    fn enforce(&self) {
        if self.revoked.replace(self.state.revoked()) {
            info!("the revocations of the fleet have changed");
            // If there is no room, the control loop finds them within a second.
            let _ = self.requests.try_send(FleetRequest::CloseRevoked);
        }
    }

    /// Uses the secrets of tickets that the store has, and keeps them for the next start.
    async fn tickets(&self, settings: &Arc<FleetSettings>, list: &Range, memory: &mut Memory) {
        let key = Keys::below(&settings.store.prefix).tickets();
        let entry = list.entries.iter().find(|entry| entry.key == key);
        let Some(entry) = entry.filter(|entry| Some(entry.revision) != memory.tickets) else {
            return;
        };
        let opened = settings.keys.open(&key, &entry.value);
        let epochs = opened.ok().and_then(|plain| TicketEpochs::decode(&plain));
        let Some(epochs) = epochs else {
            warn!("the fleet's secrets of tickets cannot be opened: those that were used stay");
            memory.tickets = Some(entry.revision);
            return;
        };
        let request = FleetRequest::Tickets(epochs.secrets());
        if self.requests.send(request).await.is_ok() {
            memory.tickets = Some(entry.revision);
            info!(epoch = epochs.epoch, "tickets of a new epoch");
        }
        let settings = Arc::clone(settings);
        let written = spawn_blocking(move || cache::write_tickets(&settings, &epochs)).await;
        if let Ok(Err(error)) = written {
            warn!(%error, "the secrets of tickets are not in the cache: a start without the store would lack them");
        }
    }

    /// Serves nobody as long as the operators want that.
    async fn drain(&self, settings: &FleetSettings, list: &Range) {
        let key = Keys::below(&settings.store.prefix).drained() + &settings.instance;
        let is_drained = list.entries.iter().any(|entry| entry.key == key);
        // A store that was wiped is no wish.
        let is_empty = list.entries.is_empty();
        if is_empty || self.state.now().is_drained == is_drained {
            return;
        }
        let sent = self.requests.send(FleetRequest::Drain(is_drained)).await;
        if sent.is_ok() {
            self.state.update(|known| known.is_drained = is_drained);
        }
    }

    /// An empty store is no wish: what is served stays.
    fn nothing_wanted(&self) {
        if !self.state.now().is_empty {
            warn!("the fleet's store has no document; what is served stays");
        }
        self.state.update(|known| {
            known.wanted = None;
            known.is_empty = true;
        });
    }

    /// Keeps the lease, and says what there is to say.
    async fn beat(
        &self,
        etcd: &mut Etcd,
        settings: &FleetSettings,
        memory: &mut Memory,
    ) -> Result<(), EtcdError> {
        memory.beats = memory.beats.wrapping_add(1);
        self.enforce();
        memory.presence.keep_alive(etcd, settings).await?;
        self.hear();
        if memory.beats.is_multiple_of(BEATS_PER_SAYING) || memory.presence.is_taken {
            self.say(etcd, settings, memory, false).await?;
        }
        Ok(())
    }

    /// Says what this instance has. A store that refuses it (no right, no space) is followed all the same.
    async fn say(
        &self,
        etcd: &mut Etcd,
        settings: &FleetSettings,
        memory: &mut Memory,
        again: bool,
    ) -> Result<(), EtcdError> {
        let said = saying(settings, &self.state.now(), (self.connections)());
        match memory.presence.say(etcd, settings, said, again).await {
            Err(EtcdError::Refused { message, .. }) => {
                if memory.unsaid.as_ref() != Some(&message) {
                    warn!(
                        error = message,
                        "the fleet's store does not take the state of this instance"
                    );
                }
                memory.unsaid = Some(message);
            }
            said => {
                said?;
                memory.unsaid = None;
            }
        }
        let is_taken = memory.presence.is_taken;
        if is_taken && !memory.is_conflict_logged {
            warn!(
                instance = settings.instance,
                "another live instance has this name, and is the one that the fleet sees"
            );
        }
        memory.is_conflict_logged = is_taken;
        Ok(())
    }

    /// Applies a generation, unless it is served, refused already, or not due yet.
    async fn apply(
        &self,
        etcd: &mut Etcd,
        settings: &Arc<FleetSettings>,
        memory: &mut Memory,
        (id, revision): (&str, u64),
        beats: &mut Interval,
    ) -> Result<(), EtcdError> {
        let known = self.state.now();
        if known.serving.as_deref() == Some(id) {
            memory.due = None;
            if known.refused.is_some() {
                // The fleet went back to what is served here.
                self.state.update(|known| known.refused = None);
                self.say(etcd, settings, memory, false).await?;
            }
            return Ok(());
        }
        if !is_due(memory, settings, id, known.serving.is_none()) {
            return Ok(());
        }
        let read = Store::of(settings, etcd).read(id, revision).await;
        let result = match read {
            Err(StoreError::Etcd(error)) => return Err(error),
            Err(error) => Err(error.to_string()),
            Ok(document) => {
                let document = Arc::new(document);
                let applied = self.offer(&document, etcd, settings, memory, beats).await;
                if applied.is_ok() {
                    save(settings, document).await;
                }
                applied
            }
        };
        memory.due = None;
        self.conclude(id, result);
        self.say(etcd, settings, memory, true).await
    }

    /// Offers a document to the control loop, and waits for its answer. The lease is kept meanwhile.
    async fn offer(
        &self,
        document: &Arc<Document>,
        etcd: &mut Etcd,
        settings: &FleetSettings,
        memory: &mut Memory,
        beats: &mut Interval,
    ) -> Result<(), String> {
        let ended = || "the process stops".to_owned();
        let (answer, mut answered) = oneshot::channel();
        let offer = Offer {
            document: Arc::clone(document),
            answer,
        };
        let request = FleetRequest::Apply(offer);
        self.requests.send(request).await.map_err(|_| ended())?;
        loop {
            tokio::select! {
                answer = &mut answered => return answer.unwrap_or_else(|_| Err(ended())),
                // What is lost here is noticed by the next request.
                _ = beats.tick() => drop(self.beat(etcd, settings, memory).await),
            }
        }
    }

    /// Notes what has become of a generation.
    fn conclude(&self, id: &str, result: Result<(), String>) {
        match result {
            Ok(()) => {
                info!(document = id, "the document of the fleet is applied");
                self.state.update(|known| {
                    known.serving = Some(id.to_owned());
                    known.since = SystemTime::now();
                    known.refused = None;
                });
            }
            Err(reason) => {
                let refused = Refused {
                    id: id.to_owned(),
                    reason,
                };
                let known = self.state.now();
                if known.refused.as_ref() != Some(&refused) {
                    error!(
                        document = id,
                        reason = refused.reason,
                        serving = known.serving,
                        "the document of the fleet is refused, what is served stays"
                    );
                }
                self.state.update(|known| known.refused = Some(refused));
            }
        }
    }
}

/// Whether a generation is to be applied now. The first one of an instance always is.
fn is_due(memory: &mut Memory, settings: &FleetSettings, id: &str, is_first: bool) -> bool {
    if is_first || settings.apply_within.is_zero() {
        return true;
    }
    match &memory.due {
        Some((wanted, due)) if wanted == id => *due <= Instant::now(),
        _ => {
            let delay = settings.apply_within.mul_f64(share(&settings.instance, id));
            memory.due = Some((id.to_owned(), Instant::now() + delay));
            false
        }
    }
}

/// The moment of an instance within the time in which a generation is applied: 0 to 1.
fn share(instance: &str, id: &str) -> f64 {
    let mut hasher = DefaultHasher::new();
    (instance, id).hash(&mut hasher);
    f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

/// Keeps a document for the next start.
async fn save(settings: &Arc<FleetSettings>, document: Arc<Document>) {
    let settings = Arc::clone(settings);
    let path = settings.cache.clone();
    let written = spawn_blocking(move || cache::write(&settings, &document)).await;
    let error = match written {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "a defect of Reseal".to_owned(),
    };
    warn!(
        cache = %path.display(),
        error,
        "the document is not in the cache: a start without the store would serve an older one"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_apply_a_document_at_moments_of_their_own() {
        let shares: Vec<_> = (0..100).map(|n| share(&format!("edge-{n}"), "1")).collect();
        assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
        let early = shares.iter().filter(|share| **share < 0.5).count();
        assert!((25..=75).contains(&early), "{early}");
        assert_eq!(share("edge-1", "1"), share("edge-1", "1"));
        assert!(share("edge-1", "1") != share("edge-1", "2"));
    }
}

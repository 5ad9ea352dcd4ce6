//! What the open pages show: computed once for all of them, while there is one.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout};

use super::stream::EventStream;
use crate::admin::auth::Caller;
use crate::admin::query::{ConnKey, ConnQuery, FailureQuery};
use crate::admin::request::{Handle, Request, RequestResult};

/// The most pages at a time.
pub(in crate::admin) const PAGES_MAX: usize = 16;

/// Between two refreshes.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long a page may leave its last events unread.
const STALLED_MAX: Duration = Duration::from_secs(10);

/// How long a stream lasts. The page opens another one, and is authorised again.
const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// How long a refresh waits for the control loop: a page must hear that it lives.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How many topics there are.
const TOPICS: usize = TOPIC_TABLE.len();

/// How many connections and failures a page shows.
const ROWS: usize = 100;

/// What a page is told about: the name of its event, how many refreshes lie between two answers, and what
/// they answer.
type Topic = (&'static str, u32, fn() -> Request);

const TOPIC_TABLE: [Topic; 7] = [
    ("status", 1, || Request::Status),
    ("stats", 1, || Request::Stats { rates: false }),
    ("origins", 1, || Request::Origins),
    ("connections", 1, || Request::Connections(fastest())),
    ("failures", 2, || Request::Failures(latest())),
    ("reloads", 2, || Request::Reloads),
    ("certificates", 30, || Request::Certificates),
];

/// The connections that a page shows before its user filters them: those that move most.
fn fastest() -> ConnQuery {
    ConnQuery {
        sort: ConnKey::Rate,
        limit: ROWS,
        rates: true,
        ..ConnQuery::all()
    }
}

/// The failures that it shows under their reasons.
fn latest() -> FailureQuery {
    FailureQuery {
        limit: ROWS,
        ..FailureQuery::ALL
    }
}

/// Opens streams of events. Cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::admin) struct Feed {
    joining: mpsc::Sender<Page>,
    room: Arc<Semaphore>,
}

/// An open page, as the feed knows it.
#[derive(Debug)]
struct Page {
    events: mpsc::Sender<Bytes>,
    /// What it has been sent of each topic.
    seen: [u64; TOPICS],
    since: Instant,
    /// When it last had room for events.
    taken: Instant,
    _alive: oneshot::Sender<()>,
}

/// The latest answers, each with a number that grows when it changes.
#[derive(Debug, Default)]
struct Topics {
    refreshes: u32,
    latest: [(u64, Bytes); TOPICS],
}

impl Feed {
    /// A feed that asks the control loop. It runs on this thread's runtime.
    pub(in crate::admin) fn start(control: Handle) -> Self {
        let (joining, joined) = mpsc::channel(PAGES_MAX);
        tokio::spawn(run(control, joined));
        Self {
            joining,
            room: Arc::new(Semaphore::new(PAGES_MAX)),
        }
    }

    /// A stream for one more page, and what ends when the feed gives it up; `None` if there are too many.
    pub(in crate::admin) async fn join(
        &self,
        caller: &Caller,
    ) -> Option<(EventStream, oneshot::Receiver<()>)> {
        let room = Arc::clone(&self.room).try_acquire_owned().ok()?;
        // Room for what the page may do, and for one refresh.
        let (events, received) = mpsc::channel(2);
        let (alive, given_up) = oneshot::channel();
        let role = caller.role.word();
        let greeting = format!("retry: 2000\nevent: you\ndata: {{\"role\":\"{role}\"}}\n\n");
        events.try_send(greeting.into()).ok()?;
        let now = Instant::now();
        let page = Page {
            events,
            seen: [0; TOPICS],
            since: now,
            taken: now,
            _alive: alive,
        };
        self.joining.send(page).await.ok()?;
        let stream = EventStream {
            events: received,
            _room: room,
        };
        Some((stream, given_up))
    }
}

/// Refreshes while there are pages, and sends each what it has not seen.
async fn run(control: Handle, mut joined: mpsc::Receiver<Page>) {
    let mut pages: Vec<Page> = Vec::new();
    loop {
        let mut topics = Topics::default();
        match joined.recv().await {
            Some(page) => pages.push(page),
            None => return,
        }
        while !pages.is_empty() {
            let next = Instant::now() + INTERVAL;
            topics.refresh(&control).await;
            pages.retain_mut(|page| page.offer(&topics));
            loop {
                tokio::select! {
                    () = sleep_until(next) => break,
                    Some(mut page) = joined.recv() => if page.offer(&topics) {
                        pages.push(page);
                    },
                }
            }
        }
    }
}

impl Topics {
    async fn refresh(&mut self, control: &Handle) {
        let mut answers: [Option<RequestResult>; TOPICS] = std::array::from_fn(|_| None);
        for ((_, every, request), answer) in TOPIC_TABLE.iter().zip(&mut answers) {
            if self.refreshes.is_multiple_of(*every) {
                let result = timeout(ANSWER_MAX, control.request(request())).await;
                *answer = result.ok();
            }
        }
        self.refreshes = self.refreshes.wrapping_add(1);
        // There may be very many routes: they are written elsewhere.
        let written = spawn_blocking(|| {
            let mut named = TOPIC_TABLE.iter().zip(answers);
            std::array::from_fn::<_, TOPICS, _>(|_| {
                let ((name, _, _), answer) = named.next()?;
                let answer = answer?.ok()?;
                Some(Bytes::from(format!("event: {name}\ndata: {answer}\n\n")))
            })
        });
        let Ok(events) = written.await else {
            return;
        };
        for ((number, latest), event) in self.latest.iter_mut().zip(events) {
            if let Some(event) = event.filter(|event| event != latest) {
                *number += 1;
                *latest = event;
            }
        }
    }
}

impl Page {
    /// Sends what the page has not seen, if it has room. Returns whether it is kept.
    fn offer(&mut self, topics: &Topics) -> bool {
        let now = Instant::now();
        if now.duration_since(self.since) > LIFETIME {
            return false;
        }
        let Ok(room) = self.events.try_reserve() else {
            return !self.events.is_closed() && now.duration_since(self.taken) < STALLED_MAX;
        };
        let mut unseen = Vec::new();
        for ((number, event), seen) in topics.latest.iter().zip(&mut self.seen) {
            if number != seen {
                unseen.extend_from_slice(event);
                *seen = *number;
            }
        }
        if unseen.is_empty() {
            // A comment, so that the page knows that the process lives.
            unseen.extend_from_slice(b":\n\n");
        }
        room.send(unseen.into());
        self.taken = now;
        true
    }
}

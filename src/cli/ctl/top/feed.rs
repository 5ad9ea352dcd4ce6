//! Answers of the process, asked for on a thread of its own: keys work while it is slow, or gone.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::ctl::ask::send;
use crate::cli::ctl::place::Place;

/// How long an answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How many failures are shown at most.
const FAILURES: usize = 200;

/// What the process has said.
#[derive(Clone, Debug)]
pub(super) enum News {
    /// The answers of one refresh.
    State(Box<State>),
    /// It could not be asked, or refused: one sentence.
    Failed(String),
    /// A connection was ended, or could not be.
    Done(String),
}

/// The answers of one refresh.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) status: Value,
    pub(super) stats: Value,
    pub(super) connections: Value,
    pub(super) origins: Value,
    pub(super) failures: Value,
}

/// What the thread is told.
enum Order {
    /// Ask for these connections from now on.
    Ask(Value),
    Kill(String),
}

/// The thread that asks. It ends once this is dropped.
#[derive(Debug)]
pub(super) struct Feed {
    orders: Sender<Order>,
    news: Receiver<News>,
}

impl Feed {
    pub(super) fn start(place: &Place, interval: Duration) -> io::Result<Self> {
        let (orders, ordered) = channel();
        let (tell, news) = channel();
        let place = place.clone();
        let thread = thread::Builder::new().name("top".to_owned());
        thread.spawn(move || run(&place, interval, &ordered, &tell))?;
        Ok(Self { orders, news })
    }

    /// Asks for connections by this query at once, and at each refresh.
    pub(super) fn ask(&self, query: Value) {
        let _ = self.orders.send(Order::Ask(query));
    }

    /// Ends a connection.
    pub(super) fn kill(&self, id: String) {
        let _ = self.orders.send(Order::Kill(id));
    }

    /// What has been said since the last call; of several the latest.
    pub(super) fn news(&self) -> Option<News> {
        self.news.try_recv().ok()
    }
}

fn run(place: &Place, interval: Duration, orders: &Receiver<Order>, tell: &Sender<News>) {
    let mut query = Value::Null;
    loop {
        let order = orders.recv_timeout(match query {
            Value::Null => Duration::MAX,
            _ => interval,
        });
        let news = match order {
            Ok(Order::Ask(wanted)) => {
                query = wanted;
                refresh(place, &query)
            }
            Ok(Order::Kill(id)) => {
                let _ = tell.send(News::Done(kill(place, &id)));
                refresh(place, &query)
            }
            Err(RecvTimeoutError::Timeout) => refresh(place, &query),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if tell.send(news).is_err() {
            return;
        }
    }
}

fn refresh(place: &Place, query: &Value) -> News {
    let get = |path| send(place, path, None, TIMEOUT);
    let post = |path, body: &Value| send(place, path, Some(body), TIMEOUT);
    let state = || {
        Ok(State {
            status: get("/status")?,
            stats: get("/stats")?,
            connections: post("/connections", query)?,
            origins: get("/origins")?,
            failures: post("/failures", &json!({ "limit": FAILURES }))?,
        })
    };
    match state() {
        Ok(state) => News::State(Box::new(state)),
        Err(error) => News::Failed(error),
    }
}

fn kill(place: &Place, id: &str) -> String {
    match send(place, "/kill", Some(&json!({ "id": id })), TIMEOUT) {
        Ok(_) => format!("{id} was ended"),
        Err(error) => format!("{id} was not ended: {error}"),
    }
}

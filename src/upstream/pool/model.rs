//! A model of connections that acquire, wait for, give up and release slots while the pool changes. Every
//! method of [`PoolState`] is one critical section behind one lock, so what threads can do to a pool is
//! some order of calls: all of them are tried. A waiter that sleeps though it could have been served is
//! found as an order in which nobody can go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::Instant;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use super::state::PoolState;
use super::waiters::Ticket;
use super::{Change, PickError, PickRequest};
use crate::upstream::discovery::Resolver;
use crate::upstream::tests::capped;
use crate::upstream::{AdminState, UpstreamDefinition};

/// What an actor can do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Runnable,
    /// Until its waker is called.
    Asleep,
    Done,
}

trait Actor {
    /// One critical section.
    fn step(&mut self, pool: &mut Model);
    fn progress(&self) -> Progress;
}

struct Model {
    state: PoolState,
    resolver: Arc<Resolver>,
    now: Instant,
}

impl Model {
    fn new(resolver: &Arc<Resolver>) -> Self {
        let (events, _) = mpsc::unbounded_channel();
        let mut model = Self {
            state: PoolState::new(Arc::new(capped(1, 1)), 7, events),
            resolver: Arc::clone(resolver),
            now: Instant::now(),
        };
        model.redefine(capped(1, 1));
        model
    }

    fn redefine(&mut self, definition: UpstreamDefinition) {
        self.state.redefine(&Arc::new(definition));
        let origins = self.state.definition.origins.iter();
        self.state.sources = origins
            .map(|origin| self.resolver.source(origin, false))
            .collect();
        self.state.refresh(&Change::Removed, self.now);
    }
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A connection that uses a slot, at once or after a wait.
enum Connection {
    Picks,
    Joins,
    Waits { ticket: Ticket, woken: Arc<Flag> },
    Holds(u64),
    Over,
}

impl Actor for Connection {
    fn step(&mut self, pool: &mut Model) {
        let now = pool.now;
        *self = match std::mem::replace(self, Self::Over) {
            Self::Picks => match pool.state.pick(&PickRequest::default(), now) {
                Ok(taken) => Self::Holds(taken.id),
                Err(PickError::Full) => Self::Joins,
                Err(_) => Self::Over,
            },
            Self::Joins => match pool.state.join(PickRequest::default(), now) {
                Ok(ticket) => Self::Waits {
                    ticket,
                    // The first look at what was granted needs no waker.
                    woken: Arc::new(Flag(AtomicBool::new(true))),
                },
                Err(_) => Self::Over,
            },
            Self::Waits { ticket, woken } => {
                woken.0.store(false, Ordering::Relaxed);
                let waker = Waker::from(Arc::clone(&woken));
                match pool.state.poll_waiter(ticket, &waker) {
                    Some(Ok(taken)) => Self::Holds(taken.id),
                    Some(Err(_)) => Self::Over,
                    None => Self::Waits { ticket, woken },
                }
            }
            Self::Holds(id) => {
                pool.state.release(id, now);
                Self::Over
            }
            Self::Over => Self::Over,
        };
    }

    fn progress(&self) -> Progress {
        match self {
            Self::Over => Progress::Done,
            Self::Waits { woken, .. } if !woken.0.load(Ordering::Relaxed) => Progress::Asleep,
            _ => Progress::Runnable,
        }
    }
}

/// A connection whose client resets while it waits.
#[derive(Default)]
struct GivesUp {
    ticket: Option<Ticket>,
    is_over: bool,
}

impl Actor for GivesUp {
    fn step(&mut self, pool: &mut Model) {
        match self.ticket {
            None => self.ticket = pool.state.join(PickRequest::default(), pool.now).ok(),
            Some(ticket) => {
                pool.state.leave(ticket, pool.now);
                self.is_over = true;
            }
        }
    }

    fn progress(&self) -> Progress {
        match self.is_over {
            true => Progress::Done,
            false => Progress::Runnable,
        }
    }
}

/// Changes of the pool, one after the other.
struct Changes(Vec<fn(&mut Model)>);

impl Actor for Changes {
    fn step(&mut self, pool: &mut Model) {
        let change = self.0.remove(0);
        change(pool);
    }

    fn progress(&self) -> Progress {
        match self.0.is_empty() {
            true => Progress::Done,
            false => Progress::Runnable,
        }
    }
}

type Actors = Vec<Box<dyn Actor>>;

/// Runs the actors in every order; returns how many orders there are.
fn in_every_order(actors: fn() -> Actors) -> usize {
    let runtime: Runtime = Builder::new_current_thread().build().unwrap();
    let resolver = Arc::new(Resolver::new(runtime.handle().clone()));
    let mut orders = 0;
    // The choices of the last run, each with the number of actors that could have gone on.
    let mut choices: Vec<(usize, usize)> = Vec::new();
    loop {
        let taken = run(&resolver, actors(), &choices);
        orders += 1;
        choices = taken;
        while choices.last().is_some_and(|(choice, of)| choice + 1 == *of) {
            choices.pop();
        }
        match choices.last_mut() {
            Some((choice, _)) => *choice += 1,
            None => return orders,
        }
    }
}

/// One run: begins with the given choices, then lets the first one go on that can.
fn run(
    resolver: &Arc<Resolver>,
    mut actors: Actors,
    choices: &[(usize, usize)],
) -> Vec<(usize, usize)> {
    let mut pool = Model::new(resolver);
    let mut taken = Vec::new();
    loop {
        let can_go_on = |actor: &dyn Actor| actor.progress() == Progress::Runnable;
        let runnable: Vec<_> = (0..actors.len())
            .filter(|n| can_go_on(actors[*n].as_ref()))
            .collect();
        if runnable.is_empty() {
            break;
        }
        let choice = choices.get(taken.len()).map_or(0, |(choice, _)| *choice);
        taken.push((choice, runnable.len()));
        actors[runnable[choice]].step(&mut pool);
        pool.state.take_wakers().into_iter().for_each(Waker::wake);
    }
    let order: Vec<_> = taken.iter().map(|(choice, _)| choice).collect();
    let is_done = |actor: &dyn Actor| actor.progress() == Progress::Done;
    assert!(
        actors.iter().all(|actor| is_done(actor.as_ref())),
        "a waiter sleeps: {order:?}"
    );
    let state = &pool.state;
    let held: usize = state.origins.iter().map(|origin| origin.connections).sum();
    assert_eq!((held, state.departed.len()), (0, 0), "{order:?}");
    assert!(state.has_no_waiters(), "{order:?}");
    taken
}

fn connection() -> Box<dyn Actor> {
    Box::new(Connection::Picks)
}

#[test]
fn connections_that_share_one_slot_all_get_it() {
    assert!(in_every_order(|| vec![connection(), connection(), connection()]) > 100);
}

#[test]
fn a_waiter_that_gives_up_takes_no_slot_with_it() {
    let actors = || vec![connection(), Box::<GivesUp>::default(), connection()];
    assert!(in_every_order(actors) > 100);
}

#[test]
fn a_reload_serves_waiters_and_loses_no_slot() {
    in_every_order(|| {
        let reloads = Changes(vec![
            |pool| pool.redefine(capped(0, 1)),
            |pool| pool.redefine(capped(2, 1)),
            |pool| pool.redefine(capped(1, 2)),
        ]);
        vec![connection(), connection(), Box::new(reloads)]
    });
}

#[test]
fn an_origin_that_is_disabled_and_enabled_again_leaves_no_waiter_behind() {
    in_every_order(|| {
        fn set(pool: &mut Model, admin: AdminState) {
            let now = pool.now;
            let set = |origin: &mut crate::upstream::origin::Origin| origin.admin = admin;
            pool.state.administer("10.0.0.1:80", set, now);
        }
        let operator = Changes(vec![|pool| set(pool, AdminState::Disabled), |pool| {
            set(pool, AdminState::Enabled)
        }]);
        vec![connection(), connection(), Box::new(operator)]
    });
}

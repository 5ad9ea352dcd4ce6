//! Handshake permits, and how sources share them.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use super::*;

const A: ClientSource = ClientSource::V4(1);
const B: ClientSource = ClientSource::V4(2);
const C: ClientSource = ClientSource::V6(1);

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn at_once(gate: &Gate, source: ClientSource) -> Option<GatePermit> {
    match poll(pin!(gate.enter(source))) {
        Poll::Ready(permit) => Some(permit),
        Poll::Pending => None,
    }
}

fn all_at_once(gate: &Gate, source: ClientSource) -> Vec<GatePermit> {
    std::iter::from_fn(|| at_once(gate, source)).collect()
}

#[test]
fn one_source_takes_half_and_the_next_ones_half_of_the_rest() {
    let gate = Gate::new("handshakes", 1024);
    let permits = [A, B, C].map(|source| all_at_once(&gate, source));
    assert_eq!(permits.each_ref().map(Vec::len), [512, 256, 128]);
    drop(permits);
    assert!(gate.shared.state.lock().sources.is_empty());
    assert_eq!(gate.load().in_use.load(Ordering::Relaxed), 0);
}

#[test]
fn a_gate_with_one_permit_lets_one_in() {
    let gate = Gate::new("handshakes", 1);
    let permits = at_once(&gate, A);
    assert!(permits.is_some() && at_once(&gate, B).is_none());
    drop(permits);
    assert!(at_once(&gate, B).is_some());
}

#[test]
fn waiting_sources_are_served_round_robin() {
    let gate = Gate::new("handshakes", 1);
    let permits = at_once(&gate, C);
    let mut first = pin!(gate.enter(A));
    let mut second = pin!(gate.enter(A));
    let mut other = pin!(gate.enter(B));
    for wait in [&mut first, &mut second, &mut other] {
        assert!(poll(wait.as_mut()).is_pending());
    }
    assert_eq!(gate.load().waiting.load(Ordering::Relaxed), 3);
    assert_eq!(gate.limit().reached(), 3);
    drop(permits);
    let permit = poll(first.as_mut());
    assert!(permit.is_ready() && poll(other.as_mut()).is_pending());
    drop(permit);
    assert!(poll(second.as_mut()).is_pending());
    let permit = poll(other.as_mut());
    assert!(permit.is_ready());
    drop(permit);
    assert!(poll(second.as_mut()).is_ready());
    assert!(gate.shared.state.lock().turns.is_empty());
}

#[test]
fn a_waiting_source_does_not_block_others_from_free_permits() {
    let gate = Gate::new("handshakes", 4);
    let _permits = all_at_once(&gate, A);
    let mut more = pin!(gate.enter(A));
    assert!(poll(more.as_mut()).is_pending());
    assert!(at_once(&gate, B).is_some());
}

#[test]
fn a_cancelled_wait_leaves_nothing_behind_and_loses_no_permit() {
    let gate = Gate::new("handshakes", 1);
    let permits = at_once(&gate, A);
    {
        let mut waits = pin!(gate.enter(B));
        assert!(poll(waits.as_mut()).is_pending());
    }
    {
        // It is sent a permit and cancelled before it takes it.
        let mut waits = pin!(gate.enter(B));
        assert!(poll(waits.as_mut()).is_pending());
        drop(permits);
    }
    let state = gate.shared.state.lock();
    assert_eq!(
        (state.free(), state.sources.len(), state.turns.len()),
        (1, 0, 0)
    );
    drop(state);
    let load = gate.load();
    let counts = [&load.in_use, &load.waiting].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(counts, [0, 0]);
}

#[test]
fn a_gate_with_more_permits_serves_who_waits_and_one_with_fewer_takes_none_away() {
    let gate = Gate::new("handshakes", 1);
    let held = at_once(&gate, A);
    let mut waits = pin!(gate.enter(B));
    assert!(poll(waits.as_mut()).is_pending());
    gate.resize(3);
    let more = poll(waits.as_mut());
    assert!(more.is_ready());
    gate.resize(1);
    assert!(gate.enter_now(C).is_none());
    drop(more);
    assert!(gate.enter_now(C).is_none());
    drop(held);
    assert!(gate.enter_now(C).is_some());
    let state = gate.shared.state.lock();
    assert_eq!((state.in_use, state.sources.len()), (0, 0));
}

#[test]
fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
    let source = |address: &str| ClientSource::from(Some(address.parse().unwrap()));
    assert_eq!(source("192.0.2.1:1"), source("192.0.2.1:2"));
    assert_eq!(source("192.0.2.1:1"), source("[::ffff:192.0.2.1]:1"));
    assert_ne!(source("192.0.2.1:1"), source("192.0.2.2:1"));
    assert_eq!(source("[2001:db8::1]:1"), source("[2001:db8::ffff:1]:1"));
    assert_ne!(source("[2001:db8::1]:1"), source("[2001:db8:0:1::1]:1"));
    assert_eq!(ClientSource::from(None), ClientSource::Unix);
}

/// With a look at all of them at each end of a permit, this takes minutes.
#[test]
fn very_many_waiting_sources_are_served_in_turn() {
    const SOURCES: u32 = 20_000;
    let gate = Gate::new("handshakes", 1);
    let held = at_once(&gate, A);
    let mut waits: Vec<_> = (10..10 + SOURCES)
        .map(|source| Box::pin(gate.enter(ClientSource::V4(source))))
        .collect();
    for wait in &mut waits {
        assert!(poll(wait.as_mut()).is_pending());
    }
    drop(held);
    for wait in &mut waits {
        // The permit is dropped at once.
        assert!(poll(wait.as_mut()).is_ready());
    }
    assert!(gate.shared.state.lock().sources.is_empty());
}

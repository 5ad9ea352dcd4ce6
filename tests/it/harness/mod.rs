//! The test harness: a [`Proxy`] between a [`Client`] and an [`Origin`].

mod admin;
mod alerts;
mod client;
mod config_check;
mod dns;
mod exposition;
mod hello;
mod http_proxy;
mod identity;
mod letter_origin;
mod lines;
mod lists;
mod notify;
mod origin;
mod passed_sockets;
mod process;
mod programs;
mod proxy;
pub mod proxy_header;
mod resources;
mod resumption;
mod serving;
mod stream;
mod wire;
mod yaml;

use std::time::{Duration, Instant};

pub use admin::{Response, ctl, curl};
pub use alerts::firing;
pub use client::Client;
pub use config_check::{ConfigCheck, one_route};
pub use dns::{DnsAnswer, NameServer};
pub use exposition::Exposition;
pub use hello::{ForgedHello, extension, offers_session, record, recorded_hello};
pub use http_proxy::HttpProxy;
pub use identity::{Authority, Identity, Leaf, pki};
pub use letter_origin::LetterOrigin;
pub use lines::Lines;
pub use lists::List;
pub use notify::NotifySocket;
pub use origin::{
    HelloReaction, Origin, OriginBuilder, Report, blackhole, blackhole_at, dead_address, echo,
};
pub use passed_sockets::PassedSockets;
pub use process::{Finished, Usage, finish, finish_under, reseal, reseal_in};
pub use programs::{Service, command, command_as, give_to, is_root, output};
pub use proxy::{Proxy, Record};
pub use resources::{Directory, ListenAddr, Port, queued};
pub use resumption::{FrozenSessions, NamelessSessions};
pub use serving::Serving;
pub use stream::{End, Stream};
pub use wire::{Fragmentation, WireClient, WireName};
pub use yaml::ProxyBuilder;

/// The timeout of every wait for an expected event, so that no test hangs.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// Polls until `holds` is true, for kernel state without a notification. Fails on a timeout.
#[track_caller]
pub fn eventually(what: &str, holds: impl FnMut() -> bool) {
    assert!(
        becomes_true(TIMEOUT, holds),
        "{what}: not within {TIMEOUT:?}"
    );
}

/// Polls until `holds` is true; returns `false` on a timeout. The pauses become longer, so that a long wait
/// takes no processor from the tests beside it.
pub fn becomes_true(time: Duration, mut holds: impl FnMut() -> bool) -> bool {
    const PAUSE_MAX: Duration = Duration::from_millis(25);
    let end = Instant::now() + time;
    let mut pause = Duration::from_millis(1);
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 5 / 4).min(PAUSE_MAX);
    }
}

/// Runs `run` for all cases side by side: cases that wait for a time wait for it together.
pub fn at_once<T: Send>(cases: impl IntoIterator<Item = T>, run: impl Fn(T) + Sync) {
    let run = &run;
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || run(case));
        }
    });
}

/// Pseudo-random bytes, the same in every run, so that a failure can be reproduced.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

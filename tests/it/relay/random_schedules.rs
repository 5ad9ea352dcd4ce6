//! Random schedules in every mode: both sides send, read slowly or fast, end or abort at random. In any
//! order, the bytes received are those sent, or a prefix of them followed by a reset.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::harness::{End, Origin, OriginBuilder, Proxy, Stream, TIMEOUT, noise};

/// How many schedules each mode runs; `RESEAL_SCHEDULES` raises it.
fn schedules() -> u64 {
    std::env::var("RESEAL_SCHEDULES").map_or(16, |text| text.parse().unwrap())
}

/// Small messages, sizes around those of records and reads, and enough for splicing.
const SIZES: [usize; 9] = [
    1,
    100,
    1500,
    16 * 1024,
    16 * 1024 + 1,
    70_000,
    262_144,
    262_145,
    1 << 20,
];

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// The actions of one side, and what it received.
struct Part {
    sent: Vec<u8>,
    received: Vec<u8>,
    end: End,
    /// Whether it aborted its connection instead of ending it.
    aborted: bool,
    /// Its local address, as in the access log.
    local: SocketAddr,
}

/// Plays the part of one side, which its number seeds.
fn play(stream: Stream, number: u64) -> Part {
    let local = stream.local();
    let mut dice = Dice(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (aborted, slow) = (dice.roll(4) == 0, dice.roll(3) == 0);
    let reading = stream.clone();
    let reader = thread::spawn(move || {
        let mut received = Vec::new();
        loop {
            match reading.read() {
                Ok(data) => received.extend_from_slice(&data),
                Err(end) => return (received, end),
            }
            if slow {
                // This sleep makes a slow reader; it waits for nothing.
                thread::sleep(Duration::from_micros(300));
            }
        }
    });
    let mut sent = Vec::new();
    let mut broken = false;
    for _ in 0..dice.roll(12) {
        let size = SIZES[usize::try_from(dice.roll(SIZES.len() as u64)).unwrap()];
        let data = noise(size, dice.roll(u64::MAX));
        sent.extend_from_slice(&data);
        if stream.try_send(&data).is_err() {
            broken = true;
            break;
        }
    }
    if aborted {
        stream.abort()
    } else {
        stream.end()
    }
    let (received, end) = reader.join().unwrap();
    // The kernel reports a reset once: after a failed write, a read returns the end of the stream.
    let end = if broken { End::Reset } else { end };
    Part {
        sent,
        received,
        end,
        aborted,
        local,
    }
}

/// An origin that plays the part whose number a client sends first, and reports it.
fn actor(draft: OriginBuilder) -> (Origin, Receiver<(u64, Part)>) {
    let (sender, parts) = channel();
    let sender = Mutex::new(sender);
    let origin = draft.serve(move |stream| {
        let Some(number) = number(&stream) else {
            return;
        };
        let part = play(stream, number ^ u64::MAX);
        let _ = sender.lock().unwrap().send((number, part));
    });
    (origin, parts)
}

/// The number of a client's part, unless the client has aborted already. Bytes behind it belong to the part.
fn number(stream: &Stream) -> Option<u64> {
    let mut bytes = [0; 8];
    for byte in &mut bytes {
        *byte = stream.try_receive(1)?[0];
    }
    Some(u64::from_le_bytes(bytes))
}

#[track_caller]
fn agree(what: &str, from: &Part, to: &Part) {
    assert!(
        from.sent.starts_with(&to.received) || from.sent == to.received,
        "{what}: {} bytes arrived that are not the beginning of the {} sent",
        to.received.len(),
        from.sent.len()
    );
    if to.aborted {
        return;
    }
    if from.aborted {
        assert_ne!(
            to.end,
            End::Clean,
            "{what}: an abort looks like a clean end"
        );
    } else {
        assert_eq!(to.end, End::Clean, "{what}");
        assert_eq!(
            from.sent.len(),
            to.received.len(),
            "{what}: bytes are missing"
        );
    }
}

fn play_through(
    mode: &str,
    proxy: &Proxy,
    parts: &Receiver<(u64, Part)>,
    connect: impl Fn(&Proxy) -> Stream,
) {
    let mut clients = HashMap::new();
    thread::scope(|scope| {
        let playing: Vec<_> = (0..schedules())
            .map(|number| {
                let stream = connect(proxy);
                stream.send(number.to_le_bytes());
                scope.spawn(move || (number, play(stream, number)))
            })
            .collect();
        clients.extend(playing.into_iter().map(|player| player.join().unwrap()));
    });
    // If the client is gone before the part of its origin begins, that part is never played.
    let mut awaited = clients.values().filter(|client| !client.aborted).count();
    while awaited > 0 {
        let (number, origin) = parts.recv_timeout(TIMEOUT).expect("every part is played");
        let client = &clients[&number];
        awaited -= usize::from(!client.aborted);
        let what = format!("{mode} {number} of {}", client.local);
        agree(&format!("{what}, up"), client, &origin);
        agree(&format!("{what}, down"), &origin, client);
    }
}

#[test]
fn any_schedule_delivers_all_bytes_or_a_prefix_in_terminate() {
    let (origin, parts) = actor(Origin::plain());
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    play_through("terminate", &proxy, &parts, |proxy| {
        proxy.client("a.test").connect()
    });
}

#[test]
fn any_schedule_delivers_all_bytes_or_a_prefix_in_reencrypt() {
    let (origin, parts) = actor(Origin::with_tls());
    let proxy = Proxy::builder().reencrypt("a.test", &origin).start();
    play_through("reencrypt", &proxy, &parts, |proxy| {
        proxy.client("a.test").connect()
    });
}

#[test]
fn any_schedule_delivers_all_bytes_or_a_prefix_in_passthrough() {
    let (origin, parts) = actor(Origin::with_tls());
    let proxy = Proxy::builder().passthrough("origin.test", &origin).start();
    play_through("passthrough", &proxy, &parts, |proxy| {
        proxy.client("origin.test").connect()
    });
}

/// Plain on both sides: bytes are copied at first, and spliced once a stream is bulk.
#[test]
fn any_schedule_delivers_all_bytes_or_a_prefix_in_forward() {
    let (origin, parts) = actor(Origin::plain());
    let proxy = Proxy::builder().forward(&origin).start();
    play_through("forward", &proxy, &parts, |proxy| proxy.dial("forward"));
}

#[test]
fn any_schedule_delivers_all_bytes_or_a_prefix_in_originate() {
    let (origin, parts) = actor(Origin::with_tls());
    let proxy = Proxy::builder().originate(&origin).start();
    play_through("originate", &proxy, &parts, |proxy| proxy.dial("originate"));
}

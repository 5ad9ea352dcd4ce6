//! Whether the time of a refusal tells how much of a wrong token is right.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::super::Bench;
use super::super::refusals::Random;
use super::super::subject::{Start, Subject};
use super::super::table::{Table, quantile};
use super::{TOKEN, config, token_file};
use crate::peers::free_address;

/// Requests of each kind.
const REQUESTS: usize = 20_000;
/// Requests before those that are timed.
const WARM: usize = 500;
/// Above this, Welch's t says that two means differ: the bound of dudect (Reparaz and others, 2017).
const T_MAX: f64 = 4.5;
/// The part of the times that is compared: the rest is what else the machine did.
const KEPT: f64 = 0.9;

pub(super) fn measure(bench: &Bench<'_>, table: &mut Table) {
    let what = "wrong tokens";
    let token = token_file(bench);
    let admin = free_address();
    let keys = format!("token_file: \"{}\"", token.display());
    let start = Start {
        listener: Some((admin, &keys)),
        ..Start::default()
    };
    let _subject = Subject::start(bench.scratch, "tokens", &config(bench), &start);
    let (almost, half) = (TOKEN.len() - 1, TOKEN.len() / 2);
    let kinds = [
        ("wrong in its first character", wrong(0)),
        ("wrong in its last character", wrong(almost)),
        ("half as long", TOKEN[..half].to_owned()),
    ];
    for _ in 0..WARM {
        refusal(admin, &kinds[0].1);
    }
    let mut times = [const { Vec::new() }; 3];
    let mut random = Random::new(16);
    for _ in 0..bench.count(REQUESTS) * kinds.len() {
        // In random order, so that a drift of the machine affects all alike.
        let kind = usize::try_from(random.next() % 3).unwrap_or(0);
        times[kind].push(refusal(admin, &kinds[kind].1));
    }
    for ((kind, _), times) in kinds.iter().zip(&mut times) {
        for (part, name) in [(0.1, "p10"), (0.5, "median"), (0.9, "p90")] {
            let time = quantile(times, part) * 1e3;
            table.figure(what, &format!("{kind}: {name}, us"), time);
        }
    }
    let [first, others @ ..] = &times;
    for ((kind, _), times) in kinds[1..].iter().zip(others) {
        let t = welch(kept(first), kept(times)).abs();
        table.at_most(what, &format!("{kind}: t against the first"), t, T_MAX);
    }
}

/// The token with another character at this place.
fn wrong(place: usize) -> String {
    let other = |(n, c)| if n == place { 'x' } else { c };
    TOKEN.chars().enumerate().map(other).collect()
}

/// The time from a request with this token to its refusal.
fn refusal(admin: SocketAddr, token: &str) -> Duration {
    let request =
        format!("GET /status HTTP/1.1\r\nHost: {admin}\r\nAuthorization: Bearer {token}\r\n\r\n");
    let mut socket = TcpStream::connect(admin).expect("the admin listener accepts");
    socket.set_nodelay(true).expect("an option");
    let began = Instant::now();
    socket.write_all(request.as_bytes()).expect("a request");
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).expect("an answer");
    let time = began.elapsed();
    assert!(
        answer.ends_with(b"401"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let _ = socket.read_to_end(&mut Vec::new());
    time
}

/// The shortest of sorted times.
fn kept(times: &[Duration]) -> &[Duration] {
    let count = (times.len() as f64 * KEPT) as usize;
    times.get(..count).unwrap_or(times)
}

/// Welch's t of two samples.
fn welch(one: &[Duration], other: &[Duration]) -> f64 {
    let of = |times: &[Duration]| {
        let seconds = || times.iter().map(Duration::as_secs_f64);
        let count = times.len() as f64;
        let mean = seconds().sum::<f64>() / count;
        let variance = seconds().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    };
    let ((one, a), (other, b)) = (of(one), of(other));
    (one - other) / (a + b).sqrt()
}

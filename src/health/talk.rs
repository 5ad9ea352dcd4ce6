//! A few words with an origin over a leg, plain or sealed, and a polite end.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

use crate::leg::{Budget, FLIGHT_CHUNK, Leg, SealEnd, with_scratch};

/// How long an origin may take to end its side, and how much it may still say.
const FAREWELL_TIME: Duration = Duration::from_secs(1);
const FAREWELL_BYTES: usize = 64 * 1024;

/// Sends all of `words`.
pub(super) async fn say(leg: &mut Leg, words: &[u8]) -> io::Result<()> {
    let Leg { socket, seal, .. } = leg;
    let Some(seal) = seal else {
        return socket.write_all(words).await;
    };
    let sealed = with_scratch(|scratch| {
        let sealed = seal.seal(words, &mut scratch.output);
        sealed.map(|()| scratch.output.filled().to_vec())
    });
    socket.write_all(&sealed.map_err(io::Error::other)?).await
}

/// What the origin says next; empty at its end.
pub(super) async fn hear(leg: &mut Leg) -> io::Result<Vec<u8>> {
    loop {
        if !leg.unread.is_empty() {
            return Ok(std::mem::take(&mut leg.unread));
        }
        if leg.seal.as_ref().is_some_and(|seal| seal.is_closed()) {
            return Ok(Vec::new());
        }
        leg.socket.readable().await?;
        let (ended, replies) = read(leg)?;
        // Such as the answer to a key update.
        leg.socket.write_all(&replies).await?;
        if ended && leg.unread.is_empty() {
            return Ok(Vec::new());
        }
    }
}

/// Reads what is there into `unread`: whether that was the end, and what is to be replied.
fn read(leg: &mut Leg) -> io::Result<(bool, Vec<u8>)> {
    let Leg {
        socket,
        seal,
        unread,
    } = leg;
    with_scratch(|scratch| {
        let start = match seal {
            Some(seal) => seal.restore(&mut scratch.input),
            None => Some(0),
        };
        let start = start.ok_or(io::ErrorKind::InvalidData)?;
        let room = scratch.input.get_mut(start..start + FLIGHT_CHUNK);
        let room = room.unwrap_or_default();
        let len = match socket.try_read(room) {
            Ok(0) => return Ok((true, Vec::new())),
            Ok(len) => len,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok((false, Vec::new())),
            Err(e) => return Err(e),
        };
        let filled = scratch.input.get_mut(..start + len).unwrap_or_default();
        let Some(seal) = seal else {
            unread.extend_from_slice(filled);
            return Ok((false, Vec::new()));
        };
        let hear = |plain: &[u8]| unread.extend_from_slice(plain);
        let mut budget = Budget::unbounded();
        let opened = seal.open(filled, hear, &mut scratch.output, &mut budget);
        match opened.end {
            Some(SealEnd::Failed(error)) => Err(io::Error::other(error)),
            end => Ok((end.is_some(), scratch.output.filled().to_vec())),
        }
    })
}

/// Hears the origin out, for as long as `say_farewell` does.
pub(super) async fn hear_out(leg: &mut Leg) {
    let _ = timeout(FAREWELL_TIME, until_end(leg)).await;
}

/// Ends a conversation as the protocols want it: close_notify and FIN, and whatever the origin still
/// says is taken, so that it sees no reset.
pub(super) async fn say_farewell(mut leg: Leg) {
    let farewell = async {
        if let Some(seal) = &mut leg.seal {
            let close = with_scratch(|scratch| {
                let sealed = seal.close(&mut scratch.output);
                sealed.map(|()| scratch.output.filled().to_vec())
            });
            leg.socket.write_all(&close.unwrap_or_default()).await.ok();
        }
        leg.socket.end_writing();
        until_end(&mut leg).await;
    };
    let _ = timeout(FAREWELL_TIME, farewell).await;
    leg.socket.close();
}

async fn until_end(leg: &mut Leg) {
    let mut heard = 0;
    while heard < FAREWELL_BYTES {
        match hear(leg).await {
            Ok(words) if !words.is_empty() => heard += words.len(),
            _ => return,
        }
    }
}

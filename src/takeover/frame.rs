//! Messages as bytes.

use std::io;

use serde_json::{Value, json};

use super::offer::{DESCRIPTORS_MAX, Offered, Role, VERSION};

/// The longest message in bytes: an offer of some ten thousand addresses.
const FRAME_MAX: usize = 1 << 22;

/// The length of the head of a message.
pub(super) const HEAD: usize = 4;

/// A message with its head.
pub(super) fn encode(message: &Value) -> io::Result<Vec<u8>> {
    let body = message.to_string();
    let len = u32::try_from(body.len()).ok();
    let len = len.filter(|_| body.len() <= FRAME_MAX);
    let len =
        len.ok_or_else(|| io::Error::other("there are too many addresses for one message"))?;
    let mut frame = len.to_be_bytes().to_vec();
    frame.extend_from_slice(body.as_bytes());
    Ok(frame)
}

/// The length of the message that follows a head.
pub(super) fn body_len(head: [u8; HEAD]) -> io::Result<usize> {
    let len = usize::try_from(u32::from_be_bytes(head)).ok();
    len.filter(|len| *len <= FRAME_MAX).ok_or_else(invalid)
}

/// The message in these bytes. A refusal is an error.
pub(super) fn decode(body: &[u8]) -> io::Result<Value> {
    let message: Value = serde_json::from_slice(body).map_err(|_| invalid())?;
    match message.get("refused").and_then(Value::as_str) {
        Some(why) => Err(io::Error::other(why.chars().take(500).collect::<String>())),
        None => Ok(message),
    }
}

/// The first message of a successor.
pub(super) fn request() -> Value {
    json!({ "takeover": VERSION, "version": env!("CARGO_PKG_VERSION") })
}

/// Why the version of a message is none that this program speaks.
pub(super) fn other_version(message: &Value) -> Option<String> {
    let spoken = message.get("takeover").and_then(Value::as_u64);
    (spoken != Some(VERSION)).then(|| {
        let spoken = spoken.map_or_else(|| "none".to_owned(), |version| version.to_string());
        format!(
            "the two programs speak different versions of the takeover protocol ({VERSION} and {spoken}): \
             stop the old one and start the new one"
        )
    })
}

/// The offer of a running process, without its descriptors.
pub(super) fn offer(generation: u64, offered: &[Offered]) -> Value {
    let socket = |offered: &Offered| {
        json!({
            "role": offered.role.word(),
            "key": offered.key,
            "address": offered.address,
            "file": offered.file.map(|(device, inode)| json!([device, inode])),
            "sockets": offered.sockets.len(),
        })
    };
    let sockets: Vec<_> = offered.iter().map(socket).collect();
    json!({ "takeover": VERSION, "generation": generation, "sockets": sockets })
}

/// The generation and the addresses of an offer, each with its number of descriptors, which follow.
pub(super) fn read_offer(message: &Value) -> io::Result<(u64, Vec<(Offered, usize)>)> {
    let generation = message.get("generation").and_then(Value::as_u64);
    let listed = message.get("sockets").and_then(Value::as_array);
    let sockets: Option<Vec<_>> = listed.and_then(|all| all.iter().map(read_offered).collect());
    let (Some(generation), Some(sockets)) = (generation, sockets) else {
        return Err(invalid());
    };
    let count: usize = sockets.iter().map(|(_, count)| count).sum();
    if count > DESCRIPTORS_MAX {
        return Err(invalid());
    }
    Ok((generation, sockets))
}

fn read_offered(value: &Value) -> Option<(Offered, usize)> {
    let text = |key: &str| value.get(key)?.as_str().map(str::to_owned);
    let word = text("role")?;
    let file = match value.get("file").and_then(Value::as_array) {
        Some(file) => match &file[..] {
            [device, inode] => Some((device.as_u64()?, inode.as_u64()?)),
            _ => return None,
        },
        None => None,
    };
    let count = value.get("sockets")?.as_u64()?;
    let offered = Offered {
        role: Role::ALL.into_iter().find(|role| role.word() == word)?,
        key: text("key")?,
        address: text("address")?,
        file,
        sockets: Vec::new(),
    };
    let count = usize::try_from(count).ok();
    Some((
        offered,
        count.filter(|count| (1..=DESCRIPTORS_MAX).contains(count))?,
    ))
}

/// The message that the successor is ready, with the indexes of the addresses that it has taken.
pub(super) fn ready(taken: &[usize]) -> Value {
    json!({ "ready": taken })
}

/// The indexes of [`ready`], each below `count`.
pub(super) fn read_ready(message: &Value, count: usize) -> io::Result<Vec<usize>> {
    let taken = message.get("ready").and_then(Value::as_array);
    let index = |value: &Value| {
        let index = usize::try_from(value.as_u64()?).ok()?;
        (index < count).then_some(index)
    };
    let taken: Option<Vec<_>> = taken.and_then(|taken| taken.iter().map(index).collect());
    taken.ok_or_else(invalid)
}

/// The last message of a running process.
pub(super) fn released() -> Value {
    json!({ "released": true })
}

pub(super) fn is_released(message: &Value) -> bool {
    message.get("released").and_then(Value::as_bool) == Some(true)
}

pub(super) fn refused(why: &str) -> Value {
    json!({ "takeover": VERSION, "refused": why })
}

pub(super) fn invalid() -> io::Error {
    io::Error::other("the other process does not speak the takeover protocol")
}

//! Keys, from the bytes that a terminal sends.

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Tab,
    Enter,
    Backspace,
    Escape,
    /// Ctrl-C.
    Interrupt,
}

const ESCAPE: u8 = 0x1b;

/// Keys that come as several bytes.
const SEQUENCES: [(&[u8], Key); 14] = [
    (b"\x1b[A", Key::Up),
    (b"\x1bOA", Key::Up),
    (b"\x1b[B", Key::Down),
    (b"\x1bOB", Key::Down),
    (b"\x1b[5~", Key::PageUp),
    (b"\x1b[6~", Key::PageDown),
    (b"\x1b[H", Key::Home),
    (b"\x1bOH", Key::Home),
    (b"\x1b[1~", Key::Home),
    (b"\x1b[7~", Key::Home),
    (b"\x1b[F", Key::End),
    (b"\x1bOF", Key::End),
    (b"\x1b[4~", Key::End),
    (b"\x1b[8~", Key::End),
];

/// The bytes of a key that is not whole yet.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<u8>);

impl Keys {
    /// The keys that these bytes complete; no bytes mean that time has passed.
    pub(super) fn read(&mut self, bytes: Vec<u8>) -> Vec<Key> {
        let is_late = bytes.is_empty();
        self.0.extend(bytes);
        let mut keys = Vec::new();
        while let Some((key, len)) = first(&self.0, is_late) {
            self.0.drain(..len);
            keys.extend(key);
        }
        keys
    }
}

/// The key at the start, if any is meant by these bytes, and their number. `None`: more have to come.
fn first(bytes: &[u8], is_late: bool) -> Option<(Option<Key>, usize)> {
    let byte = *bytes.first()?;
    if byte == ESCAPE {
        return escape(bytes, is_late);
    }
    let key = match byte {
        0x03 => Key::Interrupt,
        b'\t' => Key::Tab,
        b'\r' | b'\n' => Key::Enter,
        0x08 | 0x7f => Key::Backspace,
        0x00..0x20 => return Some((None, 1)),
        _ => return character(bytes, is_late),
    };
    Some((Some(key), 1))
}

fn escape(bytes: &[u8], is_late: bool) -> Option<(Option<Key>, usize)> {
    if let Some((sequence, key)) = SEQUENCES.iter().find(|(all, _)| bytes.starts_with(all)) {
        return Some((Some(*key), sequence.len()));
    }
    match bytes {
        [_] | [_, b'['] | [_, b'O'] if !is_late => None,
        // A sequence that means nothing here ends with a letter or `~`.
        [_, b'[' | b'O', rest @ ..] if !rest.is_empty() => {
            match rest
                .iter()
                .position(|byte| byte.is_ascii_alphabetic() || *byte == b'~')
            {
                Some(end) => Some((None, end + 3)),
                None if is_late => Some((None, bytes.len())),
                None => None,
            }
        }
        _ => Some((Some(Key::Escape), 1)),
    }
}

fn character(bytes: &[u8], is_late: bool) -> Option<(Option<Key>, usize)> {
    let chunk = bytes.utf8_chunks().next()?;
    match chunk.valid().chars().next() {
        Some(char) => Some((Some(Key::Char(char)), char.len_utf8())),
        None if bytes.len() < 4 && !is_late => None,
        None => Some((None, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_whole_however_their_bytes_come() {
        let bytes = "q\x1b[A\x1b[6~é\t\x03\x1b[1;5C/".as_bytes();
        let expected = [
            Key::Char('q'),
            Key::Up,
            Key::PageDown,
            Key::Char('é'),
            Key::Tab,
            Key::Interrupt,
            Key::Char('/'),
        ];
        for size in 1..=bytes.len() {
            let mut keys = Keys::default();
            let all = bytes
                .chunks(size)
                .flat_map(|chunk| keys.read(chunk.to_vec()));
            assert_eq!(all.collect::<Vec<_>>(), expected, "{size}");
        }
    }

    #[test]
    fn a_lone_escape_is_a_key_once_nothing_follows_it() {
        let mut keys = Keys::default();
        assert_eq!(keys.read(vec![ESCAPE]), []);
        assert_eq!(keys.read(Vec::new()), [Key::Escape]);
        assert_eq!(keys.read(vec![0xff, b'x']), []);
        assert_eq!(keys.read(Vec::new()), [Key::Char('x')]);
    }
}

//! Lines of text protocols.

/// Takes the first whole line off `bytes` and returns it without its end.
pub(super) fn take(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let mut line: Vec<u8> = bytes.drain(..=end).collect();
    line.pop();
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Some(line)
}

/// The first word of a line, in upper case, and the rest behind the space.
pub(super) fn command(line: &[u8]) -> (String, &[u8]) {
    let end = line.iter().position(|byte| *byte == b' ');
    let end = end.unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let word = String::from_utf8_lossy(word).to_ascii_uppercase();
    (word, rest.trim_ascii())
}

/// A line of a peer for the log.
pub(super) fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}

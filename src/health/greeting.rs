//! Checks of servers that speak first: what their greeting says, and a polite end. No I/O.

use std::sync::Arc;

use crate::upstream::Verdict;

/// The longest greeting, in bytes: lines before the last one may hold terms of use.
const GREETING_MAX: usize = 16 * 1024;

/// A protocol in which the server speaks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// SMTP (RFC 5321 section 3.1).
    Smtp,
    /// SSH (RFC 4253 section 4.2).
    Ssh,
}

/// The verdict on a whole greeting, or why this is none.
type Judged = Result<Verdict, Arc<str>>;

impl Greeting {
    /// Judges what has come so far; `None` while the greeting is not complete.
    pub(super) fn judge(self, bytes: &[u8]) -> Option<Judged> {
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let judged = lines.find_map(|line| match self {
            Self::Smtp => smtp(line),
            Self::Ssh => ssh(line),
        });
        let endless = || Err("the greeting has no end".into());
        judged.or_else(|| (bytes.len() >= GREETING_MAX).then(endless))
    }

    /// What ends the conversation, so that the server logs no error.
    ///
    /// SSH: an identification, which a server waits for, and SSH_MSG_DISCONNECT with the reason
    /// SSH_DISCONNECT_BY_APPLICATION, before any key exchange (RFC 4253 sections 6 and 11.1).
    pub(super) fn closing_message(self) -> Vec<u8> {
        match self {
            Self::Smtp => b"QUIT\r\n".to_vec(),
            Self::Ssh => [SSH_IDENTIFICATION, &ssh_disconnect()].concat(),
        }
    }
}

const SSH_IDENTIFICATION: &[u8] =
    concat!("SSH-2.0-reseal_", env!("CARGO_PKG_VERSION"), "\r\n").as_bytes();

/// The text of the disconnection, which the server logs.
const SSH_REASON: &[u8] = b"health check";

fn ssh_disconnect() -> Vec<u8> {
    const SSH_MSG_DISCONNECT: u8 = 1;
    const BY_APPLICATION: u32 = 11;
    // Length and padding length, before the payload.
    const HEAD: usize = 5;
    // What the length of a packet is a multiple of, and the least padding.
    const BLOCK: usize = 8;
    const PADDING_MIN: usize = 4;
    let mut payload = vec![SSH_MSG_DISCONNECT];
    payload.extend(BY_APPLICATION.to_be_bytes());
    for text in [SSH_REASON, b""] {
        payload.extend((text.len() as u32).to_be_bytes());
        payload.extend(text);
    }
    let padding = BLOCK - (HEAD + payload.len()) % BLOCK;
    let padding = if padding < PADDING_MIN {
        padding + BLOCK
    } else {
        padding
    };
    let mut packet = ((1 + payload.len() + padding) as u32)
        .to_be_bytes()
        .to_vec();
    packet.push(padding as u8);
    packet.extend(payload);
    packet.resize(packet.len() + padding, 0);
    packet
}

/// Judges a line of a greeting of SMTP, unless more of them follow.
fn smtp(line: &[u8]) -> Option<Judged> {
    let is_whole = line.ends_with(b"\n");
    match line {
        [a, b, c, b'-', ..] if is_code(&[*a, *b, *c]) => None,
        [a, b, c, b' ' | b'\r' | b'\n', ..] if is_code(&[*a, *b, *c]) => {
            let verdict = || match &[*a, *b, *c] {
                b"220" => Verdict::Pass,
                code => Verdict::Fail(format!("greeting {}", code.escape_ascii()).into()),
            };
            is_whole.then(|| Ok(verdict()))
        }
        _ => is_whole.then(|| Err("the first line is no greeting of SMTP".into())),
    }
}

fn is_code(digits: &[u8]) -> bool {
    digits.iter().all(u8::is_ascii_digit)
}

/// Judges a line of a greeting of SSH: other lines may come before the identification.
fn ssh(line: &[u8]) -> Option<Judged> {
    if !line.ends_with(b"\n") || !line.starts_with(b"SSH-") {
        return None;
    }
    let is_version_2 = line.starts_with(b"SSH-2.0-") || line.starts_with(b"SSH-1.99-");
    Some(match is_version_2 {
        true => Ok(Verdict::Pass),
        false => Err("not version 2 of SSH".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings_are_judged_once_they_are_complete() {
        use Greeting::{Smtp, Ssh};
        let fail = |why: &str| Some(Ok(Verdict::Fail(why.into())));
        let none = |why: &str| Some(Err(why.into()));
        let pass = || Some(Ok(Verdict::Pass));
        for (protocol, bytes, verdict) in [
            (Smtp, &b""[..], None),
            (Smtp, b"220 mail.test ESM", None),
            (Smtp, b"220 mail.test ESMTP\r\n", pass()),
            (Smtp, b"220\r\n", pass()),
            (Smtp, b"220-terms of use\r\n", None),
            (Smtp, b"220-terms\r\n220 ready\r\n", pass()),
            (Smtp, b"554 no serv", None),
            (Smtp, b"554 no service\r\n", fail("greeting 554")),
            (Smtp, b"421-4.7.0 too many\r\n", None),
            (
                Smtp,
                b"421-4.7.0 too many\r\n421 bye\r\n",
                fail("greeting 421"),
            ),
            (Smtp, b"22", None),
            (
                Smtp,
                b"2200 x\r\n",
                none("the first line is no greeting of SMTP"),
            ),
            (
                Smtp,
                b"SSH-2.0-x\r\n",
                none("the first line is no greeting of SMTP"),
            ),
            (Ssh, b"SSH-2.0-OpenSSH_9.2", None),
            (Ssh, b"SSH-2.0-OpenSSH_9.2p1\r\n", pass()),
            (Ssh, b"SSH-1.99-old\n", pass()),
            (Ssh, b"welcome\r\nSSH-2.0-x\r\n", pass()),
            (Ssh, b"SSH-1.5-older\r\n", none("not version 2 of SSH")),
            (Ssh, b"Exceeded MaxStartups\r\n", None),
        ] {
            let what = String::from_utf8_lossy(bytes);
            assert_eq!(protocol.judge(bytes), verdict, "{what}");
        }
        let endless = vec![b'x'; GREETING_MAX];
        assert_eq!(Ssh.judge(&endless), none("the greeting has no end"));
    }

    #[test]
    fn the_farewell_of_ssh_is_a_whole_packet() {
        let packet = ssh_disconnect();
        assert_eq!(packet.len() % 8, 0);
        let len = u32::from_be_bytes(packet[..4].try_into().unwrap()) as usize;
        assert_eq!(len, packet.len() - 4);
        assert!(packet[4] >= 4);
        assert_eq!(packet[5..10], [1, 0, 0, 0, 11]);
    }
}

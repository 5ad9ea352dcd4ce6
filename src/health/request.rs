//! The request of a check, and what its answer says. Pure.

use std::fmt::Write;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::upstream::Verdict;

/// A status line is no longer than this.
pub(super) const STATUS_MAX: usize = 512;

/// And the heads of interim answers before it.
const INTERIM_MAX: usize = 8 * 1024;

/// The one status below 200 that is an answer.
const SWITCHING: u16 = 101;

/// What Vault and OpenBao say about themselves by the status of /v1/sys/health.
const VAULT: [(u16, &str); 8] = [
    (200, "active"),
    (429, "standby"),
    (472, "disaster recovery secondary"),
    (473, "performance standby"),
    (474, "standby that cannot reach the active node"),
    (501, "not initialised"),
    (503, "sealed"),
    (530, "removed from the cluster"),
];

/// A request, and the answers that are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path, query included.
    pub path: String,
    /// The `Host`; absent, the origin's own name.
    pub host: Option<String>,
    /// The answers that are good.
    pub expect: Expect,
}

/// The answers that are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// These statuses.
    Statuses(Vec<RangeInclusive<u16>>),
    /// Those of a node of Vault in this role.
    Vault(Role),
}

/// Which nodes of a cluster connections may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The active one.
    Active,
    /// The active one, and performance standbys.
    Any,
}

impl Request {
    /// The request of Vault's presets.
    pub fn vault(role: Role) -> Self {
        Self {
            method: "GET".to_owned(),
            path: "/v1/sys/health".to_owned(),
            host: None,
            expect: Expect::Vault(role),
        }
    }

    /// The bytes to send to an origin that is called `name`.
    pub(super) fn head(&self, name: &str) -> Vec<u8> {
        let host = self.host.as_deref().unwrap_or(name);
        let mut head = String::new();
        let _ = write!(
            head,
            "{} {} HTTP/1.1\r\nHost: {host}\r\n",
            self.method, self.path
        );
        let _ = write!(head, "User-Agent: reseal/{}\r\n", env!("CARGO_PKG_VERSION"));
        head.push_str("Accept: */*\r\nConnection: close\r\n\r\n");
        head.into_bytes()
    }

    /// What an answer with this status says.
    pub(super) fn judge(&self, status: u16) -> Verdict {
        match &self.expect {
            Expect::Statuses(good) => match good.iter().any(|range| range.contains(&status)) {
                true => Verdict::Pass,
                false => Verdict::Fail(format!("status {status}").into()),
            },
            Expect::Vault(role) => role.judge(status),
        }
    }
}

impl Role {
    fn judge(self, status: u16) -> Verdict {
        let known = VAULT.iter().find(|(code, _)| *code == status);
        match (known, self) {
            (Some((200, _)), _) | (Some((473, _)), Self::Any) => Verdict::ForceUp,
            // It says so by itself: a second question would get the same answer.
            (Some((code, what)), _) => Verdict::ForceDown(format!("{what} (status {code})").into()),
            (None, _) => Verdict::Fail(format!("status {status}").into()),
        }
    }
}

/// The status of an answer, once its first line is there; an error when it is none of HTTP. Interim
/// answers before it are passed over (RFC 9110 section 15.2).
pub(super) fn status(answer: &[u8]) -> Result<Option<u16>, Arc<str>> {
    let mut rest = answer;
    loop {
        let status = match first_status(rest)? {
            Some(status @ 100..200) if status != SWITCHING => status,
            status => return Ok(status),
        };
        let Some(end) = head_end(rest) else {
            return match answer.len() < INTERIM_MAX {
                true => Ok(None),
                false => Err(format!("nothing but status {status}").into()),
            };
        };
        rest = rest.get(end..).unwrap_or_default();
    }
}

fn first_status(answer: &[u8]) -> Result<Option<u16>, Arc<str>> {
    let Some(end) = answer.iter().position(|byte| *byte == b'\n') else {
        return match answer.len() < STATUS_MAX {
            true => Ok(None),
            false => Err("no status line".into()),
        };
    };
    let line = answer.get(..end).unwrap_or_default();
    let line = std::str::from_utf8(line).unwrap_or_default();
    let mut words = line.split_ascii_whitespace();
    let is_http = words
        .next()
        .is_some_and(|version| version.starts_with("HTTP/1."));
    match words.next().and_then(|word| word.parse().ok()) {
        Some(status @ 100..=599) if is_http => Ok(Some(status)),
        _ => Err("the answer is not HTTP/1.1".into()),
    }
}

/// Where the head of an answer ends: behind its first empty line.
fn head_end(answer: &[u8]) -> Option<usize> {
    let ends = |end: &[u8]| answer.windows(end.len()).position(|part| part == end);
    let crlf = ends(b"\n\r\n").map(|at| at + 3);
    let lf = ends(b"\n\n").map(|at| at + 2);
    crlf.into_iter().chain(lf).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_is_read_however_it_is_cut() {
        let answer = b"HTTP/1.1 429 Too Many Requests\r\nA: b\r\n";
        for len in 0..answer.len() {
            let expected = (len > 31).then_some(429);
            assert_eq!(status(&answer[..len]), Ok(expected), "{len}");
        }
        assert_eq!(status(b"HTTP/1.0 200\n"), Ok(Some(200)));
        for bad in [
            &b"SSH-2.0-x\r\n"[..],
            b"HTTP/1.1 xyz\n",
            b"\n",
            b"HTTP/1.1 99\n",
            &[0xff; 600],
        ] {
            assert!(status(bad).is_err());
        }
    }

    #[test]
    fn interim_answers_are_passed_over() {
        let answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n";
        for len in 0..answer.len() {
            assert_eq!(status(&answer[..len]), Ok(None), "{len}");
        }
        assert_eq!(status(answer), Ok(Some(200)));
        assert_eq!(status(b"HTTP/1.1 101 Switching\r\n"), Ok(Some(101)));
        let endless = [&b"HTTP/1.1 100 Continue\r\n"[..], &[b'x'; 9000]].concat();
        assert!(status(&endless).is_err());
    }

    #[test]
    fn the_presets_know_the_roles() {
        let good = |role| {
            let judge = |status: &u16| Request::vault(role).judge(*status) == Verdict::ForceUp;
            [200, 429, 472, 473, 474, 501, 503, 530]
                .into_iter()
                .filter(judge)
                .collect::<Vec<_>>()
        };
        assert_eq!(good(Role::Active), [200]);
        assert_eq!(good(Role::Any), [200, 473]);
        // Anything else is not said by Vault, and may pass.
        let other = Request::vault(Role::Active).judge(502);
        assert_eq!(other, Verdict::Fail("status 502".into()));
    }

    #[test]
    fn the_request_names_the_host() {
        let mut request = Request::vault(Role::Any);
        let head = |request: &Request| String::from_utf8(request.head("vault.test")).unwrap();
        assert!(head(&request).starts_with("GET /v1/sys/health HTTP/1.1\r\nHost: vault.test\r\n"));
        assert!(head(&request).ends_with("\r\n\r\n"));
        request.host = Some("other.test".to_owned());
        assert!(head(&request).contains("\r\nHost: other.test\r\n"));
    }

    #[test]
    fn statuses_are_ranges() {
        let mut request = Request::vault(Role::Any);
        request.expect = Expect::Statuses(vec![200..=200, 470..=479]);
        assert_eq!(request.judge(479), Verdict::Pass);
        assert_eq!(request.judge(480), Verdict::Fail("status 480".into()));
    }
}

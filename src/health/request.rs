//! The request of a check, and the verdict on its response. No I/O.

use std::fmt::Write;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::upstream::Verdict;

/// The longest status line, in bytes.
pub(super) const STATUS_MAX: usize = 512;

/// The longest run of interim responses, in bytes.
const INTERIM_MAX: usize = 8 * 1024;

/// The most header fields of a response.
pub(super) const FIELDS_MAX: usize = 64;

/// 101 Switching Protocols, the one status below 200 that is final (RFC 9110 section 15.2.2).
const SWITCHING: u16 = 101;

/// The statuses of /v1/sys/health of Vault and OpenBao.
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

/// A request, and the responses that pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path, query included.
    pub path: String,
    /// The `Host`; absent, the origin's own name.
    pub host: Option<String>,
    /// More header fields.
    pub headers: Vec<(String, String)>,
    /// The responses that pass.
    pub expect: Expect,
    /// A text that their body must hold.
    pub expect_body: Option<String>,
}

/// The responses that pass.
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
            headers: Vec::new(),
            expect: Expect::Vault(role),
            expect_body: None,
        }
    }

    /// The request as sent, with `Host: name` unless `host` is set.
    pub(super) fn head(&self, name: &str) -> Vec<u8> {
        let host = self.host.as_deref().unwrap_or(name);
        let mut head = String::new();
        let _ = write!(
            head,
            "{} {} HTTP/1.1\r\nHost: {host}\r\n",
            self.method, self.path
        );
        let own = [
            ("User-Agent", concat!("reseal/", env!("CARGO_PKG_VERSION"))),
            ("Accept", "*/*"),
        ];
        for (name, value) in own {
            let is_it = |(given, _): &(String, String)| given.eq_ignore_ascii_case(name);
            if !self.headers.iter().any(is_it) {
                let _ = write!(head, "{name}: {value}\r\n");
            }
        }
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("Connection: close\r\n\r\n");
        head.into_bytes()
    }

    /// The verdict on a response with this status.
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
            // The node reports its own state, so one result is enough.
            (Some((code, what)), _) => Verdict::ForceDown(format!("{what} (status {code})").into()),
            (None, _) => Verdict::Fail(format!("status {status}").into()),
        }
    }
}

/// The status of a response once its first line is complete. Interim responses before it are skipped (RFC
/// 9110 section 15.2). An error if the bytes are not HTTP/1.
pub(super) fn status(response: &[u8]) -> Result<Option<u16>, Arc<str>> {
    Ok(last(response)?.map(|(status, _)| status))
}

/// The status of a response that is no interim one, and the bytes from its first line on.
pub(super) fn last(response: &[u8]) -> Result<Option<(u16, &[u8])>, Arc<str>> {
    let mut rest = response;
    loop {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Response::new(&mut fields);
        // The parser would skip empty lines before the status line, as of requests.
        if rest.first().is_some_and(|first| *first != b'H') {
            return Err("the answer is not HTTP/1.1".into());
        }
        let parsed = head.parse(rest);
        // The parser sets the reason at the end of the line. What follows does not change the status.
        let status = match (head.reason, head.code) {
            (Some(_), Some(status @ 100..=599)) => status,
            (None, _) if parsed == Ok(httparse::Status::Partial) && rest.len() < STATUS_MAX => {
                return Ok(None);
            }
            _ => return Err("the answer is not HTTP/1.1".into()),
        };
        if status >= 200 || status == SWITCHING {
            return Ok(Some((status, rest)));
        }
        rest = match parsed {
            Ok(httparse::Status::Complete(end)) => rest.get(end..).unwrap_or_default(),
            Ok(httparse::Status::Partial) if response.len() < INTERIM_MAX => return Ok(None),
            _ => return Err(format!("nothing but status {status}").into()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_is_read_however_it_is_cut() {
        let response = b"HTTP/1.1 429 Too Many Requests\r\nA: b\r\n";
        for len in 0..response.len() {
            let expected = (len > 31).then_some(429);
            assert_eq!(status(&response[..len]), Ok(expected), "{len}");
        }
        assert_eq!(status(b"HTTP/1.0 200\n"), Ok(Some(200)));
        for bad in [
            &b"SSH-2.0-x\r\n"[..],
            b"HTTP/1.1 xyz\n",
            b"\n",
            b"HTTP/2.0 200 OK\r\n",
            b"HTTP/1.1 2000\r\n",
            b"HTTP/1.1 99\n",
            &[0xff; 600],
        ] {
            assert!(status(bad).is_err());
        }
    }

    #[test]
    fn interim_responses_are_skipped() {
        let response = b"HTTP/1.1 100 Continue\r\n\r\n\
            HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n\
            HTTP/1.1 200 OK\r\n";
        for len in 0..response.len() {
            assert_eq!(status(&response[..len]), Ok(None), "{len}");
        }
        assert_eq!(status(response), Ok(Some(200)));
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
        // Vault sends no other status: something else answered.
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
        request.headers = vec![("accept".to_owned(), "text/plain".to_owned())];
        assert!(head(&request).contains("\r\naccept: text/plain\r\n"));
        assert!(!head(&request).contains("*/*"));
    }

    #[test]
    fn statuses_are_ranges() {
        let mut request = Request::vault(Role::Any);
        request.expect = Expect::Statuses(vec![200..=200, 470..=479]);
        assert_eq!(request.judge(479), Verdict::Pass);
        assert_eq!(request.judge(480), Verdict::Fail("status 480".into()));
    }
}

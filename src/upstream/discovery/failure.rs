//! Why a query has no answer, and what is asked after it failed.

use std::sync::Arc;
use std::vec::IntoIter;

use hickory_resolver::net::{DnsError, NetError};

use super::resolv_conf::ResolvConf;

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The answer is that there is none.
    None(Arc<str>),
    /// A server answered with an error, or cannot be reached.
    Refused(Arc<str>),
    /// No server answered in time.
    Timeout,
}

impl Failure {
    /// For users.
    pub(super) fn why(self) -> Arc<str> {
        match self {
            Self::None(why) | Self::Refused(why) => why,
            Self::Timeout => "the resolver does not answer".into(),
        }
    }
}

/// The absolute names that a name may mean, one after the other, until there is an answer for one.
#[derive(Debug)]
pub(super) struct Search {
    candidates: IntoIter<String>,
    /// How long the name itself is.
    as_it_is: usize,
    failure: Failure,
}

impl Search {
    pub(super) fn new(conf: &ResolvConf, name: &str) -> Self {
        Self {
            candidates: conf.candidates(name).into_iter(),
            as_it_is: name.len(),
            failure: Failure::None("there is no such name".into()),
        }
    }

    /// The next one. As with the C library, silent servers are not waited for again for another domain.
    pub(super) fn next(&mut self) -> Option<String> {
        let (is_silent, as_it_is) = (self.failure == Failure::Timeout, self.as_it_is);
        self.candidates
            .find(|name| !is_silent || name.len() <= as_it_is)
    }

    /// There was no answer for the last one.
    pub(super) fn failed(&mut self, why: Failure) {
        if matches!(self.failure, Failure::None(_)) {
            self.failure = why;
        }
    }

    /// The first reason that another try may change, or else the last one.
    pub(super) fn failure(self) -> Failure {
        self.failure
    }
}

/// Why there is no answer, without the terms of the resolver library.
pub(super) fn failure(error: &NetError) -> Failure {
    if error.is_nx_domain() {
        return Failure::None("there is no such name".into());
    }
    if error.is_no_records_found() {
        return Failure::None("the name has no such records".into());
    }
    Failure::Refused(match error {
        NetError::Timeout => return Failure::Timeout,
        NetError::Busy => "the resolver is busy".into(),
        NetError::NoConnections => "no resolver can be reached".into(),
        NetError::Io(error) => format!("the resolver cannot be reached: {error}").into(),
        NetError::Dns(DnsError::ResponseCode(code)) => {
            format!("the resolver refuses: {code}").into()
        }
        // What the library says of these has debug forms of its types in it.
        _ => "the name, or the resolver's answer, breaks the rules of DNS".into(),
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use hickory_resolver::proto::ProtoError;
    use hickory_resolver::proto::op::ResponseCode;

    use super::*;

    #[test]
    fn errors_of_the_resolver_come_out_in_words() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        for (error, words) in [
            (NetError::Timeout, "does not answer"),
            (NetError::NoConnections, "no resolver"),
            (NetError::Io(refused.into()), "connection refused"),
            (
                NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)),
                "Server Failure",
            ),
            (
                NetError::Proto(ProtoError::from("Label: Err(Errors { [1, 2] })")),
                "the rules of DNS",
            ),
        ] {
            let said = failure(&error).why();
            assert!(said.contains(words), "{said}");
            assert!(!said.contains(['{', '[', '(']), "{said}");
        }
    }

    #[test]
    fn silent_servers_are_asked_once_more_at_most_and_the_reason_is_the_one_that_may_pass() {
        let (conf, _) = ResolvConf::parse(b"search a.test b.test\noptions ndots:3", "host");
        let none = || Failure::None("none".into());
        let refused = || Failure::Refused("refused".into());
        for (failures, expected) in [
            (vec![none(), none(), none()], none()),
            (vec![none(), refused(), none()], refused()),
            (vec![none(), Failure::Timeout, none()], Failure::Timeout),
            (vec![Failure::Timeout, none()], Failure::Timeout),
        ] {
            let mut search = Search::new(&conf, "db.x");
            let mut last = String::new();
            for failure in failures {
                last = search.next().unwrap();
                search.failed(failure);
            }
            assert_eq!(last, "db.x");
            assert_eq!(search.next(), None);
            assert_eq!(search.failure(), expected);
        }
    }
}

//! Messages of syslog (RFC 5424), and the server that they go to.

use std::fmt::Write;

use super::address::SyslogAddress;
use super::deliver::{Collector, Refused, Unsent};
use super::host::host_name;
use super::record::Exported;
use super::syslog_socket::Socket;
use crate::observe::format::timestamp;

/// The severities (RFC 5424 section 6.2.1): a connection that somebody's fault has ended is worth a look.
const NOTICE: u8 = 5;
const INFORMATIONAL: u8 = 6;

/// Where records go as messages of syslog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogSettings {
    /// The server.
    pub to: SyslogAddress,
    /// The facility of the messages.
    pub facility: Facility,
}

/// The facilities (RFC 5424 section 6.2.1) that a program may use for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facility {
    /// `user`.
    User = 1,
    /// `daemon`.
    Daemon = 3,
    /// `auth`.
    Auth = 4,
    /// `authpriv`.
    Authpriv = 10,
    /// `local0`.
    Local0 = 16,
    /// `local1`.
    Local1 = 17,
    /// `local2`.
    Local2 = 18,
    /// `local3`.
    Local3 = 19,
    /// `local4`.
    Local4 = 20,
    /// `local5`.
    Local5 = 21,
    /// `local6`.
    Local6 = 22,
    /// `local7`.
    Local7 = 23,
}

/// A syslog server.
#[derive(Debug)]
pub(super) struct Server {
    to: SyslogAddress,
    head: Head,
    /// Absent until a record is sent, and after a failure.
    socket: Option<Socket>,
}

impl Server {
    pub(super) fn new(settings: &SyslogSettings) -> Self {
        Self {
            to: settings.to.clone(),
            head: Head {
                facility: settings.facility,
                host: host_name(),
                process: std::process::id(),
            },
            socket: None,
        }
    }
}

impl Collector for Server {
    fn place(&self) -> String {
        self.to.to_string()
    }

    fn send(&mut self, records: &mut Vec<Exported>) -> Result<Refused, Unsent> {
        let mut socket = match self.socket.take().filter(|socket| !socket.has_ended()) {
            Some(socket) => socket,
            None => Socket::connect(&self.to)?,
        };
        let messages = records.iter().map(|record| self.head.message(record));
        let messages: Vec<_> = messages.collect();
        let sent = socket.send(&messages);
        records.drain(..sent.count);
        match sent.error {
            Some(error) => Err(error.into()),
            None => {
                self.socket = Some(socket);
                Ok(Refused {
                    records: sent.too_long,
                    why: (sent.too_long > 0)
                        .then(|| "they are longer than a datagram may be".to_owned()),
                })
            }
        }
    }
}

/// What is the same in all messages.
#[derive(Debug)]
struct Head {
    facility: Facility,
    host: String,
    process: u32,
}

impl Head {
    /// A message (RFC 5424 section 6), without structured data and byte order mark.
    fn message(&self, record: &Exported) -> String {
        let severity = if record.is_fault {
            NOTICE
        } else {
            INFORMATIONAL
        };
        let priority = self.facility as u8 * 8 + severity;
        let mut out = String::with_capacity(record.text.len() + 128);
        let _ = write!(
            out,
            "<{priority}>1 {time} {host} reseal {process} {event} - {text}",
            time = timestamp(record.at),
            host = self.host,
            process = self.process,
            event = record.event,
            text = record.text,
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn a_message_has_the_fields_of_rfc_5424() {
        let head = Head {
            facility: Facility::Local0,
            host: "edge-1".to_owned(),
            process: 42,
        };
        let mut record = Exported {
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000_000_123),
            event: "close",
            is_fault: false,
            text: "{\"id\":\"1\"}".to_owned(),
        };
        assert_eq!(
            head.message(&record),
            "<134>1 2001-09-09T01:46:40.123Z edge-1 reseal 42 close - {\"id\":\"1\"}"
        );
        record.is_fault = true;
        assert!(head.message(&record).starts_with("<133>1 "));
    }
}

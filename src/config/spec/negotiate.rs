//! The protocols in which TLS begins.

use crate::config::reader::words::keyword;
use crate::negotiate::Protocol;

keyword! {
    /// The protocol in which TLS begins.
    pub enum Negotiate("protocol") {
        /// TLS begins with the first byte.
        Absent = "none",
        /// PostgreSQL: SSLRequest. TLS from the first byte (`sslnegotiation=direct`) is accepted on the same
        /// port.
        Postgres = "postgres",
        /// LDAP: StartTLS.
        Ldap = "ldap",
        /// SMTP: STARTTLS.
        Smtp = "smtp",
        /// IMAP: STARTTLS.
        Imap = "imap",
        /// POP3: STLS.
        Pop3 = "pop3",
        /// XMPP: `<starttls/>`.
        Xmpp = "xmpp",
        instead
            "pgsql" | "postgresql" | "pg" | "psql" => "postgres",
            "pop" | "stls" => "pop3",
            "imap4" => "imap",
            "esmtp" | "submission" | "lmtp" => "smtp",
            "jabber" => "xmpp",
            "openldap" => "ldap",
            "starttls" => "name the protocol: `smtp`, `imap`, `pop3`, `xmpp` or `ldap`",
            "off" | "no" | "false" => "none",
            "mysql" | "mariadb" =>
                "a MySQL server sends the salt of the password before TLS begins, so a proxy that ends TLS \
                 cannot pass it on: use an endpoint with `protocol: tcp` and `mode: forward`",
            "redis" | "http" | "https" | "mqtt" | "amqp" | "mongodb" | "kafka" =>
                "its TLS begins with the first byte: leave `negotiate` out";
    }
}

impl Negotiate {
    /// The protocol, if there is one.
    pub const fn get(self) -> Option<Protocol> {
        Some(match self {
            Self::Absent => return None,
            Self::Postgres => Protocol::Postgres,
            Self::Ldap => Protocol::Ldap,
            Self::Smtp => Protocol::Smtp,
            Self::Imap => Protocol::Imap,
            Self::Pop3 => Protocol::Pop3,
            Self::Xmpp => Protocol::Xmpp,
        })
    }
}

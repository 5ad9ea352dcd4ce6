//! What clients of other protocols begin with, as far as that is text.

/// Method names of HTTP/1.x with the space behind them, and the preface of HTTP/2.
pub(super) const HTTP: [&[u8]; 10] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"CONNECT ",
    b"OPTIONS ",
    b"TRACE ",
    b"PATCH ",
    b"PRI * HTTP/2",
];

/// Protocols that begin with one of these texts, in any case. They are looked for before HTTP, whose method
/// names some of them share.
pub(super) const TEXTS: [(&[&[u8]], &str); 11] = [
    (
        &[b"EHLO ", b"HELO ", b"LHLO "],
        "SMTP, which begins TLS later (STARTTLS): write `negotiate: smtp` under the endpoint, or let the client \
         use the port for TLS from the start (465)",
    ),
    (
        &[b"CAPA\r\n", b"STLS\r\n", b"APOP "],
        "POP3, which begins TLS later (STLS): write `negotiate: pop3` under the endpoint, or let the client use \
         the port for TLS from the start (995)",
    ),
    (
        &[b"AUTH TLS", b"AUTH SSL"],
        "FTP, which begins TLS later (AUTH TLS): let the client use TLS from the start (990), or an endpoint \
         with `protocol: tcp` and `mode: forward`",
    ),
    (
        &[b"USER "],
        "POP3 or FTP without TLS: for POP3 write `negotiate: pop3` under the endpoint, or let the client use the \
         port for TLS from the start (995, for FTP 990)",
    ),
    (
        &[b"*1\r\n", b"*2\r\n", b"*3\r\n", b"PING\r\n"],
        "Redis' protocol without TLS: the client has to use rediss:// or --tls",
    ),
    (
        &[b"AMQP"],
        "AMQP without TLS: the client has to use amqps://",
    ),
    (
        &[b"<?xml", b"<stream"],
        "XMPP, which begins TLS later (STARTTLS): write `negotiate: xmpp` under the endpoint",
    ),
    (
        &[b"OPTIONS sip:", b"REGISTER sip:", b"INVITE sip:"],
        "SIP without TLS: the client has to use sips: and its port for TLS (5061)",
    ),
    (
        &[b"OPTIONS rtsp:", b"DESCRIBE rtsp:"],
        "RTSP without TLS: the client has to use rtsps://",
    ),
    (
        &[b"CONNECT {"],
        "NATS, whose server speaks first and begins TLS later: use an endpoint with `protocol: tcp` and \
         `mode: forward`",
    ),
    (
        &[b"RFB 003."],
        "VNC, whose server speaks first: use an endpoint with `protocol: tcp` and `mode: forward`",
    ),
];

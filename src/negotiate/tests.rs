//! Transcripts of each dialogue, cut at every byte.

use super::ask::Ask;
use super::dialogue::{Dialogue, Protocol, Step};
use super::serve::Serve;

const ALL: [Protocol; 6] = [
    Protocol::Postgres,
    Protocol::Ldap,
    Protocol::Smtp,
    Protocol::Imap,
    Protocol::Pop3,
    Protocol::Xmpp,
];

/// What a dialogue sends, and its last step, if the peer's bytes come in pieces of `len`.
fn run(mut dialogue: impl Dialogue, peer: &[u8], len: usize) -> (String, Step, Vec<u8>) {
    let mut sent = dialogue.opening();
    let mut bytes = Vec::new();
    let mut pieces = peer.chunks(len.max(1));
    loop {
        match dialogue.next(&mut bytes) {
            Step::Read => match pieces.next() {
                Some(piece) => bytes.extend_from_slice(piece),
                None => return (shown(&sent), Step::Read, bytes),
            },
            Step::Send(answer) => sent.extend(answer),
            last => {
                let rest: Vec<u8> = pieces.flatten().copied().collect();
                bytes.extend(rest);
                return (shown(&sent), last, bytes);
            }
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a client's bytes through our side, cut in every way; returns what all ways have in common.
#[track_caller]
fn serve(protocol: Protocol, client: &[u8]) -> (String, Step, Vec<u8>) {
    let whole = run(Serve::new(protocol, "mx.test"), client, client.len());
    for len in 1..client.len() {
        let pieces = run(Serve::new(protocol, "mx.test"), client, len);
        assert_eq!(pieces, whole, "{protocol:?} in pieces of {len}");
    }
    whole
}

#[track_caller]
fn ask(protocol: Protocol, origin: &[u8]) -> (String, Step, Vec<u8>) {
    let whole = run(
        Ask::new(protocol, "us.test", "them.test"),
        origin,
        origin.len(),
    );
    for len in 1..origin.len() {
        let pieces = run(Ask::new(protocol, "us.test", "them.test"), origin, len);
        assert_eq!(pieces, whole, "{protocol:?} in pieces of {len}");
    }
    whole
}

fn why(step: &Step) -> &str {
    match step {
        Step::Refuse { why, .. } => why,
        other => panic!("not refused: {other:?}"),
    }
}

const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSS_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";
const CANCEL: &[u8] = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02";
const STARTUP: &[u8] = b"\0\0\0\x16\0\x03\0\0user\0tester\0\0";

#[test]
fn a_client_of_postgresql_gets_tls_and_nothing_else() {
    let tls = |bytes: &[u8]| {
        let (sent, step, rest) = serve(Protocol::Postgres, bytes);
        assert_eq!(step, Step::Tls(b"S".to_vec()));
        (sent, rest.len())
    };
    assert_eq!(tls(SSL_REQUEST), (String::new(), 0));
    // Bytes behind the request are left for the caller, who refuses them.
    assert_eq!(
        tls(&[SSL_REQUEST, b"\x16\x03\x01"].concat()),
        (String::new(), 3)
    );
    let mut after_gss = Serve::new(Protocol::Postgres, "us.test");
    let mut bytes = GSS_REQUEST.to_vec();
    assert_eq!(after_gss.next(&mut bytes), Step::Send(b"N".to_vec()));
    let mut bytes = SSL_REQUEST.to_vec();
    assert_eq!(after_gss.next(&mut bytes), Step::Tls(b"S".to_vec()));
    assert_eq!(
        serve(Protocol::Postgres, b"\x16\x03\x01\0\x05").1,
        Step::Direct
    );

    for (bytes, said) in [
        (STARTUP.to_vec(), "a startup message without TLS"),
        (CANCEL.to_vec(), "a CancelRequest without TLS"),
        ([GSS_REQUEST, STARTUP].concat(), ""),
    ] {
        let mut dialogue = Serve::new(Protocol::Postgres, "us.test");
        let mut bytes = bytes;
        let step = dialogue.next(&mut bytes);
        let Step::Refuse { answer, why } = step else {
            panic!("{step:?}");
        };
        assert!(why.contains(said), "{why}");
        assert_eq!(answer[0], b'E');
        let len = u32::from_be_bytes(answer[1..5].try_into().unwrap());
        assert_eq!(len as usize, answer.len() - 1);
        assert!(shown(&answer).contains("SFATAL\0") && shown(&answer).contains("C28000\0"));
    }
    for foreign in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"\0\0\0\x04\0\0\0\0",
        b"\x80\x2e\x01\0\x02\0\0\0",
    ] {
        assert_eq!(serve(Protocol::Postgres, foreign).1, Step::Unknown);
    }
}

#[test]
fn after_a_refused_gssencrequest_only_sslrequest_is_served() {
    for second in [STARTUP, CANCEL, GSS_REQUEST, b"\x16\x03\x01\0\x05\x01\0\0"] {
        let mut dialogue = Serve::new(Protocol::Postgres, "us.test");
        let mut bytes = GSS_REQUEST.to_vec();
        assert_eq!(dialogue.next(&mut bytes), Step::Send(b"N".to_vec()));
        let mut bytes = second.to_vec();
        let step = dialogue.next(&mut bytes);
        assert!(
            matches!(step, Step::Refuse { .. } | Step::Unknown),
            "{step:?}"
        );
    }
}

#[test]
fn mail_clients_get_a_minimal_dialogue_before_tls() {
    let (sent, step, rest) = serve(
        Protocol::Smtp,
        b"noop\r\nEHLO c.test\r\nMAIL FROM:<a@b>\r\nSTARTTLS x\r\nfoo\nstarttls\r\n",
    );
    assert_eq!(
        sent,
        "220 mx.test ESMTP reseal\r\n250 2.0.0 OK\r\n250-mx.test\r\n250 STARTTLS\r\n\
         530 5.7.0 Must issue a STARTTLS command first\r\n501 5.5.4 STARTTLS takes no parameters\r\n\
         530 5.7.0 Must issue a STARTTLS command first\r\n"
    );
    assert_eq!(
        step,
        Step::Tls(b"220 2.0.0 Ready to start TLS\r\n".to_vec())
    );
    assert!(rest.is_empty());
    let quit = Step::Quit(b"221 2.0.0 Bye\r\n".to_vec());
    assert_eq!(serve(Protocol::Smtp, b"QUIT\r\n").1, quit);

    let (sent, step, _) = serve(
        Protocol::Imap,
        b"a1 CAPABILITY\r\na2 noop\r\na3 LOGIN u p\r\na4 SELECT x\r\n\r\na5 starttls\r\n",
    );
    assert_eq!(
        sent,
        "* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] mx.test reseal\r\n\
         * CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\na1 OK completed\r\na2 OK completed\r\n\
         a3 NO [PRIVACYREQUIRED] TLS is required first: STARTTLS\r\n\
         a4 BAD TLS is required first: STARTTLS\r\n* BAD a command begins with a tag\r\n"
    );
    assert_eq!(step, Step::Tls(b"a5 OK begin TLS now\r\n".to_vec()));
    let bye = Step::Quit(b"* BYE\r\nx OK completed\r\n".to_vec());
    assert_eq!(serve(Protocol::Imap, b"x LOGOUT\r\n").1, bye);

    let (sent, step, _) = serve(Protocol::Pop3, b"CAPA\r\nUSER u\r\nSTLS\r\n");
    assert_eq!(
        sent,
        "+OK mx.test reseal\r\n+OK\r\nSTLS\r\n.\r\n-ERR TLS is required first: STLS\r\n"
    );
    assert_eq!(step, Step::Tls(b"+OK begin TLS now\r\n".to_vec()));
    assert_eq!(
        serve(Protocol::Pop3, b"quit\r\n").1,
        Step::Quit(b"+OK bye\r\n".to_vec())
    );
}

#[test]
fn ldap_and_xmpp_begin_tls_by_their_own_request() {
    let request = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
    let response = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\0\x04\0\x04\0";
    let (_, step, rest) = serve(Protocol::Ldap, request);
    assert_eq!((step, rest.len()), (Step::Tls(response.to_vec()), 0));
    // The long form of lengths is BER, too.
    let long = [b"\x30\x81\x1d\x02\x01\x01\x77\x18", &request[7..]].concat();
    assert_eq!(serve(Protocol::Ldap, &long).1, Step::Tls(response.to_vec()));
    let bind = b"\x30\x0c\x02\x01\x02\x60\x07\x02\x01\x03\x04\0\x80\0";
    let Step::Refuse { answer, .. } = serve(Protocol::Ldap, bind).1 else {
        panic!("a bind before TLS is refused");
    };
    assert_eq!(
        answer,
        b"\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x0d\x04\0\x04\0"
    );
    assert_eq!(
        serve(Protocol::Ldap, b"\x30\x05\x02\x01\x03\x42\0").1,
        Step::Quit(Vec::new())
    );
    for foreign in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"\x30\x80\0\0",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x1f",
    ] {
        assert_eq!(serve(Protocol::Ldap, foreign).1, Step::Unknown);
    }

    let open =
        "<?xml version='1.0'?><stream:stream to=\"im.test\" xmlns='jabber:client' version='1.0'>";
    let start = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
    let (sent, step, _) = serve(Protocol::Xmpp, format!("{open}\n{start}").as_bytes());
    assert!(
        sent.contains("from='im.test'") && sent.ends_with("</stream:features>"),
        "{sent}"
    );
    let proceed = Step::Tls(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".to_vec());
    assert_eq!(step, proceed);
    let long = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'></starttls>";
    assert_eq!(
        serve(Protocol::Xmpp, format!("{open}{long}").as_bytes()).1,
        proceed
    );
    let hostile = open.replace("im.test", "a'><x b='");
    assert!(
        serve(Protocol::Xmpp, hostile.as_bytes())
            .0
            .contains("from='mx.test'")
    );
    for (bytes, said) in [
        (format!("{open}<message/>"), "a stanza before"),
        (format!("{open}<starttls/>"), "a stanza before"),
        ("<message/>".to_owned(), "no stream"),
        ("<!DOCTYPE x>".to_owned(), "forbids"),
    ] {
        assert!(
            why(&serve(Protocol::Xmpp, bytes.as_bytes()).1).contains(said),
            "{bytes}"
        );
    }
}

#[test]
fn origins_are_asked_for_tls_and_a_refusal_is_final() {
    let postgres = |answer: &[u8]| ask(Protocol::Postgres, answer);
    assert_eq!(postgres(b"S").1, Step::Tls(Vec::new()));
    assert_eq!(postgres(b"Sx").2, b"x");
    for (answer, said) in [
        (&b"N"[..], "by N"),
        (b"E\0\0", "by an error"),
        (b"H", "neither S nor N"),
    ] {
        assert!(why(&postgres(answer).1).contains(said));
    }

    let (sent, step, _) = ask(
        Protocol::Smtp,
        b"220-terms\r\n220 them.test\r\n250-them.test\r\n250-SIZE 1\r\n250 starttls\r\n220 go\r\n",
    );
    assert_eq!(
        (sent.as_str(), step),
        ("EHLO us.test\r\nSTARTTLS\r\n", Step::Tls(Vec::new()))
    );
    for (answers, said) in [
        ("554 no\r\n", "the origin answered 554 no"),
        ("220 x\r\n250 x\r\n", "does not offer STARTTLS"),
        ("220 x\r\n250 STARTTLS\r\n454 later\r\n", "454 later"),
        ("SSH-2.0\r\n", "no reply of SMTP"),
    ] {
        assert!(
            why(&ask(Protocol::Smtp, answers.as_bytes()).1).contains(said),
            "{answers}"
        );
    }

    let (sent, step, _) = ask(Protocol::Imap, b"* OK hi\r\n* CAPABILITY x\r\nA OK go\r\n");
    assert_eq!(
        (sent.as_str(), step),
        ("A STARTTLS\r\n", Step::Tls(Vec::new()))
    );
    for answers in [
        "* PREAUTH hi\r\n",
        "* BYE\r\n",
        "* OK\r\nA NO\r\n",
        "* OK\r\n* BYE\r\n",
    ] {
        why(&ask(Protocol::Imap, answers.as_bytes()).1);
    }
    let (sent, step, _) = ask(Protocol::Pop3, b"+OK hi\r\n+OK go\r\n");
    assert_eq!((sent.as_str(), step), ("STLS\r\n", Step::Tls(Vec::new())));
    why(&ask(Protocol::Pop3, b"+OK\r\n-ERR no\r\n").1);

    let (_, step, _) = ask(
        Protocol::Ldap,
        b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\0\x04\0\x04\0",
    );
    assert_eq!(step, Step::Tls(Vec::new()));
    let refused = ask(
        Protocol::Ldap,
        b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\0\x04\0",
    )
    .1;
    assert!(why(&refused).contains("result code 2"));

    let features = "<?xml version='1.0'?><stream:stream id='1'><stream:features>\
        <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><mechanisms><mechanism>PLAIN</mechanism>\
        </mechanisms></stream:features>";
    let (sent, step, _) = ask(Protocol::Xmpp, format!("{features}<proceed/>").as_bytes());
    assert!(
        sent.contains("to='them.test'") && sent.contains("<starttls "),
        "{sent}"
    );
    assert_eq!(step, Step::Tls(Vec::new()));
    let bare = features.replace("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "");
    assert!(why(&ask(Protocol::Xmpp, bare.as_bytes()).1).contains("does not offer"));
    why(&ask(Protocol::Xmpp, format!("{features}<failure/>").as_bytes()).1);
}

/// Each dialogue ends or waits on any bytes, and never takes more than it was given.
#[test]
fn arbitrary_bytes_do_no_harm() {
    let mut state = 0x9e37_79b9_u32;
    let alphabet = b"\0\x08\x16\x30\x77\x80<>/'\" \r\n+-*AS250EHLOstarttls";
    for round in 0..4000_usize {
        let bytes: Vec<u8> = (0..round % 60)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                alphabet[(state >> 8) as usize % alphabet.len()]
            })
            .collect();
        for protocol in ALL {
            serve(protocol, &bytes);
            ask(protocol, &bytes);
        }
    }
}

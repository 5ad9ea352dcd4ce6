//! The dialogues before TLS: what they send and how they end does not depend on how the peer's bytes were
//! delivered, and TLS begins only where it was asked for. Shared by the fuzz target and the test of its
//! corpus.

use reseal::internals::{Ask, Connect, Dialogue, NegotiatedProtocol as Protocol, Serve, Step};

/// How a dialogue ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    More,
    Tls,
    Direct,
    Unknown,
    Quit,
    Refused,
}

const PROTOCOLS: [Protocol; 6] = [
    Protocol::Postgres,
    Protocol::Ldap,
    Protocol::Smtp,
    Protocol::Imap,
    Protocol::Pop3,
    Protocol::Xmpp,
];

/// The most bytes of a peer that a dialogue takes.
const RECEIVED_MAX: usize = 16 * 1024;

/// What the first byte of an input chooses: our side with clients, that with origins, or that with an HTTP
/// proxy.
#[derive(Clone, Copy, Debug)]
enum Side {
    Serve(Protocol),
    Ask(Protocol),
    Connect,
}

impl Side {
    fn of(choice: u8) -> Self {
        let all = PROTOCOLS.map(Self::Serve).into_iter();
        let all = all.chain(PROTOCOLS.map(Self::Ask)).chain([Self::Connect]);
        let all: Vec<_> = all.collect();
        all[usize::from(choice) % all.len()]
    }

    /// Runs the dialogue; returns what it sent, and how it ended.
    fn run<'a>(self, portions: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, End) {
        match self {
            Self::Serve(protocol) => run(Serve::new(protocol, "us.test"), portions),
            Self::Ask(protocol) => run(Ask::new(protocol, "us.test", "them.test"), portions),
            Self::Connect => run(Connect::new("them.test:443", None), portions),
        }
    }

    /// What the peer's bytes must hold for TLS to begin.
    fn request(self) -> &'static [u8] {
        match self {
            Self::Serve(Protocol::Postgres) => b"\0\0\0\x08\x04\xd2\x16\x2f",
            Self::Serve(Protocol::Ldap) => b"1.3.6.1.4.1.1466.20037",
            Self::Serve(Protocol::Smtp | Protocol::Imap) => b"STARTTLS",
            Self::Serve(Protocol::Pop3) => b"STLS",
            Self::Serve(Protocol::Xmpp) => b"STARTTLS",
            Self::Ask(Protocol::Postgres) => b"S",
            Self::Ask(Protocol::Ldap) => b"\x0a\x01\0",
            Self::Ask(Protocol::Smtp) => b"220",
            Self::Ask(Protocol::Imap) => b"OK",
            Self::Ask(Protocol::Pop3) => b"+OK",
            Self::Ask(Protocol::Xmpp) => b"PROCEED",
            Self::Connect => b"HTTP/1.",
        }
    }
}

fn run<'a>(
    mut dialogue: impl Dialogue,
    mut portions: impl Iterator<Item = &'a [u8]>,
) -> (Vec<u8>, End) {
    let mut sent = dialogue.opening();
    let (mut bytes, mut steps) = (Vec::new(), 0);
    let mut total = 0;
    loop {
        steps += 1;
        assert!(steps <= 2 * total + 16, "a step without progress");
        let (answer, end) = match dialogue.next(&mut bytes) {
            Step::Read => match portions.next() {
                Some(portion) => {
                    bytes.extend_from_slice(portion);
                    total += portion.len();
                    continue;
                }
                None => (Vec::new(), End::More),
            },
            Step::Send(answer) => {
                sent.extend(answer);
                continue;
            }
            Step::Tls(answer) => (answer, End::Tls),
            Step::Direct => (Vec::new(), End::Direct),
            Step::Unknown => (Vec::new(), End::Unknown),
            Step::Quit(answer) => (answer, End::Quit),
            Step::Refuse { answer, .. } => (answer, End::Refused),
        };
        sent.extend(answer);
        return (sent, end);
    }
}

/// Runs the dialogue that the first byte chooses with the others, and returns how it ended.
pub fn must_stay_within_its_protocol(input: &[u8]) -> End {
    let Some((choice, peer)) = input.split_first() else {
        return End::More;
    };
    let peer = peer.get(..RECEIVED_MAX).unwrap_or(peer);
    let side = Side::of(*choice);
    let (sent, end) = side.run(std::iter::once(peer));
    let pieces = side.run(peer.chunks(1));
    // GSSENCRequest with anything behind it is refused: it came before the answer.
    let is_pipelined = matches!(side, Side::Serve(Protocol::Postgres)) && end == End::Refused;
    if !is_pipelined {
        assert_eq!(pieces, (sent.clone(), end), "{side:?} byte by byte");
    }
    let (first, second) = peer.split_at(peer.len() / 2);
    if !is_pipelined {
        let halves = side.run([first, second].into_iter());
        assert_eq!(halves, (sent, end), "{side:?} in halves");
    }
    for (_, end) in [&pieces] {
        if *end == End::Tls {
            let request = side.request();
            let upper = peer.to_ascii_uppercase();
            let is_asked = |peer: &[u8]| peer.windows(request.len()).any(|part| part == request);
            assert!(
                is_asked(peer) || is_asked(&upper),
                "{side:?}: nobody asked for TLS"
            );
        }
    }
    end
}

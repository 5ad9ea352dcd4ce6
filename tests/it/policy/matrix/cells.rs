//! One cell of the matrix: a connection, what its client sees, and its record.

use std::sync::atomic::Ordering;

use rustls::client::{Resumption, Tls12Resumption};
use rustls::version;

use super::{Auth, DATA, DONOR, ENDPOINTS, FRAGMENTATIONS, Group, Shape, Start, verdict};
use crate::harness::{End, Fragmentation, FrozenSessions, ListenAddr, Stream, WireClient};

impl Group<'_> {
    pub(super) fn run(&self) {
        let starts: &[Start] = if self.version == &version::TLS12 {
            &[Start::Full, Start::Ticket, Start::Id, Start::Foreign]
        } else {
            &[Start::Full, Start::Ticket, Start::Foreign]
        };
        let many = ENDPOINTS.len() * FRAGMENTATIONS.len() * 2;
        let ticket = self.session(&DONOR, Start::Ticket, many);
        let id = (self.version == &version::TLS12).then(|| self.session(&DONOR, Start::Id, many));
        for shape in &ENDPOINTS {
            let refusal = verdict(shape.route(self.named), self.named, self.state);
            for start in starts {
                let own = refusal.is_none() && matches!(start, Start::Ticket | Start::Id);
                let client = match start {
                    Start::Full => self.client.clone(),
                    _ if own => self.session(shape, *start, FRAGMENTATIONS.len()),
                    Start::Id => id.clone().unwrap(),
                    Start::Ticket | Start::Foreign => ticket.clone(),
                };
                for fragmentation in FRAGMENTATIONS {
                    self.cell(shape, &client, *start, fragmentation, own);
                }
            }
        }
    }

    /// A client with sessions of this endpoint for this many connections.
    fn session(&self, shape: &Shape, start: Start, uses: usize) -> WireClient {
        let memory = FrozenSessions::new();
        let kind = if start == Start::Id {
            Tls12Resumption::SessionIdOnly
        } else {
            Tls12Resumption::SessionIdOrTickets
        };
        let sessions = Resumption::store(memory.clone()).tls12_resumption(kind);
        let client = self.client.with_session_store(sessions);
        while memory.len() < uses {
            let before = memory.len();
            let (address, stream) =
                client.connect(self.listen_addr(shape), self.name, Fragmentation::Whole);
            let stream =
                stream.unwrap_or_else(|end| panic!("{end:?} at {}: {}", shape.name, self.what()));
            must_admit(&stream);
            self.counts.accepted(shape);
            self.proxy.outcome_at(shape.name, address).must_be("ok");
            assert!(
                memory.len() > before,
                "no session from {}: {}",
                shape.name,
                self.what()
            );
        }
        memory.freeze();
        client
    }

    fn cell(
        &self,
        shape: &Shape,
        client: &WireClient,
        start: Start,
        fragmentation: Fragmentation,
        resumes: bool,
    ) {
        let what = || format!("{} {start:?} {fragmentation:?} {}", shape.name, self.what());
        let route = shape.route(self.named);
        let refusal = verdict(route, self.named, self.state);
        let (address, stream) = client.connect(self.listen_addr(shape), self.name, fragmentation);
        match (&stream, refusal) {
            (Ok(stream), None) => {
                must_admit(stream);
                self.counts.accepted(shape);
                assert_eq!(stream.is_resumed(), resumes, "{}", what());
            }
            (Ok(stream), Some((_, alert))) => {
                // Data that a TLS 1.3 client sends before it is verified must reach no origin.
                let _ = stream.try_send(DATA);
                let (data, end) = stream.receive_to_end();
                assert_eq!((data, end), (vec![], End::Alert(alert)), "{}", what());
            }
            (Err(end), Some((_, alert))) => assert_eq!(*end, End::Alert(alert), "{}", what()),
            (Err(end), None) => panic!("{end:?}: {}", what()),
        }
        let record = self.proxy.outcome_at(shape.name, address);
        let reason = refusal.map_or("ok", |(reason, _)| reason);
        assert_eq!(record.reason(), reason, "{}\n{record:?}", what());
        assert_eq!(record.text("endpoint"), shape.name);
        assert_eq!(
            record.text("route"),
            route.map_or("", |(name, _)| name),
            "{}",
            what()
        );
        assert_eq!(record.has("origin"), refusal.is_none(), "{}", what());
        let seen = if refusal.is_none() {
            DATA.len() as u64
        } else {
            0
        };
        assert_eq!(record.number("bytes_up"), seen, "{}", what());
        if refusal.is_none() {
            assert_eq!(record["tls_resumed"], resumes, "{}", what());
            let recorded =
                route.is_some_and(|(_, auth)| auth != Auth::Off) && self.state.0 != "none";
            assert_eq!(
                record.has("client_cert"),
                recorded,
                "{}\n{record:?}",
                what()
            );
        }
        self.counts.cells.fetch_add(1, Ordering::Relaxed);
        self.counts
            .resumed
            .fetch_add(usize::from(resumes), Ordering::Relaxed);
        let mut reasons = self.counts.reasons.lock().unwrap();
        *reasons.entry(reason.to_owned()).or_default() += 1;
    }

    fn listen_addr(&self, shape: &Shape) -> &ListenAddr {
        self.proxy.listen_addr(shape.name)
    }

    fn what(&self) -> String {
        format!(
            "{:?} {:?} {}",
            self.name, self.version.version, self.state.0
        )
    }
}

fn must_admit(stream: &Stream) {
    stream.must_echo(DATA);
    stream.end();
    assert_eq!(stream.receive_to_end(), (vec![], End::Clean));
}

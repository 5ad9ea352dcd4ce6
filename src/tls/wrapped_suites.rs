//! The suites of TLS 1.3 as rustls is given them for clients: those of the provider, which can be watched
//! and be given another view of a hello where rustls refuses what RFC 8446 lets a client do. Nobody asks
//! for either in an ordinary handshake, and then the provider's own parts are used.
//!
//! rustls calls them within its synchronous calls, so what is wanted of them, and what they saw, is kept
//! on the thread.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, LazyLock};

use rustls::crypto::CipherSuiteCommon;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter,
    Tls13AeadAlgorithm, UnsupportedOperationError,
};
use rustls::crypto::hash::{Context, Hash, HashAlgorithm, Output};
use rustls::{ConnectionTrafficSecrets, Error, SupportedCipherSuite, Tls13CipherSuite};

use super::suites;

/// A hello that rustls is given in place of the one that the client has sent. Transcripts are still of
/// what was sent: the client and we hash the same bytes.
#[derive(Debug)]
pub(super) struct StandIn {
    /// The message that rustls is given.
    pub(super) given: Vec<u8>,
    /// The message that the client has sent.
    pub(super) sent: Vec<u8>,
}

thread_local! {
    static STAND_IN: RefCell<Option<Arc<StandIn>>> = const { RefCell::new(None) };
    static WATCHES: Cell<bool> = const { Cell::new(false) };
    static OPENED: Cell<u64> = const { Cell::new(0) };
}

/// What the suites are to do beyond their work during a call of rustls.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// Hash the hello that was sent where the one in its place is to be hashed.
    pub(super) stand_in: Option<Arc<StandIn>>,
    /// Count the records that are opened under keys that are made now.
    pub(super) watches: bool,
}

impl Wanted {
    /// Makes a call of rustls with this wanted of the suites.
    pub(super) fn during<T>(&self, call: impl FnOnce() -> T) -> T {
        STAND_IN.set(self.stand_in.clone());
        WATCHES.set(self.watches);
        let result = call();
        WATCHES.set(false);
        STAND_IN.set(None);
        result
    }
}

/// How many records were opened under watched keys on this thread.
pub(super) fn opened() -> u64 {
    OPENED.get()
}

/// The suite as it is given to rustls for clients.
pub(super) fn wrapped(suite: &SupportedCipherSuite) -> SupportedCipherSuite {
    static WRAPPED: LazyLock<Vec<SupportedCipherSuite>> = LazyLock::new(|| {
        let tls13 = suites::tls13().filter_map(SupportedCipherSuite::tls13);
        tls13.map(wrap).collect()
    });
    let known = WRAPPED.iter().find(|known| known.suite() == suite.suite());
    *known.unwrap_or(suite)
}

/// rustls wants its suites for the life of the process; this is done once for each.
fn wrap(suite: &'static Tls13CipherSuite) -> SupportedCipherSuite {
    let common = CipherSuiteCommon {
        hash_provider: Box::leak(Box::new(Transcript(suite.common.hash_provider))),
        ..suite.common
    };
    SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
        common,
        aead_alg: Box::leak(Box::new(Watched(suite.aead_alg))),
        ..*suite
    })))
}

struct Transcript(&'static dyn Hash);

impl Hash for Transcript {
    fn start(&self) -> Box<dyn Context> {
        let context = self.0.start();
        match STAND_IN.with_borrow(Clone::clone) {
            Some(stand_in) => Box::new(Replacing { context, stand_in }),
            None => context,
        }
    }

    fn hash(&self, data: &[u8]) -> Output {
        self.0.hash(data)
    }

    fn output_len(&self) -> usize {
        self.0.output_len()
    }

    fn algorithm(&self) -> HashAlgorithm {
        self.0.algorithm()
    }
}

struct Replacing {
    context: Box<dyn Context>,
    stand_in: Arc<StandIn>,
}

impl Context for Replacing {
    fn fork_finish(&self) -> Output {
        self.context.fork_finish()
    }

    fn fork(&self) -> Box<dyn Context> {
        self.context.fork()
    }

    fn finish(self: Box<Self>) -> Output {
        self.context.finish()
    }

    fn update(&mut self, data: &[u8]) {
        // rustls adds a message as a whole, and by itself.
        if data == self.stand_in.given {
            self.context.update(&self.stand_in.sent);
        } else {
            self.context.update(data);
        }
    }
}

struct Watched(&'static dyn Tls13AeadAlgorithm);

impl Tls13AeadAlgorithm for Watched {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        self.0.encrypter(key, iv)
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        let decrypter = self.0.decrypter(key, iv);
        match WATCHES.get() {
            true => Box::new(Counting(decrypter)),
            false => decrypter,
        }
    }

    fn key_len(&self) -> usize {
        self.0.key_len()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

struct Counting(Box<dyn MessageDecrypter>);

impl MessageDecrypter for Counting {
    fn decrypt<'a>(
        &mut self,
        message: InboundOpaqueMessage<'a>,
        sequence: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let opened = self.0.decrypt(message, sequence)?;
        OPENED.set(OPENED.get() + 1);
        Ok(opened)
    }
}

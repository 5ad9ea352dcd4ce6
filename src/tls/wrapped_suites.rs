//! Wrappers around the provider's TLS 1.3 suites, used towards clients. They can count decrypted records,
//! and hash another ClientHello than rustls sees, where rustls refuses what RFC 8446 lets a client do. An
//! ordinary handshake uses neither, and gets the provider's own parts.
//!
//! rustls calls the wrappers within its synchronous calls, so their settings and counts are thread-local.

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

/// A hello that rustls gets in place of the one that the client sent. The transcript hash still covers
/// the one that was sent, as the client's does.
#[derive(Debug)]
pub(super) struct HelloSubstitute {
    /// The message that rustls gets.
    pub(super) given: Vec<u8>,
    /// The message that the client sent.
    pub(super) sent: Vec<u8>,
}

thread_local! {
    static SUBSTITUTE: RefCell<Option<Arc<HelloSubstitute>>> = const { RefCell::new(None) };
    static COUNTS_RECORDS: Cell<bool> = const { Cell::new(false) };
    static DECRYPTED_RECORDS: Cell<u64> = const { Cell::new(0) };
}

/// What the wrappers do in addition during one call into rustls.
#[derive(Clone, Debug, Default)]
pub(super) struct SuiteHooks {
    /// Hash the hello that was sent in place of its substitute.
    pub(super) substitute: Option<Arc<HelloSubstitute>>,
    /// Count the records decrypted under keys that are created in this call.
    pub(super) counts_records: bool,
}

impl SuiteHooks {
    /// Runs a call into rustls with these settings.
    pub(super) fn during<T>(&self, call: impl FnOnce() -> T) -> T {
        SUBSTITUTE.set(self.substitute.clone());
        COUNTS_RECORDS.set(self.counts_records);
        let result = call();
        COUNTS_RECORDS.set(false);
        SUBSTITUTE.set(None);
        result
    }
}

/// How many records were decrypted under counting keys on this thread.
pub(super) fn decrypted_records() -> u64 {
    DECRYPTED_RECORDS.get()
}

/// The wrapped suite, or the suite itself if it is one of TLS 1.2.
pub(super) fn wrapped(suite: &SupportedCipherSuite) -> SupportedCipherSuite {
    static WRAPPED: LazyLock<Vec<SupportedCipherSuite>> = LazyLock::new(|| {
        let tls13 = suites::tls13().filter_map(SupportedCipherSuite::tls13);
        tls13.map(wrap).collect()
    });
    let known = WRAPPED.iter().find(|known| known.suite() == suite.suite());
    *known.unwrap_or(suite)
}

/// rustls requires `'static` suites; each is leaked once.
fn wrap(suite: &'static Tls13CipherSuite) -> SupportedCipherSuite {
    let common = CipherSuiteCommon {
        hash_provider: Box::leak(Box::new(SubstitutingHash(suite.common.hash_provider))),
        ..suite.common
    };
    SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
        common,
        aead_alg: Box::leak(Box::new(CountingAead(suite.aead_alg))),
        ..*suite
    })))
}

struct SubstitutingHash(&'static dyn Hash);

impl Hash for SubstitutingHash {
    fn start(&self) -> Box<dyn Context> {
        let context = self.0.start();
        match SUBSTITUTE.with_borrow(Clone::clone) {
            Some(substitute) => Box::new(SubstitutingContext {
                context,
                substitute,
            }),
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

struct SubstitutingContext {
    context: Box<dyn Context>,
    substitute: Arc<HelloSubstitute>,
}

impl Context for SubstitutingContext {
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
        // rustls hashes each message in one call of its own.
        if data == self.substitute.given {
            self.context.update(&self.substitute.sent);
        } else {
            self.context.update(data);
        }
    }
}

struct CountingAead(&'static dyn Tls13AeadAlgorithm);

impl Tls13AeadAlgorithm for CountingAead {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        self.0.encrypter(key, iv)
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        let decrypter = self.0.decrypter(key, iv);
        match COUNTS_RECORDS.get() {
            true => Box::new(CountingDecrypter(decrypter)),
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

struct CountingDecrypter(Box<dyn MessageDecrypter>);

impl MessageDecrypter for CountingDecrypter {
    fn decrypt<'a>(
        &mut self,
        message: InboundOpaqueMessage<'a>,
        sequence: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let plain = self.0.decrypt(message, sequence)?;
        DECRYPTED_RECORDS.set(DECRYPTED_RECORDS.get() + 1);
        Ok(plain)
    }
}

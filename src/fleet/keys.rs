//! Where everything is in the store.
//!
//! ```text
//! PREFIX/want/pointer          which generation is wanted: the one key that a push moves
//! PREFIX/want/tickets          the secrets of TLS session tickets, sealed
//! PREFIX/want/drained/INSTANCE that an instance is to serve nobody
//! PREFIX/want/revoked/…        who is revoked, or was
//! PREFIX/gen/ID/head           what a generation is; written once, after its chunks
//! PREFIX/gen/ID/00000 …        its chunks, sealed
//! PREFIX/have/INSTANCE         what an instance says of itself, as long as its lease lives
//! PREFIX/known/INSTANCE        the same, for ever: whom to miss
//! ```

/// The keys below a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys(String);

impl Keys {
    /// The keys below this prefix, which has no slash at its end.
    pub fn below(prefix: &str) -> Self {
        Self(prefix.to_owned())
    }

    /// Before all that instances follow.
    pub fn want(&self) -> String {
        format!("{}/want/", self.0)
    }

    /// The pointer.
    pub fn pointer(&self) -> String {
        format!("{}/want/pointer", self.0)
    }

    /// The secrets of tickets, sealed.
    pub fn tickets(&self) -> String {
        format!("{}/want/tickets", self.0)
    }

    /// Before the names of the instances that are drained.
    pub fn drained(&self) -> String {
        format!("{}/want/drained/", self.0)
    }

    /// Before the revocations.
    pub fn revoked(&self) -> String {
        format!("{}/want/revoked/", self.0)
    }

    /// Before the keys of all generations.
    pub fn generations(&self) -> String {
        format!("{}/gen/", self.0)
    }

    /// Before the keys of a generation.
    pub fn generation(&self, id: &str) -> String {
        format!("{}/gen/{id}/", self.0)
    }

    /// What a generation is.
    pub fn head(&self, id: &str) -> String {
        format!("{}/gen/{id}/head", self.0)
    }

    /// A chunk of a generation.
    pub fn chunk(&self, id: &str, number: usize) -> String {
        format!("{}/gen/{id}/{number:05}", self.0)
    }

    /// Before what all live instances say.
    pub fn have(&self) -> String {
        format!("{}/have/", self.0)
    }

    /// Before what all instances have said.
    pub fn known(&self) -> String {
        format!("{}/known/", self.0)
    }
}

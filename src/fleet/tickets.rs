//! The secrets of TLS session tickets that a fleet shares, by epoch: a client resumes at any instance. The newest
//! one issues, and those of the two epochs before it are still accepted.

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::tls::sessions::TicketSecret;

/// How many epochs are accepted.
const EPOCHS: usize = 3;

/// The bytes of a secret.
const LEN: usize = 48;

/// The secrets of the latest epochs, the newest first.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketEpochs {
    /// The number of the newest epoch.
    pub epoch: u64,
    secrets: Vec<Zeroizing<Vec<u8>>>,
}

impl std::fmt::Debug for TicketEpochs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TicketEpochs({})", self.epoch)
    }
}

impl TicketEpochs {
    /// The epochs after these, or the first one: with a new secret. `None` without randomness.
    pub fn next(before: Option<&Self>) -> Option<Self> {
        let mut secret = Zeroizing::new(vec![0; LEN]);
        rand::fill(&mut secret).ok()?;
        let older = before
            .map(|before| before.secrets.as_slice())
            .unwrap_or_default();
        let secrets = std::iter::once(&secret).chain(older).take(EPOCHS);
        Some(Self {
            epoch: before.map_or(1, |before| before.epoch + 1),
            secrets: secrets.cloned().collect(),
        })
    }

    /// Reads an opened value. `None` if it is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let secrets = value["secrets"].as_array()?.iter();
        let secrets =
            secrets.map(|secret| Some(Zeroizing::new(STANDARD.decode(secret.as_str()?).ok()?)));
        Some(Self {
            epoch: value["epoch"].as_u64()?,
            secrets: secrets.take(EPOCHS).collect::<Option<_>>()?,
        })
    }

    /// The value, before it is sealed.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let secrets: Vec<_> = self
            .secrets
            .iter()
            .map(|secret| STANDARD.encode(secret))
            .collect();
        let value = json!({ "epoch": self.epoch, "secrets": secrets });
        Zeroizing::new(value.to_string().into_bytes())
    }

    /// What tickets are issued and accepted with.
    pub fn secrets(&self) -> Vec<TicketSecret> {
        let secrets = self.secrets.iter();
        secrets
            .filter_map(|secret| TicketSecret::new(secret))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_accepted_for_two_more() {
        let first = TicketEpochs::next(None).unwrap();
        let second = TicketEpochs::next(Some(&first)).unwrap();
        let third = TicketEpochs::next(Some(&second)).unwrap();
        let fourth = TicketEpochs::next(Some(&third)).unwrap();
        assert_eq!((first.epoch, fourth.epoch), (1, 4));
        assert!(third.secrets.contains(&first.secrets[0]));
        assert!(!fourth.secrets.contains(&first.secrets[0]));
        assert_eq!(fourth.secrets().len(), EPOCHS);
        assert_eq!(TicketEpochs::decode(&fourth.encode()), Some(fourth));
    }
}

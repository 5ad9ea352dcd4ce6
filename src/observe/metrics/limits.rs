//! The limits of the process, read when somebody looks.

use std::fmt;

/// A limit of the process at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitSample {
    /// Its value.
    pub max: usize,
    /// How much of it is in use.
    pub used: usize,
    /// How often a client had to wait because of it.
    pub reached: u64,
}

/// A limit of the process, by the word that stands for it in metrics and in the status.
pub struct LimitGauge {
    /// The word.
    pub limit: &'static str,
    /// Reads it.
    pub read: Box<dyn Fn() -> LimitSample + Send + Sync>,
}

impl fmt::Debug for LimitGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sample = (self.read)();
        f.debug_tuple("LimitGauge")
            .field(&self.limit)
            .field(&sample)
            .finish()
    }
}

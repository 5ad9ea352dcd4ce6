//! A mutex that ignores poisoning.

use std::sync::{MutexGuard, PoisonError};

/// A [`std::sync::Mutex`] whose lock is taken even if a thread panicked while it held it: a panic ends one
/// connection, and must not end those that share its pool or its table. What is behind one must be whole
/// after each of its own operations.
#[derive(Debug, Default)]
pub struct Mutex<T: ?Sized>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// A mutex around `value`.
    pub const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    /// The value, when nothing else can take the lock any more.
    pub fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_under_the_lock_does_not_keep_the_lock() {
        let number = Mutex::new(1);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _guard = number.lock();
            panic!("under the lock");
        }));
        assert!(panicked.is_err());
        assert_eq!(*number.lock(), 1);
    }
}

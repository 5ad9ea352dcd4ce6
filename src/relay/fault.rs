//! Fault injection for the tests: makes a relay panic, to test the effect on its connection and on the
//! others. Release builds have no fault injection.

use std::sync::LazyLock;

/// The environment variable that enables it: a direction panics once it has moved this many bytes.
const VARIABLE: &str = "RESEAL_TEST_PANIC_AFTER";

/// Panics when a direction has moved at least as many bytes as [`VARIABLE`] says.
pub(super) fn inject(moved: u64) {
    static AFTER: LazyLock<u64> = LazyLock::new(|| {
        let value = std::env::var(VARIABLE).ok();
        value
            .and_then(|value| value.parse().ok())
            .unwrap_or(u64::MAX)
    });
    debug_assert!(moved < *AFTER, "{VARIABLE} requests this panic");
}

//! A defect on purpose, for the tests: what a panic in the middle of a relay does to its connection, and
//! to the others. Release builds have none.

use std::sync::LazyLock;

/// The environment variable that asks for it: a direction panics once it has moved so many bytes.
const VARIABLE: &str = "RESEAL_TEST_PANIC_AFTER";

/// Panics when a direction has moved as many bytes as [`VARIABLE`] says.
pub(super) fn inject(moved: u64) {
    static AFTER: LazyLock<u64> = LazyLock::new(|| {
        let value = std::env::var(VARIABLE).ok();
        value
            .and_then(|value| value.parse().ok())
            .unwrap_or(u64::MAX)
    });
    debug_assert!(moved < *AFTER, "{VARIABLE} asks for this panic");
}

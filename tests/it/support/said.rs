//! What tests tell whoever runs them: how much was done, and that nothing was wrong with it.

use std::io::Write as _;

/// Writes a line past the test harness, which keeps what a test prints to itself unless it fails.
pub(crate) fn say(text: &str) {
    // One write, so that lines of tests that run at once stay whole; without a standard error there is nobody to tell.
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

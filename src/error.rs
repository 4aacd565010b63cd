//! The one question every error answers: is it worth trying again?
//!
//! Each area keeps its own `Error` enum, whose variants say what went wrong, where and with whom. Retry, exit code and
//! page colour ask [`Class`] and never match on text.

/// What kind of failure an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The same call may work later: connection, timeout, 429, 5xx, a lock.
    Transient,
    /// The same call will fail again until somebody changes something: 404, a refused name, a bad record.
    Permanent,
    /// Bytes arrived, but not the right ones; what was kept is worthless.
    Corrupt,
    /// Somebody asked us to stop.
    Cancelled,
}

/// An error with its causes in one line, for people and for reasons that are kept.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

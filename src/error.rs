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

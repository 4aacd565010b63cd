//! Work that goes on beside whoever waits for it.

use tokio::task::JoinError;

/// What a task came to. The panic of one goes on where it is waited for, as that of a call would.
///
/// # Panics
/// When the task did, or when it was aborted: that is for whoever waits no more.
pub(crate) fn outcome<T>(ended: Result<T, JoinError>) -> T {
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

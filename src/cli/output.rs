//! What goes to stdout. A reader that went away (`| head`) ends listings quietly; work goes on and keeps its exit code.

use std::io::{self, Write as _};

use crate::text::visible;
pub(super) use crate::text::{bytes, count, counted, elapsed};

/// Why something could not be printed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Whoever read our output has seen enough.
    #[error("nobody reads standard output any more")]
    ReaderGone,
    /// Standard output failed otherwise.
    #[error("standard output")]
    Write(#[source] io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Write(error),
        }
    }
}

/// Prints one line for people, with nothing in it that ends it or that a terminal obeys ([`visible`]).
///
/// # Errors
/// [`Error`].
pub(super) fn line(text: &str) -> Result<(), Error> {
    exact(&visible(text))
}

/// Prints text for programs as it is, and ends its line.
///
/// # Errors
/// [`Error`].
pub(super) fn exact(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Lets a command go on whose work, or whose exit code, matters more than who reads what it prints.
///
/// # Errors
/// Any but that one.
pub(super) fn read_or_not(printed: anyhow::Result<()>) -> anyhow::Result<()> {
    match printed {
        Err(error) if matches!(error.downcast_ref(), Some(Error::ReaderGone)) => Ok(()),
        other => other,
    }
}

/// Prints a value as one line of JSON.
///
/// # Errors
/// See [`exact`].
pub(super) fn json(value: &impl serde::Serialize) -> Result<(), Error> {
    exact(&serde_json::to_string(value).map_err(io::Error::from)?)
}

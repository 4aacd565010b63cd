//! What goes to stdout. A reader that went away (`| head`) ends listings quietly; work goes on and keeps its exit code.

use std::io::{self, Write as _};

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

/// Prints one line.
///
/// # Errors
/// [`Error`].
pub(super) fn line(text: &str) -> Result<(), Error> {
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
/// See [`line`].
pub(super) fn json(value: &impl serde::Serialize) -> Result<(), Error> {
    line(&serde_json::to_string(value).map_err(io::Error::from)?)
}

/// A count with its digits in groups: `1,204,512`.
#[must_use]
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count with its noun: `1 file`, `1,204 files`.
#[must_use]
pub(super) fn counted(number: u64, noun: &str) -> String {
    format!(
        "{} {noun}{}",
        count(number),
        if number == 1 { "" } else { "s" }
    )
}

/// Bytes in the unit a person would choose: `1.2 GiB`.
#[must_use]
pub(super) fn bytes(number: u64) -> String {
    indicatif::BinaryBytes(number).to_string()
}

/// Milliseconds as a person would say them.
#[must_use]
pub(super) fn elapsed(ms: u64) -> String {
    match ms {
        0..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_in_thousands() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_204_512, "1,204,512"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(counted(1, "file"), "1 file");
    }
}

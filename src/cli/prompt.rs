//! Secrets from outside: the first line of a file or of standard input, or what a person types without seeing it.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::Context as _;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::zeroize::Zeroizing;

use super::Usage;
use crate::config::Secret;

/// Most bytes that are read for a secret.
const MOST: u64 = 16 * 1024;

/// The first line of a file.
pub(super) fn first_line_of(file: &Path) -> anyhow::Result<Secret> {
    let opened = File::open(file).with_context(|| file.display().to_string())?;
    first_line(opened).with_context(|| file.display().to_string())
}

/// What a person types twice where standard input is a terminal, else its first line.
pub(super) fn secret(ask: &str, again: &str) -> anyhow::Result<Secret> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return first_line(stdin.lock());
    }
    let first = typed(ask)?;
    if typed(again)?.expose() != first.expose() {
        anyhow::bail!(Usage("the two are not the same".to_owned()));
    }
    Ok(first)
}

/// Asks the person at the terminal; without one, a flag has to say it.
pub(super) fn confirmed(question: &str) -> anyhow::Result<bool> {
    let input = io::stdin();
    anyhow::ensure!(
        input.is_terminal(),
        Usage(format!(
            "{question} There is no terminal to ask at: say --yes"
        ))
    );
    let mut errors = io::stderr().lock();
    write!(errors, "{question} [y/N] ")?;
    errors.flush()?;
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn first_line(from: impl Read) -> anyhow::Result<Secret> {
    let mut line = Zeroizing::new(String::new());
    BufReader::new(from.take(MOST)).read_line(&mut line)?;
    let text = line.trim_end_matches(['\r', '\n']);
    anyhow::ensure!(!text.is_empty(), Usage("no password was given".to_owned()));
    Ok(Secret::new(text))
}

/// A line from the terminal, without echo.
fn typed(ask: &str) -> anyhow::Result<Secret> {
    let stdin = io::stdin();
    write!(io::stderr(), "{ask}: ")?;
    io::stderr().flush()?;
    let silent = Silent::begin()?;
    let line = first_line(stdin.lock());
    drop(silent);
    writeln!(io::stderr())?;
    line
}

/// The terminal without echo, until it is dropped.
struct Silent(Termios);

impl Silent {
    fn begin() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(stdin.as_fd())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin.as_fd(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(io::stdin().as_fd(), OptionalActions::Flush, &self.0) {
            tracing::warn!(%error, "the terminal does not echo; `stty echo` mends that");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_line_without_its_end_and_keeps_its_blanks() {
        let of = |text: &'static str| {
            first_line(text.as_bytes()).map(|secret| secret.expose().to_owned())
        };
        assert_eq!(of(" two words \r\nmore").unwrap(), " two words ");
        assert_eq!(of("x").unwrap(), "x");
        assert!(of("").is_err());
        assert!(of("\nx").is_err());
    }
}

//! Whom to tell how the runs of events ended: `[notify]`.

use super::error::{Error, Problem};
use super::file;
use super::read::At;
use super::secret::Secret;

/// Whom to tell. Addresses are secrets: whoever knows one may use it.
#[derive(Debug, Clone, Default)]
pub struct Notify {
    /// Asked for after every run that ended well, so that a monitor notices when nothing comes any more.
    pub ping: Option<Secret>,
    /// Gets JSON after every run that needs a person.
    pub webhook: Option<Secret>,
    /// Run by `sh` after every run that needs a person.
    pub command: Option<String>,
}

impl Notify {
    pub(super) fn resolve(written: &file::Notify) -> Result<Self, Error> {
        let command = written.command.as_ref();
        Ok(Self {
            ping: address(&written.ping)?,
            webhook: address(&written.webhook)?,
            command: command
                .map(|at| {
                    at.check(|text| match text.trim() {
                        "" => Err(Problem::Empty),
                        text => Ok(text.to_owned()),
                    })
                })
                .transpose()?,
        })
    }
}

/// An address somebody is told at. What is wrong with one is said without it.
pub(super) fn address(written: &Option<At<Secret>>) -> Result<Option<Secret>, Error> {
    let Some(at) = written else { return Ok(None) };
    let address = at.check(|secret| {
        let text = secret.expose().trim();
        let rest = (text.strip_prefix("https://")).or_else(|| text.strip_prefix("http://"));
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        match rest {
            Some(rest) if is_plain && !rest.is_empty() && !rest.starts_with('/') => {
                Ok(Secret::new(text))
            }
            _ => Err(Problem::NoAddress),
        }
    });
    address.map(Some)
}

//! How long trashed files stay, by why they went: `[trash]`, and `limits.trash_days` for all that it does not speak of.

use std::time::Duration;

use super::error::Error;
use super::limits::{DAY, Limits};
use super::{file, units};
use crate::model::Timestamp;

/// How long what is in the trash can be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Former versions of originals, and of records with them; `None` for ever.
    pub versions: Option<Duration>,
    /// Everything else; `None` for ever.
    pub others: Option<Duration>,
}

impl Retention {
    /// The same for everything; 0 days for ever.
    #[must_use]
    pub fn days(days: u32) -> Self {
        let span = (days > 0).then(|| DAY * days);
        Self {
            versions: span,
            others: span,
        }
    }

    pub(super) fn resolve(written: &file::Trash, limits: &Limits) -> Result<Self, Error> {
        let usual = Self::days(limits.trash_days);
        let versions = match &written.versions {
            None => usual.versions,
            Some(at) => {
                let span = at.check(|text| units::age(text))?;
                (!span.is_zero()).then_some(span)
            }
        };
        Ok(Self { versions, ..usual })
    }

    /// What went before this is over: versions, and everything else. What stays for ever never is.
    #[must_use]
    pub fn cuts(&self, now: Timestamp) -> (Timestamp, Timestamp) {
        let never = Timestamp::from_millis(i64::MIN);
        let cut = |span: Option<Duration>| span.map_or(never, |span| now.minus(span));
        (cut(self.versions), cut(self.others))
    }

    /// As a person would say it.
    #[must_use]
    pub fn said(&self) -> String {
        let one = |span: Option<Duration>| match span {
            None => "until emptied".to_owned(),
            Some(span) if span.as_secs().is_multiple_of(DAY.as_secs()) => {
                format!("{} days", span.as_secs() / DAY.as_secs())
            }
            Some(span) => units::show_duration(span),
        };
        match self.versions == self.others {
            true => one(self.others),
            false => format!("{}, versions {}", one(self.others), one(self.versions)),
        }
    }
}

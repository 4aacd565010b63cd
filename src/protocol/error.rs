//! What can be wrong with a message as a whole. What is wrong with one record or file in it is a
//! [`BadRecord`](super::BadRecord) or [`BadFile`](super::BadFile) inside the page.

use crate::error::Class;

/// Bytes of a malformed body that are kept for the person who reads the error.
const SHOWN: usize = 200;

/// A reply or request that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The peer does not let us in: EMDB's `noaccess.json`, which answers 200 (wire spec 2.5).
    #[error("the peer refuses access: {details}")]
    Refused {
        /// What the peer says.
        details: String,
    },
    /// The peer answered in form, but neither `ok` nor `empty`; also its misspelled error envelope (wire spec 2.6).
    #[error("the peer answered status {status:?}: {details}")]
    Status {
        /// `response.status`, or `error` for an error envelope.
        status: String,
        /// What the peer says; may hold its disk paths, so it is for logs only (H-38).
        details: String,
    },
    /// Not the JSON that was expected: cut off, HTML, another encoding, members of the wrong type.
    #[error("not a usable reply, {reason}; it begins {start:?}")]
    Malformed {
        /// The rule it breaks.
        reason: String,
        /// The beginning of the body.
        start: String,
    },
    /// A form field that is missing or not what it should be.
    #[error("form field {field} {reason}")]
    Form {
        /// The field's wire name.
        field: &'static str,
        /// The rule it breaks.
        reason: &'static str,
    },
}

impl Error {
    pub(super) fn malformed(body: &[u8], reason: impl ToString) -> Self {
        let start = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
        Self::Malformed {
            reason: reason.to_string(),
            start: start.trim_start().to_owned(),
        }
    }

    /// The same with everything that the peer said passed through `change`.
    #[must_use]
    pub fn map_texts(self, change: impl Fn(&str) -> String) -> Self {
        match self {
            Self::Refused { details } => Self::Refused {
                details: change(&details),
            },
            Self::Status { status, details } => Self::Status {
                status: change(&status),
                details: change(&details),
            },
            Self::Malformed { reason, start } => Self::Malformed {
                reason: change(&reason),
                start: change(&start),
            },
            form @ Self::Form { .. } => form,
        }
    }

    /// Whether the cause is most likely a login: a refusal, or a page for people where JSON was expected.
    #[must_use]
    pub fn looks_like_login(&self) -> bool {
        match self {
            Self::Refused { .. } => true,
            Self::Malformed { start, .. } => start.starts_with('<'),
            Self::Status { .. } | Self::Form { .. } => false,
        }
    }

    /// Whether it is worth trying again.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            error if error.looks_like_login() => Class::Permanent,
            Self::Status { .. } => Class::Transient,
            Self::Malformed { .. } => Class::Corrupt,
            Self::Refused { .. } | Self::Form { .. } => Class::Permanent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_for_people_looks_like_a_login_and_a_cut_one_does_not() {
        let html = Error::malformed(b"\n <!DOCTYPE html><html>", "x");
        assert!(html.looks_like_login());
        assert_eq!(html.class(), Class::Permanent);
        let cut = Error::malformed(br#"{"response":{"#, "x");
        assert!(!cut.looks_like_login());
        assert_eq!(cut.class(), Class::Corrupt);
    }

    #[test]
    fn only_the_beginning_of_a_body_is_kept() {
        let Error::Malformed { start, .. } = Error::malformed(&vec![b'x'; 100_000], "x") else {
            unreachable!("made as malformed")
        };
        assert_eq!(start.len(), SHOWN);
    }
}

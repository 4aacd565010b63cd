//! Why a program made no picture of an original.

use std::io;

use super::run::Failure;
use crate::error::Class;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No program for this format is here.
    #[error("{reason}")]
    NotFound {
        /// What is missing, and how to get it.
        reason: String,
    },
    /// The private directory could not be made or read.
    #[error("private directory cannot be used")]
    Scratch(#[source] io::Error),
    /// The program could not be started.
    #[error("{tool} cannot be started")]
    Start {
        /// Name and version.
        tool: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ended otherwise than well.
    #[error("{tool} {failure}: {said}")]
    Failed {
        /// Name and version.
        tool: String,
        /// How it ended.
        failure: Failure,
        /// The end of what it said.
        said: String,
    },
    /// Its format has pages that the program cannot be asked for, or none at all.
    #[error("{tool} shows the first page of {format} alone")]
    NoPages {
        /// Name and version.
        tool: String,
        /// The format, in lower case.
        format: String,
    },
    /// It ended well, and there is no picture.
    #[error("{tool} made nothing of it: {said}")]
    Nothing {
        /// Name and version.
        tool: String,
        /// The end of what it said.
        said: String,
    },
}

impl Error {
    /// Whether the same content may do better later. A limit that is reached once is reached by the same content again.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Scratch(_) | Self::Start { .. } => Class::Transient,
            Self::Failed { failure, .. } => failure.class(),
            Self::NotFound { .. } | Self::NoPages { .. } | Self::Nothing { .. } => Class::Permanent,
        }
    }
}

impl From<Error> for io::Error {
    /// As the reader of an original reports it: content that is to blame is [`io::ErrorKind::InvalidData`].
    fn from(error: Error) -> Self {
        let kind = match error.class() {
            Class::Permanent | Class::Corrupt => io::ErrorKind::InvalidData,
            Class::Transient | Class::Cancelled => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

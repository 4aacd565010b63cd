//! What can end an import. What concerns one file is a finding and ends nothing.

use std::io;
use std::path::PathBuf;

use crate::error::Class;
use crate::protocol::record::BadRecord;
use crate::{catalogue, renditions, store, trash};

/// A failure of an import as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder cannot be looked at: it is not there, or not ours to read.
    #[error("folder {dir:?} cannot be imported")]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The folder holds no file. Taken for what it may be, an unmounted volume, rather than for a wish to delete everything.
    #[error("folder {dir:?} holds no file; is its volume mounted? nothing was changed")]
    Empty {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder and the media root lie inside each other.
    #[error("folder {dir:?} and the media root {root:?} lie inside each other")]
    Overlaps {
        /// The folder.
        dir: PathBuf,
        /// The media root.
        root: PathBuf,
    },
    /// The folder's own path cannot be remembered.
    #[error("folder {dir:?} has a name that is not UTF-8")]
    NotUtf8 {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder was imported to another place before; under a new one all of its assets would look gone.
    #[error("folder {dir:?} was imported into {known:?} before, not into {asked:?}")]
    OtherPrefix {
        /// The folder.
        dir: PathBuf,
        /// Where its paths were put.
        known: String,
        /// Where they were to be put now.
        asked: String,
    },
    /// Another folder lies under the name than when the import began, so nothing can be said about what is missing.
    #[error(
        "folder {dir:?} is not the one it was when the import began; was its volume unmounted?"
    )]
    Replaced {
        /// The folder.
        dir: PathBuf,
    },
    /// What is imported beside an EMDB would be an asset of that EMDB which it never made.
    #[error(
        "this node stands beside an EMDB, {sidecar}, which imports for both: put the files where it imports from, and they come here with the next sync"
    )]
    OfTheSidecar {
        /// The EMDB, as a peer of this node.
        sidecar: String,
    },
    /// The catalogue failed.
    #[error("catalogue does not answer")]
    Catalogue(#[from] catalogue::Error),
    /// The media tree failed as a whole.
    #[error("media tree cannot be written")]
    Store(#[from] store::Error),
    /// Renditions failed as a whole.
    #[error(transparent)]
    Renditions(#[from] renditions::Error),
    /// What assets left could not be cleared.
    #[error("places that assets left cannot be cleared")]
    Trash(#[from] trash::Error),
    /// A record in the catalogue cannot be read.
    #[error("a stored record cannot be read")]
    Record(#[from] BadRecord),
    /// A thread of ours could not be started or ended in a panic.
    #[error("a worker of the import broke down")]
    Worker,
}

impl From<crate::crash::Reached> for Error {
    fn from(reached: crate::crash::Reached) -> Self {
        Self::Store(reached.into())
    }
}

impl Error {
    /// Whether the same call may work later without anybody changing anything.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Folder { .. }
            | Self::Empty { .. }
            | Self::Overlaps { .. }
            | Self::NotUtf8 { .. }
            | Self::OtherPrefix { .. }
            | Self::OfTheSidecar { .. }
            | Self::Record(_) => Class::Permanent,
            Self::Replaced { .. } | Self::Worker => Class::Transient,
            Self::Catalogue(error) => error.class(),
            Self::Store(error) => error.class(),
            Self::Renditions(error) => error.class(),
            Self::Trash(error) => error.class(),
        }
    }
}

//! What can end the making of renditions. What concerns one original is a finding and ends nothing.

use crate::error::Class;
use crate::model::AssetId;
use crate::protocol::record::BadRecord;
use crate::{catalogue, media, store, trash};

/// A failure of the stage as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The catalogue failed.
    #[error("catalogue does not answer")]
    Catalogue(#[from] catalogue::Error),
    /// The media tree failed as a whole.
    #[error("media tree cannot be written")]
    Store(#[from] store::Error),
    /// What outdated renditions left could not be cleared.
    #[error("outdated renditions cannot be moved away")]
    Trash(#[from] trash::Error),
    /// Renditions cannot be made at all.
    #[error("renditions cannot be started")]
    Media(#[from] media::Error),
    /// A record in the catalogue cannot be read.
    #[error("a stored record cannot be read")]
    Record(#[from] BadRecord),
    /// The node cannot be locked.
    #[error(transparent)]
    Node(Box<crate::node::Error>),
    /// No category is called so.
    #[error(
        "there is no category {name:?}; name one by its id or by its path, as `emsync record list category --json` shows them"
    )]
    NoCategory {
        /// What was asked for.
        name: String,
    },
    /// No live asset here has this id.
    #[error("there is no asset {asset} here")]
    NoAsset {
        /// What was asked for.
        asset: AssetId,
    },
    /// A thread of ours could not be started or ended in a panic.
    #[error("a worker of the renditions broke down")]
    Worker,
}

impl Error {
    /// Whether it is worth trying again.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Catalogue(error) => error.class(),
            Self::Store(error) => error.class(),
            Self::Trash(error) => error.class(),
            Self::Media(error) => error.class(),
            Self::Node(error) => error.class(),
            Self::NoCategory { .. } | Self::NoAsset { .. } => Class::Permanent,
            Self::Record(_) => Class::Corrupt,
            Self::Worker => Class::Transient,
        }
    }
}

impl From<crate::crash::Reached> for Error {
    fn from(reached: crate::crash::Reached) -> Self {
        Self::Store(reached.into())
    }
}

//! Why a restore ends as a whole; what is the matter with one record is told, and ends nothing.

use crate::catalogue;
use crate::crash;
use crate::error::Class;
use crate::model::AssetId;
use crate::node;
use crate::reconcile::deletes;
use crate::renditions;
use crate::{store, trash};

/// What can go wrong with a restore as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] catalogue::Error),
    /// The media store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The trash cannot be read.
    #[error(transparent)]
    Trash(#[from] trash::Error),
    /// A lock cannot be taken.
    #[error(transparent)]
    Node(#[from] node::Error),
    /// A newer asset cannot be deleted.
    #[error(transparent)]
    Deletes(#[from] deletes::Error),
    /// Categories or renditions.
    #[error(transparent)]
    Renditions(#[from] renditions::Error),
    /// Neither here nor among what was here.
    #[error("there is no asset {asset} here, and none of that id was here")]
    NoAsset {
        /// What was asked for.
        asset: AssetId,
    },
    /// A crash point was told to fail.
    #[error(transparent)]
    Reached(#[from] crash::Reached),
    /// A thread of ours died.
    #[error("a worker of the restore ended unexpectedly")]
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
            Self::Node(error) => error.class(),
            Self::Deletes(error) => error.class(),
            Self::Renditions(error) => error.class(),
            Self::NoAsset { .. } => Class::Permanent,
            Self::Worker | Self::Reached(_) => Class::Transient,
        }
    }
}

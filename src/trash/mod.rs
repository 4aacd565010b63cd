//! The trash of a node: files on their way out, each joined with what it was.
//!
//! The store knows where trashed bytes lie and when they went, the catalogue what they were. This module joins the two by
//! place, size and time, and proves the join by SHA-256 where anything follows from it. What takes bytes away, and what ends
//! them, is ruled in `store::trash`.
//!
//! ```text
//! list       slots, oldest first, a page at a time, joined                      bounded memory
//! retention  slots past `limits.trash_days` end after every run and import; the oldest end when the disk reserve needs it
//! clock      and while the clock of this machine may be believed
//! clear      places that assets have left are emptied of what has no row
//! restore    bytes back to their place, then rows, then the name in the trash   killed anywhere, it is asked for again
//! ```

mod clear;
mod clock;
mod list;
mod pattern;
mod restore;
mod retention;
#[cfg(test)]
mod tests;

pub use clear::{Place, clear};
pub use list::{Entry, Found, Listing, Wanted, find};
pub use pattern::Pattern;
pub use restore::{Plan, Restorer, Step};
pub use retention::{Swept, Which, expire, make_room, sweep};

use crate::error::Class;
use crate::model::{FileKind, MediaPath};
use crate::{catalogue, store};

/// Why something of the trash cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] catalogue::Error),
    /// The media store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Nothing in the trash is called so.
    #[error("there is no {item:?} in the trash; `emsync trash list` names what is")]
    NoSuch {
        /// What was asked for.
        item: String,
    },
    /// Several versions have this path.
    #[error("{item:?} is in the trash more than once; name one of {}", ids.join(", "))]
    Ambiguous {
        /// What was asked for.
        item: String,
        /// Their ids, oldest first; not all when there are many.
        ids: Vec<String>,
    },
    /// It is not known what the bytes were, or they are not what they were.
    #[error(
        "{path}: no row says what these bytes were (sha256 {sha256}), so they cannot take a place here; --to DIR copies them out"
    )]
    Unproven {
        /// The file.
        path: String,
        /// Its digest.
        sha256: String,
    },
    /// The asset belongs to another node, which decides whether it lives.
    #[error(
        "{path}: asset {asset} was deleted and is owned by {owner}; restore it there, or copy the bytes out with --to DIR"
    )]
    NotOurs {
        /// The file.
        path: String,
        /// Its asset.
        asset: String,
        /// Who owns it.
        owner: String,
    },
    /// Another file has its place, or is to have it.
    #[error(
        "{path}: its place is taken by another content, which lies there or which the catalogue states; --to DIR copies it out"
    )]
    Taken {
        /// The file.
        path: String,
    },
    /// Its asset lives and names another place.
    #[error("{path}: asset {asset} lies at {now} now; --to DIR copies it out")]
    Elsewhere {
        /// The file.
        path: String,
        /// Its asset.
        asset: String,
        /// Where that is now.
        now: String,
    },
    /// The record cannot be read or edited.
    #[error("record of asset {asset} cannot be used: {reason}")]
    Unusable {
        /// The asset.
        asset: String,
        /// Why.
        reason: String,
    },
    /// Somebody changed the asset meanwhile.
    #[error("{path}: asset {asset} changed meanwhile; nothing was restored, ask again")]
    Overtaken {
        /// The file.
        path: String,
        /// Its asset.
        asset: String,
    },
    /// A thread of ours died.
    #[error("a worker ended unexpectedly")]
    Worker,
}

impl Error {
    /// Whether it is worth trying again.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Catalogue(error) => error.class(),
            Self::Store(error) => error.class(),
            Self::Overtaken { .. } | Self::Worker => Class::Transient,
            Self::Unproven { .. } => Class::Corrupt,
            Self::NoSuch { .. }
            | Self::Ambiguous { .. }
            | Self::NotOurs { .. }
            | Self::Taken { .. }
            | Self::Elsewhere { .. }
            | Self::Unusable { .. } => Class::Permanent,
        }
    }
}

/// Why a file went, as a person would say it.
#[must_use]
pub fn said(reason: catalogue::Reason) -> &'static str {
    match reason {
        catalogue::Reason::Deleted => "deleted by its master",
        catalogue::Reason::DeletedHere => "deleted here",
        catalogue::Reason::Replaced => "replaced",
        catalogue::Reason::Moved => "moved",
        catalogue::Reason::Unlisted => "no longer listed",
        catalogue::Reason::Rotten => "damaged: its bytes had changed on this disk",
        catalogue::Reason::Truncated => "damaged: it had lost its end",
        catalogue::Reason::Foreign => "damaged: another file was in its place",
        catalogue::Reason::Unreadable => "damaged: it could not be read",
    }
}

/// A file's name for people: its tree and its path.
#[must_use]
pub fn shown(kind: FileKind, path: &MediaPath) -> String {
    format!("{}/{path}", kind.dir())
}

/// Runs blocking work off the runtime's own threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Worker)
}

//! What can go wrong while changes are sent to a peer: with the pass as a whole, or with one record or file of it.

use crate::error::Class;
use crate::{catalogue, greeting, peer, store};

/// A failed push, or a failed record or file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request failed.
    #[error(transparent)]
    Peer(peer::Error),
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] catalogue::Error),
    /// The media store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The peer is not the one that is meant, or its clock is off.
    #[error(transparent)]
    Greeting(#[from] greeting::Error),
    /// A file is not on disk as its row says.
    #[error("{path:?} is not on disk as it was recorded ({found}); it is not sent")]
    Damaged {
        /// The file.
        path: String,
        /// How it was found.
        found: String,
    },
    /// Too many requests failed for more to make sense.
    #[error("peer {peer}: too many failures in a row; what is left stays queued for the next run")]
    BudgetSpent {
        /// The peer.
        peer: String,
    },
    /// A task of ours died.
    #[error("a worker ended unexpectedly")]
    Worker,
    /// Somebody asked us to stop.
    #[error("interrupted; what is left stays queued for the next run")]
    Cancelled,
}

impl From<peer::Error> for Error {
    fn from(error: peer::Error) -> Self {
        match error {
            peer::Error::Cancelled => Self::Cancelled,
            other => Self::Peer(other),
        }
    }
}

impl Error {
    /// Whether it is worth trying again.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Peer(error) => error.class(),
            Self::Catalogue(error) => error.class(),
            Self::Store(error) => error.class(),
            Self::Greeting(error) => error.class(),
            Self::Damaged { .. } => Class::Permanent,
            Self::BudgetSpent { .. } | Self::Worker => Class::Transient,
            Self::Cancelled => Class::Cancelled,
        }
    }

    /// Whether nothing else of this pass can fare better.
    #[must_use]
    pub fn stops_the_pass(&self) -> bool {
        match self {
            Self::Peer(
                peer::Error::Refused { .. }
                | peer::Error::ReadOnly { .. }
                | peer::Error::WrongPath { .. },
            )
            | Self::Catalogue(_)
            | Self::Greeting(_)
            | Self::BudgetSpent { .. } => true,
            Self::Store(error) => error.stops_the_pass(),
            _ => false,
        }
    }

    /// Whether the peer understood what it was sent and did not take it.
    #[must_use]
    pub fn is_rejection(&self) -> bool {
        matches!(self, Self::Peer(error) if error.is_rejection())
    }

    /// The whole chain in one line, for a reason that is kept.
    #[must_use]
    pub fn reason(&self) -> String {
        crate::error::chain(self)
    }
}

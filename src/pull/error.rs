//! What can go wrong while pulling from a peer: with the pass as a whole, or with one file of it.

use crate::error::Class;
use crate::model::{AssetId, Md5, Sha256, Timestamp};
use crate::{catalogue, greeting, peer, store, trash};

/// A failed pull, or a failed file.
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
    Greeting(greeting::Error),
    /// The session cookie may not travel, and without it pages from the third on are wrong.
    #[error(
        "peer {peer}: its session cookie is Secure but base_url is plain http, so a listing of {pages} pages cannot be trusted; use https or set insecure_session = true"
    )]
    Blind {
        /// The peer.
        peer: String,
        /// Pages of the listing.
        pages: u64,
    },
    /// The filter names what no record is.
    #[error(
        "peer {peer}: its filter names {names}, which is not here: its records came, and no files until the filter is set right; `emsync record list category --json` shows the ids and paths there are"
    )]
    UnknownNames {
        /// The peer.
        peer: String,
        /// What is not known.
        names: String,
    },
    /// The pages together do not hold what the first one announced.
    #[error("peer {peer}: a listing of {total} records held only {found} different ones")]
    Incomplete {
        /// The peer.
        peer: String,
        /// What page 1 announced.
        total: u64,
        /// What came.
        found: u64,
    },
    /// A file has another size than it should.
    #[error("{path:?}: {expected} bytes were listed, {actual} came")]
    Size {
        /// The file.
        path: String,
        /// Bytes that were listed or announced.
        expected: u64,
        /// Bytes that came.
        actual: u64,
    },
    /// A file has another SHA-256 than it should.
    #[error("{path:?}: SHA-256 {expected} was listed, {actual} came")]
    Sha256 {
        /// The file.
        path: String,
        /// The listed digest.
        expected: Sha256,
        /// What came.
        actual: Sha256,
    },
    /// A file has another MD5 than its record states.
    #[error("{path:?}: MD5 {expected} is in the record, {actual} came")]
    Md5 {
        /// The file.
        path: String,
        /// The stated digest.
        expected: Md5,
        /// What came.
        actual: Md5,
    },
    /// A job names something that cannot be a path.
    #[error("job")]
    Path(#[from] crate::model::path::PathError),
    /// Whoever brings a file went away before it was whole.
    #[error("{path} broke off: {reason}")]
    BrokenOff {
        /// The file, as far as it is known which one it is.
        path: String,
        /// What became of the connection.
        reason: String,
    },
    /// A file that was brought could not be published; why is noted with its wish.
    #[error("{path} was brought and could not be published")]
    Unsettled {
        /// The file.
        path: String,
    },
    /// The disk would be filled beyond the reserve.
    #[error(
        "no room for {needed} more bytes below {root:?}: {free} are free, and limits.reserve keeps {reserve}; free some space and run again"
    )]
    Reserve {
        /// The media root.
        root: String,
        /// Bytes of the next file.
        needed: u64,
        /// Bytes free.
        free: u64,
        /// Bytes to be kept.
        reserve: u64,
    },
    /// Too many requests failed for more to make sense.
    #[error("peer {peer}: too many failures in a row; what is left stays queued for the next run")]
    BudgetSpent {
        /// The peer.
        peer: String,
    },
    /// An original could not be read for its renditions.
    #[error("renditions of {asset}: {reason}")]
    Render {
        /// The asset.
        asset: AssetId,
        /// What went wrong.
        reason: String,
    },
    /// A run brought as much as it may.
    #[error("--max-transfer {limit} is used up; what is left stays queued for the next run")]
    TransferLimit {
        /// The limit, as it is written.
        limit: String,
    },
    /// A run took as long as it may.
    #[error("--max-duration {limit} is over; what is left stays queued for the next run")]
    TimeLimit {
        /// The limit, as it is written.
        limit: String,
    },
    /// A person paused the peer.
    #[error(
        "{peer} is paused since {since}; `emsync peer resume {peer}` has runs go on from where they are"
    )]
    Paused {
        /// The peer.
        peer: String,
        /// When it was paused.
        since: Timestamp,
    },
    /// A thread of ours died.
    #[error("a worker ended unexpectedly")]
    Worker,
    /// Somebody asked us to stop.
    #[error("interrupted; what is left stays queued for the next run")]
    Cancelled,
}

impl From<crate::crash::Reached> for Error {
    fn from(reached: crate::crash::Reached) -> Self {
        Self::Store(reached.into())
    }
}

impl From<peer::Error> for Error {
    fn from(error: peer::Error) -> Self {
        match error {
            peer::Error::Cancelled => Self::Cancelled,
            other => Self::Peer(other),
        }
    }
}

impl From<greeting::Error> for Error {
    fn from(error: greeting::Error) -> Self {
        match error {
            greeting::Error::Catalogue(error) => Self::Catalogue(error),
            other => Self::Greeting(other),
        }
    }
}

impl From<trash::Error> for Error {
    fn from(error: trash::Error) -> Self {
        match error {
            trash::Error::Catalogue(error) => Self::Catalogue(error),
            trash::Error::Store(error) => Self::Store(error),
            // Emptying names no item, so nothing else can come of it.
            _ => Self::Worker,
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
            Self::Size { .. } | Self::Sha256 { .. } | Self::Md5 { .. } => Class::Corrupt,
            Self::Incomplete { .. }
            | Self::BudgetSpent { .. }
            | Self::Render { .. }
            | Self::BrokenOff { .. }
            | Self::Unsettled { .. }
            | Self::Worker => Class::Transient,
            Self::Greeting(error) => error.class(),
            Self::Blind { .. }
            | Self::UnknownNames { .. }
            | Self::Path(_)
            | Self::Reserve { .. } => Class::Permanent,
            Self::Cancelled
            | Self::TransferLimit { .. }
            | Self::TimeLimit { .. }
            | Self::Paused { .. } => Class::Cancelled,
        }
    }

    /// Whether no other file of this pass can fare better.
    #[must_use]
    pub fn stops_the_pass(&self) -> bool {
        match self {
            Self::Peer(peer::Error::Refused { .. })
            | Self::Catalogue(_)
            | Self::Reserve { .. }
            | Self::BudgetSpent { .. } => true,
            Self::Store(error) => error.stops_the_pass(),
            _ => false,
        }
    }

    /// The whole chain in one line, for a reason that is kept.
    #[must_use]
    pub fn reason(&self) -> String {
        crate::error::chain(self)
    }
}

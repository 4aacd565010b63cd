//! Why a reader does not get a file that is not here. One failure is told to all who wait for the file, so that it is cheap to clone;
//! its cause is logged once, where it happened.

use std::time::Duration;

use crate::error::Class;
use crate::{catalogue, config, peer, pull};

/// No file for this reader, now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No record or listing names it, or nobody who could be asked.
    #[error("no peer of this node has it")]
    Nowhere,
    /// As many files are being fetched as may be.
    #[error("too many files are being fetched at the moment")]
    Full,
    /// It is still being fetched.
    #[error("it is still being fetched")]
    Late,
    /// The peer did not give it.
    #[error("the peer: {reason}")]
    Upstream {
        /// What is wrong.
        trouble: Trouble,
        /// In words.
        reason: String,
        /// How long nobody is asked again.
        rest: Duration,
    },
    /// The cause lies with us: the catalogue, the disk.
    #[error("here: {reason}")]
    Ours {
        /// In words.
        reason: String,
    },
    /// This node is ending.
    #[error("this node is ending")]
    Closed,
}

/// What is wrong with a peer, or with what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It does not have the file.
    Absent,
    /// It has other bytes than were listed.
    Wrong,
    /// It went silent.
    Stalled,
    /// It cannot be reached, broke off, or refuses us.
    Away,
    /// It has more to do than it can.
    Busy,
}

impl Trouble {
    /// Whether it says nothing about other files of the same peer.
    #[must_use]
    pub fn is_of_the_file(self) -> bool {
        matches!(self, Self::Absent | Self::Wrong)
    }
}

/// How long a reader who comes too early is asked to wait.
const SOON: Duration = Duration::from_secs(2);

impl Error {
    /// What a failed fetch means for those who wait.
    pub(super) fn of(error: &pull::Error) -> Self {
        let trouble = match error {
            pull::Error::Cancelled => return Self::Closed,
            pull::Error::Peer(error) => trouble_of(error),
            pull::Error::Size { .. } | pull::Error::Sha256 { .. } | pull::Error::Md5 { .. } => {
                Trouble::Wrong
            }
            ours => {
                return Self::Ours {
                    reason: ours.reason(),
                };
            }
        };
        Self::Upstream {
            trouble,
            reason: error.reason(),
            rest: Duration::ZERO,
        }
    }

    /// The same, and nobody is asked again for so long.
    pub(super) fn resting(mut self, most: Duration) -> Self {
        if let Self::Upstream { rest, .. } = &mut self {
            *rest = most;
        }
        self
    }

    /// When it is worth asking again; `None` where nobody can say.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Full | Self::Late | Self::Ours { .. } | Self::Closed => Some(SOON),
            Self::Upstream {
                trouble: Trouble::Absent,
                ..
            }
            | Self::Nowhere => None,
            Self::Upstream { rest, .. } => Some(*rest),
        }
    }

    /// Whether the same request may work later.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Nowhere => Class::Permanent,
            Self::Upstream { trouble, .. } => match trouble {
                Trouble::Absent => Class::Permanent,
                Trouble::Wrong => Class::Corrupt,
                Trouble::Stalled | Trouble::Away | Trouble::Busy => Class::Transient,
            },
            Self::Full | Self::Late | Self::Ours { .. } | Self::Closed => Class::Transient,
        }
    }
}

fn trouble_of(error: &peer::Error) -> Trouble {
    match error {
        peer::Error::NotFound { .. } => Trouble::Absent,
        peer::Error::Html { .. } | peer::Error::Encoded { .. } => Trouble::Wrong,
        peer::Error::Unreachable { source, .. } if source.is_timeout() => Trouble::Stalled,
        peer::Error::Stalled { .. } => Trouble::Stalled,
        peer::Error::Busy { .. } => Trouble::Busy,
        _ => Trouble::Away,
    }
}

impl From<catalogue::Error> for Error {
    fn from(error: catalogue::Error) -> Self {
        Self::Ours {
            reason: crate::error::chain(&error),
        }
    }
}

impl From<config::Error> for Error {
    fn from(error: config::Error) -> Self {
        Self::Ours {
            reason: crate::error::chain(&error),
        }
    }
}

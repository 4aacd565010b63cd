//! Why something that was handed to us is not taken.

use crate::error::Class;
use crate::model::NodeId;
use crate::{catalogue, protocol, pull, reconcile, store};

/// Why something is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The message as a whole cannot be used.
    #[error(transparent)]
    Message(#[from] protocol::Error),
    /// Taking it failed.
    #[error(transparent)]
    Pull(#[from] pull::Error),
    /// Deleting failed.
    #[error(transparent)]
    Deletes(#[from] reconcile::deletes::Error),
    /// The sender has our own cluster id.
    #[error("{sender} says it is {id}, which is this node; give every node its own cluster id")]
    Ourselves {
        /// The sender.
        sender: String,
        /// The id.
        id: NodeId,
    },
    /// The sender is another node than the peer of that name.
    #[error("{sender} says it is {said}, but the peer of that name is {expected}")]
    WrongNode {
        /// The sender.
        sender: String,
        /// The peer's id.
        expected: NodeId,
        /// What it says.
        said: NodeId,
    },
    /// Originals are offered of assets that are not known here, so that the offer has to come again.
    #[error(
        "{sender} offers originals of {assets} assets whose records are not here yet, {first} among them: they are taken once it has \
         pushed those records, or once this node has pulled them"
    )]
    Early {
        /// The sender.
        sender: String,
        /// How many assets.
        assets: usize,
        /// One of them.
        first: String,
    },
    /// A form that cannot be used.
    #[error("the form {reason}")]
    Form {
        /// The rule it breaks.
        reason: String,
    },
    /// A file that nobody asked for.
    #[error("{path} was not asked for")]
    Unasked {
        /// The path as stated.
        path: String,
    },
    /// The node is ending.
    #[error("the node is ending")]
    Closed,
}

impl From<catalogue::Error> for Error {
    fn from(error: catalogue::Error) -> Self {
        Self::Pull(error.into())
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Pull(error.into())
    }
}

impl Error {
    /// Whether it is worth trying again.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Pull(error) => error.class(),
            Self::Deletes(error) => error.class(),
            Self::Closed | Self::Early { .. } => Class::Transient,
            Self::Message(_)
            | Self::Ourselves { .. }
            | Self::WrongNode { .. }
            | Self::Form { .. }
            | Self::Unasked { .. } => Class::Permanent,
        }
    }

    /// Whether the fault is the sender's, who may then be told about it.
    #[must_use]
    pub fn is_theirs(&self) -> bool {
        match self {
            Self::Pull(error) => matches!(
                error,
                pull::Error::Size { .. }
                    | pull::Error::Sha256 { .. }
                    | pull::Error::Md5 { .. }
                    | pull::Error::BrokenOff { .. }
                    | pull::Error::Path(_)
            ),
            Self::Deletes(_) | Self::Closed => false,
            _ => true,
        }
    }
}

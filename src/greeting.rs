//! Who answers where a peer should be, and whether its dates can be set beside ours: asked before anything is taken from a node,
//! or given to it.

use std::time::Duration;

use crate::catalogue::{self, Catalogue, PeerNode};
use crate::error::Class;
use crate::model::{NodeId, Timestamp};
use crate::monitor::Monitor;
use crate::peer::{Peer, SKEW_WARNED};
use crate::protocol::Hello;
use crate::seams::Clock;

/// Why a peer is not talked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] catalogue::Error),
    /// The clocks differ too much for dates to mean anything.
    #[error(
        "peer {peer}: its clock is {skew_s} s off ours, more than the {limit_s} s of limits.max_clock_skew; set both clocks by NTP"
    )]
    Skew {
        /// The peer.
        peer: String,
        /// Its clock minus ours, in seconds.
        skew_s: i64,
        /// The limit in seconds.
        limit_s: u64,
    },
    /// An EMDB peer without a cluster id in the configuration.
    #[error(
        "peer {peer} needs a cluster_id: EMDB does not say its own; look it up as cluster.name in its node.xml and put it into emsync.toml"
    )]
    NoClusterId {
        /// The peer.
        peer: String,
    },
    /// The peer is another node than it should be.
    #[error(
        "peer {peer} says it is {said}, but {expected} is expected; if it was set up anew, remove the peer and add it again"
    )]
    WrongNode {
        /// The peer.
        peer: String,
        /// What was configured or learned before.
        expected: NodeId,
        /// What it says now.
        said: NodeId,
    },
    /// The peer is this very node, or one with the same cluster id.
    #[error("peer {peer} has our own cluster id {id}; give every node its own")]
    Ourselves {
        /// The peer.
        peer: String,
        /// The id.
        id: NodeId,
    },
}

impl Error {
    /// Whether it is worth trying again.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Catalogue(error) => error.class(),
            _ => Class::Permanent,
        }
    }
}

/// Dates of two nodes mean nothing to each other when their clocks differ much (I14): more than `limit` is an error, more than
/// half a minute is told.
///
/// # Errors
/// [`Error::Skew`].
pub fn check_skew(
    peer: &Peer,
    server_now: Timestamp,
    limit: Duration,
    clock: &dyn Clock,
    monitor: &dyn Monitor,
) -> Result<(), Error> {
    let skew_ms = server_now.as_millis() - clock.now().as_millis();
    if u128::from(skew_ms.unsigned_abs()) > limit.as_millis() {
        return Err(Error::Skew {
            peer: peer.name().to_owned(),
            skew_s: skew_ms / 1000,
            limit_s: limit.as_secs(),
        });
    }
    if u128::from(skew_ms.unsigned_abs()) > SKEW_WARNED.as_millis() {
        tracing::warn!(peer = peer.name(), skew_ms, "the peer's clock is off");
        let (name, seconds) = (peer.name(), skew_ms / 1000);
        monitor.finding(&format!("the clock of {name} is {seconds} s off ours"));
    }
    Ok(())
}

/// Whether the node that answers is the one we mean; answers its cluster id. An emsync node says who it is and is pinned; of an
/// EMDB node we must have been told (design section 8, Identity).
///
/// # Errors
/// [`Error`].
pub async fn check_identity(
    peer: &Peer,
    own: &NodeId,
    hello: Option<&Hello>,
    catalogue: &Catalogue,
    now: Timestamp,
) -> Result<NodeId, Error> {
    let name = || peer.name().to_owned();
    let Some(hello) = hello else {
        return match peer.cluster_id() {
            None => Err(Error::NoClusterId { peer: name() }),
            Some(id) if id == own => Err(Error::Ourselves {
                peer: name(),
                id: id.clone(),
            }),
            Some(id) => Ok(id.clone()),
        };
    };
    let said = hello.node.clone();
    if said == *own {
        return Err(Error::Ourselves {
            peer: name(),
            id: said,
        });
    }
    let pinned = catalogue.peer_node(peer.name()).await?;
    let pinned = pinned.map(|node| node.cluster_id);
    for expected in peer.cluster_id().cloned().into_iter().chain(pinned) {
        if expected != said {
            return Err(Error::WrongNode {
                peer: name(),
                expected,
                said,
            });
        }
    }
    let node = PeerNode {
        cluster_id: said.clone(),
        version: hello.version.clone(),
    };
    catalogue.put_peer_node(peer.name(), &node, now).await?;
    let heard = &hello.successions;
    for news in catalogue.hear_successions(heard, peer.name(), now).await? {
        tracing::warn!(
            peer = peer.name(),
            former = %news.former,
            successor = %news.successor,
            "says that a node took another's place; `emsync status` says what to do"
        );
    }
    Ok(said)
}

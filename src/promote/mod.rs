//! A mirror takes the place of its master (design section 2, I7): every record of the master becomes ours, by a save of its own that
//! every node takes. What the former master says of such a record is kept as the loser of a conflict, until it has pulled from here.
//!
//! ```text
//! note whose place is taken          a kill after it: the former master is held off, nothing else has changed
//! for each page of records           those of the former master: saved anew as ours, same members; bytes and origin stay
//! ```
//!
//! Twice equals once: a record that is ours is passed over, so a promotion that was killed is ended by the next. Files do not move;
//! what is not here yet is still fetched from the former master when it comes back.

mod check;
mod findings;

pub use check::{Fitness, Gap, fitness, is_held_off};
pub use findings::give_a_key;

use crate::catalogue;
use crate::config;
use crate::crash::{self, Point};
use crate::error::Class;
use crate::model::{NodeId, RecordKey, RecordStatus};
use crate::node::Node;
use crate::protocol::record::restamped;
use crate::shutdown::Shutdown;

/// Records saved anew in one transaction.
const PAGE: usize = 500;

/// Why a node is not promoted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] catalogue::Error),
    /// Nobody knows what the peer is called in records.
    #[error(
        "peer {peer}: its cluster id is not known: write cluster_id into its section, or pull from it once"
    )]
    NoClusterId {
        /// The peer.
        peer: String,
    },
    /// The peer is the EMDB beside this node, whose records are this node's already.
    #[error(
        "peer {peer} is the EMDB beside this node: both have one cluster id, so there is nothing to take over"
    )]
    Sidecar {
        /// The peer.
        peer: String,
    },
    /// The end was asked for.
    #[error("interrupted; the next `emsync promote` goes on from here")]
    Cancelled,
}

impl From<crash::Reached> for Error {
    fn from(reached: crash::Reached) -> Self {
        Self::Catalogue(reached.into())
    }
}

impl Error {
    /// Whether it is worth trying again.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Catalogue(error) => error.class(),
            Self::NoClusterId { .. } | Self::Sidecar { .. } => Class::Permanent,
            Self::Cancelled => Class::Cancelled,
        }
    }
}

/// What a promotion did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Promoted {
    /// The former master.
    pub former: NodeId,
    /// Records that are ours now, tombstones among them.
    pub records: u64,
    /// Records that could not be saved anew, with the reason.
    pub refused: Vec<String>,
    /// Names of the keys that other nodes present to this one: whose nodes may pull from here by now.
    pub keys: Vec<String>,
    /// EMDB nodes among the other peers: they hear of it from nobody.
    pub emdb_peers: Vec<EmdbPeer>,
    /// Whether the former master gets nothing from here until it was heard.
    pub held_off: bool,
}

/// An EMDB that is a peer of this node.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct EmdbPeer {
    /// What it is called here.
    pub peer: String,
    /// Its cluster id.
    pub cluster_id: NodeId,
}

/// The cluster id of a peer, by which its records name their master.
///
/// # Errors
/// [`Error`].
pub async fn cluster_id(node: &Node, settings: &config::Peer) -> Result<NodeId, Error> {
    if settings.sidecar {
        return Err(Error::Sidecar {
            peer: settings.name.clone(),
        });
    }
    let learned = node.catalogue.peer_node(&settings.name).await?;
    let known = (settings.cluster_id.clone()).or(learned.map(|said| said.cluster_id));
    known.ok_or_else(|| Error::NoClusterId {
        peer: settings.name.clone(),
    })
}

/// Takes the place of a peer. The caller holds the lock `run-<peer>`.
///
/// # Errors
/// [`Error`]; what was done before stays done.
pub async fn promote(
    node: &Node,
    settings: &config::Peer,
    stop: &Shutdown,
) -> Result<Promoted, Error> {
    let (catalogue, own) = (&node.catalogue, &node.config.node.cluster_id);
    let former = cluster_id(node, settings).await?;
    let mut batch = catalogue.batch().await?;
    batch.succeed(&former, own, node.seams.clock.now()).await?;
    batch.commit().await?;
    crash::point(Point::PromoteNoted)?;
    let mut promoted = Promoted {
        former,
        records: 0,
        refused: Vec::new(),
        keys: others_with_a_key(node).await?,
        emdb_peers: emdb_peers(node, settings).await?,
        held_off: is_held_off(node, settings).await?,
    };
    let mut after: Option<RecordKey> = None;
    loop {
        if stop.requested() {
            return Err(Error::Cancelled);
        }
        let page = catalogue.records_after(None, after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(promoted);
        };
        after = Some(last.record.key.clone());
        let owned = page.iter().filter(|stored| {
            let status = stored.record.status.as_ref();
            status.is_some_and(|status| status.master == promoted.former)
        });
        let keys: Vec<RecordKey> = owned.map(|stored| stored.record.key.clone()).collect();
        if keys.is_empty() {
            continue;
        }
        let now = node.seams.clock.now();
        let mut batch = catalogue.batch().await?;
        // Read again: another run may have changed one since.
        for (key, stored) in batch.stored(&keys).await? {
            let before = stored.record.status.as_ref();
            let Some(before) = before.filter(|status| status.master == promoted.former) else {
                continue;
            };
            let status = RecordStatus::saved_by_master(own, Some(before), now, before.deleted);
            match restamped(&stored.record, &status) {
                Ok(ours) => {
                    batch.put_records(&[&ours], &stored.origin, now).await?;
                    promoted.records += 1;
                }
                Err(bad) => promoted.refused.push(format!("{key}: {}", bad.reason)),
            }
        }
        batch.commit().await?;
        crash::point(Point::PromotePage)?;
    }
}

/// Who may read from this node, by the names of their keys.
async fn others_with_a_key(node: &Node) -> Result<Vec<String>, Error> {
    let keys = node.catalogue.keys().await?.into_iter();
    let mut names: Vec<String> = keys.map(|key| key.name).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// The enabled peers that are EMDB nodes, apart from the one whose place is taken.
async fn emdb_peers(node: &Node, former: &config::Peer) -> Result<Vec<EmdbPeer>, Error> {
    let mut found = Vec::new();
    let others = node.config.enabled_peers();
    for peer in others.filter(|peer| peer.name != former.name && !peer.sidecar) {
        let is_emdb = node.catalogue.peer_node(&peer.name).await?.is_none();
        if let Some(id) = peer.cluster_id.clone().filter(|_| is_emdb) {
            found.push(EmdbPeer {
                peer: peer.name.clone(),
                cluster_id: id,
            });
        }
    }
    Ok(found)
}

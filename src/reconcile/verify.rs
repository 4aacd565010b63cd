//! Are two nodes equal? Four layers, each an ordered merge of what the peer lists with what is here; nothing is changed.
//!
//! ```text
//! the peer's complete listing, in whatever order   -> a spool, sorted
//! records    here and there, by table and id        dates (and content, where the peer sends it untouched)
//! deletes    tombstones here and there              and no file left of a deleted asset
//! originals  rows here, listed there, by path       size, time, digests as far as they are known; and a look at the disk
//! generated  the same; our own current renditions are explained, not differences
//! ```
//!
//! Memory is one page of each side. "In sync" is only said when every layer was compared and none differs (I12).

mod files;
mod listing;
mod records;
mod report;
mod stretch;

use std::path::Path;

pub use report::{Difference, Kind, Layer, LayerReport, Layers, Parity};

use crate::catalogue::{Catalogue, StoredParity};
use crate::config::Generated;
use crate::crash::{self, Point};
use crate::error::Class;
use crate::model::{FileKind, NodeId};
use crate::monitor::{Monitor, Phase};
use crate::peer::{self, Patience, Peer};
use crate::store::Store;
use crate::{catalogue, store};
use report::Findings;

/// Items compared at a time.
const PAGE: usize = 2_000;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request failed.
    #[error(transparent)]
    Peer(#[from] peer::Error),
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] catalogue::Error),
    /// The media store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
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
    /// Without the session cookie, pages from the third on cannot be trusted.
    #[error(
        "peer {peer}: its session cookie is Secure but base_url is plain http, so a complete listing cannot be trusted; use https or set insecure_session = true"
    )]
    Blind {
        /// The peer.
        peer: String,
    },
}

impl From<crate::crash::Reached> for Error {
    fn from(reached: crate::crash::Reached) -> Self {
        Self::Store(reached.into())
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
            Self::Incomplete { .. } => Class::Transient,
            Self::Blind { .. } => Class::Permanent,
        }
    }
}

/// What is compared, and how closely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Whether originals are pulled from this peer at all.
    pub originals: bool,
    /// Where generated files come from.
    pub generated: Generated,
    /// Whether our files are read and hashed again.
    pub checksum: bool,
}

/// The parts that a comparison needs.
#[derive(Clone, Copy)]
pub struct Verify<'a> {
    /// The peer.
    pub peer: &'a Peer,
    /// This node.
    pub own: &'a NodeId,
    /// Our catalogue.
    pub catalogue: &'a Catalogue,
    /// Our media.
    pub store: &'a Store,
    /// A directory for the spool.
    pub state: &'a Path,
    /// How long list requests are repeated.
    pub patience: Patience<'a>,
    /// Who listens.
    pub monitor: &'a dyn Monitor,
}

impl Verify<'_> {
    /// Compares this node with the peer and keeps the report.
    ///
    /// # Errors
    /// [`Error`]; then nothing is known, and the last report stands.
    pub async fn run(&self, depth: Depth) -> Result<Parity, Error> {
        self.monitor.phase(Phase::Verify);
        let as_of = self.patience.seams.clock.now();
        let listed = listing::spool(self).await?;
        let mut findings = Findings::default();
        let (records, deletes) = records::compare(self, &listed, &mut findings).await?;
        let originals = if depth.originals {
            files::compare(self, FileKind::Original, depth, &listed, &mut findings).await?
        } else {
            LayerReport::NotCompared {
                reason: "pull_originals is off for this peer".to_owned(),
            }
        };
        let generated = if depth.generated == Generated::Off {
            LayerReport::NotCompared {
                reason: "generated files are off for this peer".to_owned(),
            }
        } else {
            files::compare(self, FileKind::Generated, depth, &listed, &mut findings).await?
        };
        listed.spool.close().await;
        let parity = Parity::new(
            as_of,
            Layers {
                records,
                originals,
                generated,
                deletes,
            },
            findings,
        );
        let stored = StoredParity {
            as_of,
            in_sync: parity.in_sync,
            report: serde_json::to_string(&parity).unwrap_or_default(),
        };
        crash::point(Point::Compared)?;
        self.catalogue.put_parity(self.peer.name(), &stored).await?;
        Ok(parity)
    }
}

//! Are two nodes equal? Four layers, each an ordered merge of what the peer lists with what is here; nothing is changed, but
//! files that are not on disk as their rows say are noted (`catalogue::damage`), so that the next run brings them back.
//!
//! ```text
//! an emsync node's digests                         -> what is equal and need not be listed, and the rest into a spool, sorted
//! anybody else's complete listing, in any order    -> all of it into the spool
//! records    here and there, by table and id        dates (and content, where the peer sends it untouched)
//! deletes    tombstones here and there              and no file left of a deleted asset
//! originals  rows here, listed there, by path       size, time, digests as far as they are known; and a look at the disk
//! generated  the same; our own current renditions are explained, not differences
//! ```
//!
//! Between emsync nodes equal ranges are never listed (`ranges`, and `protocol::digests` for how and why); EMDB knows no digests and
//! lists in no order, so its listing is sorted here. The layers are compared by the same code either way, so a report says
//! the same. The disk is always looked at in full, since no digest of rows tells what became of files.
//!
//! [`kept`] is a report of what a node holds that can be kept, [`against`] the comparison with one, [`alone`] the catalogue
//! against the disk; none of them asks anybody. Memory is one page of each side. "In sync" is only said when every layer was compared and none differs (I12).

mod against;
mod describe;
mod disk;
mod files;
pub mod kept;
mod listing;
mod ranges;
mod records;
mod report;
mod stretch;
mod tally;
#[cfg(test)]
mod tests;
mod tree;

use std::path::Path;

pub use against::{About, Against, Compared, Verdict, against};
pub use describe::describe;
pub use report::{Difference, Kind, Layer, LayerReport, Layers, Parity};

use crate::catalogue::{Catalogue, FileRow, StoredParity, by_ref};
use crate::config::Generated;
use crate::crash::{self, Point};
use crate::error::Class;
use crate::model::{FileKind, MediaFile, NodeId, Selection, Timestamp};
use crate::monitor::{Monitor, Phase};
use crate::peer::{self, Patience, Peer};
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::{catalogue, store};
use listing::Listed;
use report::Findings;
use tree::Tree;

/// Items compared at a time.
const PAGE: usize = 2_000;
/// Records compared at a time: each comes with its whole document, which may be the text of a book (I10).
const RECORDS: usize = 200;

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
    /// Something was written while everything was read.
    #[error(
        "records or files changed while they were read, so a report would be of no one moment; run it again when no other run goes on"
    )]
    Moving,
    /// Somebody asked us to stop.
    #[error("interrupted; nothing was found out")]
    Cancelled,
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
            Self::Incomplete { .. } | Self::Moving => Class::Transient,
            Self::Cancelled => Class::Cancelled,
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
    /// Whether the peer lists everything, even where its digests would tell what is equal.
    pub in_full: bool,
}

/// This node, as a comparison sees it.
#[derive(Clone, Copy)]
pub struct Here<'a> {
    /// Its catalogue.
    pub catalogue: &'a Catalogue,
    /// Its media.
    pub store: &'a Store,
    /// Who listens.
    pub monitor: &'a dyn Monitor,
    /// Whether the end was asked for.
    pub stop: &'a Shutdown,
    /// When the comparison began.
    pub as_of: Timestamp,
}

impl Here<'_> {
    /// Nothing, unless the end was asked for.
    fn go_on(&self) -> Result<(), Error> {
        if self.stop.requested() {
            Err(Error::Cancelled)
        } else {
            Ok(())
        }
    }
}

/// Compares the catalogue of this node with its disk: `here` are rows, `there` files. Nobody else is asked, so records and
/// deletes are not compared, and nothing is ever "in sync".
///
/// # Errors
/// [`Error`]; then nothing is known.
pub async fn alone(here: &Here<'_>, checksum: bool) -> Result<Parity, Error> {
    here.monitor.phase(Phase::Verify);
    disk::expect_bytes(here, checksum).await?;
    let nobody = || LayerReport::NotCompared {
        reason: "no peer was asked".to_owned(),
    };
    let mut findings = Findings::default();
    let originals = disk::compare(here, FileKind::Original, checksum, &mut findings).await?;
    let generated = disk::compare(here, FileKind::Generated, checksum, &mut findings).await?;
    let layers = Layers {
        records: nobody(),
        originals,
        generated,
        deletes: nobody(),
    };
    Ok(Parity::new(here.as_of, layers, findings))
}

/// Looks at every file that has a row, and notes which are not on disk as it says, or are again; answers how many are not. A
/// date that alone is wrong is set right, unless nothing may change on disk.
///
/// # Errors
/// [`Error`]; what was noted before stays noted.
pub async fn look(here: &Here<'_>, checksum: bool, dry: bool) -> Result<u64, Error> {
    here.monitor.phase(Phase::Verify);
    disk::expect_bytes(here, checksum).await?;
    let mut damaged = 0;
    for kind in [FileKind::Original, FileKind::Generated] {
        let mut tree = Tree::new(here, kind);
        let mut after: Option<(String, String)> = None;
        loop {
            let rows = (here.catalogue)
                .files_after(kind, after.as_ref().map(by_ref), PAGE)
                .await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.key());
            let found = disk::look(here, &rows, checksum, Some(&mut tree)).await?;
            damaged += found
                .values()
                .filter(|it| it.is != disk::Wrong::Date)
                .count() as u64;
            if !dry {
                disk::redate(here, &rows, &found).await;
            }
        }
    }
    Ok(damaged)
}

/// The files that are not on disk as these rows say, each with whether it is missing.
///
/// # Errors
/// [`Error`].
pub async fn unlike(
    here: &Here<'_>,
    rows: Vec<FileRow>,
    checksum: bool,
) -> Result<Vec<(MediaFile, bool)>, Error> {
    let found = disk::look(here, &rows, checksum, None).await?;
    let unlike = rows.into_iter().filter_map(|row| {
        let is_missing = found.get(row.file.place())?.is == disk::Wrong::Missing;
        Some((row.file, is_missing))
    });
    Ok(unlike.collect())
}

/// How many files of a tree no row speaks of.
///
/// # Errors
/// [`Error`].
pub async fn without_row(here: &Here<'_>, kind: FileKind) -> Result<u64, Error> {
    let (_, extra, _) = Tree::new(here, kind).end().await?;
    Ok(extra.extra)
}

/// The parts that a comparison with a peer needs.
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
    /// Which assets' files are wanted of the peer.
    pub selection: &'a Selection,
    /// How long list requests are repeated.
    pub patience: Patience<'a>,
    /// Who listens.
    pub monitor: &'a dyn Monitor,
    /// When the comparison begins.
    pub as_of: Timestamp,
}

impl Verify<'_> {
    fn here(&self) -> Here<'_> {
        Here {
            catalogue: self.catalogue,
            store: self.store,
            monitor: self.monitor,
            stop: self.patience.stop,
            as_of: self.as_of,
        }
    }

    /// Compares this node with the peer and keeps the report.
    ///
    /// # Errors
    /// [`Error`]; then nothing is known, and the last report stands.
    pub async fn run(&self, depth: Depth) -> Result<Parity, Error> {
        self.monitor.phase(Phase::Verify);
        let listed = listing::of(self, depth.in_full).await?;
        disk::expect_bytes(&self.here(), depth.checksum).await?;
        let mut findings = Findings::default();
        let (records, deletes) = records::compare(self, &listed, &mut findings).await?;
        // Each of them waits for the disk and for the catalogue in turn.
        let (originals, generated) = tokio::try_join!(
            self.originals(depth, &listed),
            self.generated(depth, &listed)
        )?;
        let [originals, generated] = [originals, generated].map(|(layer, found)| {
            findings.append(found);
            layer
        });
        listed.spool.close().await;
        let parity = Parity::new(
            self.as_of,
            Layers {
                records,
                originals,
                generated,
                deletes,
            },
            findings,
        );
        let stored = StoredParity {
            as_of: self.as_of,
            in_sync: parity.in_sync,
            report: serde_json::to_string(&parity).unwrap_or_default(),
        };
        crash::point(Point::Compared)?;
        self.catalogue.put_parity(self.peer.name(), &stored).await?;
        Ok(parity)
    }

    async fn originals(
        &self,
        depth: Depth,
        listed: &Listed,
    ) -> Result<(LayerReport, Findings), Error> {
        if !depth.originals {
            return Ok(not_compared("pull_originals is off for this peer"));
        }
        files::compare(self, FileKind::Original, depth, listed).await
    }

    async fn generated(
        &self,
        depth: Depth,
        listed: &Listed,
    ) -> Result<(LayerReport, Findings), Error> {
        if depth.generated == Generated::Off {
            return Ok(not_compared("generated files are off for this peer"));
        }
        files::compare(self, FileKind::Generated, depth, listed).await
    }
}

fn not_compared(reason: &str) -> (LayerReport, Findings) {
    let reason = reason.to_owned();
    (LayerReport::NotCompared { reason }, Findings::default())
}

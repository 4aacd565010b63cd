//! A lost or damaged catalogue, made again (design section 8, Durability): newest snapshot + disk; the peers come with the
//! next seed.
//!
//! ```text
//! take every lock of the node                              somebody is at work: exit 11, nothing touched
//! newest snapshot that opens and is sound -> emsync.db.rebuild        or none: an empty catalogue
//! forget checkpoints, listings, leases, parity reports     a snapshot cannot vouch for them
//! each row against the disk                                a file that is not as its row says: the row is forgotten
//! everything into the one file, fsynced
//! emsync.db, -wal, -shm -> emsync.db.damaged-<when>…       moved aside, never removed (`former` where a person hands in a copy)
//! emsync.db.rebuild -> emsync.db, directory fsynced
//! ```
//!
//! Killed anywhere, the next rebuild begins again and ends the same; until the last rename there is no `emsync.db`, and every
//! command says so. Files without a row stay where they are: a seed adopts them by content, an import makes them anew.

mod parts;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::locks::known;
use super::{Error, Lock, database, make_state};
use crate::catalogue::{self, Catalogue, Distrusted, Found, by_ref};
use crate::config::Config;
use crate::error::chain;
use crate::model::{FileKind, Timestamp};
use crate::monitor::Monitor;
use crate::reconcile::verify;
use crate::seams::Seams;
use crate::shutdown::Shutdown;
use crate::store::{RealSys, Snapshots, Store};
use crate::task;

/// Rows looked at in one go; their changes commit together.
const PAGE: usize = 2_000;

/// What can go wrong while a catalogue is rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The node failed.
    #[error(transparent)]
    Node(#[from] Error),
    /// The disk could not be compared.
    #[error(transparent)]
    Verify(#[from] verify::Error),
    /// The snapshot that was asked for cannot be used.
    #[error("snapshot {} cannot be used: {why}", path.display())]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A file in the state directory cannot be moved or made.
    #[error("{} cannot be put in place", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl RebuildError {
    fn of(path: &Path, source: io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            source,
        }
    }
}

impl From<catalogue::Error> for RebuildError {
    fn from(error: catalogue::Error) -> Self {
        Self::Node(error.into())
    }
}

impl From<crate::store::Error> for RebuildError {
    fn from(error: crate::store::Error) -> Self {
        Self::Node(error.into())
    }
}

/// How to go about it.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Say what would happen, and change nothing.
    pub dry_run: bool,
    /// Begin with this snapshot, even where the catalogue is whole.
    pub snapshot: Option<PathBuf>,
    /// Read every file.
    pub checksum: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Rebuilt {
    /// Nothing was changed, since it was only asked.
    pub dry_run: bool,
    /// Nothing was to be done: the catalogue is sound.
    pub was_whole: bool,
    /// What it began with; `None` for an empty catalogue.
    pub began_with: Option<BeganWith>,
    /// Snapshots that could not be used, and why.
    pub passed_over: Vec<String>,
    /// Rows that are kept.
    pub kept: Kept,
    /// What a snapshot cannot vouch for, and was forgotten.
    pub forgotten: Distrusted,
    /// Rows whose file is not there.
    pub rows_missing: u64,
    /// Rows whose file is another one.
    pub rows_changed: u64,
    /// Files on disk that no row speaks of.
    pub files_without_row: u64,
    /// Where the former files went.
    pub moved_aside: Vec<PathBuf>,
    /// Folders that were imported here, as far as the snapshot knows.
    pub sources: Vec<String>,
}

/// The copy that was the beginning.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BeganWith {
    /// Its file.
    pub path: PathBuf,
    /// When it was taken, where its name says so.
    pub taken_at: Option<String>,
}

/// Rows that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Kept {
    /// Records of all tables, tombstones included.
    pub records: u64,
    /// Originals.
    pub originals: u64,
    /// Generated files.
    pub generated: u64,
}

/// Makes the catalogue of a node again, unless it is whole.
///
/// # Errors
/// [`RebuildError`]; [`Error::Busy`] while anything runs on the node. The catalogue is then as it was, or moved aside, and
/// another rebuild goes on.
pub async fn rebuild(
    config: &Config,
    options: &Options,
    seams: &Seams,
    monitor: &dyn Monitor,
    stop: &Shutdown,
) -> Result<Rebuilt, RebuildError> {
    // Absence on a volume that is not there says nothing.
    let store = Store::open(&config.media.root, &config.node.catalog, Arc::new(RealSys))
        .map_err(Error::from)?;
    make_state(&config.state)?;
    let _locks = lock_all(config)?;
    let path = database(config);
    if options.snapshot.is_none() && is_whole(&path).await {
        return Ok(whole(options.dry_run));
    }
    let work = Rebuild {
        options,
        store: &store,
        monitor,
        stop,
        fresh: path.with_extension("db.rebuild"),
    };
    let (mut rebuilt, built) = work.build(seams.clock.now()).await?;
    built.close_whole().await?;
    if options.dry_run {
        parts::clear(&work.fresh)?;
        return Ok(rebuilt);
    }
    // One that a person replaces by a copy need not be damaged.
    let called = match options.snapshot {
        Some(_) => "former",
        None => "damaged",
    };
    let now = seams.clock.now();
    rebuilt.moved_aside = parts::put_in_place(&work.fresh, &path, (called, now))?;
    Ok(rebuilt)
}

/// Every lock that an activity of this node takes.
fn lock_all(config: &Config) -> Result<Vec<Lock>, Error> {
    let mut names = vec!["import".to_owned(), "serve".to_owned()];
    names.extend(config.peers.iter().map(|peer| format!("run-{}", peer.name)));
    names.extend(known(&config.state)?);
    names.sort();
    names.dedup();
    let locks = names.iter().map(|name| Lock::take(&config.state, name));
    locks.collect()
}

/// Whether there is nothing to mend, every index compared with its table.
async fn is_whole(path: &Path) -> bool {
    // A newer schema is whole as well, and not ours to replace.
    let health = catalogue::examine(path, true).await;
    health.is_ok_and(|health| health.problems.is_empty())
}

fn whole(dry_run: bool) -> Rebuilt {
    Rebuilt {
        dry_run,
        was_whole: true,
        began_with: None,
        passed_over: Vec::new(),
        kept: Kept::default(),
        forgotten: Distrusted::default(),
        rows_missing: 0,
        rows_changed: 0,
        files_without_row: 0,
        moved_aside: Vec::new(),
        sources: Vec::new(),
    }
}

struct Rebuild<'a> {
    options: &'a Options,
    store: &'a Store,
    monitor: &'a dyn Monitor,
    stop: &'a Shutdown,
    /// Where the new catalogue is built.
    fresh: PathBuf,
}

impl Rebuild<'_> {
    async fn build(&self, now: Timestamp) -> Result<(Rebuilt, Catalogue), RebuildError> {
        let mut passed_over = Vec::new();
        let began_with = self.begin(&mut passed_over).await?;
        let catalogue = match &began_with {
            Some(_) => Found::open(&self.fresh).await?.migrate().await?,
            None => Catalogue::open(&self.fresh).await?,
        };
        let mut batch = catalogue.batch().await?;
        let forgotten = batch.distrust(now).await?;
        batch.commit().await?;
        let mut rebuilt = Rebuilt {
            was_whole: false,
            began_with,
            passed_over,
            forgotten,
            ..whole(self.options.dry_run)
        };
        for kind in [FileKind::Original, FileKind::Generated] {
            self.compare(&catalogue, kind, &mut rebuilt, now).await?;
        }
        // The volume may have gone while it was walked; then its files are not gone.
        self.store.check_marker()?;
        let counted = catalogue.count_records().await?;
        let totals = catalogue.file_totals().await?;
        rebuilt.kept = Kept {
            records: counted
                .iter()
                .map(|(_, count)| count.live + count.deleted)
                .sum(),
            originals: totals.originals,
            generated: totals.generated,
        };
        let sources = catalogue.sources().await?;
        rebuilt.sources = sources.into_iter().map(|source| source.dir).collect();
        Ok((rebuilt, catalogue))
    }

    /// Copies the snapshot to begin with, if there is one.
    async fn begin(
        &self,
        passed_over: &mut Vec<String>,
    ) -> Result<Option<BeganWith>, RebuildError> {
        if let Some(path) = &self.options.snapshot {
            let refused = |why| RebuildError::Snapshot {
                path: path.clone(),
                why,
            };
            let from = File::open(path).map_err(|error| refused(error.to_string()))?;
            self.take(from).await?.map_err(refused)?;
            return Ok(Some(BeganWith {
                path: path.clone(),
                taken_at: None,
            }));
        }
        let snapshots = self.store.snapshots()?;
        for snapshot in snapshots.list()?.into_iter().rev() {
            let path = snapshots.path(&snapshot.name);
            let taken = match open_copy(&snapshots, &snapshot.name) {
                Ok(from) => self.take(from).await?,
                Err(why) => Err(why),
            };
            match taken {
                Ok(()) => {
                    return Ok(Some(BeganWith {
                        path,
                        taken_at: Some(snapshot.taken_at.to_string()),
                    }));
                }
                Err(why) => passed_over.push(format!("{}: {why}", path.display())),
            }
        }
        parts::clear(&self.fresh)?;
        Ok(None)
    }

    /// Copies one snapshot and looks whether it is sound; the inner error says why not.
    async fn take(&self, mut from: File) -> Result<Result<(), String>, RebuildError> {
        parts::clear(&self.fresh)?;
        let to = self.fresh.clone();
        let copied = tokio::task::spawn_blocking(move || {
            let mut to = File::create_new(&to)?;
            io::copy(&mut from, &mut to)?;
            to.sync_all()
        });
        if let Err(source) = task::outcome(copied.await) {
            return Err(RebuildError::of(&self.fresh, source));
        }
        Ok(match catalogue::examine(&self.fresh, false).await {
            Ok(health) if health.is_sound() => Ok(()),
            Ok(health) if health.problems.is_empty() => Err(format!(
                "its schema {} is newer than {}",
                health.version, health.newest
            )),
            Ok(health) => Err(health.problems.join("; ")),
            Err(error) => Err(chain(&error)),
        })
    }

    /// Forgets every row of a kind whose file is not as it says.
    async fn compare(
        &self,
        catalogue: &Catalogue,
        kind: FileKind,
        rebuilt: &mut Rebuilt,
        now: Timestamp,
    ) -> Result<(), RebuildError> {
        let here = verify::Here {
            catalogue,
            store: self.store,
            monitor: self.monitor,
            stop: self.stop,
            as_of: now,
        };
        let mut after: Option<(String, String)> = None;
        loop {
            let rows = catalogue
                .files_after(kind, after.as_ref().map(by_ref), PAGE)
                .await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.key());
            let unlike = verify::unlike(&here, rows, self.options.checksum).await?;
            let mut batch = catalogue.batch().await?;
            for (file, is_missing) in unlike {
                batch
                    .forget_file(kind, &file.path, &file.asset, &file.sha256, now)
                    .await?;
                batch.doubt_sources(&file.asset).await?;
                if is_missing {
                    rebuilt.rows_missing += 1;
                } else {
                    rebuilt.rows_changed += 1;
                }
            }
            batch.commit().await?;
        }
        rebuilt.files_without_row += verify::without_row(&here, kind).await?;
        Ok(())
    }
}

fn open_copy(snapshots: &Snapshots, name: &str) -> Result<File, String> {
    match snapshots.open(name) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err("it is gone".to_owned()),
        Err(error) => Err(chain(&error)),
    }
}

//! The catalogue: what this node knows, in one embedded database. The only place that holds SQL.
//!
//! Reads go through [`Catalogue`] and answer with bounded pages, never with a whole table. Writes go through a [`Batch`]:
//! one transaction of the one writer, durable when [`Batch::commit`] returns. A kill before that leaves nothing of it, a kill
//! after it leaves all of it; so whatever must hold together (a page and its checkpoint, a file's row and its job) is put
//! into one batch. Rows are written after the bytes they speak of are durable (`store`), never before.
//!
//! The job table is the only unbounded queue of the program. A claim is a lease that is committed at once; the holder of a
//! peer's run lock may take back every lease of that peer, since nobody else can be
//! working on it but the HTTP node, for somebody who reads just that file (`asked`).

mod absence;
mod among;
mod asked;
mod batch;
mod browse;
mod categories;
mod checkpoints;
mod clock;
mod conflicts;
#[cfg(test)]
mod conformance;
mod crops;
mod damage;
mod db;
mod dialect;
mod entries;
mod events;
mod evicted;
mod files;
mod findings;
mod former;
mod jobs;
mod keys;
mod leftovers;
mod moment;
mod new_files;
mod open_ends;
mod packed;
mod page_findings;
mod paused;
mod places;
mod pushes;
mod quarantine;
mod rebuilds;
mod records;
mod refresh;
mod runs;
#[cfg(test)]
mod schemas;
mod scratch;
mod scrub_findings;
mod scrub_slices;
mod set_aside;
mod sharers;
mod snapshot;
mod sources;
mod spans;
mod spool;
mod succession;
mod told;
mod totals;
mod users;
mod versions;
mod windows;

use std::path::{Path, PathBuf};

pub use absence::Audit;
pub use among::Among;
pub use asked::Claim;
pub use batch::Batch;
pub use checkpoints::{Checkpoint, Listing};
pub use clock::ClockSeen;
pub use conflicts::{Conflict, KeptConflict, Winner};
pub use crops::Cropped;
pub use entries::Entry;
pub use events::{Cause, EventRow, EventRun, NewRun, RunOutcome};
pub use evicted::{Lender, Read};
pub use files::{FileRow, by_ref};
pub use findings::Finding;
pub use former::{Former, Reason};
pub use jobs::{Job, Lane, NewJob};
pub use keys::{AccessKey, Scope};
pub use moment::Moment;
pub use page_findings::PageFinding;
pub use places::{Placed, Wanted};
pub use pushes::{Candidate, Portion, PushPlace, PushState, PushWindow, Sent, Trim};
pub use quarantine::{Aside, JobGroup, JobState, Standing};
pub use rebuilds::RebuildState;
pub use records::{Counted, StoredRecord};
pub use runs::{PeerNode, Run, StoredParity};
pub use scratch::Scratch;
pub use scrub_findings::{Damage, Finding as ScrubFinding, Found as FoundOnDisk, Stage};
pub use scrub_slices::{ScrubRound, Slice, SliceKey, SliceSum};
pub use set_aside::{JobCounts, SetAside};
pub use sharers::Sharer;
pub use snapshot::{Distrusted, Found, Health, examine, examine_copy, examine_copy_deep};
pub use sources::{SourceDir, SourceFile};
pub use spans::{Span, TableSum};
pub use spool::{Spool, SpooledFile, SpooledRecord};
pub use succession::KnownSuccession;
pub use totals::FileTotals;
pub use users::{Session, User};
pub use versions::Then;
pub use windows::Window;

use crate::error::Class;
use db::Db;

/// The one handle to a node's catalogue. Clones are cheap and share the connections.
#[derive(Debug, Clone)]
pub struct Catalogue {
    db: Db,
}

impl Catalogue {
    /// Opens the catalogue file, makes it where there is none, and migrates an older one.
    ///
    /// # Errors
    /// [`Error::Open`] when the file cannot be used, [`Error::Schema`] when a newer emsync wrote it.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let catalogue = Self {
            db: Db::open(path).await?,
        };
        catalogue.fold_all().await?;
        Ok(catalogue)
    }

    /// Opens an existing catalogue of the present schema for looking only: a write through this handle fails.
    ///
    /// # Errors
    /// [`Error::Open`] when the file cannot be used, [`Error::Outdated`] when its schema is another one.
    pub async fn open_read_only(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            db: Db::open_read_only(path).await?,
        })
    }

    /// Begins a write transaction; waits for its turn.
    ///
    /// # Errors
    /// [`Error::Sql`] when the lock is not to be had within a minute.
    pub async fn batch(&self) -> Result<Batch, Error> {
        Batch::begin(&self.db).await
    }

    /// Closes the connections; what is committed stays.
    pub async fn close(&self) {
        self.db.readers.close().await;
        self.db.writer.close().await;
    }
}

/// What can go wrong with the catalogue.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened or made.
    #[error(
        "catalogue {path:?} cannot be opened: is its folder there, writable for this user, and is there room?"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// What the engine says.
        source: sqlx::Error,
    },
    /// The schema in the file is not one this program can use.
    #[error(
        "catalogue {path:?} has a schema this emsync cannot use; was it written by a newer version?"
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// What the engine says.
        source: sqlx::migrate::MigrateError,
    },
    /// The schema in the file is not the present one, and nothing may be changed.
    #[error(
        "catalogue {path:?} has the schema of another version of emsync; `emsync status` brings an older one up to date"
    )]
    Outdated {
        /// The file.
        path: PathBuf,
    },
    /// The file is gone, or is not what was written.
    #[error(
        "catalogue {path:?} {what}; `emsync doctor` looks closer, `emsync doctor --rebuild` makes it again from the newest snapshot, the disk and the peers"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is the matter.
        what: &'static str,
        /// What the engine says, when it was asked.
        source: Option<sqlx::Error>,
    },
    /// A statement came upon a damaged place.
    #[error(
        "catalogue: {what}: the file is damaged; stop everything, then run `emsync doctor --rebuild`"
    )]
    Corrupt {
        /// What was being done.
        what: &'static str,
        /// What the engine says.
        source: sqlx::Error,
    },
    /// There is no room where the file lies, or where it is copied to.
    #[error(
        "catalogue: {what}: no room on its disk (that of `state` in emsync.toml, or of the copy); free some space there and run again"
    )]
    Full {
        /// What was being done.
        what: &'static str,
        /// What the engine says.
        source: sqlx::Error,
    },
    /// A statement failed.
    #[error("catalogue: {what}")]
    Sql {
        /// What was being done.
        what: &'static str,
        /// What the engine says.
        source: sqlx::Error,
    },
    /// A row holds something that was never written by this program.
    #[error("catalogue: a row holds {value:?} as its {what}")]
    Row {
        /// The column's meaning.
        what: &'static str,
        /// What stands there.
        value: String,
    },
}

impl From<crate::crash::Reached> for Error {
    fn from(reached: crate::crash::Reached) -> Self {
        Self::Sql {
            what: reached.0.name(),
            source: sqlx::Error::Io(reached.into()),
        }
    }
}

impl Error {
    fn damaged(path: &Path, what: &'static str, source: Option<sqlx::Error>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            what,
            source,
        }
    }

    /// Whether it is worth trying again: a lock that somebody else holds, a disk that is full, failing or mounted read-only, too
    /// many open files. None of them harms what was committed.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Sql {
                source: sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) | sqlx::Error::BeginFailed,
                ..
            } => Class::Transient,
            Self::Full { .. } => Class::Transient,
            Self::Sql { source, .. } if matches!(code(source), Some(5 | 6 | 8 | 10 | 14)) => {
                Class::Transient
            }
            Self::Open { source, .. } if matches!(code(source), Some(5 | 6 | 10 | FULL)) => {
                Class::Transient
            }
            _ => Class::Permanent,
        }
    }
}

/// The engine's result code for a disk without room.
const FULL: i32 = 13;

/// The engine's primary result code (sqlite.org/rescode.html): 5 and 6 locked, 8 read-only, 10 I/O, 11 corrupt, [`FULL`],
/// 14 cannot open, 26 no database.
fn code(error: &sqlx::Error) -> Option<i32> {
    let sqlx::Error::Database(error) = error else {
        return None;
    };
    let extended: i32 = error.code()?.parse().ok()?;
    Some(extended & 0xff)
}

/// Names what was being done when a statement failed.
fn during(what: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |source| {
        if damage_in(&source) {
            Error::Corrupt { what, source }
        } else if code(&source) == Some(FULL) {
            Error::Full { what, source }
        } else {
            Error::Sql { what, source }
        }
    }
}

/// Whether the engine found the file itself damaged: corrupt (11), no database (26), or shorter than it says (522).
fn damage_in(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return false;
    };
    let code = error.code().and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 11 | 26) || code == 522)
}

/// The engine's integers are signed; sizes and counts are not.
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// See [`unsigned`]; a size beyond the engine's range cannot exist on any disk.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

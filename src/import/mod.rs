//! Import: a folder of media becomes assets and categories that this node is the master of (design section 8, Import).
//!
//! ```text
//! walk        a thread: names, sizes, times -> portions                      (channel of one)
//! intake      a portion at a time: what changed is copied, hashed, published; then one catalogue batch
//! moves       a new path with known content whose old path is gone: the asset keeps its id and its renditions
//! line        beside the walk: what is to be rendered, see `renditions`
//! gone        after a whole walk: what is gone from disk, under the guard; former places are cleared
//! mend        what earlier runs left without renditions
//! ```
//!
//! `watch` imports a folder whenever something in it has changed and is at rest, piece by piece.
//!
//! Bytes come before rows. What a kill leaves is of three kinds, and the next import mends each: published bytes without
//! rows are published again, since their file is still new; an asset that waits for renditions says so in its record
//! (`previewstatus` 0); and a place that was left, by a move or a delete, keeps its source row, marked, until it is cleared.

mod categories;
mod commit;
mod context;
mod damage;
mod error;
mod fields;
mod folder;
mod gone;
mod identify;
mod ids;
mod intake;
mod mend;
mod moves;
mod only;
mod presence;
mod quiet;
mod read;
#[cfg(test)]
mod tests;
mod walk;
pub mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

pub use error::Error;
pub use folder::{ACTIVITY, Folder, Look, into_node, left_out, summary};
pub use only::Only;
pub use quiet::Quiet;

use crate::catalogue::Catalogue;
use crate::model::{MediaPath, NodeId};
use crate::monitor::{Monitor, Phase};
use crate::renditions::{Line, Settings};
use crate::seams::Seams;
use crate::shutdown::Shutdown;
use crate::store::Store;
use context::Import;

/// Modification time in the source row of a place that its asset has left: no file ever has it.
const LEFT: i64 = i64::MIN;

/// What to import and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder.
    pub dir: PathBuf,
    /// What its paths are put under (`--into`).
    pub prefix: Option<MediaPath>,
    /// Whether renditions are made.
    pub thumbs: bool,
    /// How much of the machine they may take.
    pub renditions: Settings,
    /// Most entries of the folder worked on at once.
    pub batch: usize,
    /// Most assets a run may delete; `None` for the guard of design section 8.
    pub max_delete: Option<u64>,
    /// Whether to look only.
    pub dry_run: bool,
    /// Which part of the folder is looked at. What an earlier run left without renditions is made after a look at the whole alone.
    pub only: Only,
    /// Whose rest is waited for: files that are not at rest are as if they could not be read.
    pub quiet: Option<Arc<Quiet>>,
}

/// What an import did, or in a dry run would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Report {
    /// Files of the folder looked at. Entries that no path can be given to are among the refused only.
    pub seen: u64,
    /// New assets, and deleted ones that are back.
    pub added: u64,
    /// Assets whose original has another content or date.
    pub changed: u64,
    /// Assets found under another path.
    pub moved: u64,
    /// Assets deleted.
    pub gone: u64,
    /// Assets that are as they were.
    pub unchanged: u64,
    /// Deletes the guard held back; when there are any, none was done.
    pub held: u64,
    /// Bytes of originals copied.
    pub bytes: u64,
    /// Generated files made.
    pub renditions: u64,
    /// Originals found to allow no rendition.
    pub unrenderable: u64,
    /// Entries that could not be imported; the findings say why.
    pub refused: u64,
    /// Wall time.
    pub elapsed_ms: u64,
}

/// Imports a folder, or what changed in it since the last time.
///
/// When `shutdown` is requested it finishes what is in hand and answers with what it did; nothing is judged gone then. The
/// next import goes on.
///
/// # Errors
/// [`Error::Folder`], [`Error::Empty`], [`Error::Overlaps`], [`Error::NotUtf8`] or [`Error::OtherPrefix`] before anything
/// is written; the catalogue's and the store's failures, after which another import goes on.
pub async fn run(
    catalogue: &Catalogue,
    store: &Store,
    own: &NodeId,
    options: &Options,
    seams: &Seams,
    monitor: Arc<dyn Monitor>,
    shutdown: &Shutdown,
) -> Result<Report, Error> {
    let began = Instant::now();
    monitor.phase(Phase::Import);
    let import = Import::open(catalogue, store, own, options, seams, monitor, shutdown).await?;
    let import = Arc::new(import);
    let live_before = catalogue.live_assets().await?;
    let shop = import.workshop();
    let line = shop.as_ref().map(Line::start).transpose()?;
    let walked = intake::run(&import, line.as_ref()).await;
    if let Some(line) = line {
        line.finish().await?;
    }
    walked?;
    import.say_what_lacks();
    if !shutdown.requested() {
        gone::settle(&import, live_before).await?;
    }
    let mut report = *import.report();
    if let Some(shop) = &shop {
        if !shutdown.requested() && options.only == Only::Whole {
            mend::run(&import, shop).await?;
        }
        report.renditions += shop.tally().renditions;
        report.unrenderable += shop.tally().unrenderable;
    }
    report.elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(?report, dir = %import.dir.display(), "import done");
    Ok(report)
}

/// Runs blocking work off the runtime's own threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Worker)
}

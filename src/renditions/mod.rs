//! Renditions of originals that are here: made on all cores, made durable in groups.
//!
//! ```text
//! line     wants -> bridge (a thread: it may block) -> regenerator -> finished -> settle      (channels of `depth`)
//! cropping a rectangle set or taken back here
//! crops    the rectangles that hold for an original
//! settle   bytes, then rows and the state of their assets, in one catalogue batch
//! stale    pure: how each rendition stands, by what it was made of
//! rebuild  all assets (ahead: read a page before) -> those that are missing or stale -> line, a chunk at a time
//! conversions  files that are no pictures, made by programs in a rebuild
//! gaps     what should be here and is not, and why
//! lost     crops that the author of a copied rendition forgot
//! pages    the files of pages after the first
//! preview  the state of an asset: `previewstatus` in the record of an asset of ours
//! ```
//!
//! Bytes come before rows. A kill between the two leaves renditions without rows, or under rows of those they replaced: they are
//! missing or damaged to whoever looks next, and made again.
//!
//! Files of one asset have one writer at a time: whoever works here holds the lock of the activity that also writes them.

mod ahead;
mod conversions;
pub mod cropping;
pub mod crops;
mod error;
pub mod gaps;
mod line;
mod lost;
mod pages;
pub mod preview;
pub mod rebuild;
mod settle;
pub mod shown;
pub mod stale;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crops::Crops;
pub use error::Error;
pub use line::{Line, Original, Want};
pub(crate) use line::{child_bytes, read_by_name};
pub use pages::Unsettled;

use crate::adapters::{self, Adapters};
use crate::catalogue::{Catalogue, StoredRecord};
use crate::media::{Limits, Recipe};
use crate::model::preset::{PresetTable, is_read_by_name};
use crate::model::{MediaPath, Mode, NodeId, Timestamp};
use crate::monitor::Monitor;
use crate::node::Node;
use crate::protocol::record;
use crate::seams::Seams;
use crate::shutdown::Shutdown;
use crate::store::{Staging, Store};
use crate::throttle::Most;

/// How much of this machine renditions may take, and what they are.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Threads that make them, 0 for one per core; may change meanwhile.
    pub threads: Most,
    /// Originals that may wait for a thread, and results that may wait for the disk.
    pub depth: usize,
    /// What an original may ask for.
    pub limits: Limits,
    /// How colours and rectangles are understood.
    pub mode: Mode,
    /// Their recipes.
    pub presets: Arc<PresetTable>,
    /// Programs that read originals which no decoder here knows.
    pub adapters: Adapters,
}

impl Settings {
    /// As the configuration of a node has it.
    #[must_use]
    pub fn of(node: &Node) -> Self {
        let config = &node.config;
        Self {
            threads: node.at_once.threads.clone(),
            depth: config.limits.handoff_depth,
            limits: Limits {
                max_pixels: config.media.max_pixels,
                ..Limits::default()
            },
            mode: config.mode(),
            presets: Arc::clone(&config.media.presets),
            adapters: node.adapters.clone(),
        }
    }

    /// What is missing here for renditions of a format that some program could read, and how to get it; `None` where they are
    /// made, and for every format that no known program reads.
    #[must_use]
    pub fn lacks(&self, format: &str) -> Option<String> {
        let is_left = is_read_by_name(format) && !self.presets.renders(format);
        is_left.then(|| adapters::missing(format)).flatten()
    }
}

/// What the parts of this stage share.
pub struct Workshop {
    /// Our catalogue.
    pub catalogue: Catalogue,
    /// Our media.
    pub store: Store,
    /// Where renditions are written before they are published.
    pub staging: Staging,
    /// This node.
    pub own: NodeId,
    /// How much it may take.
    pub settings: Settings,
    /// Time and chance.
    pub seams: Seams,
    /// Who listens.
    pub monitor: Arc<dyn Monitor>,
    /// Whether we were asked to end.
    pub stop: Shutdown,
    /// What was done so far.
    pub tally: Mutex<Tally>,
    /// Of which assets a part is still to be done.
    pub unsettled: Unsettled,
}

/// What came of the originals that were handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Tally {
    /// Generated files made.
    pub renditions: u64,
    /// Originals found to allow none.
    pub unrenderable: u64,
}

impl Workshop {
    fn now(&self) -> Timestamp {
        self.seams.clock.now()
    }

    /// What an import makes of these originals.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn wants(&self, originals: Vec<Original>) -> Result<Vec<Want>, Error> {
        let all: Vec<_> = originals.iter().collect();
        let mut crops = crops::crops_for(&self.catalogue, &all, self.monitor.as_ref()).await?;
        let (table, mode) = (&self.settings.presets, self.settings.mode);
        let mut wants = Vec::with_capacity(originals.len());
        for original in originals {
            let Crops { crops, drawn_on } = crops.remove(&original.asset).unwrap_or_default();
            let format = original.format.as_deref();
            let recipe = Recipe {
                decoder: decoder(&self.settings.adapters, &original).await?,
                drawn_on,
                ..Recipe::by(table, format, crops, mode)
            };
            let want = Want {
                recipe: pages::with_pages(&recipe, table, &original),
                original,
                completes: true,
                tasks: 1,
            };
            wants.extend(self.in_tasks(want).await?);
        }
        Ok(wants)
    }

    /// What was done so far.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("no panic while a number is added")
    }
}

/// Name and version of the program that reads an original, `None` when it is decoded here.
///
/// # Errors
/// [`Error::Worker`].
pub async fn decoder(adapters: &Adapters, original: &Original) -> Result<Option<String>, Error> {
    let has_program = |format: &String| adapters.for_format(format).is_some();
    let Some(format) = original.format.clone().filter(has_program) else {
        return Ok(None);
    };
    let adapters = adapters.clone();
    blocking(move || adapters.decoder(Some(&format))).await
}

/// The date of a rendition: a whole second, and later than what it replaces, the only way a peer sees that it is another (wire
/// spec 4.5).
#[must_use]
pub fn fresh_second(now: Timestamp, replaced: Option<Timestamp>) -> Timestamp {
    let now = now.whole_second();
    replaced.map_or(now, |old| {
        now.max(old.whole_second().plus(Duration::from_secs(1)))
    })
}

/// Whether a record is alive and says that its asset lies at `path`.
#[must_use]
pub fn is_at(stored: &StoredRecord, path: &MediaPath) -> bool {
    let says = || record::asset(&stored.record).is_ok_and(|asset| asset.source_path == *path);
    !stored.record.is_deleted() && says()
}

/// Runs blocking work off the runtime's own threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Worker)
}

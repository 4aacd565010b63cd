//! Renditions of what was imported, made beside the walk.
//!
//! ```text
//! intake -> wants -> bridge (a thread: it may block) -> regenerator -> finished -> settle -> store, catalogue
//! ```
//!
//! Every channel is bounded by `handoff_depth`. It ends in that order once [`Renditions::finish`] drops the first sender;
//! when settling fails, the others see their channels closed and end too. An asset whose turn does not come says
//! `previewstatus` 0 in its record, and `mend` of a later import finds it.

use std::io::{self, Read as _};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Error, Import, blocking, rendered};
use crate::media::{Finished, Limits, Regenerator, Task};
use crate::model::preset::Preset;
use crate::model::{AssetId, FileKind, MediaPath, Sha256};
use crate::monitor::{Counter, Monitor, Phase};
use crate::store::Store;

/// Most results published and committed at once.
const GROUP: usize = 32;

/// An original to render.
#[derive(Debug, Clone)]
pub(super) struct Want {
    pub(super) asset: AssetId,
    pub(super) path: MediaPath,
    /// Where it lies.
    pub(super) place: MediaPath,
    pub(super) content: Sha256,
    pub(super) size: u64,
}

/// The running pipeline.
pub(super) struct Renditions {
    wants: mpsc::Sender<Want>,
    bridge: std::thread::JoinHandle<()>,
    settle: tokio::task::JoinHandle<Result<(), Error>>,
    monitor: Arc<dyn Monitor>,
}

/// Whether an import makes a generated file of this name.
pub(super) fn is_preset(import: &Import, name: &str) -> bool {
    let mut presets = import.options.presets.renditions().iter();
    presets.any(|preset| preset.file_name == name)
}

impl Renditions {
    /// Starts the threads.
    pub(super) fn start(import: &Arc<Import>) -> Result<Self, Error> {
        import.monitor.phase(Phase::Renditions);
        let depth = import.options.handoff_depth.max(1);
        let (wants, mut wanted) = mpsc::channel::<Want>(depth);
        let (tasks, queue) = crossbeam_channel::bounded(depth);
        let (done, finished) = mpsc::channel(depth);
        let pool =
            Regenerator::start(import.options.thumb_threads, Limits::default(), queue, done)?;
        let (store, stop) = (import.store.clone(), import.stop.clone());
        let presets = import.options.presets.renditions().to_vec();
        let bridge = std::thread::Builder::new()
            .name("import-bridge".to_owned())
            .spawn(move || {
                while let Some(want) = wanted.blocking_recv() {
                    // Asked to end: what waits keeps its mark, and the next import renders it.
                    if !stop.requested() && tasks.send(task(store.clone(), want, &presets)).is_err()
                    {
                        break;
                    }
                }
                drop(tasks);
                pool.join();
            })
            .map_err(|_| Error::Worker)?;
        let settle = tokio::spawn(settle_all(Arc::clone(import), finished));
        let monitor = Arc::clone(&import.monitor);
        Ok(Self {
            wants,
            bridge,
            settle,
            monitor,
        })
    }

    /// Hands over an original, waiting while the queue is full; `false` when the pipeline has broken down.
    pub(super) async fn feed(&self, want: Want) -> bool {
        self.monitor.expect(Counter::Renditions, 1);
        self.wants.send(want).await.is_ok()
    }

    /// Waits until everything handed over is settled.
    pub(super) async fn finish(self) -> Result<(), Error> {
        drop(self.wants);
        let settled = self.settle.await.map_err(|_| Error::Worker)?;
        blocking(move || self.bridge.join())
            .await?
            .map_err(|_| Error::Worker)?;
        settled
    }
}

fn task(store: Store, want: Want, presets: &[Preset]) -> Task<Want> {
    let place = want.place.clone();
    let original = move || {
        let open = store
            .open_file(FileKind::Original, &place)
            .map_err(io::Error::other)?;
        let mut open = open.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        if is_over_limit(open.size) {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(open.size).unwrap_or(0));
        open.file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    Task {
        ticket: want,
        original: Box::new(original),
        presets: presets.to_vec(),
    }
}

/// No original is read into memory that is larger than its pixels may be.
pub(super) fn is_over_limit(size: u64) -> bool {
    size > Limits::default().max_alloc_bytes
}

async fn settle_all(
    import: Arc<Import>,
    mut finished: mpsc::Receiver<Finished<Want>>,
) -> Result<(), Error> {
    let mut group = Vec::new();
    while finished.recv_many(&mut group, GROUP).await > 0 {
        rendered::settle(&import, std::mem::take(&mut group)).await?;
    }
    Ok(())
}

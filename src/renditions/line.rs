//! The line from originals to durable renditions, for whoever finds originals that want some.
//!
//! Every channel is bounded by `depth`. It ends in its order once [`Line::finish`] drops the first sender; when settling fails,
//! the others see their channels closed and end too. An original whose turn does not come is left as it was.

use std::io::{self, BufReader, Read as _, Seek as _};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::settle::settle;
use super::{Error, Workshop, blocking};
use crate::adapters::{Adapters, CHILD_BYTES, Part, by_content};
use crate::error::chain;
use crate::media::{
    Beyond, Finished, Recipe, Regenerator, Task, beyond, count_pages, is_decoded_here,
};
use crate::model::preset::{is_raw_format, is_read_by_name};
use crate::model::{AssetId, FileKind, MediaFile, MediaPath, Sha256, Timestamp};
use crate::monitor::Counter;
use crate::store::Store;

/// Most results published and committed at once.
const GROUP: usize = 32;

/// An original to render, and what to make of it.
#[derive(Debug, Clone)]
pub struct Want {
    /// The original.
    pub original: Original,
    /// Presets, and the rectangles that hold for this original.
    pub recipe: Recipe,
    /// Whether its asset has all of its renditions with these, so that its record says that they are there.
    pub completes: bool,
    /// In how many tasks they are made, of which this is one.
    pub tasks: usize,
}

/// An original that is here.
#[derive(Debug, Clone)]
pub struct Original {
    /// Whose it is.
    pub asset: AssetId,
    /// The asset's source path: the directory of its renditions.
    pub path: MediaPath,
    /// Where the original lies.
    pub place: MediaPath,
    /// Format by its record, where that is one of pictures, documents or films: it decides what reads it and which presets apply.
    /// Whatever else is looked at by its content.
    pub format: Option<String>,
    /// Its pages by the record; 0 and 1 are the same.
    pub pages: u32,
    /// Its content.
    pub content: Sha256,
    /// Its bytes.
    pub size: u64,
    /// Its modification time.
    pub modified: Timestamp,
}

/// A format, if it decides what reads an original of it.
pub(crate) fn read_by_name(format: Option<String>) -> Option<String> {
    format.filter(|format| is_read_by_name(format))
}

impl Original {
    /// The original that a row speaks of, of an asset with this source path and format.
    #[must_use]
    pub fn of(path: MediaPath, format: Option<String>, file: &MediaFile) -> Self {
        Self {
            asset: file.asset.clone(),
            path,
            place: file.place().clone(),
            format: read_by_name(format),
            pages: 1,
            content: file.sha256,
            size: file.size,
            modified: file.modified,
        }
    }

    /// The same with pages.
    #[must_use]
    pub fn with_pages(self, pages: u32) -> Self {
        Self { pages, ..self }
    }

    /// What its renditions are made of: its whole content, or the picture that the program for its format makes of that part of it.
    /// Content decides before a name does: a picture that is decoded here needs no program, whatever it is called, a page that is
    /// called a photo is drawn as one, and a rare kind of photo goes to a program. Blocks.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::FileTooLarge`] for more than `most` bytes to read, [`io::ErrorKind::NotFound`] when it is
    /// not there, and [`io::ErrorKind::InvalidData`] when the program can do nothing with it.
    pub fn picture(
        &self,
        (store, adapters): (&Store, &Adapters),
        part: Part,
        most: u64,
    ) -> io::Result<Vec<u8>> {
        let open = store
            .open_file(FileKind::Original, &self.place)
            .map_err(io::Error::other)?;
        let mut open = open.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let is_decoded_here = match &self.format {
            Some(named) => is_decoded_here(&mut open.file, is_raw_format(named))?,
            None => true,
        };
        if let Some(named) = &self.format
            && !is_decoded_here
        {
            if let Some(found) = by_content(&mut open.file, named)? {
                let made = adapters.picture_of(open.file, found, part);
                return made.map_err(|error| {
                    let text = format!("it is called {named} and is {found}: {}", chain(&error));
                    io::Error::new(io::Error::from(error).kind(), text)
                });
            }
            if adapters.for_format(named).is_some() {
                return Ok(adapters.picture_of(open.file, named, part)?);
            }
        }
        let may_be_raw = self.format.as_deref().is_some_and(is_raw_format);
        if !may_be_raw
            && let Some(Beyond { format, kind }) = beyond(&mut BufReader::new(&open.file))?
        {
            return adapters.spare(open.file, format, part).map_err(|error| {
                let text = format!("{format} of a rare kind ({kind}): {}", chain(&error));
                io::Error::new(io::Error::from(error).kind(), text)
            });
        }
        if open.size > most {
            let text = format!(
                "{} bytes are more than the {most} that are read for renditions",
                open.size
            );
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        if part.page > 1 && count_pages(&mut open.file)? == 1 {
            let text = format!("there is no page {}: it is a single picture", part.page);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        open.file.rewind()?;
        let mut bytes = Vec::with_capacity(usize::try_from(open.size).unwrap_or(0));
        open.file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// The running line.
#[must_use = "finish it to know that all work is settled"]
pub struct Line {
    shop: Arc<Workshop>,
    wants: mpsc::Sender<Want>,
    bridge: std::thread::JoinHandle<()>,
    settle: tokio::task::JoinHandle<Result<(), Error>>,
}

impl Line {
    /// Starts its threads.
    ///
    /// # Errors
    /// [`Error::Media`] or [`Error::Worker`] when the system hands out no more threads.
    pub fn start(shop: &Arc<Workshop>) -> Result<Self, Error> {
        let settings = &shop.settings;
        let depth = settings.depth.max(1);
        let (wants, mut wanted) = mpsc::channel::<Want>(depth);
        let (tasks, queue) = crossbeam_channel::bounded(depth);
        let (done, finished) = mpsc::channel(depth);
        let pool = Regenerator::start(settings.threads.clone(), settings.limits, queue, done)?;
        let (store, stop) = (shop.store.clone(), shop.stop.clone());
        let most = settings.limits.max_alloc_bytes;
        let adapters = settings.adapters.until(&shop.stop);
        let bridge = std::thread::Builder::new()
            .name("renditions-bridge".to_owned())
            .spawn(move || {
                while let Some(want) = wanted.blocking_recv() {
                    // Asked to end: what waits is left as it was, and found again.
                    if stop.requested() {
                        continue;
                    }
                    let task = task(store.clone(), adapters.clone(), want, most);
                    if tasks.send(task).is_err() {
                        break;
                    }
                }
                drop(tasks);
                pool.join();
            })
            .map_err(|_| Error::Worker)?;
        let settle = tokio::spawn(settle_all(Arc::clone(shop), finished));
        Ok(Self {
            shop: Arc::clone(shop),
            wants,
            bridge,
            settle,
        })
    }

    /// Where it is made.
    #[must_use]
    pub fn shop(&self) -> &Arc<Workshop> {
        &self.shop
    }

    /// Hands over an original, waiting while the queue is full; `false` when the line has broken down, of which
    /// [`finish`](Self::finish) tells why.
    pub async fn feed(&self, want: Want) -> bool {
        self.shop.monitor.expect(Counter::Renditions, 1);
        self.wants.send(want).await.is_ok()
    }

    /// Waits until everything handed over is settled.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn finish(self) -> Result<(), Error> {
        drop(self.wants);
        let settled = self.settle.await.map_err(|_| Error::Worker)?;
        blocking(move || self.bridge.join())
            .await?
            .map_err(|_| Error::Worker)?;
        settled
    }
}

/// Memory that a program counts as while it reads an original, where one does.
pub(crate) fn child_bytes(adapters: &Adapters, original: &Original) -> u64 {
    let format = original.format.as_deref();
    let has_program = format.is_some_and(|format| adapters.for_format(format).is_some());
    if has_program { CHILD_BYTES } else { 0 }
}

fn task(store: Store, adapters: Adapters, want: Want, most: u64) -> Task<Want> {
    let (original, part) = (want.original.clone(), want.recipe.part());
    Task {
        recipe: want.recipe.clone(),
        ticket: want,
        // No original is read into memory that is larger than its pixels may be.
        child_bytes: child_bytes(&adapters, &original),
        original: Box::new(move || original.picture((&store, &adapters), part, most)),
    }
}

async fn settle_all(
    shop: Arc<Workshop>,
    mut finished: mpsc::Receiver<Finished<Want>>,
) -> Result<(), Error> {
    let mut group = Vec::new();
    while finished.recv_many(&mut group, GROUP).await > 0 {
        settle(&shop, std::mem::take(&mut group)).await?;
    }
    Ok(())
}

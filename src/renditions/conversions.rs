//! Files of other kinds than pictures, where a rebuild finds them missing or made otherwise: `document.pdf`, `audio.mp3`, `video.mp4`.
//!
//! ```text
//! staged, for as long as it takes, under no lock -> lock of whoever else writes the asset -> still the same original? -> bytes, then row
//! ```
//!
//! A film takes hours, for which nobody else is kept waiting. A kill before the row leaves a file without one, or under the row of
//! the one it replaced: missing or damaged to whoever looks next, and made again. What cannot be made is said and no finding: the
//! asset may have all its pictures.

use std::io::{self, Write};
use std::sync::Arc;

use super::stale::State;
use super::{Error, Original, Workshop, blocking, fresh_second, is_at};
use crate::catalogue::{FileRow, Placed, Wanted};
use crate::error::chain;
use crate::model::digest::Hasher;
use crate::model::preset::Conversion;
use crate::model::{FileKind, Fingerprint, MediaFile, MediaPath, Sha256};
use crate::store::{self, Publish, Staged};

/// A file to make.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) original: Original,
    /// By the record, in whatever case.
    pub(super) format: String,
    pub(super) conversion: Conversion,
    /// The lock of whoever else may write it.
    pub(super) lock: String,
}

/// What one is made of.
pub(super) fn fingerprint(original: &Original, conversion: &Conversion) -> Fingerprint {
    Fingerprint::of_conversion(&original.content, &conversion.product.canonical())
}

/// How one stands among the files of its asset.
pub(super) fn state(original: &Original, conversion: &Conversion, files: &[FileRow]) -> State {
    let is_it = |row: &&FileRow| {
        row.file.kind == FileKind::Generated
            && row.file.path.below(&original.path) == Some(&conversion.file_name)
    };
    match files.iter().find(is_it).filter(|row| !row.is_damaged()) {
        None => State::Missing,
        Some(row) if !row.file.authored => State::Copied,
        Some(row) if row.file.fingerprint == Some(fingerprint(original, conversion)) => {
            State::Current
        }
        Some(_) => State::Stale,
    }
}

/// A file that is made and not published yet.
pub(super) struct Made {
    staged: Staged,
    size: u64,
    sha256: Sha256,
}

/// Makes one; `None` when nothing came of it, which was said.
pub(super) async fn make(shop: &Arc<Workshop>, job: &Job) -> Result<Option<Made>, Error> {
    let (of, at) = (Arc::clone(shop), job.clone());
    let made = blocking(move || {
        let adapters = of.settings.adapters.until(&of.stop);
        let open = of.store.open_file(FileKind::Original, &at.original.place)?;
        let mut to = Staging {
            staged: of.staging.create()?,
            hasher: Hasher::new(false),
            refused: None,
        };
        let Some(open) = open else {
            return Ok(Err("its original is not here".to_owned()));
        };
        let made = adapters.convert(open.file, (&at.conversion.product, &at.format), &mut to);
        match (made, to.refused) {
            (_, Some(error)) => Err(error),
            (Ok(()), None) => Ok(Ok(Made {
                size: to.staged.len(),
                staged: to.staged,
                sha256: to.hasher.finish().sha256,
            })),
            (Err(error), None) => {
                to.staged.discard();
                Ok(Err(chain(&error)))
            }
        }
    });
    let made: Result<_, store::Error> = made.await?;
    match made? {
        Ok(made) => Ok(Some(made)),
        Err(_) if shop.stop.requested() => Ok(None),
        Err(reason) => {
            let (path, name) = (&job.original.path, &job.conversion.file_name);
            shop.monitor
                .finding(&format!("{path}: {name} cannot be made: {reason}"));
            Ok(None)
        }
    }
}

/// Publishes one and notes it, if its asset still has the original that it was made of. The caller holds the job's lock.
pub(super) async fn settle(shop: &Arc<Workshop>, job: &Job, made: Made) -> Result<bool, Error> {
    let original = &job.original;
    let files = shop.catalogue.files_of(&[original.asset.as_str()]).await?;
    let is_same = |row: &FileRow| {
        let file = &row.file;
        file.kind == FileKind::Original && file.sha256 == original.content && row.is_here()
    };
    let stored = shop.catalogue.record(&original.asset.key()).await?;
    let is_there = stored.is_some_and(|stored| is_at(&stored, &original.path));
    // It came from its author meanwhile, who is the one to keep it.
    let is_copied = state(original, &job.conversion, &files) == State::Copied;
    if !is_there || is_copied || !files.iter().any(is_same) {
        made.staged.discard();
        return Ok(false);
    }
    let path = original.path.join(&job.conversion.file_name);
    let path = path.map_err(|error| store::Error::NameTooLong { path: error.path })?;
    let wanted = Wanted {
        kind: FileKind::Generated,
        path: &path,
        asset: &original.asset,
        shares: None,
        one_file_at: None,
    };
    let placed = shop.catalogue.places(shop.store.rules(), &[wanted]).await?;
    let place = match placed.into_iter().next() {
        Some(Placed::At { place, .. }) => place,
        _ => path.clone(),
    };
    let old = files
        .iter()
        .find(|row| row.file.kind == FileKind::Generated && row.file.path == path);
    let modified = fresh_second(shop.now(), old.map(|row| row.file.modified));
    let row = MediaFile {
        kind: FileKind::Generated,
        path,
        place: None,
        asset: original.asset.clone(),
        size: made.size,
        modified,
        sha256: made.sha256,
        md5: None,
        authored: true,
        fingerprint: Some(fingerprint(original, &job.conversion)),
    };
    let row = row.at(place.clone());
    publish(shop, made.staged, place, &row).await?;
    let now = shop.now();
    let mut batch = shop.catalogue.batch().await?;
    batch.put_file(&row, now).await?;
    batch.commit().await?;
    shop.tally().renditions += 1;
    Ok(true)
}

async fn publish(
    shop: &Arc<Workshop>,
    staged: Staged,
    place: MediaPath,
    row: &MediaFile,
) -> Result<(), Error> {
    let publish = Publish {
        content: staged.into(),
        kind: FileKind::Generated,
        path: place,
        modified: row.modified,
        keep_replaced: false,
    };
    let of = Arc::clone(shop);
    let published = blocking(move || of.store.publish(vec![publish])).await?;
    published.into_iter().collect::<Result<(), _>>()?;
    Ok(())
}

/// Writes to a staged file, and keeps what went wrong with that apart from what went wrong with the program.
struct Staging {
    staged: Staged,
    hasher: Hasher,
    refused: Option<store::Error>,
}

impl Write for Staging {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.staged.write_all(bytes) {
            Ok(()) => {
                self.hasher.update(bytes);
                Ok(bytes.len())
            }
            Err(error) => {
                self.refused = Some(error);
                Err(io::Error::other("the staged file cannot be written"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

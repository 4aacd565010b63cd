//! A wanted file that is here already: copied into staging and hashed, no network needed.
//!
//! Nothing is taken on trust: a copy is only used when its digests, or without a stated SHA-256 its size and time, are those
//! of the wanted file. What cannot be opened or read here is left to the peer.

use std::io::Read as _;

use tokio::task::spawn_blocking;

use super::transfer::compared;
use super::{Error, Pull};
use crate::model::job::FetchJob;
use crate::model::{AssetId, Digests, FileKind, Hasher, MediaPath};
use crate::store::{OpenFile, Staged, Staging, Store};

/// Buffer for copies on disk.
const BUFFER: usize = 1 << 20;

/// A copy, and whether it was made of the very file that it will replace.
pub(super) type Copied = (Staged, Digests, bool);

/// A copy of a file that is here under another name, or under this one without a row: no network needed.
pub(super) async fn copy_of_ours(
    pull: &Pull,
    asset: &AssetId,
    job: &FetchJob,
    path: &MediaPath,
) -> Result<Option<Copied>, Error> {
    let row = pull.catalogue.file(job.kind, path, asset).await?;
    let place = row.map_or_else(
        || pull.store.rules().plain(path, asset),
        |row| row.file.place().clone(),
    );
    let mut candidates = vec![(job.kind, place)];
    if let Some(wanted) = &job.sha256 {
        let rows = pull.catalogue.files_with(wanted).await?.into_iter();
        candidates.extend(rows.map(|row| (row.file.kind, row.file.place().clone())));
    }
    let (store, staging, job) = (pull.store.clone(), pull.staging.clone(), job.clone());
    spawn_blocking(move || copy_first(&store, &staging, &candidates, &job))
        .await
        .map_err(|_| Error::Worker)?
}

fn copy_first(
    store: &Store,
    staging: &Staging,
    candidates: &[(FileKind, MediaPath)],
    job: &FetchJob,
) -> Result<Option<Copied>, Error> {
    for (at, (kind, path)) in candidates.iter().enumerate() {
        // What cannot be opened here is fetched from the peer; its own trouble is found by verify.
        let Ok(Some(mut found)) = store.open_file(*kind, path) else {
            continue;
        };
        if !may_be(job, &found) {
            continue;
        }
        let mut staged = staging.create()?;
        let mut hasher = Hasher::new(job.md5.is_some());
        let mut buffer = vec![0; BUFFER.min(usize::try_from(found.size).unwrap_or(BUFFER).max(1))];
        loop {
            let read = match found.file.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(_) => return Ok(None),
            };
            hasher.update(&buffer[..read]);
            staged.write_all(&buffer[..read])?;
        }
        let digests = hasher.finish();
        if digests.size == found.size && compared(job, &digests).is_ok() {
            return Ok(Some((staged, digests, at == 0)));
        }
    }
    Ok(None)
}

/// Whether a file on disk is worth reading as the wanted one. Where no SHA-256 is stated it must look like it to EMDB's eyes,
/// by time and size (wire spec 4.5, H-11); so a data directory that is there already is taken over rather than fetched.
fn may_be(job: &FetchJob, found: &OpenFile) -> bool {
    if job.sha256.is_some() {
        return job.size.is_none_or(|size| size == found.size);
    }
    let same_time = (job.modified)
        .is_some_and(|modified| modified.whole_second() == found.modified.whole_second());
    same_time && job.size == Some(found.size)
}

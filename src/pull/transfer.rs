//! One file from a peer into staging, hashed as it comes and compared with everything the peer said about it.
//!
//! ```text
//! the bytes are here already (a seeded disk, a move, a twin)?        take them
//! a partial is here, and the peer still serves what it began with?  append the rest
//! else                                                              fetch the whole
//! compare size, SHA-256, MD5; any difference throws the bytes away
//! ```
//!
//! What is here is found in `ours`, bodies are read in `body`. Cancelling stops between two pieces and keeps the partial.

use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;

use super::ahead::Here;
use super::body::{gather, most_in_memory, stream};
use super::ours::{self, Found, Way};
use super::publisher::Part;
use super::{Error, Pull};
use crate::crash::{self, Point};
use crate::model::job::FetchJob;
use crate::model::{AssetId, Digests, FileKind, Hasher, MediaFile, MediaPath, Sha256, Timestamp};
use crate::peer::{self, Download};
use crate::store::{self, Content, Partial, Staged};
use crate::trash;

/// Files from this size on leave a partial behind when they are cut.
pub(super) const WORTH_RESUMING: u64 = 1 << 20;

/// A file in staging.
#[derive(Debug)]
pub(super) struct Arrived {
    found: Found,
    /// The room that it takes in memory, if it lies there.
    room: Option<OwnedSemaphorePermit>,
    received: u64,
    /// How long the head of the answer took; `None` when nothing was asked for.
    waited: Option<Duration>,
    modified: Timestamp,
    kind: FileKind,
    path: MediaPath,
}

impl Arrived {
    /// How long the head of the answer took, and bytes of its body; `None` when nothing was asked for.
    pub(super) fn flight(&self) -> Option<(Duration, u64)> {
        Some((self.waited?, self.received))
    }

    /// The file with its row to be. A stated MD5 that was not reckoned again stands beside a SHA-256 that was.
    pub(super) fn into_part(self, asset: AssetId, job: &FetchJob) -> Part {
        let file = MediaFile {
            kind: self.kind,
            path: self.path,
            place: None,
            asset,
            size: self.found.digests.size,
            modified: self.modified,
            sha256: self.found.digests.sha256,
            md5: self.found.digests.md5.or(job.md5),
            authored: false,
            fingerprint: None,
        };
        Part {
            content: self.found.content,
            file,
            received: self.received,
            way: self.found.way,
            made_of: self.found.made_of,
            room: self.room,
        }
    }
}

/// Brings one file of an asset into staging. Returns bytes received over the wire, so a resumed prefix or a local copy is not counted.
///
/// # Errors
/// [`Error::Size`], [`Error::Sha256`], [`Error::Md5`] after a complete read that does not match; the bytes are then gone.
/// [`Error::Cancelled`] at a piece's end; a partial of a large file stays.
pub(super) async fn fetch(
    pull: &Pull,
    asset: &AssetId,
    job: &FetchJob,
    here: Here,
) -> Result<Arrived, Error> {
    let ours = match here {
        Here::Nothing => None,
        Here::Perhaps => ours(pull, asset, job).await?,
    };
    if let Some(arrived) = ours {
        crash::point(Point::OursFound)?;
        return Ok(arrived);
    }
    let path = MediaPath::new(job.path.as_str())?;
    check_reserve(pull, job.size.filter(|_| job.exact).unwrap_or(0)).await?;
    let key = partial_key(pull.peer.name(), job);
    let partial = if job.size.is_none_or(|size| size >= WORTH_RESUMING) {
        Some(open_partial(pull, key).await?)
    } else {
        None
    };
    let partial = match partial {
        Some(partial) => match take_whole(job, partial).await? {
            Ok((staged, digests)) => {
                return Ok(Arrived {
                    found: fetched(staged, digests),
                    room: None,
                    received: 0,
                    waited: None,
                    modified: job.modified.unwrap_or_else(|| pull.seams.clock.now()),
                    kind: job.kind,
                    path,
                });
            }
            Err(partial) => Some(partial),
        },
        None => None,
    };
    let room = match &partial {
        None => Some(pull.room_for(most_in_memory(job)).await?),
        Some(_) => None,
    };
    let (download, partial) = begin(pull, (asset, &path), job, partial).await?;
    let waited = Some(download.waited);
    check_announced(job, &download)?;
    let modified = job
        .modified
        .or_else(|| emdb_tag_time(download.tag.as_deref()))
        .unwrap_or_else(|| pull.seams.clock.now());
    let (content, digests, received) = match partial {
        Some(partial) => stream(pull, job, download, partial).await?,
        None => gather(pull, job, download).await?,
    };
    compared(job, &digests)?;
    Ok(Arrived {
        found: fetched(content, digests),
        room,
        received,
        waited,
        modified,
        kind: job.kind,
        path,
    })
}

/// The file from what is here, if it is.
pub(super) async fn ours(
    pull: &Pull,
    asset: &AssetId,
    job: &FetchJob,
) -> Result<Option<Arrived>, Error> {
    let path = MediaPath::new(job.path.as_str())?;
    let found = ours::find(pull, asset, job, &path).await?;
    Ok(found.map(|found| Arrived {
        modified: (job.modified)
            .or(found.lies_in_place())
            .unwrap_or_else(|| pull.seams.clock.now()),
        found,
        room: None,
        received: 0,
        waited: None,
        kind: job.kind,
        path,
    }))
}

fn fetched(content: impl Into<Content>, digests: Digests) -> Found {
    Found {
        content: content.into(),
        digests,
        way: Way::Fetched,
        made_of: None,
    }
}

/// Names a partial by everything that makes its bytes what they are.
fn partial_key(peer: &str, job: &FetchJob) -> String {
    let facts = format!(
        "{peer}\n{}\n{}\n{:?}\n{:?}\n{:?}\n{:?}",
        job.kind.dir(),
        job.path,
        job.size,
        job.modified,
        job.sha256,
        job.md5
    );
    Sha256::of(facts.as_bytes()).to_string()[..32].to_owned()
}

async fn open_partial(pull: &Pull, key: String) -> Result<Partial, Error> {
    let staging = pull.staging.clone();
    let partial = spawn_blocking(move || staging.partial(&key))
        .await
        .map_err(|_| Error::Worker)?;
    Ok(partial?)
}

/// A partial that a kill left whole, where a digest can prove it: asking for its end is no use (H-41), and for all of it
/// again a waste.
async fn take_whole(
    job: &FetchJob,
    partial: Partial,
) -> Result<Result<(Staged, Digests), Partial>, Error> {
    let provable = job.sha256.is_some() || job.md5.is_some();
    if !provable || partial.is_empty() || job.size != Some(partial.len()) {
        return Ok(Err(partial));
    }
    let with_md5 = job.needs_md5();
    let (partial, digests) = spawn_blocking(move || {
        let mut hasher = Hasher::new(with_md5);
        partial.read_back(&mut |piece| hasher.update(piece))?;
        Ok::<_, store::Error>((partial, hasher.finish()))
    })
    .await
    .map_err(|_| Error::Worker)??;
    Ok(match compared(job, &digests) {
        Ok(()) => Ok((partial.finish(), digests)),
        Err(_) => Err(partial),
    })
}

/// Asks for the file: for its rest where a partial can grow, otherwise for the whole.
async fn begin(
    pull: &Pull,
    file: (&AssetId, &MediaPath),
    job: &FetchJob,
    partial: Option<Partial>,
) -> Result<(Download, Option<Partial>), Error> {
    let Some(mut partial) = partial else {
        return Ok((ask(pull, file, job, 0).await?, None));
    };
    let known = partial.tag();
    // A range is only asked for strictly inside the size (H-41), and only where the reply's tag can be compared. Of a partial
    // that a kill left whole the last byte is asked for again: it proves that the peer still serves what came before.
    let from = match job.size {
        Some(size) if known.is_some() && size > 0 => {
            partial.cut(size - 1)?;
            partial.len()
        }
        _ => 0,
    };
    let mut download = match ask(pull, file, job, from).await {
        // The file has become shorter than what we have of it.
        Err(Error::Peer(peer::Error::Server { status: 416, .. })) if from > 0 => {
            ask(pull, file, job, 0).await?
        }
        asked => asked?,
    };
    let goes_on = from > 0
        && download.from == Some(from)
        && download.tag == known
        && (download.total == job.size || !job.exact);
    if !goes_on {
        if download.from != Some(0) {
            drop(download);
            download = ask(pull, file, job, 0).await?;
        }
        partial.restart(download.tag.as_deref())?;
    }
    Ok((download, Some(partial)))
}

/// Asks for the file from byte `from`, unless we were asked to end: a peer may take minutes to answer.
async fn ask(
    pull: &Pull,
    (asset, path): (&AssetId, &MediaPath),
    job: &FetchJob,
    from: u64,
) -> Result<Download, Error> {
    tokio::select! {
        download = pull.peer.download((job.kind, path), asset, from) => Ok(download?),
        () = pull.stop.wait() => Err(Error::Cancelled),
    }
}

/// A file whose announced length is not the listed one has changed since it was listed.
fn check_announced(job: &FetchJob, download: &Download) -> Result<(), Error> {
    match (job.exact, job.size, download.total) {
        (true, Some(expected), Some(actual)) if expected != actual => Err(Error::Size {
            path: job.path.clone(),
            expected,
            actual,
        }),
        _ => Ok(()),
    }
}

/// EMDB's tag is the file's exact modification time in milliseconds (wire spec 3.8).
fn emdb_tag_time(tag: Option<&str>) -> Option<Timestamp> {
    tag?.parse().ok().map(Timestamp::from_millis)
}

/// Whether `more` bytes leave the disk its reserve; the oldest trash makes room for them where it can (design section 8).
pub(super) async fn check_reserve(pull: &Pull, more: u64) -> Result<(), Error> {
    let lacking = |free: u64| {
        let needed = pull
            .limits
            .reserve
            .saturating_add(more)
            .saturating_add(pull.in_memory());
        needed.checked_sub(free).filter(|lacking| *lacking > 0)
    };
    if lacking(pull.store.free_bytes()?).is_none() {
        return Ok(());
    }
    // One at a time: the next may find the room that this one made.
    let _alone = pull.making_room.lock().await;
    if let Some(wanted) = lacking(pull.store.free_bytes()?) {
        trash::make_room(&pull.store, &pull.catalogue, wanted, &*pull.monitor).await?;
    }
    let free = pull.store.free_bytes()?;
    if lacking(free).is_some() {
        return Err(Error::Reserve {
            root: pull.store.root().display().to_string(),
            needed: more,
            free,
            reserve: pull.limits.reserve,
        });
    }
    Ok(())
}

/// Compares with every value the peer states. A record's size is a hint that a matching digest outweighs.
pub(super) fn compared(job: &FetchJob, digests: &Digests) -> Result<(), Error> {
    let path = || job.path.clone();
    if let Some(expected) = job.sha256.filter(|expected| *expected != digests.sha256) {
        return Err(Error::Sha256 {
            path: path(),
            expected,
            actual: digests.sha256,
        });
    }
    if let (Some(expected), Some(actual)) = (job.md5, digests.md5)
        && expected != actual
    {
        return Err(Error::Md5 {
            path: path(),
            expected,
            actual,
        });
    }
    let proven = job.sha256.is_some() || job.md5.is_some();
    match job.size {
        Some(expected) if expected != digests.size && (job.exact || !proven) => Err(Error::Size {
            path: path(),
            expected,
            actual: digests.size,
        }),
        _ => Ok(()),
    }
}

//! A file that its sender brings us (wire spec 3.6): its bytes into memory or staging, hashed as they come, then compared with the
//! wish that it fulfils.
//!
//! The parts of a form come in any order, so that all of a file may have to be taken before it is known which one it is.

use std::pin::pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::spawn_blocking;

use super::pool::{landed, send};
use super::publisher::{Item, Part};
use super::transfer::{check_reserve, compared};
use super::{Error, InFlight, Pull, Way};
use crate::catalogue::{FileRow, Job};
use crate::model::job::{FetchJob, Work};
use crate::model::{AssetId, Digests, FileKind, Hasher, MediaFile, MediaPath, Sha256};
use crate::monitor::Counter;
use crate::store::{self, Content, Staged, Staging};

/// Bytes that a file may have to lie in memory until it is published.
const HELD: u64 = 256 << 10;
/// Pieces between the connection and the writing thread.
const PIECES_AHEAD: usize = 16;
/// Bytes between two looks at the disk's reserve.
const RESERVE_EVERY: u64 = 16 << 20;

/// A file whose bytes are here.
#[derive(Debug)]
pub struct Brought {
    content: Content,
    digests: Digests,
    room: Option<OwnedSemaphorePermit>,
}

impl Brought {
    /// The bytes themselves.
    ///
    /// # Errors
    /// The store's.
    pub async fn into_bytes(self) -> Result<Vec<u8>, Error> {
        let content = self.content;
        let read = spawn_blocking(move || content.into_bytes()).await;
        Ok(read.map_err(|_| Error::Worker)??)
    }

    /// What its bytes are.
    #[must_use]
    pub fn digests(&self) -> &Digests {
        &self.digests
    }
}

/// Takes the bytes of a file, `most` of them where that is known already.
///
/// # Errors
/// [`Error::Size`] for more bytes than `most`, [`Error::BrokenOff`] when the sender goes away, [`Error::Reserve`] and the store's.
/// Nothing stays of it then.
pub async fn gather<E: std::fmt::Display>(
    pull: &Pull,
    pieces: impl Stream<Item = Result<Bytes, E>>,
    (path, most): (&str, Option<u64>),
    with_md5: bool,
) -> Result<Brought, Error> {
    check_reserve(pull, 0).await?;
    let room = pull
        .room_for(most.map_or(HELD, |most| most.min(HELD)))
        .await?;
    let mut pieces = pin!(pieces);
    let mut hasher = Hasher::new(with_md5);
    let mut held = Vec::new();
    loop {
        let Some(piece) = next(pull, &mut pieces, path).await? else {
            let size = held.len() as u64;
            too_long(path, most, size)?;
            pull.monitor.advance(Counter::Bytes, size);
            return Ok(Brought {
                content: pull.staging.hold(held).into(),
                digests: hasher.finish(),
                room: Some(room),
            });
        };
        hasher.update(&piece);
        held.extend_from_slice(&piece);
        if held.len() as u64 > HELD {
            break;
        }
    }
    too_long(path, most, held.len() as u64)?;
    let (sender, receiver) = mpsc::channel::<Bytes>(PIECES_AHEAD);
    let mut received = held.len() as u64;
    let staging = pull.staging.clone();
    let writer = spawn_blocking(move || write(&staging, held, receiver, hasher));
    let mut looked_at = 0;
    let flow = async {
        while let Some(piece) = next(pull, &mut pieces, path).await? {
            received += piece.len() as u64;
            too_long(path, most, received)?;
            if received - looked_at >= RESERVE_EVERY {
                looked_at = received;
                check_reserve(pull, 0).await?;
            }
            if sender.send(piece).await.is_err() {
                break;
            }
        }
        Ok::<_, Error>(())
    }
    .await;
    drop(sender);
    let written = writer.await.map_err(|_| Error::Worker)?;
    flow?;
    let (staged, digests) = written?;
    pull.monitor.advance(Counter::Bytes, received);
    Ok(Brought {
        content: staged.into(),
        digests,
        room: None,
    })
}

fn write(
    staging: &Staging,
    held: Vec<u8>,
    mut pieces: mpsc::Receiver<Bytes>,
    mut hasher: Hasher,
) -> Result<(Staged, Digests), store::Error> {
    let mut staged = staging.create()?;
    staged.write_all(&held)?;
    drop(held);
    while let Some(piece) = pieces.blocking_recv() {
        staged.write_all(&piece)?;
        hasher.update(&piece);
    }
    Ok((staged, hasher.finish()))
}

async fn next<E: std::fmt::Display>(
    pull: &Pull,
    pieces: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    path: &str,
) -> Result<Option<Bytes>, Error> {
    let piece = tokio::select! {
        piece = pieces.next() => piece,
        () = pull.stop.wait() => return Err(Error::Cancelled),
    };
    piece.transpose().map_err(|error| Error::BrokenOff {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn too_long(path: &str, most: Option<u64>, actual: u64) -> Result<(), Error> {
    match most {
        Some(expected) if actual > expected => Err(Error::Size {
            path: path.to_owned(),
            expected,
            actual,
        }),
        _ => Ok(()),
    }
}

/// The wish that a file fulfils: that of its asset where the sender says which, else the one for its name.
///
/// # Errors
/// [`Error`].
pub async fn wish_for(
    pull: &Pull,
    (kind, path): (FileKind, &MediaPath),
    asset: Option<&AssetId>,
) -> Result<Option<Job>, Error> {
    let wishes = pull
        .catalogue
        .fetches_named(pull.peer.name(), kind, path, asset)
        .await?;
    Ok(wishes.into_iter().next())
}

/// The file that is here of this name, if it has these bytes: what comes again after a lost answer is done already.
///
/// # Errors
/// [`Error`].
pub async fn is_here(
    pull: &Pull,
    (kind, path): (FileKind, &MediaPath),
    content: &Sha256,
) -> Result<bool, Error> {
    let rows = pull.catalogue.files_at(kind, &[path.as_str()]).await?;
    let same = |row: &FileRow| row.file.sha256 == *content && row.is_here();
    Ok(rows.iter().any(same))
}

/// Compares a file with the wish, publishes it and settles the wish. Returns when it is durable, with its row.
///
/// # Errors
/// [`Error::Size`], [`Error::Sha256`], [`Error::Md5`] for other bytes than were offered: the wish stays. [`Error::Unsettled`] when it
/// could not be published.
pub async fn land(
    pull: &Pull,
    (job, fetch): (Job, &FetchJob),
    brought: Brought,
    items: &mpsc::Sender<Item>,
) -> Result<(), Error> {
    compared(fetch, &brought.digests)?;
    let path = MediaPath::new(fetch.path.as_str())?;
    let file = MediaFile {
        kind: fetch.kind,
        path: path.clone(),
        place: None,
        asset: job.asset.clone(),
        size: brought.digests.size,
        modified: fetch.modified.unwrap_or_else(|| pull.seams.clock.now()),
        sha256: brought.digests.sha256,
        md5: brought.digests.md5.or(fetch.md5),
        authored: false,
        fingerprint: None,
    };
    let part = Part {
        content: brought.content,
        received: file.size,
        file,
        way: Way::Fetched,
        made_of: None,
        room: brought.room,
    };
    settle(pull, (job, fetch), part, items).await
}

/// Has a compared file published, and its wish settled. Returns when it is durable, with its row.
///
/// # Errors
/// [`Error::Unsettled`] when it could not be published.
pub(super) async fn settle(
    pull: &Pull,
    (job, fetch): (Job, &FetchJob),
    part: Part,
    items: &mpsc::Sender<Item>,
) -> Result<(), Error> {
    let (path, sha256) = (part.file.path.clone(), part.file.sha256);
    let asset = job.asset.clone();
    let ending = landed(&job, fetch, part);
    let in_flight = InFlight::default();
    let token = in_flight.enter();
    if !send(items, Item { job, ending, token }).await {
        return Err(Error::Worker);
    }
    in_flight.over().await;
    let row = pull.catalogue.file(fetch.kind, &path, &asset).await?;
    let is_ours = row.is_some_and(|row| row.file.sha256 == sha256 && row.is_here());
    if is_ours || is_here(pull, (fetch.kind, &path), &sha256).await? {
        return Ok(());
    }
    Err(Error::Unsettled {
        path: path.to_string(),
    })
}

/// The fetch that a wish asks for.
#[must_use]
pub fn fetch_of(job: &Job) -> Option<&FetchJob> {
    match &job.work {
        Work::Fetch(fetch) => Some(fetch),
        _ => None,
    }
}

//! One file on its way to the peer, read from disk as it goes and hashed as it is read.
//!
//! The last piece is only handed over when the digest of all of it is the recorded one; otherwise the request ends short of its
//! announced length, and the peer has nothing. Neither it nor we have to trust the disk.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::task::spawn_blocking;

use super::{Counts, Error, Push};
use crate::catalogue::Job;
use crate::model::job::UploadJob;
use crate::model::{Hasher, MediaFile, MediaPath};
use crate::monitor::Counter;
use crate::peer::Outgoing;
use crate::protocol::receiving::{Upload, UploadForm};
use crate::store::OpenFile;

/// Bytes read at a time.
const PIECE: u64 = 256 << 10;
/// Random bytes in the boundary between the parts of a form.
const BOUNDARY_BYTES: usize = 15;

/// Sends the file of a job. `false` when there is nothing to send any more: the file is gone or another one, and whatever is
/// there instead is offered with its record.
pub(super) async fn send(push: &Arc<Push>, job: &Job, upload: &UploadJob) -> Result<bool, Error> {
    let Some(file) = file_of(push, job, upload).await? else {
        return Ok(false);
    };
    let (store, kind, place) = (push.store.clone(), file.kind, file.place().clone());
    let opened = spawn_blocking(move || store.open_file(kind, &place));
    let opened = opened.await.map_err(|_| Error::Worker)??;
    let open = match opened {
        Some(open) if open.size == file.size => open,
        Some(open) => {
            let found = format!("{} bytes instead of {}", open.size, file.size);
            return damaged(push, &file, found).await;
        }
        None => return damaged(push, &file, "missing".to_owned()).await,
    };
    let boundary = push.seams.random_hex(BOUNDARY_BYTES);
    let form = UploadForm::new(
        &Upload {
            kind: file.kind,
            savepath: &upload.savepath,
            catalog: &push.catalog,
            members: &upload.members,
            asset: &job.asset,
            sha256: file.sha256,
        },
        &boundary,
    );
    let wrong = Wrong::default();
    let outgoing = Outgoing {
        form,
        size: file.size,
        what: format!("{}/{}", file.kind.dir(), file.path),
        pieces: pieces(Arc::clone(push), open, &file, wrong.clone()),
    };
    let sent = tokio::select! {
        sent = push.peer.upload(outgoing) => sent,
        () = push.stop.wait() => return Err(Error::Cancelled),
    };
    // What broke off at our own disk is no failure of the peer.
    if let Some(found) = wrong.take() {
        return damaged(push, &file, found).await;
    }
    sent?;
    Ok(true)
}

/// The file that the job means, if it is still that one and whole.
async fn file_of(push: &Push, job: &Job, upload: &UploadJob) -> Result<Option<MediaFile>, Error> {
    let Ok(path) = MediaPath::new(upload.path.as_str()) else {
        return Ok(None);
    };
    let row = push
        .catalogue
        .file(upload.kind, &path, &job.asset)
        .await?
        .filter(|row| row.is_here() && row.file.sha256 == upload.sha256);
    Ok(row.map(|row| row.file))
}

/// Notes that a file is not on disk as its row says; unless the row has changed since it was read.
async fn damaged(push: &Push, file: &MediaFile, found: String) -> Result<bool, Error> {
    let row = push
        .catalogue
        .file(file.kind, &file.path, &file.asset)
        .await?;
    if row.is_none_or(|row| row.file.sha256 != file.sha256) {
        return Ok(false);
    }
    let mut batch = push.catalogue.batch().await?;
    batch
        .note_damage(file, Some(push.seams.clock.now()))
        .await?;
    batch.commit().await?;
    Err(Error::Damaged {
        path: format!("{}/{}", file.kind.dir(), file.path),
        found,
    })
}

/// What was found wrong with a file while it was read.
#[derive(Debug, Clone, Default)]
struct Wrong(Arc<Mutex<Option<String>>>);

impl Wrong {
    fn put(&self, found: String) -> io::Error {
        let error = io::Error::other(found.clone());
        *self.lock() = Some(found);
        error
    }

    fn take(&self) -> Option<String> {
        self.lock().take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.0.lock().expect("no panic while it is held")
    }
}

/// The pieces of a file; an error instead of the last one when they are not the recorded content.
fn pieces(
    push: Arc<Push>,
    open: OpenFile,
    file: &MediaFile,
    wrong: Wrong,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (size, expected) = (file.size, file.sha256);
    let state = (Arc::new(open), 0, Hasher::new(false));
    stream::try_unfold(state, move |(open, at, mut hasher)| {
        let (push, wrong) = (Arc::clone(&push), wrong.clone());
        async move {
            let length = (size - at).min(PIECE);
            if length == 0 {
                return Ok(None);
            }
            let reading = Arc::clone(&open);
            let read = spawn_blocking(move || {
                let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
                reading.file.read_exact_at(&mut bytes, at)?;
                hasher.update(&bytes);
                io::Result::Ok((bytes, hasher))
            });
            let read = read.await.map_err(io::Error::other)?;
            let (bytes, hasher) =
                read.map_err(|error| wrong.put(format!("cannot be read: {error}")))?;
            let at = at + length;
            if at == size {
                let found = hasher.clone().finish().sha256;
                if found != expected {
                    return Err(wrong.put(format!("SHA-256 {found} instead of {expected}")));
                }
            }
            Counts::add(&push.counts.bytes, length);
            push.monitor.advance(Counter::BytesSent, length);
            Ok(Some((Bytes::from(bytes), (open, at, hasher))))
        }
    })
}
